"""What all layers have in common, and the list of their types.

Source: `layer.hpp`, `layer_factory.cpp`. How many bottoms and tops a type takes, what shapes it makes and which
settings Caffe refuses is known to `menndl_caffe.nets.layer_rules`; a layer here computes.
"""
from __future__ import annotations

from math import prod
from typing import Any, Callable, Dict, List, Sequence, Type, TypeVar

import numpy as np
import torch

from menndl_caffe.nets.layer_rules import LAYERS, Rule
from menndl_caffe.nets.layer_rules.blob import (
    ImpossibleNet,
    LayerError,
    Outcome,
    Shapes,
    blob_shape,
    check_size,
    text,
    unknown_type,
)
from menndl_caffe.nets.shapes import with_bottoms
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.fillers import fill

Blobs = Sequence[Blob]
_types: Dict[str, Type[Layer]] = {}


class Layer:
    """One layer of a net: `blobs` are its parameters, `param` its LayerParameter.

    `propagates_to[i]` says whether the gradient of parameter i is wanted. The methods are those of a Caffe layer, and
    of pycaffe's Python layers.
    """

    dynamic = False  # whether the tops' shapes may change though the bottoms' do not

    def __init__(self, param: Any) -> None:
        self.param = param
        self.blobs: List[Blob] = [blob_of(proto) for proto in param.blobs]
        self.propagates_to: List[bool] = []
        self._shapes_seen: Any = None
        self._looked_at = -1  # when shapes were last compared, in `Blob.reshapes`

    @property
    def type(self) -> str:
        """The type's name, such as `InnerProduct`."""
        return str(self.param.type)

    @property
    def phase(self) -> int:
        """TRAIN (0) or TEST (1)."""
        return int(self.param.phase)

    @property
    def replayable(self) -> bool:
        """Whether a pass does nothing but compute on the device: no draws, files or Python, no shapes that change."""
        return not self.dynamic

    @property
    def rule(self) -> Rule:
        """What the type takes and makes."""
        return LAYERS[self.param.type]

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        """Make and fill the parameters, once (`LayerSetUp`); those that came with the layer's message stay."""
        if self.blobs:
            return
        self.blobs = [Blob(shape) for shape in self.outcome(bottom).params]
        for blob, filler in zip(self.blobs, self.fillers()):
            fill(filler, blob, mode.generator())

    def fillers(self) -> Sequence[Any]:
        """The FillerParameter of each parameter, in the order in which they draw."""
        return ()

    def outcome(self, bottom: Blobs) -> Outcome:
        """Shapes of tops and parameters, by the type's rule."""
        return self.rule.shapes(tuple(blob.shape for blob in bottom), self.param)

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        """Give the tops their shapes (`Reshape`); ImpossibleNet where the parameters are not made for the bottoms."""
        outcome = self.outcome(bottom)
        found = tuple(blob.shape for blob in self.blobs)
        if found != outcome.params:
            raise ImpossibleNet(f"has parameters of shapes {_texts(found)}, but needs {_texts(outcome.params)}")
        for blob, shape in zip(top, outcome.tops):
            blob.reshape(*shape)

    def reshape_again(self, bottom: Blobs, top: Blobs) -> None:
        """Reshape in a net that exists already: errors say which layer, and of what bottoms."""
        try:
            self.reshape(bottom, top)
        except LayerError as error:
            shapes = {name: blob.shape for name, blob in zip(self.param.bottom, bottom)}
            raise type(error)(with_bottoms(error.reason, shapes), self.param.name) from None
        self._shapes_seen = [blob.shape for blob in bottom], [blob.shape for blob in top]

    def reshape_if_needed(self, bottom: Blobs, top: Blobs) -> None:
        """Before every forward pass: reshape where the shape of a bottom, or of a top by hand, has changed."""
        if self._looked_at == Blob.reshapes and not self.dynamic:
            return
        self._looked_at = Blob.reshapes
        shapes = [blob.shape for blob in bottom], [blob.shape for blob in top]
        if self.dynamic or shapes != self._shapes_seen:
            self.reshape_again(bottom, top)

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        """Compute the tops' values from the bottoms'."""
        raise NotImplementedError

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        """Compute the bottoms' gradients, where wanted, and add to the parameters' own."""
        for index, wanted in enumerate(propagate_down):
            if wanted:
                raise ImpossibleNet(f"{self.type} has no gradient for its bottom {index}", self.param.name)

    def allows_force_backward(self, bottom: int) -> bool:
        """Whether `force_backward` may ask for the gradient of this bottom (`AllowForceBackward`)."""
        return not self.rule.loss or bottom != 1

    def state(self) -> Dict[str, Any]:
        """What an exact resume needs beside the parameters: plain data. For layers that read or draw by themselves."""
        return {}

    def set_state(self, state: Dict[str, Any]) -> None:
        """Go on where `state` was taken."""


Class = TypeVar("Class", bound=Type[Layer])


class InputReader(Layer):
    """A layer whose gradient reads its input: what the bottom then holds, or in place what it has kept."""

    def input_now(self, bottom: Blobs, top: Blobs) -> torch.Tensor:
        """The input of a forward pass."""
        self._kept_input = bottom[0].kept_value() if top[0] is bottom[0] else None
        return bottom[0].value

    def input_again(self, bottom: Blobs) -> torch.Tensor:
        """The input for the backward pass."""
        return bottom[0].value if self._kept_input is None else self._kept_input


def register(*names: str) -> Callable[[Class], Class]:
    """Make a class the layer of these types."""

    def add(layer: Class) -> Class:
        _types.update((name, layer) for name in names)
        return layer

    return add


def make_layer(param: Any) -> Layer:
    """The layer of a LayerParameter; ImpossibleNet where Caffe has no such type."""
    layer = _types.get(param.type)
    if layer is None:
        raise ImpossibleNet(unknown_type(param.type, _types), param.name)
    return layer(param)


def layer_type_list() -> List[str]:
    """The names of all layer types, as pycaffe's."""
    return sorted(_types)


def _texts(shapes: Shapes) -> str:
    return ", ".join(map(text, shapes)) or "none"


def blob_of(proto: Any) -> Blob:
    """The blob of a BlobProto (`Blob::FromProto`)."""
    shape, numbers = blob_shape(proto), numbers_of(proto)
    check_size(shape, "a parameter")
    if len(numbers) != prod(shape):
        raise ImpossibleNet(f"a parameter of shape {text(shape)} comes with {len(numbers)} numbers")
    blob = Blob(shape)
    blob.value = numbers.view(shape)
    return blob


def numbers_of(proto: Any, gradient: bool = False) -> torch.Tensor:
    """All numbers of a BlobProto, or of its gradient, in one row."""
    numbers = np.array(repeated_of(proto, gradient), np.float32)
    return torch.from_numpy(numbers).to(mode.device(), mode.dtype())


def repeated_of(proto: Any, gradient: bool = False) -> Sequence[float]:
    """The field of a BlobProto that holds its numbers, or those of its gradient."""
    fields = (proto.double_diff, proto.diff) if gradient else (proto.double_data, proto.data)
    return fields[0] or fields[1]
