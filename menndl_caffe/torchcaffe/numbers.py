"""Float32 numbers as Caffe treats them."""
from __future__ import annotations

from typing import Any, Optional

import torch
from torch.autograd import forward_ad

from menndl_caffe.errors import UserError
from menndl_caffe.torchcaffe import mode

FLT_MAX = torch.finfo(torch.float32).max
FLT_MIN = torch.finfo(torch.float32).tiny


def all_exceed(tensor: torch.Tensor, limit: float) -> bool:
    """Whether every number is larger than this, as NaN never is. On a GPU this waits for the device."""
    return not tensor.numel() or float(tensor.amin()) > limit


def check_indices(indices: torch.Tensor, size: int, what: str) -> None:
    """UserError unless integers are from 0 to size - 1; Caffe reads foreign memory there. `what`: layer and notion.

    On a GPU this waits for the device, and within a graph that is being captured it is left out.
    """
    if not indices.numel() or indices.is_cuda and torch.cuda.is_current_stream_capturing():
        return
    for index in map(int, indices.aminmax()):
        if not 0 <= index < size:
            raise UserError(f"{what} {index} does not exist; valid: 0 to {size - 1}")


def are_dual() -> bool:
    """Whether passes run on dual numbers (see `duals`), so that every kernel must have a derivative."""
    return forward_ad._current_level >= 0  # PyTorch has no public word for it that costs as little


def factors(*tensors: Optional[torch.Tensor]) -> Any:
    """What convolutions and inner products multiply, as coarse as `mode.set_math` has asked for."""
    if mode.math() != "bf16":
        return tensors
    return tuple(tensor if tensor is None else tensor.bfloat16() for tensor in tensors)


def real(tensor: torch.Tensor) -> torch.Tensor:
    """Products of `factors`, truths and places as numbers that blobs hold: of `mode.dtype`."""
    return tensor if tensor.dtype is mode.dtype() else tensor.type(mode.dtype())  # `to` takes longer, even for nothing
