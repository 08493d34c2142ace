"""The fillers: how parameters start (`filler.hpp`), with Caffe's arithmetic in float32 and its order of draws.

Notation
--------
fan_in      inputs of one output: count / shape[0]
fan_out     outputs of one input: count / shape[1], or the count of a blob with one axis
n           what xavier and msra scale by: fan_in, fan_out or their mean (variance_norm)
row         the parameter's numbers in C order, to be filled
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
    value = blob.value
    is_row = value.device.type == "cpu" and value.dtype is torch.float32 and value.is_contiguous()
    row = value.view(-1).numpy() if is_row else np.empty(blob.count, f32)  # where it can be without a second memory
    FILL[filler.type](filler, blob.shape, generator, row)
    if not is_row:
        value.copy_(torch.from_numpy(row).view(blob.shape))


def _constant(filler: Message, shape: Shape, generator: Generator, row: np.ndarray) -> None:
    row[:] = filler.value


def _uniform(filler: Message, shape: Shape, generator: Generator, row: np.ndarray) -> None:
    generator.uniform(filler.min, filler.max, len(row), row)


def _gaussian(filler: Message, shape: Shape, generator: Generator, row: np.ndarray) -> None:
    generator.gaussian(filler.mean, filler.std, len(row), row)
    if filler.sparse >= 0:
        row *= generator.bernoulli(f32(filler.sparse) / f32(shape[0]), len(row))  # leaves -0 where Caffe does


def _positive_unitball(filler: Message, shape: Shape, generator: Generator, row: np.ndarray) -> None:
    items = generator.uniform(0, 1, len(row), row).reshape(shape[0], -1)
    with np.errstate(invalid="ignore"):
        items /= np.add.accumulate(items, axis=1)[:, -1:]  # Caffe adds one by one


def _xavier(filler: Message, shape: Shape, generator: Generator, row: np.ndarray) -> None:
    limit = np.sqrt(f32(3) / _scale(filler, shape))
    generator.uniform(-limit, limit, len(row), row)


def _msra(filler: Message, shape: Shape, generator: Generator, row: np.ndarray) -> None:
    generator.gaussian(0, np.sqrt(f32(2) / _scale(filler, shape)), len(row), row)


def _bilinear(filler: Message, shape: Shape, generator: Generator, row: np.ndarray) -> None:
    width = shape[3]
    half = ceil(width / 2)
    centre = f32((width - 1) / (2 * half))
    slope = 1 - np.abs(np.arange(width, dtype=f32) / f32(half) - centre)
    row.reshape(-1, width * width)[:] = np.outer(slope, slope).reshape(-1)


def _scale(filler: Message, shape: Shape) -> np.float32:
    """n of the notation."""
    count = prod(shape)
    fan_in, fan_out = count // shape[0], count // shape[1] if len(shape) > 1 else count
    if filler.variance_norm == filler.FAN_OUT:
        return f32(fan_out)
    if filler.variance_norm == filler.AVERAGE:
        return f32(fan_in + fan_out) / f32(2)
    return f32(fan_in)


FILL: Dict[str, Callable[[Message, Shape, Generator, np.ndarray], None]] = {
    "constant": _constant, "uniform": _uniform, "gaussian": _gaussian, "positive_unitball": _positive_unitball,
    "xavier": _xavier, "msra": _msra, "bilinear": _bilinear,
}
