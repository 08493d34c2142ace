"""Where a pixel of one blob lies in another: what aligns and crops feature maps (pycaffe's `coord_map.py`).

    x, y          coordinates of the same place in two blobs, in pixels, 0 being the centre of the first
    a, b          scale and shift: y = a x + b, numbers, or arrays with one for each spatial axis
    axis          the last axis before the spatial ones; None where the map is the identity on every axis
    k, s, p, d    kernel_size, stride, pad and dilation of a layer

A map is the tuple (axis, a, b). It goes from a layer's bottom to its top, so `compose(f, g)` is "first g, then f".
"""
from __future__ import annotations

from collections import deque
from typing import Any, Dict, Iterator, Optional, Tuple

import numpy as np

from menndl_caffe.errors import UserError
from menndl_caffe.torchcaffe.net_spec import Function, Top
from menndl_caffe.torchcaffe.net_spec import layers as L

Map = Tuple[Optional[int], Any, Any]
IDENTITY: Map = (None, 1, 0)
PASS_THROUGH_LAYERS = ["AbsVal", "BatchNorm", "Bias", "BNLL", "Dropout", "Eltwise", "ELU", "Log", "LRN", "Exp", "MVN",
                       "Power", "ReLU", "PReLU", "Scale", "Sigmoid", "Split", "TanH", "Threshold"]


class UndefinedMapException(UserError):
    """The layer's tops have no fixed place in its bottoms."""


class AxisMismatchException(UserError):
    """Maps of blobs whose spatial axes differ."""


class UnusableLayer(UserError, AssertionError, KeyError):
    """A layer whose geometry is not stated in the square form that maps are made from."""

    __str__ = Exception.__str__


class NotConnected(UserError, RuntimeError):
    """No common ancestor of two tops can be mapped to both."""


class ImpossibleCrop(UserError, AssertionError):
    """One blob does not contain the other at a whole number of pixels."""


def conv_params(fn: Function) -> Tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """axis, stride, extent of the dilated kernel and pad of a Convolution, Deconvolution, Im2col or Pooling layer."""
    params = fn.params.get("convolution_param", fn.params)
    uneven = {f"{size}_{side}" for size in ("pad", "kernel", "stride") for side in "hw"}.intersection(params)
    if uneven:
        raise UnusableLayer(f"{fn.type_name} has {', '.join(sorted(uneven))}: cropping needs kernel_size, stride, pad")
    if "kernel_size" not in params:
        raise UnusableLayer(f"{fn.type_name} has no kernel_size, from which to map coordinates")
    kernel, dilation, stride, pad = (np.array(params.get(field, default), ndmin=1) for field, default in (
        ("kernel_size", None), ("dilation", 1), ("stride", 1), ("pad", 0)))
    return params.get("axis", 1), stride, (kernel - 1) * dilation + 1, pad


def crop_params(fn: Function) -> Tuple[int, np.ndarray]:
    """First cropped axis and offsets of a Crop layer."""
    params = fn.params.get("crop_param", fn.params)
    return params.get("axis", 2), np.array(params.get("offset", 0), ndmin=1)


def coord_map(fn: Function) -> Map:
    """The map from a layer's bottom to its top; UndefinedMapException where there is none.

    Convolution: y = (x + p - (k - 1) / 2) / s, k being (kernel_size - 1) d + 1; Deconvolution its inverse.
    """
    if fn.type_name in PASS_THROUGH_LAYERS:
        return IDENTITY
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset
    if fn.type_name not in ("Convolution", "Pooling", "Im2col", "Deconvolution"):
        raise UndefinedMapException(f"{fn.type_name} has no fixed map from its bottom's coordinates to its top's")
    axis, stride, kernel, pad = conv_params(fn)
    reach = (kernel - 1) / 2 - pad
    return (axis, stride, reach) if fn.type_name == "Deconvolution" else (axis, 1 / stride, -reach / stride)


def compose(base_map: Map, next_map: Map) -> Map:
    """First `next_map`, then `base_map`; AxisMismatchException where their spatial axes differ."""
    axis, a, b = base_map
    next_axis, next_a, next_b = next_map
    if axis is not None and next_axis is not None and axis != next_axis:
        raise AxisMismatchException(f"one map has its spatial axes after axis {axis}, the other after {next_axis}")
    return next_axis if axis is None else axis, a * next_a, a * next_b + b


def inverse(coord_map: Map) -> Map:
    """The map back: x = (y - b) / a."""
    axis, a, b = coord_map
    return axis, 1 / a, -b / a


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """The map from one top to another, by way of the nearest ancestor of both; NotConnected where there is none."""
    from_maps = dict(_maps_of_ancestors(top_from))
    for ancestor, to_map in _maps_of_ancestors(top_to):
        if ancestor in from_maps:
            return compose(to_map, inverse(from_maps[ancestor]))
    raise NotConnected(f"no map from a top of {top_from.fn.type_name} to one of {top_to.fn.type_name}: are they "
                       "connected by spatial layers?")


def _maps_of_ancestors(top: Top) -> Iterator[Tuple[Top, Map]]:
    """The top and every blob that it is computed from, nearest first, with the map from that blob to the top."""
    maps: Dict[Top, Map] = {top: IDENTITY}
    waiting = deque([top])
    while waiting:
        blob = waiting.popleft()
        yield blob, maps[blob]
        try:
            step = coord_map(blob.fn) if blob.fn.inputs else IDENTITY
        except UndefinedMapException:
            continue
        # a Crop layer's second bottom gives the size alone: the place of the result in it is unknown
        for bottom in blob.fn.inputs[:1] if blob.fn.type_name == "Crop" else blob.fn.inputs:
            if bottom not in maps:
                maps[bottom] = compose(maps[blob], step)
                waiting.append(bottom)


def crop(top_from: Top, top_to: Top) -> Top:
    """A Crop layer that cuts from `top_from` what lies over `top_to`.

    ImpossibleCrop where their scales differ, or where the offset is negative or not a whole number of pixels.
    """
    axis, a, b = coord_map_from_to(top_from, top_to)
    offset = -np.atleast_1d(b)
    if np.any(np.not_equal(a, 1)):
        raise ImpossibleCrop(f"scale mismatch on crop: a pixel of one is {a} of the other")
    if (offset < 0).any():
        raise ImpossibleCrop(f"cannot crop at a negative offset: {offset}")
    if (np.round(offset) != offset).any():
        raise ImpossibleCrop(f"cannot crop at an offset that is not a whole number: {offset}")
    first = 2 if axis is None else axis + 1
    return L.Crop(top_from, top_to, crop_param={"axis": first, "offset": [int(pixels) for pixels in offset]})
