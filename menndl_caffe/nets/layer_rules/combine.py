"""Layers that compare or combine the numbers of one blob or of several.

Sources: `argmax_layer.cpp`, `eltwise_layer.cpp`, `mvn_layer.cpp`, `reduction_layer.cpp`.
"""
from __future__ import annotations

from math import prod
from typing import Optional

from menndl_caffe.nets.layer_rules.blob import (
    ImpossibleNet,
    InPlace,
    Message,
    Outcome,
    Shape,
    Shapes,
    axis_of,
    legacy,
    text,
)
from menndl_caffe.nets.proto import caffe_pb2

ELTWISE_PROD = caffe_pb2.EltwiseParameter.PROD


def argmax(bottoms: Shapes, layer: Message) -> Outcome:
    """With `axis`, top_k of that axis; without, N x 1 x top_k (x 1) of all, or N x 2 x top_k with the values."""
    param, bottom = layer.argmax_param, bottoms[0]
    axis = axis_of(param.axis, bottom) if param.HasField("axis") else None
    choices = _choices(bottom, axis)
    if not 1 <= param.top_k <= choices:
        raise ImpossibleNet(f"top_k {param.top_k} must be between 1 and the {choices} elements to choose from")
    if axis is not None:
        return Outcome((bottom[:axis] + (param.top_k,) + bottom[axis + 1:],))
    return Outcome(((bottom[0], 2 if param.out_max_val else 1, param.top_k) + (1,) * (len(bottom) - 3),))


def eltwise(bottoms: Shapes, layer: Message) -> Outcome:
    """Sum, product or maximum of bottoms of one shape."""
    param = layer.eltwise_param
    coefficients = len(param.coeff)
    if coefficients not in (0, len(bottoms)):
        raise ImpossibleNet(f"coeff is given {coefficients} times for {len(bottoms)} bottoms")
    if coefficients and param.operation == ELTWISE_PROD:
        raise ImpossibleNet("coeff exists for SUM only")
    if any(other != bottoms[0] for other in bottoms):
        raise ImpossibleNet(f"its bottoms differ in shape: {', '.join(map(text, bottoms))}")
    return Outcome(bottoms[:1])


def eltwise_in_place(layer: Message) -> InPlace:
    """SUM and MAX set their top to a number before they read the bottoms."""
    return InPlace.NOT_ITS_GRADIENT if layer.eltwise_param.operation == ELTWISE_PROD else InPlace.NONSENSE


def mvn(bottoms: Shapes, layer: Message) -> Outcome:
    """Always of 4 axes."""
    return Outcome((legacy(bottoms[0]),))


def mvn_in_place(layer: Message) -> InPlace:
    """Its gradient asks for its input where it divides by a deviation."""
    return InPlace.NOT_ITS_GRADIENT if layer.mvn_param.normalize_variance else InPlace.FINE


def reduction(bottoms: Shapes, layer: Message) -> Outcome:
    """Axes from `axis` on become one number."""
    return Outcome((bottoms[0][:axis_of(layer.reduction_param.axis, bottoms[0])],))


def _choices(bottom: Shape, axis: Optional[int]) -> int:
    if axis is not None:
        return bottom[axis]
    if not bottom:
        raise ImpossibleNet("takes a blob of at least 1 axis, not a scalar")
    return prod(bottom[1:])
