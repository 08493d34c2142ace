"""InnerProduct, BatchNorm, Scale, Bias and Parameter.

Sources: `inner_product_layer.cpp`, `batch_norm_layer.cpp`, `scale_layer.cpp`, `bias_layer.cpp`, `parameter_layer.hpp`.
"""
from __future__ import annotations

from math import prod

from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, Message, Outcome, Shape, Shapes, axis_of, text
from menndl_caffe.nets.layer_rules.fillers import check_filler, filled


def inner_product(bottoms: Shapes, layer: Message) -> Outcome:
    """Axes from `axis` on become num_output; weight num_output x K (K x num_output if `transpose`), bias num_output."""
    param, bottom = layer.inner_product_param, bottoms[0]
    axis = axis_of(param.axis, bottom)
    inputs, outputs = prod(bottom[axis:]), param.num_output
    if outputs < 1:
        raise ImpossibleNet("num_output must be at least 1")
    weight = (inputs, outputs) if param.transpose else (outputs, inputs)
    params = filled(param, (weight, (outputs,)) if param.bias_term else (weight,))
    top = bottom[:axis] + (outputs,)
    return Outcome((top,), params, prod(top) * inputs)


def batch_norm(bottoms: Shapes, layer: Message) -> Outcome:
    """Like its bottom; sums of means and variances (C each) and their count, none of them learned."""
    bottom = bottoms[0]
    if len(bottom) < 2:
        raise ImpossibleNet(f"takes a blob of at least 2 axes, not {text(bottom)}")
    if any(spec.lr_mult for spec in layer.param):
        raise ImpossibleNet("its statistics are not learned: lr_mult must be 0")
    return Outcome((bottom,), ((bottom[1],), (bottom[1],), (1,)))


def scale(bottoms: Shapes, layer: Message) -> Outcome:
    """Like its bottom; a second bottom takes the place of the scale, `bias_term` adds a bias of the scale's shape."""
    param, bottom = layer.scale_param, bottoms[0]
    params: Shapes = ()
    num_axes = param.num_axes
    if len(bottoms) == 2:
        _check_broadcast(bottom, bottoms[1], param.axis)
        num_axes = len(bottoms[1])
    else:
        params = (_broadcast(bottom, param.axis, num_axes),)
        if param.HasField("filler"):
            check_filler(param.filler, params[0], "filler")
    if param.bias_term:
        params += (_broadcast(bottom, param.axis, num_axes),)
        check_filler(param.bias_filler, params[-1], "bias_filler")
    return Outcome((bottom,), params)


def bias(bottoms: Shapes, layer: Message) -> Outcome:
    """Like its bottom; a second bottom takes the place of the parameter."""
    param, bottom = layer.bias_param, bottoms[0]
    if len(bottoms) == 2:
        _check_broadcast(bottom, bottoms[1], param.axis)
        return Outcome((bottom,))
    shape = _broadcast(bottom, param.axis, param.num_axes)
    check_filler(param.filler, shape, "filler")
    return Outcome((bottom,), (shape,))


def parameter(bottoms: Shapes, layer: Message) -> Outcome:
    """A parameter of the given shape as a top."""
    shape = tuple(layer.parameter_param.shape.dim)
    return Outcome((shape,), (shape,))


def _broadcast(bottom: Shape, axis: int, num_axes: int) -> Shape:
    """Shape of a parameter that spans `num_axes` axes of its bottom from `axis` on (-1: to the last)."""
    start = axis_of(axis, bottom)
    if num_axes < -1 or start + num_axes > len(bottom):
        raise ImpossibleNet(f"num_axes {num_axes} from axis {start} on is not within a blob of shape {text(bottom)}")
    return bottom[start:] if num_axes == -1 else bottom[start:start + num_axes]


def _check_broadcast(bottom: Shape, factor: Shape, axis: int) -> None:
    start = axis_of(axis, bottom) if factor else 0
    if bottom[start:start + len(factor)] != factor:
        raise ImpossibleNet(f"its second bottom {text(factor)} is not like axes {start}… of the first, {text(bottom)}")
