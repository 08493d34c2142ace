"""pycaffe's Timer, and what it says of NCCL."""
from __future__ import annotations

import time

import torch

from menndl_caffe.errors import UserError


class Timer:
    """Milliseconds between `start` and `stop`; on a GPU, with all work that was given to it (`benchmark.cpp`)."""

    def __init__(self) -> None:
        self._start = self._stop = 0.0

    def start(self) -> None:
        """Begin to count."""
        self._start = _now()

    def stop(self) -> None:
        """End counting."""
        self._stop = _now()

    @property
    def ms(self) -> float:
        """Milliseconds between the two."""
        return (self._stop - self._start) * 1e3


class NCCL:
    """pycaffe's name for what several solver processes train one model with: there is none here, see `has_nccl`."""

    def __init__(self, *arguments: object) -> None:
        raise UserError("NCCL: several GPUs for one model are not supported; train one model on each")


def has_nccl() -> bool:
    """Whether several solver processes can train one model: not here, where each trains its own."""
    return False


def _now() -> float:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
