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
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Tuple

import lmdb
import numpy as np

import menndl_caffe
from menndl_caffe.data import cifar10, mnist, synthetic
from menndl_caffe.data.advice import SUMMARY
from menndl_caffe.data.download import download
from menndl_caffe.data.lmdb_data import Images, Shape, describe, records, write_lmdb, write_mean
from menndl_caffe.data.ownership import own_names
from menndl_caffe.data.source import Content, Source
from menndl_caffe.errors import UserError
from menndl_caffe.files import lock, sha256_of, staging, sync
from menndl_caffe.text import show

STAGING = ".menndl_partial"
UNFINISHED = "unfinished.json"
MEAN = "mean.binaryproto"
MEAN_FIT = "mean_fit.binaryproto"
Report = Callable[[str], None]


@dataclass(frozen=True)
class Format:
    """How Caffe's example calls a set's files, counts its keys, whether its nets subtract a mean image; how it is read.

    `read` takes the source, None for what the set does without, and the folder that the set is written to.
    """

    prefix: str
    key_digits: int
    has_mean: bool
    read: Callable[[Optional[Path], Path, Report], Content]

    def lmdb(self, part: str) -> str:
        """Folder name of the database of a part: train, test, fit or validation."""
        return f"{self.prefix}_{part}_lmdb"

def _read_cifar10(source: Optional[Path], out: Path, report: Report) -> Content:
    """Of an archive or a folder; None downloads the binary archive into `out` unless it is there."""
    path = source or download(cifar10.ARCHIVE, out, report)
    report(f"reading {path}")
    return cifar10.read_cifar10(path)


def _read_mnist(source: Optional[Path], out: Path, report: Report) -> Content:
    if source is None:
        raise UserError(f"menndl data mnist needs --source FOLDER: {mnist.NEEDED}")
    report(f"reading {source}")
    return mnist.read_mnist(source)


def _draw(images_train: int, images_test: int, seed: int, source: Optional[Path], out: Path, report: Report) -> Content:
    report(f"drawing {images_train + images_test:,} images")
    return synthetic.draw_content(images_train, images_test, seed)


FORMATS = {
    "cifar10": Format("cifar10", key_digits=5, has_mean=True, read=_read_cifar10),
    "mnist": Format("mnist", key_digits=8, has_mean=False, read=_read_mnist),
    "synthetic": Format("cifar10", key_digits=5, has_mean=True, read=partial(_draw, 10_000, 2_000, 1)),
}


@dataclass(frozen=True)
class DataSummary:
    """What a data folder holds, which is what its dataset.json says: records by LMDB, SHA-256 by mean file."""

    folder: Path
    dataset: str
    source: Source
    shape: Shape
    records: Dict[str, int]
    means: Dict[str, str]
    validation: int
    made_by: str

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count:,}" for name, count in self.records.items())
        return f"{self.folder}: {counts} images of {'x'.join(map(str, self.shape))}, from {self.source}"


def write(dataset: str, out: Path, source: Optional[Path] = None, validation: int = 0, force: bool = False,
          report: Report = show) -> DataSummary:
    """A data set of `FORMATS` as Caffe's own scripts make it, under their file names.

    `source` is an archive or a folder, None what the set does without one. `validation` N > 0 adds the training images
    without the last N, those N, and the mean of the former: PREFIX_fit_lmdb, PREFIX_validation_lmdb,
    mean_fit.binaryproto. A set that is there is kept (N is taken from it) unless `force`. UserError where `out` has a
    database or a mean that menndl did not write.
    """
    if source is not None:  # wrong ones are an error even where the set is there already
        if dataset == "synthetic":
            raise UserError(f"--source {source}: synthetic images are drawn, they have no source")
        if not source.exists():
            raise UserError(f"{source}: no such file or folder")
    return _write(dataset, FORMATS[dataset], Path(out), source, validation, force, report)


