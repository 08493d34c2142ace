"""Databases of the user's own, divided anew: some of the training images held out, of each class its share. The records
stay as they are, and so do their keys."""
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional

import numpy as np

from menndl_caffe.data.folder import DataSummary, read_summary
from menndl_caffe.data.image_list import MOST_CLASSES, Report
from menndl_caffe.data.lmdb_data import Record, label_of, raw_records, write_records
from menndl_caffe.data.own import TEST, TRAIN, Made, told, where, write_own
from menndl_caffe.data.source import Source
from menndl_caffe.data.stratified import Share, put_aside
from menndl_caffe.errors import UserError, optional_module


class Databases(NamedTuple):
    """What is divided: one database, or one to train on and one to test on; the names of the classes, if known."""

    train: Path
    test: Optional[Path]
    classes: List[str]


class Scanned(NamedTuple):
    """The labels of a database in the order of its records, and the SHA-256 of these."""

    labels: np.ndarray
    sha256: str


def write_split(source: Path, out: Path, validation: Optional[Share], test: Optional[Share], seed: int, force: bool,
                report: Report) -> DataSummary:
    """The set of a folder with a *_train_lmdb and a *_test_lmdb, or of one database; as `write_own`.

    UserError where there is nothing to divide, or where test images are missing, or wanted while they are there.
    """
    found = _databases(source)
    if validation is None and test is None:
        raise UserError("say how many images are put aside: --validation 0.1 of the training images, "
                        "--test 0.2 of all where there are no test images yet")
    if (found.test is None) != (test is not None):
        raise UserError(f"--test {test}: {source} has test images, {found.test}; leave the option out" if found.test
                        else f"{source} has no test images: say which part of its images becomes them, --test 0.2")
    train = _scanned(found.train)
    rest = _scanned(found.test) if found.test else None
    labels = train.labels
    aside = np.zeros(len(labels), bool) if test is None else put_aside(
        labels, test, np.random.RandomState([seed, 1]), "--test")
    train_labels = labels[~aside]
    held_out = np.zeros(len(train_labels), bool) if validation is None else put_aside(
        train_labels, validation, np.random.RandomState([seed, 0]), "--validation")
    test_labels = rest.labels if rest else labels[aside]

    def make(folder: Path) -> Made:
        report(f"writing {out / TRAIN}: {len(train_labels):,} images")
        write_records(folder / TRAIN, told(where(~aside, _records(found.train)), len(train_labels), report))
        report(f"writing {out / TEST}: {len(test_labels):,} images")
        others = _records(found.test) if found.test else where(aside, _records(found.train))
        write_records(folder / TEST, told(others, len(test_labels), report))
        return Made(train_labels, held_out, test_labels, found.classes)
    shares = "".join(f", {name} {share}" for name, share in (("validation", validation), ("test", test)) if share)
    sha256 = {path.name: scanned.sha256 for path, scanned in ((found.train, train), (found.test, rest))
              if path and scanned}
    origin = Source(f"{source}, divided with seed {seed}{shares}", None, sha256)
    return write_own("split", origin, out, force, report, make)


def _databases(source: Path) -> Databases:
    if not source.is_dir():
        raise UserError(f"{source}: no such folder; expected a database, or a folder with *_train_lmdb and *_test_lmdb")
    if any((source / name).exists() for name in ("data.mdb", "CURRENT")):
        return Databases(source, None, _classes(source.parent))
    found = {part: sorted(filter(Path.is_dir, source.glob(f"*_{part}_l*db"))) for part in ("train", "test")}
    for part, paths in found.items():
        if len(paths) > 1:
            raise UserError(f"{source}: {' and '.join(path.name for path in paths)}; expected one *_{part}_lmdb")
    if not found["train"]:
        raise UserError(f"{source}: no database *_train_lmdb in it, and it is none itself")
    return Databases(found["train"][0], next(iter(found["test"]), None), _classes(source))


def _classes(folder: Path) -> List[str]:
    """Their names, as the folder's summary has them."""
    summary = read_summary(folder)
    return summary.classes if summary else []


def _records(path: Path) -> Iterator[Record]:
    """All records of an LMDB or a LevelDB, in the order of their keys."""
    if not (path / "CURRENT").exists():
        yield from raw_records(path)
        return
    plyvel = optional_module("plyvel", f"{path}: reading a LevelDB", "plyvel")
    try:
        database = plyvel.DB(str(path), create_if_missing=False)
        try:
            yield from database.iterator()
        finally:
            database.close()
    except plyvel.Error as error:
        raise UserError(f"{path}: not a LevelDB that can be read ({error})") from None


def _scanned(path: Path) -> Scanned:
    digest, labels = hashlib.sha256(), []
    for key, value in _records(path):
        digest.update(b"%d %d " % (len(key), len(value)) + key + value)
        labels.append(label_of(path, (key, value)))
    if not labels:
        raise UserError(f"{path}: a database without records")
    if not 0 <= min(labels) <= max(labels) < MOST_CLASSES:
        raise UserError(f"{path}: labels from {min(labels)} to {max(labels)}; expected numbers of classes, from 0")
    return Scanned(np.array(labels, np.int64), digest.hexdigest())
