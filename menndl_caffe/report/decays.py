"""The decays that trainings learned: as a table, and of the best individuals the decay of each weight."""
from __future__ import annotations

import os
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from menndl_caffe.experiment.adaptive import LEARNED, TRIALS
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.files import sha256_of
from menndl_caffe.report.best import FEW, listed
from menndl_caffe.report.nets import Nets
from menndl_caffe.text import as_csv, fixed
from menndl_caffe.trial import HYPERNET, Result, Trial

NAMED = 12  # decays that are shown one by one, by their names
BINS = 40  # of a histogram, at most
NARROWEST = 0.1  # of its bins, in natural logarithms
QUANTILES = ("lowest", "lower_quartile", "median", "upper_quartile", "highest")


def decays_csv(run: Run) -> str:
    """A row for each individual that learned decays; `loss` is measured after the plain training with them."""
    def rows() -> Iterator[List[Any]]:
        for trial, result in run.record.individuals():
            known = result.learned
            if known:
                quantiles = known["quantiles"] if len(known["quantiles"]) == len(QUANTILES) else [None] * len(QUANTILES)
                yield [trial.id, result.status, known["groups"], known["count"], known["mean"], *quantiles,
                       fixed(known.get("predicted", {}).get("loss"), 6), fixed(result.loss, 6)]

    return as_csv(["id", "status", "groups", "decays", "mean", *QUANTILES, "predicted_loss", "loss"], rows())


class Histogram(NamedTuple):
    """How many weights have which decay."""

    edges: List[float]  # of the bins, ascending, equally far apart in the logarithm: one more than there are bins
    weights: List[int]  # in each bin
    without: int  # weights that have no decay


@dataclass(frozen=True)
class Decays:
    """What one individual learned; all decays in it are above 0."""

    trial: Trial
    result: Result
    stated: Sequence[float]  # the different decays that its texts state, ascending; none where these cannot be had
    histogram: Optional[Histogram]
    missing: str  # why there is no histogram

    @property
    def learned(self) -> Mapping[str, Any]:
        """As the journal has it."""
        return self.result.learned

    @property
    def named(self) -> Dict[str, float]:
        """The decays by the names of their groups, where they are few; else nothing."""
        return self.learned["values"] if len(self.learned["values"]) <= NAMED else {}

    @property
    def unit(self) -> str:
        """What the path of the decays counts."""
        return "step of the decays" if self.trial.program == HYPERNET or "by" in self.learned else "iteration"

    @property
    def predicted(self) -> Sequence[Tuple[float, float]]:
        """Decay, and the loss that a hypernet predicts with it."""
        return self.learned.get("predicted", {}).get("points", [])

    @property
    def is_curve(self) -> bool:
        """Whether the predictions are a curve, each of all validation images. Else they are those on the way, each of
        one validation batch: at the decays of `learned.curve`."""
        way = [mean for _, mean, *_ in self.learned["curve"]][:len(self.predicted)]
        decays = [decay for decay, _ in self.predicted]
        return len(way) < len(decays) or not np.allclose(decays, way, rtol=1e-4, atol=0)


def best_decays(run: Run, nets: Nets) -> List[Decays]:
    """Of the FEW best individuals, those that learned decays."""
    return [_decays(run, nets, trial, result) for trial, result in listed(run)[:FEW] if _is_positive(result.learned)]


def _is_positive(learned: Mapping[str, Any]) -> bool:
    """Whether something was learned, and has a logarithm."""
    known = [decay for _, *decays in learned.get("curve", []) for decay in decays]
    known += [*learned.get("quantiles", []), *learned.get("values", {}).values()]
    known += [decay for decay, _ in learned.get("predicted", {}).get("points", [])]
    return bool(known) and min(known) > 0


def _decays(run: Run, nets: Nets, trial: Trial, result: Result) -> Decays:
    name = Path(TRIALS) / str(trial.id if result.same_as is None else result.same_as) / LEARNED
    try:
        histogram, missing = _histogram(_file(run.folder, name, result.learned.get("sha256", ""))), ""
    except ValueError as error:
        histogram, missing = None, f"{name} {error}"
    return Decays(trial, result, nets.stated_decays(trial), histogram, missing)


def _file(folder: Path, name: Path, sha256: str) -> Path:
    """The file in a run's folder; ValueError where it is not what was learned."""
    path = folder / name
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode) or folder.resolve() not in path.resolve().parents:
            raise ValueError("is no file of this run")
        if sha256_of(path) != sha256:
            raise ValueError("is not what was learned: its SHA-256 is another one")
    except OSError as error:
        raise ValueError("is not there" if isinstance(error, FileNotFoundError) else "cannot be read") from None
    return path


def _histogram(path: Path) -> Histogram:
    """Of a file that a trainer wrote; one blob after the other is in memory. ValueError where it is none."""
    try:
        spans = [(logs.min(), logs.max()) for logs in map(_logs, _arrays(path)) if logs.size]
        lowest, highest = min(low for low, _ in spans), max(high for _, high in spans)
        bins = max(1, min(BINS, round((highest - lowest) / NARROWEST)))
        edges = np.linspace(lowest - NARROWEST / 2, highest + NARROWEST / 2, bins + 1)
        weights, without = np.zeros(bins, dtype=np.int64), 0
        for array in _arrays(path):
            weights += np.histogram(_logs(array), edges)[0]
            without += int((array == 0).sum())
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError):
        raise ValueError("holds no decays") from None
    return Histogram(np.exp(edges).tolist(), weights.tolist(), without)


def _logs(decays: np.ndarray) -> np.ndarray:
    """Of those above 0."""
    return np.log(decays[decays > 0])


def _arrays(path: Path) -> Iterator[np.ndarray]:
    """Of each blob the decays of its weights; ValueError where there is anything else."""
    if not zipfile.is_zipfile(path):
        raise ValueError
    with np.load(path) as file:  # no pickles
        for name in file.files:
            decays = file[name]
            if decays.dtype != np.float64 or not np.isfinite(decays).all() or (decays < 0).any():
                raise ValueError
            yield decays