def write_synthetic(out: Path, images_train: int, images_test: int, seed: int = 1, validation: int = 0,
                    force: bool = False, report: Report = show) -> DataSummary:
    """As `write`, the set "synthetic" with so many images, the same on every machine."""
    drawn = replace(FORMATS["synthetic"], read=partial(_draw, images_train, images_test, seed))
    return _write("synthetic", drawn, Path(out), None, validation, force, report)


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


def _write(dataset: str, files: Format, out: Path, source: Optional[Path], validation: int, force: bool,
           report: Report) -> DataSummary:
    with _alone_in(out):
        there = None if force else read_summary(out)
        if there and there.dataset != dataset:
            raise UserError(f"{out} holds {there.dataset}; give {dataset} another --out, or --force to replace it")
        if there and validation in (0, there.validation):
            report(f"{out}: already there, left as it is (--force writes it anew)")
            return there
        earlier = own_names(out)
        content = _content_of(there, files) if there else files.read(source, out, report)
        return _build(dataset, files, out, earlier, content, validation, report)


def _content_of(summary: DataSummary, files: Format) -> Content:
    """The set's own images, to be split anew without its source."""
    train, test = (_loaded(summary.folder / files.lmdb(part), summary.shape) for part in ("train", "test"))
    return Content(summary.source, train, test)


def _loaded(path: Path, shape: Shape) -> Images:
    count = describe(path).records
    images = Images(np.empty(count, np.uint8), np.empty((count, *shape), np.uint8))
    for index, (label, pixels) in enumerate(records(path)):
        images.labels[index], images.pixels[index] = label, pixels
    return images


def _parts(content: Content, files: Format, validation: int) -> Tuple[Dict[str, Images], Dict[str, Images]]:
    """The LMDBs to write by name, and the means to write by name with the images that they are of."""
    train, test = content.train, content.test
    if not 0 <= validation < len(train):
        raise UserError(f"--validation {validation}: 0 to {len(train) - 1} of the training images can be held out")
    databases, means = {files.lmdb("train"): train, files.lmdb("test"): test}, {MEAN: train}
    if validation:
        fit, held_out = train.part(0, len(train) - validation), train.part(len(train) - validation, len(train))
        databases.update({files.lmdb("fit"): fit, files.lmdb("validation"): held_out})
        means[MEAN_FIT] = fit
    return databases, means if files.has_mean else {}


def _build(dataset: str, files: Format, out: Path, earlier: List[str], content: Content, validation: int,
           report: Report) -> DataSummary:
    databases, means = _parts(content, files, validation)
    with _staging(out) as folder:
        for name, images in databases.items():
            report(f"writing {out / name}: {len(images):,} images")
            write_lmdb(folder / name, images, files.key_digits)
        for name, images in means.items():
            write_mean(folder / name, images)
        summary = DataSummary(out, dataset, content.source, content.train.shape,
                              {name: len(images) for name, images in databases.items()},
                              {name: sha256_of(folder / name) for name in means}, validation,
                              f"menndl_caffe {menndl_caffe.__version__}")
        fields = {name: value for name, value in asdict(summary).items() if name != "folder"}
        (folder / SUMMARY).write_text(json.dumps(fields, indent=1) + "\n")
        unfinished = {"dataset": dataset, "records": dict.fromkeys([*earlier, *databases, *means]), "means": {}}
        (folder / UNFINISHED).write_text(json.dumps(unfinished))
        _install(folder, out, [*databases, *means, SUMMARY], earlier)
    return summary


def _install(staged: Path, out: Path, written: List[str], earlier: List[str]) -> None:
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
def _alone_in(out: Path) -> Iterator[None]:
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
def _staging(out: Path) -> Iterator[Path]:
    """An empty folder on the file system of `out`, gone at the end; UserError where the disk refuses."""
    try:
        with staging(out / STAGING) as folder:
            yield folder
    except (OSError, lmdb.Error) as error:
        free = shutil.disk_usage(out).free
        raise UserError(f"{out}: cannot be written ({error}); {free / 1e6:.0f} MB are free there, "
                        "and CIFAR-10 takes 250") from None
