"""Layers that put numbers elsewhere: other places, other shapes, once or more often.

Sources: `batch_reindex_layer.cpp`, `concat_layer.cpp`, `embed_layer.cpp`, `filter_layer.cpp`, `flatten_layer.cpp`,
`reshape_layer.cpp`, `silence_layer.cpp`, `slice_layer.cpp`, `split_layer.cpp`, `tile_layer.cpp`.
"""
from __future__ import annotations

from math import prod
from typing import Tuple

from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, Message, Outcome, Shape, Shapes, axis_of, text
from menndl_caffe.nets.layer_rules.fillers import filled


def batch_reindex(bottoms: Shapes, layer: Message) -> Outcome:
    """As many images of the first bottom as the second has indices."""
    images, indices = bottoms
    if len(indices) != 1 or not images:
        raise ImpossibleNet(f"takes images and indices of 1 axis, not {text(images)} and {text(indices)}")
    return Outcome((indices + images[1:],))


def concat(bottoms: Shapes, layer: Message) -> Outcome:
    """Bottoms after one another on one axis, all other axes being equal."""
    axis = axis_or_dim(layer.concat_param, "concat_dim", bottoms[0])
    head, tail = bottoms[0][:axis], bottoms[0][axis + 1:]
    if any(b[:axis] != head or b[axis + 1:] != tail or len(b) != len(bottoms[0]) for b in bottoms):
        raise ImpossibleNet(f"its bottoms differ elsewhere than on axis {axis}: {', '.join(map(text, bottoms))}")
    return Outcome((head + (sum(b[axis] for b in bottoms),) + tail,))


def slice_(bottoms: Shapes, layer: Message) -> Outcome:
    """The reverse of Concat: cut at each slice_point, or into equal parts."""
    param, bottom, tops = layer.slice_param, bottoms[0], len(layer.top)
    axis = axis_or_dim(param, "slice_dim", bottom)
    size, points = bottom[axis], list(param.slice_point)
    if not points:
        if size % tops:
            raise ImpossibleNet(f"{tops} tops do not divide axis {axis} of {text(bottom)}")
        points = [size // tops * i for i in range(1, tops)]
    edges = [0, *points, size]
    if len(points) != tops - 1 or any(low >= high for low, high in zip(edges, edges[1:])):
        raise ImpossibleNet(f"slice_point {points} does not cut axis {axis} of {text(bottom)} into {tops} tops")
    return Outcome(tuple(bottom[:axis] + (high - low,) + bottom[axis + 1:] for low, high in zip(edges, edges[1:])))


def embed(bottoms: Shapes, layer: Message) -> Outcome:
    """Every number becomes a row of the weight input_dim x num_output."""
    param = layer.embed_param
    if param.num_output < 1 or param.input_dim < 1:
        raise ImpossibleNet(f"num_output {param.num_output} and input_dim {param.input_dim} must be at least 1")
    weight, bias = (param.input_dim, param.num_output), (param.num_output,)
    return Outcome((bottoms[0] + bias,), filled(param, (weight, bias) if param.bias_term else (weight,)))


def filter_(bottoms: Shapes, layer: Message) -> Outcome:
    """The images that the last bottom selects; before the first pass, room for all."""
    selector = bottoms[-1]
    if len(layer.top) != len(bottoms) - 1:
        raise ImpossibleNet(f"makes one top for each bottom but the last, but has {len(layer.top)}")
    if not selector or prod(selector[1:]) != 1 or any(b[:1] != selector[:1] for b in bottoms):
        raise ImpossibleNet(f"its last bottom must have one number for each image: {', '.join(map(text, bottoms))}")
    return Outcome(bottoms[:-1])


def flatten(bottoms: Shapes, layer: Message) -> Outcome:
    """Axes `axis` to `end_axis` become one."""
    bottom = bottoms[0]
    start = axis_of(layer.flatten_param.axis, bottom)
    end = axis_of(layer.flatten_param.end_axis, bottom, "end_axis") + 1
    if start > end:
        raise ImpossibleNet(f"axis {start} comes after end_axis {end - 1}")
    return Outcome((bottom[:start] + (prod(bottom[start:end]),) + bottom[end:],))


def reshape(bottoms: Shapes, layer: Message) -> Outcome:
    """Axes from `axis` on, `num_axes` of them, become those of `shape`: 0 keeps an axis, -1 takes what is left."""
    bottom, param = bottoms[0], layer.reshape_param
    start, end = _replaced_axes(bottom, param.axis, param.num_axes)
    dims = list(param.shape.dim)
    for index, dim in enumerate(dims):
        if dim == 0:
            if start + index >= len(bottom):
                raise ImpossibleNet(f"shape {dims} keeps axis {start + index}, which {text(bottom)} does not have")
            dims[index] = bottom[start + index]
    if dims.count(-1) > 1 or min(dims, default=1) < -1:
        raise ImpossibleNet(f"shape {dims} must be of sizes, 0 to keep one, and at most one -1")
    if -1 in dims:
        known = prod(d for d in dims if d != -1)
        dims[dims.index(-1)] = prod(bottom[start:end]) // known
    top = bottom[:start] + tuple(dims) + bottom[end:]
    if prod(top) != prod(bottom):
        raise ImpossibleNet(f"{text(bottom)} has {prod(bottom)} elements and does not fit into "
                            f"{text(bottom[:start] + tuple(param.shape.dim) + bottom[end:])}")
    return Outcome((top,))


def silence(bottoms: Shapes, layer: Message) -> Outcome:
    """Reads its bottoms and makes nothing."""
    return Outcome(())


def split(bottoms: Shapes, layer: Message) -> Outcome:
    """The bottom once for each top."""
    return Outcome(bottoms * len(layer.top))


def tile(bottoms: Shapes, layer: Message) -> Outcome:
    """`axis` repeated `tiles` times."""
    bottom, tiles = bottoms[0], layer.tile_param.tiles
    axis = axis_of(layer.tile_param.axis, bottom)
    if tiles < 1:
        raise ImpossibleNet(f"tiles must be at least 1, not {tiles}")
    return Outcome((bottom[:axis] + (bottom[axis] * tiles,) + bottom[axis + 1:],))


def axis_or_dim(param: Message, dim: str, bottom: Shape) -> int:
    """`axis`, or the older unsigned `concat_dim` or `slice_dim` in its place."""
    if not param.HasField(dim):
        return axis_of(param.axis, bottom)
    if param.HasField("axis"):
        raise ImpossibleNet(f"give axis or {dim}, not both")
    return axis_of(getattr(param, dim), bottom, dim)


def _replaced_axes(bottom: Shape, axis: int, num_axes: int) -> Tuple[int, int]:
    """First axis that Reshape replaces and the one after the last; axis -1 is the place after the last."""
    start = axis if axis >= 0 else len(bottom) + axis + 1
    end = len(bottom) if num_axes == -1 else start + num_axes
    if start < 0 or num_axes < -1 or not start <= end <= len(bottom):
        raise ImpossibleNet(f"axis {axis} and num_axes {num_axes} are not within a blob of shape {text(bottom)}")
    return start, end
