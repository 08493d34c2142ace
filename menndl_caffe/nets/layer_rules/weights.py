"""Layers with parameters, convolution aside: inner product, embedding, scale, bias, batch norm, PReLU, recurrent ones.

Sources: `inner_product_layer.cpp`, `embed_layer.cpp`, `scale_layer.cpp`, `bias_layer.cpp`, `batch_norm_layer.cpp`,
`prelu_layer.cpp`, `parameter_layer.hpp`, `recurrent_layer.cpp`, `lstm_layer.cpp`, `rnn_layer.cpp`,
`lstm_unit_layer.cpp`.
"""
from __future__ import annotations

from math import prod
from typing import List, Optional, Tuple

from menndl_caffe.nets.layer_rules.blob import (
    SCALAR,
    ImpossibleNet,
    Message,
    Outcome,
    Shape,
    Shapes,
    axis_of,
    legacy,
    text,
)
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


def embed(bottoms: Shapes, layer: Message) -> Outcome:
    """Every number becomes a row of the weight input_dim x num_output."""
    param = layer.embed_param
    if param.num_output < 1 or param.input_dim < 1:
        raise ImpossibleNet(f"num_output {param.num_output} and input_dim {param.input_dim} must be at least 1")
    weight, bias = (param.input_dim, param.num_output), (param.num_output,)
    return Outcome((bottoms[0] + bias,), filled(param, (weight, bias) if param.bias_term else (weight,)))


def bias(bottoms: Shapes, layer: Message) -> Outcome:
    """Like its bottom; a second bottom takes the place of the parameter."""
    param, bottom = layer.bias_param, bottoms[0]
    if len(bottoms) == 2:
        _check_broadcast(bottom, bottoms[1], param.axis)
        return Outcome((bottom,))
    shape = _broadcast(bottom, param.axis, param.num_axes)
    check_filler(param.filler, shape, "filler")
    return Outcome((bottom,), (shape,))


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


def batch_norm(bottoms: Shapes, layer: Message) -> Outcome:
    """Like its bottom; sums of means and variances (C each) and their count, none of them learned."""
    bottom = bottoms[0]
    if len(bottom) < 2:
        raise ImpossibleNet(f"takes a blob of at least 2 axes, not {text(bottom)}")
    if any(spec.lr_mult for spec in layer.param):
        raise ImpossibleNet("its statistics are not learned: lr_mult must be 0")
    return Outcome((bottom,), ((bottom[1],), (bottom[1],), (1,)))


def prelu(bottoms: Shapes, layer: Message) -> Outcome:
    """Like its bottom; one slope for each channel, or one for all."""
    param, bottom = layer.prelu_param, bottoms[0]
    if len(bottom) < 2:
        raise ImpossibleNet(f"takes a blob of at least 2 axes, not {text(bottom)}")
    channels = legacy(bottom)[1]
    slope = SCALAR if param.channel_shared else (channels,)
    if param.HasField("filler"):
        check_filler(param.filler, slope, "filler")
    return Outcome((bottom,), (slope,))


def parameter(bottoms: Shapes, layer: Message) -> Outcome:
    """A parameter of the given shape as a top."""
    shape = tuple(layer.parameter_param.shape.dim)
    return Outcome((shape,), (shape,))


def lstm(bottoms: Shapes, layer: Message) -> Outcome:
    """T x N x … and the marks T x N to T x N x H. W_xc 4H x D, b_c 4H, perhaps W_xc_static, W_hc 4H x H."""
    steps, streams, inputs, static = _recurrent_inputs(bottoms, layer, states=2)
    param = layer.recurrent_param
    hidden, gates = param.num_output, 4 * param.num_output
    params: List[Shape] = [(gates, inputs), (gates,), (gates, hidden)]
    if static is not None:
        params.insert(2, (gates, static))
    _check_recurrent_fillers(param, params)
    products = steps * streams * gates * (inputs + hidden) + streams * gates * (static or 0)
    return Outcome(_recurrent_tops(layer, steps, streams, states=2), tuple(params), products)


def rnn(bottoms: Shapes, layer: Message) -> Outcome:
    """As `lstm`. W_xh H x D, b_h H, perhaps W_xh_static, W_hh H x H, W_ho H x H, b_o H."""
    steps, streams, inputs, static = _recurrent_inputs(bottoms, layer, states=1)
    param = layer.recurrent_param
    hidden = param.num_output
    params: List[Shape] = [(hidden, inputs), (hidden,), (hidden, hidden), (hidden, hidden), (hidden,)]
    if static is not None:
        params.insert(2, (hidden, static))
    _check_recurrent_fillers(param, params)
    products = steps * streams * hidden * (inputs + 2 * hidden) + streams * hidden * (static or 0)
    return Outcome(_recurrent_tops(layer, steps, streams, states=1), tuple(params), products)


def lstm_unit(bottoms: Shapes, layer: Message) -> Outcome:
    """One step: cell 1 x N x D, gates 1 x N x 4D, marks 1 x N to the next cell and hidden state."""
    cell, gates, marks = bottoms
    if len(cell) != 3 or cell[0] != 1 or gates != cell[:2] + (4 * cell[2],) or marks != cell[:2]:
        raise ImpossibleNet(f"takes 1xNxD, 1xNx4D and 1xN, not {', '.join(map(text, bottoms))}")
    return Outcome((cell, cell))


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


def _recurrent_inputs(bottoms: Shapes, layer: Message, states: int) -> Tuple[int, int, int, Optional[int]]:
    """Steps T, streams N, inputs D by step and stream, and static inputs by stream (None without them)."""
    param = layer.recurrent_param
    if param.num_output < 1:
        raise ImpossibleNet("num_output must be at least 1")
    exposed = states if param.expose_hidden else 0
    if not 2 <= len(bottoms) - exposed <= 3 or len(layer.top) != 1 + exposed:
        raise ImpossibleNet(f"takes {2 + exposed} or {3 + exposed} bottoms and makes {1 + exposed} tops "
                            f"(expose_hidden is {'true' if exposed else 'false'})")
    sequence, marks = bottoms[:2]
    if len(sequence) < 3 or marks != sequence[:2]:
        raise ImpossibleNet(f"takes TxNx… and TxN, not {text(sequence)} and {text(marks)}")
    steps, streams = marks
    if any(state != (1, streams, param.num_output) for state in bottoms[len(bottoms) - exposed:]):
        raise ImpossibleNet(f"its hidden states must be {text((1, streams, param.num_output))}")
    if len(bottoms) == 2 + exposed:
        return steps, streams, prod(sequence[2:]), None
    if len(bottoms[2]) < 2 or bottoms[2][0] != streams:
        raise ImpossibleNet(f"its static input must be {streams}x…, not {text(bottoms[2])}")
    return steps, streams, prod(sequence[2:]), prod(bottoms[2][1:])


def _recurrent_tops(layer: Message, steps: int, streams: int, states: int) -> Shapes:
    hidden = layer.recurrent_param.num_output
    exposed = states if layer.recurrent_param.expose_hidden else 0
    return ((steps, streams, hidden),) + ((1, streams, hidden),) * exposed


def _check_recurrent_fillers(param: Message, shapes: List[Shape]) -> None:
    for shape in shapes:
        name = "bias_filler" if len(shape) == 1 else "weight_filler"
        check_filler(getattr(param, name), shape, name)
