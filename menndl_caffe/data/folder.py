"""A data set's folder: the LMDBs, the means and dataset.json, written whole or not at all.

Everything is written into FOLDER/.menndl_partial first (inside, so that no rename crosses file systems), then moved
into place; dataset.json comes last and says what belongs to the set. What a killed process leaves is not a set,
and is written anew by the next call. What menndl did not write stays as it is, and alone.
"""
from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Dict, Iterator, List, Optional

import lmdb

import menndl_caffe
from menndl_caffe.data.advice import SUMMARY
from menndl_caffe.data.lmdb_data import Shape, describe
from menndl_caffe.data.source import Source
from menndl_caffe.errors import UserError
from menndl_caffe.files import lock, sha256_of, staging, sync

STAGING = ".menndl_partial"
UNFINISHED = "unfinished.json"
MEAN = "mean.binaryproto"
MEAN_FIT = "mean_fit.binaryproto"


@dataclass(frozen=True)
class DataSummary:
    """What a data folder holds, which is what its dataset.json says: records by LMDB, SHA-256 by mean file.

    `labels`: by LMDB, how many images have the label 0, 1, ...; `classes`: their names, none where they have none. Both
    are empty in a summary that an earlier menndl wrote.
    """

    folder: Path
    dataset: str
    source: Source
    shape: Shape
    records: Dict[str, int]
    means: Dict[str, str]
    validation: int
    made_by: str
    labels: Dict[str, List[int]] = field(default_factory=dict)
    classes: List[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count:,}" for name, count in self.records.items())
        return f"{self.folder}: {counts} images of {'x'.join(map(str, self.shape))}, from {self.source}"


def read_summary(folder: Path) -> Optional[DataSummary]:
    """What a complete data set in `folder` says of itself; None where there is none, or a part of it is missing."""
    try:
        fields = json.loads((folder / SUMMARY).read_text())
        source = Source(**fields.pop("source"))
        summary = DataSummary(folder=folder, source=source, shape=tuple(fields.pop("shape")), **fields)
        complete = all(describe(folder / name).records == count for name, count in summary.records.items()) and all(
            sha256_of(folder / name) == checksum for name, checksum in summary.means.items())
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):  # ValueError: json, UserError
        return None
    return summary if complete else None


def install(staged: Path, written: DataSummary, earlier: List[str]) -> None:
    """Move a set's databases and means from where they were written into its folder, and write its summary; `earlier`
    are the names of the set that it replaces."""
    fields = {name: value for name, value in asdict(written).items() if name != "folder"}
    (staged / SUMMARY).write_text(json.dumps(fields, indent=1) + "\n")
    names = [*written.records, *written.means]
    unfinished = {"dataset": written.dataset, "records": dict.fromkeys([*earlier, *names]), "means": {}}
    (staged / UNFINISHED).write_text(json.dumps(unfinished))
    _move(staged, written.folder, [*names, SUMMARY], earlier)


def made_by() -> str:
    """Which menndl writes."""
    return f"menndl_caffe {menndl_caffe.__version__}"


def _move(staged: Path, out: Path, written: List[str], earlier: List[str]) -> None:
    """Moves what was written into place, the summary last, once it is all on the disk and an earlier set is moved away;
    in between another summary says whose it is, but is none of a set.

    Everything moves by renaming, so what lies under its name is whole at every moment.
    """
    for name in (*written, UNFINISHED):
        sync(staged / name / "data.mdb" if (staged / name).is_dir() else staged / name)
    os.replace(staged / UNFINISHED, out / SUMMARY)
    sync(out)
    (staged / "earlier").mkdir()
    for name in earlier:
        if (out / name).exists():
            os.replace(out / name, staged / "earlier" / name)
    for name in written:
        os.replace(staged / name, out / name)
    sync(out)


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """`out`, made if need be, with no other process writing a data set there; one made in vain is removed again."""
    new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UserError(f"{out}: no folder to write to ({error.strerror})") from None
    try:
        try:
            lock(descriptor)
        except BlockingIOError:
            raise UserError(f"{out}: another menndl is writing there; wait for it to end") from None
        yield
    finally:
        os.close(descriptor)
        if new and not any(out.iterdir()):
            out.rmdir()


@contextmanager
def staging_in(out: Path) -> Iterator[Path]:
    """An empty folder on the file system of `out`, gone at the end; UserError where the disk refuses."""
    try:
        with staging(out / STAGING) as folder:
            yield folder
    except (OSError, lmdb.Error) as error:
        free = shutil.disk_usage(out).free
        raise UserError(f"{out}: cannot be written ({error}); {free / 1e6:.0f} MB are free there, "
                        "and the set needs more") from None
