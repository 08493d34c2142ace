"""Blobs: Caffe's arrays of data and of their gradients, as PyTorch tensors for layers and NumPy arrays for users.

Sources: `blob.hpp`, `syncedmem.cpp`. A tensor that a layer computes becomes the blob's memory, without a copy and in
whatever order its kernel likes (channels-last, on a GPU). Once a user has taken the array, the memory stays that array:
it is contiguous, later results are copied into it, and what the user writes there the next pass sees.
"""
from __future__ import annotations

from contextlib import contextmanager
from math import prod
from typing import Any, Dict, Iterable, Iterator, Optional, Tuple

import numpy as np
import torch

from menndl_caffe.nets.layer_rules.blob import check_size
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import mode

Shape = Tuple[int, ...]


class Memory:
    """The numbers of a blob, made when first needed; several blobs may have one memory."""

    def __init__(self, shape: Shape, tensor: Optional[torch.Tensor] = None) -> None:
        self.shape = shape
        self._tensor = tensor
        self._array: Optional[np.ndarray] = None
        self._array_is_newer = False  # on a GPU, where the array is a copy that the user may have written to

    @property
    def tensor(self) -> torch.Tensor:
        if self._tensor is None:
            self._tensor = torch.zeros(self.shape, device=mode.device())
        self.sync()
        return self._tensor

    @tensor.setter
    def tensor(self, tensor: torch.Tensor) -> None:
        if tensor is self._tensor:
            return
        if tensor.shape != self.shape:
            raise ValueError(f"a blob of shape {self.shape} cannot hold a tensor of shape {tuple(tensor.shape)}")
        if self._array is not None and self._shared_with_array():
            self.tensor.copy_(tensor)
        else:
            self._tensor, self._array_is_newer = tensor, False

    @property
    def array(self) -> np.ndarray:
        tensor = self.tensor
        if tensor.device.type != "cpu":
            if self._array is None:
                self._array = torch.empty(self.shape, dtype=tensor.dtype).numpy()
            torch.from_numpy(self._array).copy_(tensor)
            self._array_is_newer = True
        elif self._array is None:
            self._tensor = tensor.contiguous()
            self._array = self._tensor.numpy()
        return self._array

    def sync(self) -> None:
        """Take over what the user has written to the array, where it is a copy."""
        if self._array_is_newer and self._tensor is not None:
            self._tensor.copy_(torch.from_numpy(self._array))
            self._array_is_newer = False

    def is_held(self) -> bool:
        """Whether the user has an array of it."""
        return self._array is not None

    def reshaped(self, shape: Shape) -> Memory:
        """A memory of another shape: with the same numbers, or zeros where it is larger (`Blob::Reshape`)."""
        if self._tensor is None or prod(shape) > prod(self.shape):
            return Memory(shape)
        return Memory(shape, self.tensor.contiguous().view(-1)[:prod(shape)].view(shape))

    def viewed(self, shape: Shape) -> Memory:
        """The same numbers in another shape: what is written to one is seen in both."""
        return View(shape, self)

    @property
    def owner(self) -> Memory:
        """The memory whose numbers these are."""
        return self

    def copy_numbers(self) -> None:
        """Go on with a copy, which no user has."""
        if self._tensor is not None:
            self._tensor, self._array, self._array_is_newer = self.tensor.clone(), None, False

    def _shared_with_array(self) -> bool:
        return self._tensor is not None and self._tensor.device.type == "cpu"


class View(Memory):
    """The numbers of another memory, in C order, in a shape of its own."""

    def __init__(self, shape: Shape, base: Memory) -> None:
        super().__init__(shape)
        self._base = base

    @property
    def tensor(self) -> torch.Tensor:
        if not self._base.tensor.is_contiguous():
            self._base.tensor = self._base.tensor.contiguous()
        return self._base.tensor.view(self.shape)

    @tensor.setter
    def tensor(self, tensor: torch.Tensor) -> None:
        if tensor.shape != self.shape:
            raise ValueError(f"a blob of shape {self.shape} cannot hold a tensor of shape {tuple(tensor.shape)}")
        self._base.tensor = tensor.reshape(self._base.shape)

    @property
    def array(self) -> np.ndarray:
        return self._base.array.reshape(self.shape)

    @property
    def owner(self) -> Memory:
        """As Memory's."""
        return self._base.owner

    def sync(self) -> None:
        """As Memory's."""
        self._base.sync()

    def is_held(self) -> bool:
        """Whether the user has an array of it, or of the other."""
        return self._base.is_held()

    def reshaped(self, shape: Shape) -> Memory:
        """A memory of its own, starting with the same numbers."""
        return Memory(self.shape, self.tensor).reshaped(shape)


