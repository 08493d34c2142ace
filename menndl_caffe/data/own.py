"""A set of the user's own images in the layout of menndl's others: *_train_lmdb, *_test_lmdb, their mean; and, where
some of the training images are held out, *_fit_lmdb, *_validation_lmdb and the mean of the former."""
from __future__ import annotations

from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, TypeVar

import numpy as np

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
from menndl_caffe.data.lmdb_data import describe, raw_records, records, write_mean, write_records
from menndl_caffe.data.ownership import own_names
from menndl_caffe.data.source import Source
from menndl_caffe.errors import UserError
from menndl_caffe.files import sha256_of

TRAIN, TEST, FIT, VALIDATION = (f"images_{part}_lmdb" for part in ("train", "test", "fit", "validation"))
MANY = 2000  # records, of which it is told how far their writing is
Report = Callable[[str], None]
T = TypeVar("T")


class Made(NamedTuple):
    """What was written of a set: labels in the order of the records, which of TRAIN are to be held out, class names."""

    train: np.ndarray
    held_out: np.ndarray
    test: np.ndarray
    classes: List[str]


def write_own(dataset: str, source: Source, out: Path, force: bool, report: Report,
              make: Callable[[Path], Made]) -> DataSummary:
    """The whole set in `out`, of which `make` writes TRAIN and TEST into the folder that it is given.

    A set of the same source is left as it is unless `force`. UserError where `out` has another, or what is not
    menndl's.
    """
    with alone_in(out):
        there = None if force else read_summary(out)
        if there and (there.dataset, there.source) == (dataset, source):
            report(f"{out}: already there, left as it is (--force writes it anew)")
            return there
        if there:
            raise UserError(f"{out} holds another set, from {there.source}, or was written with other options; "
                            "give another --out, or --force to replace it")
        earlier = own_names(out)
        with staging_in(out) as staged:
            summary = _finished(dataset, source, out, staged, make(staged), report)
            install(staged, summary, earlier)
    return summary


def _finished(dataset: str, source: Source, out: Path, staged: Path, made: Made, report: Report) -> DataSummary:
    """Hold out what is to be, and work out the means."""
    labels, means = {TRAIN: made.train, TEST: made.test}, {MEAN: TRAIN}
    if made.held_out.any():
        labels.update({FIT: made.train[~made.held_out], VALIDATION: made.train[made.held_out]})
        means[MEAN_FIT] = FIT
        for name, mask in ((FIT, ~made.held_out), (VALIDATION, made.held_out)):
            report(f"writing {out / name}: {mask.sum():,} images")
            write_records(staged / name, where(mask, raw_records(staged / TRAIN)))
    for name, database in means.items():
        report(f"writing {out / name}")
        write_mean(staged / name, (pixels for _, pixels in records(staged / database)))
    count = max(int(max(labels[TRAIN].max(), labels[TEST].max())) + 1, len(made.classes))
    counts: Dict[str, List[int]] = {name: np.bincount(of, minlength=count).tolist() for name, of in labels.items()}
    return DataSummary(out, dataset, source, describe(staged / TRAIN).shape,
                       {name: len(of) for name, of in labels.items()},
                       {name: sha256_of(staged / name) for name in means}, int(made.held_out.sum()), made_by(), counts,
                       made.classes)


def where(mask: np.ndarray, items: Iterable[T]) -> Iterator[T]:
    """The items that the mask is true of, in their order."""
    return (item for item, wanted in zip(items, mask) if wanted)


def told(items: Iterable[T], total: int, report: Report) -> Iterator[T]:
    """The items, and after each tenth of many a line that says so."""
    for number, item in enumerate(items, 1):
        yield item
        if total >= MANY and number % (total // 10) == 0:
            report(f"  {number:,} of {total:,}")
