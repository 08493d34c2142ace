"""Which databases and which mean a trial reads, and where they are in the data's folder."""
from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Tuple

from menndl_caffe.data import LmdbInfo, describe, how_to_make
from menndl_caffe.errors import UserError
from menndl_caffe.experiment.experiment import Experiment
from menndl_caffe.nets.layer_rules.blob import UnknownShape
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.trial import CONFIRM, TEST, YARDSTICK


@dataclass(frozen=True)
class Sources:
    """Where an individual's training reads: the templates' `train_source`, `test_source` and `mean_file`."""

    train: str
    test: str
    mean: str


def parts_of_data(message: Any, role: str) -> Sources:
    """What of a data folder a trial of this role reads: the parts as in `*_train_lmdb`, and the mean's file."""
    held_out = message.fitness_set == menndl_pb2.SearchParameter.VALIDATION and role != YARDSTICK
    train, mean = ("fit", "mean_fit.binaryproto") if held_out else ("train", "mean.binaryproto")
    return Sources(train, "validation" if held_out and role not in (TEST, CONFIRM) else "test", mean)


def sources(experiment: Experiment, role: str, to_read: bool = True) -> Sources:
    """The databases and the mean that a trial of this role trains and is tested on.

    UserError where one is missing; unless they are `to_read`, the name that `menndl data` gives it stands for it.
    """
    folder, parts = Path(experiment.message.data), parts_of_data(experiment.message, role)
    train, test = (_database(folder, part, to_read) for part in (parts.train, parts.test))
    return Sources(train, test, str(folder / parts.mean))


def _database(folder: Path, part: str, to_read: bool) -> str:
    found = sorted(folder.glob(f"*_{part}_lmdb"))
    if not found and not to_read:
        return str(folder / f"{'mnist' if folder.name.startswith('mnist') else 'cifar10'}_{part}_lmdb")
    if not found:
        raise UserError(f"data {folder}: no database *_{part}_lmdb; {how_to_make(folder / f'*_{part}_lmdb')}")
    if len(found) > 1:
        raise UserError(f"data {folder}: {' and '.join(path.name for path in found)}; "
                        f"expected one *_{part}_lmdb in a folder")
    return str(found[0])


@functools.cache
def _described(source: str) -> LmdbInfo:
    return describe(Path(source))


def datum_shape(layer: Any) -> Tuple[int, int, int]:
    """(C, H, W) of the images that a Data layer reads, from the first record of its database."""
    info, param = _described(layer.data_param.source), layer.transform_param
    forced = info.encoded and (param.force_color or param.force_gray)
    return (3 if param.force_color else 1) if forced else info.channels, info.height, info.width


def datum_shape_if_here(layer: Any) -> Tuple[int, int, int]:
    """The same; UnknownShape where there is no such database."""
    if not Path(layer.data_param.source).exists():
        raise UnknownShape(f"{layer.data_param.source} is not here", layer.name)
    return datum_shape(layer)