class Blob:
    """An n-dimensional array `data` of `mode.dtype`, float32, and its gradient `diff`, both of `shape`.

    `data` and `diff` are for users, `value` and `grad` for layers: the same numbers as tensors on the net's device.
    """

    def __init__(self, shape: Shape = ()) -> None:
        self._data, self._diff = Memory(shape), Memory(shape)

    @property
    def data(self) -> np.ndarray:
        """The numbers as a writable array in C order; the next forward or backward pass sees what is written."""
        return self._data.array

    @property
    def diff(self) -> np.ndarray:
        """The gradient, as `data`."""
        return self._diff.array

    @property
    def value(self) -> torch.Tensor:
        """The numbers as a tensor. Assigning one hands it over: no one else may write to it."""
        return self._data.tensor

    @value.setter
    def value(self, tensor: torch.Tensor) -> None:
        self._data.tensor = tensor

    def is_held(self) -> bool:
        """Whether a user has taken the array `data`: the next value will be copied into it."""
        return self._data.is_held()

    @property
    def grad(self) -> torch.Tensor:
        """The gradient, as `value`."""
        return self._diff.tensor

    @grad.setter
    def grad(self, tensor: torch.Tensor) -> None:
        self._diff.tensor = tensor

    def sync(self) -> None:
        """Take over what the user has written to the arrays: on a GPU they are copies."""
        self._data.sync()
        self._diff.sync()

    @property
    def shape(self) -> Shape:
        """Sizes of the axes; () for a scalar."""
        return self._data.shape

    @property
    def count(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    num = property(lambda self: self._legacy(0), doc="Size of axis 0, 1 where there is none.")
    channels = property(lambda self: self._legacy(1), doc="Size of axis 1, 1 where there is none.")
    height = property(lambda self: self._legacy(2), doc="Size of axis 2, 1 where there is none.")
    width = property(lambda self: self._legacy(3), doc="Size of axis 3, 1 where there is none.")

    def reshape(self, *dims: int) -> None:
        """Change the shape; layers follow in the next forward pass. ImpossibleNet where Caffe could not hold it."""
        shape = tuple(int(dim) for dim in dims)
        if shape == self.shape:
            return
        if 0 not in shape:  # Caffe allows a blob without elements
            check_size(shape, "a blob")
        self._data, self._diff = self._data.reshaped(shape), self._diff.reshaped(shape)

    def share_data(self, other: Blob) -> None:
        """From now on the other's numbers are this blob's (`Blob::ShareData`)."""
        self._data = self._shared(self._data, other._data)

    def share_diff(self, other: Blob) -> None:
        """From now on the other's gradient is this blob's (`Blob::ShareDiff`)."""
        self._diff = self._shared(self._diff, other._diff)

    def share_as_view(self, other: Blob) -> None:
        """Share both, but keep the own shape, which holds as many numbers."""
        self._data, self._diff = other._data.viewed(self.shape), other._diff.viewed(self.shape)

    def to_proto(self, diff: bool = False) -> Any:
        """The BlobProto, with its gradient if `diff` (`Blob::ToProto`)."""
        proto = caffe_pb2.BlobProto()
        proto.shape.dim.extend(self.shape)
        proto.data.extend(_numbers(self.value).tolist())
        if diff:
            proto.diff.extend(_numbers(self.grad).tolist())
        return proto

    def _legacy(self, axis: int) -> int:
        if len(self.shape) > 4:
            raise ValueError(f"num, channels, height and width are for blobs of at most 4 axes, not {self.shape}")
        return self.shape[axis] if axis < len(self.shape) else 1

    def _shared(self, own: Memory, other: Memory) -> Memory:
        if prod(own.shape) != prod(other.shape):
            raise ValueError(f"a blob of shape {own.shape} cannot share the memory of one of shape {other.shape}")
        return other


@contextmanager
def set_aside(blobs: Iterable[Blob]) -> Iterator[None]:
    """Within, the blobs have copies of their numbers, which no user has, and share them as they did.

    Afterwards all is as it was before: numbers and shapes, who shares with whom, and whose array is whose.
    """
    pairs = [(blob, blob._data, blob._diff) for blob in blobs]
    owners: Dict[Memory, Dict[str, Any]] = {
        memory.owner: dict(vars(memory.owner)) for _, *both in pairs for memory in both}
    for owner in owners:
        owner.copy_numbers()
    try:
        yield
    finally:
        for owner, attributes in owners.items():
            vars(owner).update(attributes)
        for blob, data, diff in pairs:
            blob._data, blob._diff = data, diff


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy().ravel()
