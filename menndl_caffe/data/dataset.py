"""The published data sets, and drawn images, as Caffe's own scripts make them."""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from menndl_caffe.data import cifar10, mnist, synthetic
from menndl_caffe.data.download import download
from menndl_caffe.data.folder import (
    MEAN,
    MEAN_FIT,
    DataSummary,
    alone_in,
    install,
    made_by,
    read_summary,
    staging_in,
)
from menndl_caffe.data.lmdb_data import Images, Shape, describe, records, write_lmdb, write_mean
from menndl_caffe.data.ownership import own_names
from menndl_caffe.data.source import Content
from menndl_caffe.errors import UserError
from menndl_caffe.files import sha256_of
from menndl_caffe.text import show

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
    classes: Sequence[str] = ()

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
    "cifar10": Format("cifar10", key_digits=5, has_mean=True, read=_read_cifar10, classes=cifar10.CLASSES),
    "mnist": Format("mnist", key_digits=8, has_mean=False, read=_read_mnist),
    "synthetic": Format("cifar10", key_digits=5, has_mean=True, read=partial(_draw, 10_000, 2_000, 1)),
}


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


def _write(dataset: str, files: Format, out: Path, source: Optional[Path], validation: int, force: bool,
           report: Report) -> DataSummary:
    with alone_in(out):
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
    with staging_in(out) as folder:
        for name, images in databases.items():
            report(f"writing {out / name}: {len(images):,} images")
            write_lmdb(folder / name, images, files.key_digits)
        for name, images in means.items():
            write_mean(folder / name, images.pixels)
        summary = DataSummary(out, dataset, content.source, content.train.shape,
                              {name: len(images) for name, images in databases.items()},
                              {name: sha256_of(folder / name) for name in means}, validation, made_by(),
                              {name: np.bincount(images.labels).tolist() for name, images in databases.items()},
                              list(files.classes))
        install(folder, summary, earlier)
    return summary
