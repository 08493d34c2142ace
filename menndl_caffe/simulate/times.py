"""How long trainings take: from their multiply-adds, by a rate that is fitted to trainings, or assumed.

| symbol | here | meaning |
|---|---|---|
| w | `Work` | multiply-adds: three times a batch's way forward for each iteration, once for each test batch |
| s | `seconds` | seconds of a training on its rank |
| a, b | `fixed`, `per_multiply_add` | s is about a + b w |
| sigma | `sigma` | spread of log s about that: s = (a + b w) exp(sigma z - sigma^2/2), z standard normal |

a and b minimize the sum of ((s - a - b w) / s)^2 with neither below 0, and are then scaled so that the sum of all
a + b w is that of all s. Of a training that was stopped early, s is its seconds by the share of the iterations that it
came to, and w that of a whole one.
"""
from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Optional, Tuple

import numpy as np

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.appraise import expected_cost, is_steady
from menndl_caffe.experiment.experiment import Experiment
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.experiment.render import Rendered, Renderer
from menndl_caffe.experiment.sources import datum_shape, sources
from menndl_caffe.genome import Genome
from menndl_caffe.nets.passes import test_iterations
from menndl_caffe.nets.shapes import DatumShape, ImpossibleNet, UnknownShape, infer
from menndl_caffe.report.idle import ranks_time
from menndl_caffe.report.nets import Nets
from menndl_caffe.simulate.known import known
from menndl_caffe.trial import DEFAULT

FORWARD_AND_BACK = 3.0  # the way back needs about twice the multiply-adds of the way forward
RATE = 18.0  # billion multiply-adds a second: real Caffe, one core of a Xeon, the default net (docs/torch-engine.md)
FEWEST = 3  # trainings to which times are fitted


class Work:
    """Multiply-adds of whole trainings of an experiment's individuals; 0 where its net is impossible, or where nobody
    knows (see `is_known`). `passes`: the iterations after which the default is tested, ascending."""

    def __init__(self, experiment: Experiment, image: Optional[DatumShape] = None):
        """`image`: the shape of the images, where the data need not be here; else UserError where they are not."""
        self._renderer = Renderer(experiment)
        self._where = sources(experiment, DEFAULT, to_read=image is None)
        self._image = image or datum_shape
        trial = experiment.trial(0, experiment.space.default)
        default = self._renderer.render(trial, self._where)
        self._batches, self.passes = _batches(default, self._image), sorted(test_iterations(default.solver.message))
        self.cost = functools.cache(self._cost)

    @property
    def is_known(self) -> bool:
        """Whether multiply-adds can be counted: not where a layer of the user's own makes shapes."""
        return self._batches > 0

    def steady(self, genome: Genome, iteration: int) -> bool:
        """As a run knows it (Problem.steady): by the individual's own solver."""
        return is_steady(self._renderer, self._where, genome, iteration)

    def _cost(self, genome: Genome) -> float:
        """What a search is told of a genome: see `expected_cost`."""
        return expected_cost(self._renderer, self._where, genome, self._image)

    def __call__(self, genome: Genome) -> float:
        """w; tests are counted as those of the default net are in proportion to its training."""
        return self._batches * self.cost(genome)


def _batches(default: Rendered, image: DatumShape) -> float:
    """How many ways forward of a training batch a training costs; 0 where that cannot be known."""
    solver = default.solver.message
    tests = solver.max_iter // solver.test_interval + solver.test_initialization if solver.test_interval else 0
    try:
        train, test = (infer(default.net.message, phase, image).multiply_adds for phase in ("TRAIN", "TEST"))
    except (ImpossibleNet, UnknownShape):
        return 0.0
    return FORWARD_AND_BACK * solver.max_iter + tests * sum(solver.test_iter) * test / train if train else 0.0


@dataclass(frozen=True)
class Times:
    """How long trainings take, and how that is known."""

    fixed: float  # seconds
    per_multiply_add: float  # seconds
    sigma: float
    said: str  # for people
    delay: float = 0.0  # seconds from a trial's sending to its beginning

    def seconds(self, work: float, rng: np.random.RandomState) -> float:
        """Of one training."""
        noise = math.exp(self.sigma * rng.standard_normal() - self.sigma ** 2 / 2)
        return (self.fixed + self.per_multiply_add * work) * noise


