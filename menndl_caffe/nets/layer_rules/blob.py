"""What all layer rules speak: shapes of blobs, a layer's outcome, and the two ways in which a net can be turned down.

Caffe's own words for the same things are in `blob.hpp` and `blob.cpp`.
"""
from __future__ import annotations

from enum import Enum
from math import prod
from typing import Any, Collection, NamedTuple, Optional, Tuple

from menndl_caffe.errors import LONG, did_you_mean

Shape = Tuple[int, ...]
Shapes = Tuple[Shape, ...]
Message = Any  # a protobuf message of caffe.proto, whose class is made when the schema is loaded

SCALAR: Shape = ()
INT_MAX = 2**31 - 1
MAX_AXES = 32
OF_AN_ENGINE = {  # layer type -> its settings, or those of the layer inside
    "Convolution": "convolution_param", "Deconvolution": "convolution_param", "Pooling": "pooling_param",
    "LRN": "lrn_param", "ReLU": "relu_param", "Sigmoid": "sigmoid_param", "TanH": "tanh_param",
    "Softmax": "softmax_param", "SoftmaxWithLoss": "softmax_param", "InfogainLoss": "softmax_param"}
OLD_AXES = ("num", "channels", "height", "width")  # of a BlobProto, before it had a shape


class Outcome(NamedTuple):
    """What a layer makes of its bottoms: shapes of its tops and of its parameters, and its forward multiply-adds."""

    tops: Shapes
    params: Shapes = ()
    multiply_adds: int = 0


class InPlace(Enum):
    """What Caffe computes where a layer's top is its bottom, of the same size."""

    FINE = "what it computes elsewhere; but BNLL and Clip read their output where the gradient asks for their input"
    NOT_ITS_GRADIENT = "the top is right, but the gradient needs numbers that are overwritten"
    NONSENSE = "it aborts, or overwrites what it has not read yet"


class LayerError(ValueError):
    """A layer was turned down: `layer` is its name, `place` its index in `net.layer` (None for one that Caffe adds).

    `where` is `FILE:LINE`, where the net comes from a file.
    """

    where = ""

    def __init__(self, reason: str, layer: Optional[str] = None, place: Optional[int] = None) -> None:
        super().__init__(reason, layer, place)
        self.reason, self.layer, self.place = reason, layer, place

    def __str__(self) -> str:
        said = self.reason if self.layer is None else f"layer {self.layer}: {self.reason}"
        return f"{self.where}: {said}" if self.where else said


class ImpossibleNet(LayerError):
    """Caffe would abort on this net, or compute nonsense without a word."""


class UnknownShape(LayerError):
    """The net's files do not tell the shape (Python layers, HDF5 files, …): nothing is known to be wrong; ask Caffe."""


def refuse_cudnn(layer: Message) -> None:
    """Refuse a layer whose engine is for GPUs, as a Caffe without cuDNN does (`layer_factory.cpp`)."""
    settings = getattr(layer, OF_AN_ENGINE[layer.type]) if layer.type in OF_AN_ENGINE else None
    if settings is not None and settings.engine == settings.CUDNN:
        raise ImpossibleNet("engine: CUDNN is for GPUs, and solver_mode is CPU; expected no engine, or CAFFE")


def unknown_bottom(name: str, blobs: Collection[str]) -> str:
    """What is wrong with a bottom that is none of the blobs of the layers before."""
    return f"unknown bottom '{name[:LONG]}'{did_you_mean(name, blobs) or ': no layer before it has a top'}"


def unknown_type(type_: str, types: Collection[str]) -> str:
    """What is wrong with a layer of a type that is none of these."""
    return f"unknown type '{type_[:LONG]}'{did_you_mean(type_, types)} {not_caffes(type_)}"


def not_caffes(type_: str) -> str:
    """What to say of a type that may be right elsewhere."""
    return f"(Caffe 1.0 has no {type_[:LONG]}: misspelt, or of a fork)"


def text(shape: Shape) -> str:
    """`100x3x32x32`, or `()` for a scalar."""
    return "x".join(map(str, shape)) or "()"


def axis_of(axis: int, shape: Shape, field: str = "axis") -> int:
    """Index of a possibly negative axis (`Blob::CanonicalAxisIndex`)."""
    if not -len(shape) <= axis < len(shape):
        raise ImpossibleNet(f"{field} {axis} does not exist in a blob of shape {text(shape)}")
    return axis % len(shape)


def legacy(shape: Shape) -> Tuple[int, int, int, int]:
    """num, channels, height, width, missing ones being 1 (`Blob::LegacyShape`)."""
    if len(shape) > 4:
        raise ImpossibleNet(f"takes blobs of at most 4 axes, not {text(shape)}")
    num, channels, height, width = shape + (1,) * (4 - len(shape))
    return num, channels, height, width


def has_old_axes(proto: Message) -> bool:
    """Whether a BlobProto is one of old files, which have four axes and no `shape`."""
    return any(map(proto.HasField, OLD_AXES))


def blob_shape(proto: Message) -> Shape:
    """The shape of a BlobProto, of old files or new (`Blob::FromProto`)."""
    return tuple(getattr(proto, axis) for axis in OLD_AXES) if has_old_axes(proto) else tuple(proto.shape.dim)


def image_axes(shape: Shape) -> Tuple[int, int, int, int]:
    """The four axes of a batch of images."""
    if len(shape) != 4:
        raise ImpossibleNet(f"takes a blob of 4 axes (num, channels, height, width), not {text(shape)}")
    num, channels, height, width = shape
    return num, channels, height, width


def check_size(shape: Shape, what: str) -> None:
    """Refuse a blob that Caffe cannot hold (`Blob::Reshape`), or one without elements, which it cannot touch."""
    if min(shape, default=1) < 1:
        raise ImpossibleNet(f"{what} would have shape {text(shape)}, which holds no element")
    if prod(shape) > INT_MAX:
        raise ImpossibleNet(f"{what} would have shape {text(shape)}, more than Caffe's limit of {INT_MAX} elements")
    if len(shape) > MAX_AXES:
        raise ImpossibleNet(f"{what} would have {len(shape)} axes, more than Caffe's limit of {MAX_AXES}")
