"""The fillers: how parameters start (`filler.hpp`), with Caffe's arithmetic in float32 and its order of draws.

Notation
--------
fan_in      inputs of one output: count / shape[0]
fan_out     outputs of one input: count / shape[1], or the count of a blob with one axis
n           what xavier and msra scale by: fan_in, fan_out or their mean (variance_norm)
"""
from __future__ import annotations

from math import ceil, prod
from typing import Any, Callable, Dict

import numpy as np
import torch

from menndl_caffe.nets.layer_rules.blob import Message, Shape
from menndl_caffe.nets.layer_rules.fillers import check_filler
from menndl_caffe.torchcaffe.rng import Generator

f32 = np.float32


def fill(filler: Message, blob: Any, generator: Generator) -> None:
    """Fill a Blob's data as a FillerParameter says; ImpossibleNet for a filler that Caffe refuses for this shape."""
    check_filler(filler, blob.shape, "filler")
    values = FILL[filler.type](filler, blob.shape, generator)
    blob.value.copy_(torch.from_numpy(values.reshape(blob.shape)))


def _constant(filler: Message, shape: Shape, generator: Generator) -> np.ndarray:
    return np.full(prod(shape), filler.value, f32)


def _uniform(filler: Message, shape: Shape, generator: Generator) -> np.ndarray:
    return generator.uniform(filler.min, filler.max, prod(shape))


def _gaussian(filler: Message, shape: Shape, generator: Generator) -> np.ndarray:
    values = generator.gaussian(filler.mean, filler.std, prod(shape))
    if filler.sparse >= 0:
        values *= generator.bernoulli(f32(filler.sparse) / f32(shape[0]), prod(shape))  # leaves -0 where Caffe does
    return values


def _positive_unitball(filler: Message, shape: Shape, generator: Generator) -> np.ndarray:
    rows = generator.uniform(0, 1, prod(shape)).reshape(shape[0], -1)
    with np.errstate(invalid="ignore"):
        return rows / np.add.accumulate(rows, axis=1)[:, -1:]  # Caffe adds one by one


def _xavier(filler: Message, shape: Shape, generator: Generator) -> np.ndarray:
    limit = np.sqrt(f32(3) / _scale(filler, shape))
    return generator.uniform(-limit, limit, prod(shape))


def _msra(filler: Message, shape: Shape, generator: Generator) -> np.ndarray:
    return generator.gaussian(0, np.sqrt(f32(2) / _scale(filler, shape)), prod(shape))


def _bilinear(filler: Message, shape: Shape, generator: Generator) -> np.ndarray:
    width = shape[3]
    half = ceil(width / 2)
    centre = f32((width - 1) / (2 * half))
    slope = 1 - np.abs(np.arange(width, dtype=f32) / f32(half) - centre)
    return np.tile(np.outer(slope, slope), (*shape[:2], 1, 1))


def _scale(filler: Message, shape: Shape) -> np.float32:
    """n of the notation."""
    count = prod(shape)
    fan_in, fan_out = count // shape[0], count // shape[1] if len(shape) > 1 else count
    if filler.variance_norm == filler.FAN_OUT:
        return f32(fan_out)
    if filler.variance_norm == filler.AVERAGE:
        return f32(fan_in + fan_out) / f32(2)
    return f32(fan_in)


FILL: Dict[str, Callable[[Message, Shape, Generator], np.ndarray]] = {
    "constant": _constant, "uniform": _uniform, "gaussian": _gaussian, "positive_unitball": _positive_unitball,
    "xavier": _xavier, "msra": _msra, "bilinear": _bilinear,
}
