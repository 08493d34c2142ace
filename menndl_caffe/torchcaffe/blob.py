"""Blobs: Caffe's arrays of data and of their gradients, as PyTorch tensors for layers and NumPy arrays for users.

Sources: `blob.hpp`, `syncedmem.cpp`. A tensor that a layer computes becomes the blob's memory, without a copy and in
whatever order its kernel likes (channels-last, on a GPU). Once a user has taken the array, the memory stays that array:
it is contiguous, later results are copied into it, and what the user writes there the next pass sees.

As in Caffe memory never shrinks: a blob that becomes smaller, and then larger again, has its numbers still. Only one
that becomes larger than ever before gets another memory, of zeros, which it has alone until a layer shares it again.
"""
from __future__ import annotations

from contextlib import contextmanager
from math import prod
from typing import Any, Iterable, Iterator, List, Optional, Tuple, Union, cast

import numpy as np
import torch

from menndl_caffe.nets.layer_rules.blob import check_size
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.numbers import are_dual

Shape = Tuple[int, ...]
ZERO = torch.zeros(())


class Memory:
    """Room for `count` numbers, taken when first needed; blobs that share have one memory, each in a shape of its own.

    `_first` are the first numbers as they were last given or asked for, `_row` is all of it in C order: older than
    `_first`, and there only once a user has the array, or blobs have seen different numbers of numbers. `_deferred` is
    newer than both: what `_first` will be once someone asks.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._first: Optional[torch.Tensor] = None
        self._row: Optional[torch.Tensor] = None
        self._deferred: Optional[torch.Tensor] = None
        self._is_lent = False  # whether someone counts on `_first` to stay as it is
        self._array: Optional[np.ndarray] = None  # the row; on a GPU a copy
        self._shown = 0  # on a GPU, how many numbers of that copy the user may have written to

    def numbers(self, shape: Shape) -> torch.Tensor:
        """The first numbers, in this shape."""
        if self._shown:
            self.sync()
        first = self._first
        if self._deferred is not None:
            first, self._deferred = cast(torch.Tensor, first).copy_(self._deferred), None
        if first is None or first.shape != shape:
            if first is None or first.numel() != prod(shape):
                first = self._whole()[:prod(shape)]
            first = self._first = first.contiguous().view(shape)
        return first

    def defer(self, source: torch.Tensor, shape: Shape) -> None:
        """Make the first numbers, in this shape, copies of these or of a single one: if possible once someone asks."""
        numbers = self.room(shape)
        if self._array is None and numbers.device.type == "cpu":
            self._deferred = source
        elif source is ZERO:
            numbers.zero_()
        else:
            numbers.copy_(source)

    def is_zero(self) -> bool:
        """Whether the first numbers are known to be 0, so that nobody has to write that they are."""
        return self._deferred is ZERO

    def room(self, shape: Shape) -> torch.Tensor:
        """The place of the first numbers, in this shape, for one who writes to all of it: nothing stays deferred."""
        if self._first is not None and self._first.numel() == prod(shape):
            self._deferred = None
        return self.numbers(shape)

    def room_like(self, tensor: torch.Tensor) -> Optional[torch.Tensor]:
        """The first numbers, to be overwritten, where they have this shape and order of memory and are on a CPU."""
        first = self._first
        if (first is None or self._is_lent or self._deferred is not None or first.shape != tensor.shape
                or first.stride() != tensor.stride() or first.device.type != "cpu" or are_dual()):
            return None
        return first

    def give(self, tensor: torch.Tensor) -> None:
        """Make these the first numbers: handed over, or copied where a user has the array."""
        if self._deferred is not None:
            self.room(tensor.shape)
        first = self._first
        if tensor is first:
            return
        if self._shown > tensor.numel():
            self.sync()
        if self._array is not None and tensor.device.type == "cpu":
            self.numbers(tensor.shape).copy_(tensor)
            return
        if tensor.numel() == self.count:
            self._row = None
        elif first is not None and first.numel() != tensor.numel():
            self._whole()
        self._first, self._is_lent, self._shown = tensor, False, 0

    def kept(self, shape: Shape) -> torch.Tensor:
        """The first numbers, which stay what they are whatever becomes of the memory; nobody may write to them."""
        numbers = self.numbers(shape)
        if self._row is not None:
            return numbers.clone()
        self._is_lent = True
        return numbers

    def own(self, shape: Shape) -> torch.Tensor:
        """The first numbers, to be changed where they are."""
        numbers = self.numbers(shape)
        if self._is_lent:
            self._first, self._is_lent = numbers.clone(), False
        return self.numbers(shape)

    def array(self, shape: Shape) -> np.ndarray:
        """The first numbers as an array, which the user may write to."""
        count, numbers = prod(shape), self.numbers(shape)
        if numbers.device.type != "cpu":
            if self._array is None:
                self._array = torch.empty(self.count, dtype=numbers.dtype).numpy()
            torch.from_numpy(self._array)[:count].view(shape).copy_(numbers)
            self._shown = count
        elif self._array is None:
            row = self._whole()
            self._array, self._first = row.numpy(), row[:count].view(shape)
        return self._array[:count].reshape(shape)

    def sync(self) -> None:
        """Take over what the user has written to the array, where it is a copy."""
        count, self._shown = self._shown, 0
        if count:
            first = self._first
            target = first if first is not None and first.numel() == count else self.numbers((count,))
            target.copy_(torch.from_numpy(self._array)[:count].view(target.shape))

    def copy_numbers(self) -> None:
        """Go on with a copy, which no user has."""
        self.sync()
        self._first, self._row = (None if one is None else one.clone() for one in (self._first, self._row))
        self._is_lent, self._array = False, None

    def _whole(self) -> torch.Tensor:
        """The row, as new as the first numbers; these are views of it from now on."""
        first = self._first
        if first is not None and first.numel() == self.count:
            first = first.clone() if self._is_lent else first
            self._row = first.contiguous().view(-1)
        else:
            if self._row is None:
                self._row = torch.zeros(self.count, device=mode.device())
            if first is not None:
                self._row[:first.numel()] = first.reshape(-1)
        self._first, self._is_lent = None, False
        return self._row


class Blob:
    """An n-dimensional array `data` of `mode.dtype`, float32, and its gradient `diff`, both of `shape`.

    `data` and `diff` are for users, `value` and `grad` for layers: the same numbers as tensors on the net's device.
    `reshapes` says how often any blob has changed its shape: where that is as before, all have the shapes they had.
    """

    reshapes = 0

    def __init__(self, shape: Shape = ()) -> None:
        self._shape = shape
        self._data, self._diff = Memory(prod(shape)), Memory(prod(shape))

    @property
    def data(self) -> np.ndarray:
        """The numbers as a writable array in C order; the next forward or backward pass sees what is written."""
        return self._data.array(self._shape)

    @property
    def diff(self) -> np.ndarray:
        """The gradient, as `data`."""
        return self._diff.array(self._shape)

    @property
    def value(self) -> torch.Tensor:
        """The numbers as a tensor. Assigning one hands it over: no one else may write to it."""
        return self._data.numbers(self._shape)

    @value.setter
    def value(self, tensor: torch.Tensor) -> None:
        self._data.give(self._checked(tensor))

    def kept_value(self) -> torch.Tensor:
        """The numbers as a tensor that stays what it is, whatever is written to the blob later; not to be changed."""
        return self._data.kept(self._shape)

    def own_value(self) -> torch.Tensor:
        """The numbers as a tensor to be changed where it is."""
        return self._data.own(self._shape)

    def value_room(self, like: torch.Tensor) -> Optional[torch.Tensor]:
        """For a kernel's `out`: the numbers of the last pass, whose place those of this pass may take; None if not.

        Only where they lie in memory as `like` does, so that the kernel computes the same with and without.
        """
        return self._data.room_like(like)

    def grad_room(self, like: torch.Tensor) -> Optional[torch.Tensor]:
        """The same of the gradient."""
        return self._diff.room_like(like)

    @property
    def grad(self) -> torch.Tensor:
        """The gradient, as `value`."""
        return self._diff.numbers(self._shape)

    @grad.setter
    def grad(self, tensor: torch.Tensor) -> None:
        self._diff.give(self._checked(tensor))

    def defer_grad(self, source: torch.Tensor) -> None:
        """Let the gradient be what `source` holds, or its only number, when someone asks; it stays what it is."""
        self._diff.defer(source, self._shape)

    def clear_grad(self) -> None:
        """Set the gradient to 0."""
        self.defer_grad(ZERO)

    def add_grad(self, gradient: torch.Tensor) -> None:
        """Add to the gradient."""
        if self._diff.is_zero() and not are_dual():
            self._diff.room(self._shape).copy_(gradient)
        else:
            self.grad.add_(gradient)

    def add_grad_product(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """Add the product of two matrices to the gradient, which is one."""
        if self._diff.is_zero() and a.dtype is mode.dtype() and not are_dual():
            torch.mm(a, b, out=self._diff.room(self._shape))
        elif a.dtype is not mode.dtype():
            self.add_grad(a @ b)
        else:
            self.grad.addmm_(a, b)

    def sync(self) -> None:
        """Take over what the user has written to the arrays: on a GPU they are copies."""
        self._data.sync()
        self._diff.sync()

    @property
    def shape(self) -> Shape:
        """Sizes of the axes; () for a scalar."""
        return self._shape

    @property
    def count(self) -> int:
        """Number of elements."""
        return prod(self._shape)

    num = property(lambda self: self._legacy(0), doc="Size of axis 0, 1 where there is none.")
    channels = property(lambda self: self._legacy(1), doc="Size of axis 1, 1 where there is none.")
    height = property(lambda self: self._legacy(2), doc="Size of axis 2, 1 where there is none.")
    width = property(lambda self: self._legacy(3), doc="Size of axis 3, 1 where there is none.")

    def reshape(self, *dims: int) -> None:
        """Change the shape; layers follow in the next forward pass. ImpossibleNet where Caffe could not hold it."""
        shape = tuple(int(dim) for dim in dims)
        if shape == self._shape:
            return
        if 0 not in shape:  # Caffe allows a blob without elements
            check_size(shape, "a blob")
        if prod(shape) > min(self._data.count, self._diff.count):
            self._data, self._diff = Memory(prod(shape)), Memory(prod(shape))
        self._shape = shape
        Blob.reshapes += 1

    def share_data(self, other: Blob) -> None:
        """From now on the other's numbers are this blob's, in its own shape, of as many (`Blob::ShareData`)."""
        self._data = self._memory_of(other, other._data)

    def share_diff(self, other: Blob) -> None:
        """From now on the other's gradient is this blob's (`Blob::ShareDiff`)."""
        self._diff = self._memory_of(other, other._diff)

    def share(self, other: Blob) -> None:
        """Both."""
        self.share_data(other)
        self.share_diff(other)

    def to_proto(self, diff: bool = False) -> Any:
        """The BlobProto, with its gradient if `diff` (`Blob::ToProto`)."""
        proto = caffe_pb2.BlobProto()
        proto.shape.dim.extend(self._shape)
        proto.data.extend(_numbers(self.value).tolist())
        if diff:
            proto.diff.extend(_numbers(self.grad).tolist())
        return proto

    def _legacy(self, axis: int) -> int:
        if len(self._shape) > 4:
            raise ValueError(f"num, channels, height and width are for blobs of at most 4 axes, not {self._shape}")
        return self._shape[axis] if axis < len(self._shape) else 1

    def _memory_of(self, other: Blob, memory: Memory) -> Memory:
        if self.count != other.count:
            raise ValueError(f"a blob of shape {self._shape} cannot share the memory of one of shape {other.shape}")
        return memory

    def _checked(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.shape != self._shape:
            raise ValueError(f"a blob of shape {self._shape} cannot hold a tensor of shape {tuple(tensor.shape)}")
        return tensor


@contextmanager
def set_aside(blobs: Iterable[Blob]) -> Iterator[None]:
    """Within, the blobs have copies of their numbers, which no user has, and share them as they did.

    Afterwards all is as it was before: numbers and shapes, who shares with whom, and whose array is whose.
    """
    blobs = list(blobs)
    memories = {memory for blob in blobs for memory in (blob._data, blob._diff)}
    owners: List[Union[Blob, Memory]] = [*blobs, *memories]
    before = [dict(vars(owner)) for owner in owners]
    for memory in memories:
        memory.copy_numbers()
    try:
        yield
    finally:
        for owner, attributes in zip(owners, before):
            vars(owner).update(attributes)
        Blob.reshapes += 1


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy().ravel()
