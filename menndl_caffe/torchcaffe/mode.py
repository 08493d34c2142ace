"""What Caffe keeps once a process: the device, the random generator, and the place among parallel solvers.

Caffe's `common.cpp` (class Caffe). The module functions of pycaffe that set these are exported from here.
"""
from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import Iterator, List

import torch

from menndl_caffe.errors import UserError
from menndl_caffe.torchcaffe.rng import Generator

MATHS = ("float32", "tf32", "bf16")

_device = torch.device("cpu")
_gpu = 0
_math = "float32"
_generator = Generator((os.getpid() * 2654435761 ^ time.time_ns()) % 2**32)
_solver_count, _solver_rank, _multiprocess = 1, 0, False


def device() -> torch.device:
    """Where blobs live and layers compute."""
    return _device


def set_mode_cpu() -> None:
    """Nets made from now on live on the CPU."""
    global _device
    _device = torch.device("cpu")


def set_mode_gpu() -> None:
    """Nets made from now on live on the GPU that `set_device` has chosen; UserError where there is none."""
    global _device
    _check_gpu(_gpu)
    _device = torch.device("cuda", _gpu)
    torch.backends.cudnn.deterministic = True  # an individual that is trained anew gets the same fitness


def set_device(index: int) -> None:
    """Choose a GPU, for `set_mode_gpu`; UserError where there is none of this number."""
    global _gpu, _device
    _check_gpu(index)
    _gpu = index
    if _device.type == "cuda":
        _device = torch.device("cuda", index)


def set_math(name: str) -> None:
    """Arithmetic of convolutions and inner products: `float32` (Caffe's), or the faster, coarser `tf32` and `bf16`.

    `tf32` exists on GPUs only and changes nothing elsewhere. Blobs, parameters and updates are float32 with each.
    """
    global _math
    if name not in MATHS:
        raise UserError(f"math {name}: valid: {', '.join(MATHS)}")
    _math = name
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "tf32"


def math() -> str:
    """The arithmetic that `set_math` chose."""
    return _math


def dtype() -> torch.dtype:
    """Of the numbers in blobs and of all that layers compute: PyTorch's default, float32 as Caffe's."""
    return torch.get_default_dtype()


@contextmanager
def float64() -> Iterator[None]:
    """Nets that are made and run within have blobs of float64, and compute in it: for tests of derivatives.

    What comes in stays what it is in float32: images and labels of data layers, what fillers draw, files of weights.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def set_random_seed(seed: int) -> None:
    """Start the process's random numbers anew: the same seed, the same weights, masks and crops as in Caffe.

    OverflowError unless 0 <= seed < 2^32, as in pycaffe.
    """
    global _generator
    if not 0 <= seed < 2**32:
        raise OverflowError(f"random seed {seed}: valid: 0 to 2^32 - 1")
    _generator = Generator(seed)


def generator() -> Generator:
    """The process's random numbers: fillers, dropout and seeds of data layers draw from it in Caffe's order."""
    return _generator


def solver_count() -> int:
    """Number of solvers that train one model together."""
    return _solver_count


def set_solver_count(count: int) -> None:
    """As pycaffe's: data layers in phase TRAIN then take every `count`-th record."""
    global _solver_count
    _solver_count = count


def solver_rank() -> int:
    """This process's number among `solver_count`."""
    return _solver_rank


def set_solver_rank(rank: int) -> None:
    """As pycaffe's."""
    global _solver_rank
    _solver_rank = rank


def set_multiprocess(multiprocess: bool) -> None:
    """As pycaffe's: whether the solvers of one model are processes."""
    global _multiprocess
    _multiprocess = multiprocess


def gpus() -> List[str]:
    """The names of the GPUs that PyTorch can use."""
    return list(_gpu_names())


def _gpu_names() -> Iterator[str]:
    if torch.cuda.is_available():
        yield from (torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))


def _check_gpu(index: int) -> None:
    names = gpus()
    if not names:
        raise UserError("a GPU was asked for, but PyTorch finds none here: use set_mode_cpu, or a PyTorch build with "
                        "CUDA on a machine with an NVIDIA GPU")
    if not 0 <= index < len(names):
        raise UserError(f"GPU {index} was asked for; valid: {', '.join(map(str, range(len(names))))}")
