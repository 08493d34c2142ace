"""Neurons: functions of each number by itself.

Sources: `neuron_layer.cpp`, and `absval_layer.cpp`, `bnll_layer.cpp`, `clip_layer.cpp`, …: a file for each type.
"""
from __future__ import annotations

from math import isfinite, log

from menndl_caffe.nets.layer_rules.blob import SCALAR, ImpossibleNet, Message, Outcome, Shapes, legacy, text
from menndl_caffe.nets.layer_rules.fillers import check_filler
from menndl_caffe.nets.proto import caffe_pb2


def elementwise(bottoms: Shapes, layer: Message) -> Outcome:
    """A function of each element."""
    return Outcome(bottoms)


def dropout(bottoms: Shapes, layer: Message) -> Outcome:
    """Some elements set to 0, at random, in training."""
    ratio = layer.dropout_param.dropout_ratio
    if layer.phase == caffe_pb2.TRAIN and not 0 <= ratio <= 1:
        raise ImpossibleNet(f"dropout_ratio must be between 0 and 1, not {ratio:g}")
    return Outcome(bottoms)


def exponential(bottoms: Shapes, layer: Message) -> Outcome:
    """base to the power of each element."""
    _log_of_base(layer.exp_param.base)
    return Outcome(bottoms)


def logarithm(bottoms: Shapes, layer: Message) -> Outcome:
    """Logarithm of each element, of a base that has one."""
    if _log_of_base(layer.log_param.base) == 0:
        raise ImpossibleNet("there is no logarithm of base 1")
    return Outcome(bottoms)


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


def _log_of_base(base: float) -> float:
    if base == -1:
        return 1.0
    if not (base > 0 and isfinite(base)):
        raise ImpossibleNet(f"base must be positive, or -1 for e, not {base:g}")
    return log(base)
