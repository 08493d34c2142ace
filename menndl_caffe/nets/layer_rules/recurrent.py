"""LSTM, RNN and LSTMUnit.

Sources: `recurrent_layer.cpp`, `lstm_layer.cpp`, `rnn_layer.cpp`, `lstm_unit_layer.cpp`.
"""
from __future__ import annotations

from math import prod
from typing import List, Optional, Tuple

from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, Message, Outcome, Shape, Shapes, text
from menndl_caffe.nets.layer_rules.fillers import check_filler


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
