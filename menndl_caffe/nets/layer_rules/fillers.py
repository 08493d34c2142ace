"""What a filler needs to fill a parameter (`filler.hpp`, `math_functions.cpp`)."""
from __future__ import annotations

from math import inf, prod

from menndl_caffe.errors import did_you_mean
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, Message, Shape, Shapes, text

FILLERS = ("constant", "gaussian", "positive_unitball", "uniform", "xavier", "msra", "bilinear")
FLT_MAX = 3.4028234663852886e38


def filled(param: Message, shapes: Shapes) -> Shapes:
    """The same shapes (weight, perhaps bias), once `weight_filler` and `bias_filler` are known to fill them."""
    for shape, name in zip(shapes, ("weight_filler", "bias_filler")):
        if param.HasField(name):
            check_filler(getattr(param, name), shape, name)
        elif not prod(shape):
            raise ImpossibleNet(f"a parameter would have shape {text(shape)}, which holds no element")
    return shapes


def check_filler(filler: Message, shape: Shape, name: str) -> None:
    """Refuse a filler that could not fill a parameter of this shape; `name` is its field."""
    kind = filler.type
    if kind not in FILLERS:
        raise ImpossibleNet(f"{name} has unknown type '{kind}'{did_you_mean(kind, FILLERS)}")
    if not prod(shape):
        raise ImpossibleNet(f"{name} has nothing to fill: the parameter would have shape {text(shape)}")
    if kind == "gaussian":
        _check_gaussian(filler, shape, name)
    elif filler.sparse != -1:
        raise ImpossibleNet(f"{name}: sparse exists for gaussian only, not for {kind}")
    elif kind == "uniform" and not filler.min <= filler.max:
        raise ImpossibleNet(f"{name}: min {filler.min:g} must not exceed max {filler.max:g}")
    elif kind == "uniform" and not -inf < filler.min < FLT_MAX:
        raise ImpossibleNet(f"{name}: min {filler.min:g} must be finite and below the largest float")
    elif kind == "bilinear" and (len(shape) != 4 or shape[2] != shape[3]):
        raise ImpossibleNet(f"{name}: bilinear fills square kernels of 4 axes, not {text(shape)}")
    elif kind in ("positive_unitball", "xavier", "msra") and not shape:
        raise ImpossibleNet(f"{name}: {kind} cannot fill a scalar")


def _check_gaussian(filler: Message, shape: Shape, name: str) -> None:
    if not filler.std > 0:
        raise ImpossibleNet(f"{name}: std must be positive, not {filler.std:g}")
    most = shape[0] if shape else -1
    if not -1 <= filler.sparse <= most:
        raise ImpossibleNet(f"{name}: sparse {filler.sparse} must be between 0 and {most}, or left out")