def assumed(rate: Optional[float], work: Work, sigma: float = 0.0) -> Times:
    """Times at so many billions of multiply-adds a second; RATE where none is given. UserError where nobody can count.
    """
    if not work.is_known:
        raise UserError("the multiply-adds of the default net cannot be known before it runs, so neither how long it "
                        "trains; --times RUN takes that from a run")
    said = (f"{rate:g} billion multiply-adds a second, as --rate says" if rate else
            f"assumed: {RATE:g} billion multiply-adds a second, as real Caffe on one core of a Xeon; "
            "--times RUN fits them to a run, --rate says another")
    return Times(0.0, 1e-9 / (rate or RATE), sigma, said)


def fitted(source: str, experiment: Experiment, work: Work) -> Times:
    """Times as RUN's journal or TABLE.csv has them; a table is one of this `experiment`. UserError where they are too
    few, or the run's templates are others now."""
    run = None if Path(source).is_file() else recorded.read(Path(source))
    own = experiment if run is None else run.experiment
    counted = work if run is None else _work_of(run)
    trainings = [(counted(one.genome), one.seconds / one.share) for one in known(source, own)
                 if one.values is not None and one.seconds > 0]
    if len(trainings) < FEWEST:
        raise UserError(f"--times {source}: {len(trainings)} trainings that did not fail; expected {FEWEST} or more")
    a, b, sigma = fit(*map(np.array, zip(*trainings)))
    scale = experiment.message.max_iter / own.message.max_iter
    said = f"of {len(trainings):,} trainings of {source}: {a * scale:.3g} s"
    said += f" and 1 s for {1e-9 / b:.3g} billion multiply-adds" if b else ""
    said += f", give or take {100 * sigma:.0f}%"
    said += f" ({own.message.max_iter:,} iterations there, {experiment.message.max_iter:,} here)" if scale != 1 else ""
    return Times(a * scale, b, sigma, said, 0.0 if run is None else _delay(run))


def fit(work: np.ndarray, seconds: np.ndarray) -> Tuple[float, float, float]:
    """a, b and sigma of trainings, arrays of shape (n,)."""
    columns = np.stack([1 / seconds, work / seconds], axis=1)
    found = [_least_squares(columns, kept) for kept in ([0, 1], [0], [1])]
    usable = [(a, b) for a, b in found if a >= 0 and b >= 0 and a + b > 0]
    a, b = min(usable, key=lambda ab: float(((columns @ np.array(ab) - 1) ** 2).sum()))
    scale = float(seconds.sum() / (a + b * work).sum())
    a, b = a * scale, b * scale
    logs = np.log(seconds / (a + b * work))
    return a, b, float(logs.std(ddof=2) if len(logs) > 2 else 0.0)


def _least_squares(columns: np.ndarray, kept: List[int]) -> Tuple[float, float]:
    size = columns[:, kept].max(axis=0)
    found = np.zeros(2)
    if (size > 0).all():
        found[kept] = np.linalg.lstsq(columns[:, kept] / size, np.ones(len(columns)), rcond=None)[0] / size
    return float(found[0]), float(found[1])


def _work_of(run: Run) -> Work:
    nets = Nets(run)
    if nets.changed:
        raise UserError(f"--times {run.folder}: what its nets cost cannot be known: {nets.changed}")
    return Work(run.experiment, image_of(run))


def image_of(run: Run) -> Optional[DatumShape]:
    """The shape of a run's images as its journal says it."""
    shape: Any = run.line.get("image_shape")
    return None if shape is None else lambda layer: (shape[0], shape[1], shape[2])


def _delay(run: Run) -> float:
    """Mean time that a rank waits for the master between two trials."""
    waited = sum(spent["master"] for spent in ranks_time(run.record).values())
    return waited / max(1, len(run.record.handings))
