"""Pooling over windows of an image: MAX and AVE (STOCHASTIC works on GPUs only in Caffe, and is refused).

MAX is here twice: by PyTorch, and by `pooling.c`, which gives the same bits in less time where it can be compiled.

Source: `pooling_layer.cpp`.
"""
from __future__ import annotations

from ctypes import c_int64, c_void_p
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, List, NamedTuple, Optional, Sequence, Union

import torch
import torch.nn.functional as F

from menndl_caffe.compiled import library
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, Shape, text
from menndl_caffe.nets.layer_rules.pooling import pooling_window
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.layer import Blobs, Layer, register
from menndl_caffe.torchcaffe.numbers import FLT_MAX, all_exceed, are_dual, check_indices, real

aten: Any = torch.ops.aten
MAX, AVE = caffe_pb2.PoolingParameter.MAX, caffe_pb2.PoolingParameter.AVE
C_ORDER, CHANNELS_LAST = torch.contiguous_format, torch.channels_last
NO_MAXIMUM = -1
SIGNATURE = c_void_p, c_int64, c_int64, c_void_p, c_void_p, c_void_p  # of both functions of pooling.c
VECTOR = 8  # channels from which on the kernels are several times faster where they lie side by side


class Windows(NamedTuple):
    """Where windows lie: sizes by axis (height, width), and whether a last one may overhang the padded image."""

    image: Shape
    kernel: Shape
    stride: Shape
    pad: Shape
    pooled: Shape
    overhang: bool

    def settings(self) -> List[Any]:
        """Kernel, stride and pad as PyTorch takes them: it pads by at most half a kernel, Caffe by almost a whole."""
        return [list(self.kernel), list(self.stride), [0, 0] if self.are_padded_widely() else list(self.pad)]

    def are_padded_widely(self) -> bool:
        """Whether PyTorch cannot pad the images: `padded` does."""
        return any(2 * p > k for p, k in zip(self.pad, self.kernel))

    def padded(self, images: torch.Tensor, value: float) -> torch.Tensor:
        """The images within as much of `value` as the windows reach."""
        after = [max(0, (out - 1) * s + k - p - size) for size, k, s, p, out in zip(
            self.image, self.kernel, self.stride, self.pad, self.pooled)]
        return F.pad(images, (self.pad[1], after[1], self.pad[0], after[0]), value=value)

    def cropped(self, padded: torch.Tensor) -> torch.Tensor:
        """What of `padded` is image."""
        (top, left), (height, width) = self.pad, self.image
        return padded[:, :, top:top + height, left:left + width].contiguous()

    def areas(self) -> torch.Tensor:
        """What AVE divides by: the window's part in the padded image."""
        height, width = (
            [min(i * s - p + k, size + p) - (i * s - p) for i in range(out)]
            for size, k, s, p, out in zip(self.image, self.kernel, self.stride, self.pad, self.pooled))
        return torch.outer(torch.tensor(height, dtype=mode.dtype()), torch.tensor(width)).to(mode.device())


class MaxPool:
    """Maxima of windows: the first of equal ones wins; NaN, -inf and -FLT_MAX never do. `mask` says where they were.

    Of two ways each pass forward takes one, and the pass backward follows it.
    """

    def __init__(self, windows: Windows) -> None:
        functions = compiled()
        self._by_torch, self._compiled = ByTorch(windows), functions and Compiled(windows, functions)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """N x C x H x W to N x C x pooled."""
        self._way = self._compiled if self._compiled and Compiled.takes(images) else self._by_torch
        return self._way.forward(images)

    @property
    def mask(self) -> torch.Tensor:
        """Where in its image each maximum was, h W + w, as integers like the maxima; -1 where nothing has won."""
        return self._way.mask

    def use(self, mask: torch.Tensor) -> None:
        """Go on with other places of the maxima, int64."""
        self._way.use(mask)

    def backward(self, gradient: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """The gradient of the images that `forward` has had."""
        return self._way.backward(gradient, images)


@cache
def compiled() -> Optional[Any]:
    """The functions of pooling.c, None where there are none."""
    return library(Path(__file__).parents[1] / "pooling.c")


class Compiled:
    """In one thread, by pooling.c, whose notation this has; for it images in C order have one channel each."""

    def __init__(self, windows: Windows, functions: Any) -> None:
        self._pooled = windows.pooled
        self._max_pool, self._max_pool_backward = functions.max_pool, functions.max_pool_backward
        self._max_pool.argtypes = self._max_pool_backward.argtypes = SIGNATURE
        self._windows = (c_int64 * 10)(*windows.image, *windows.kernel, *windows.stride, *windows.pad, *windows.pooled)

    @staticmethod
    def takes(images: torch.Tensor) -> bool:
        """Whether it is for these: PyTorch knows GPUs, other numbers, derivatives and many threads."""
        return (images.device.type == "cpu" and images.dtype is torch.float32 and not are_dual()
                and torch.get_num_threads() == 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """As MaxPool's, of float32."""
        self._images = images.shape
        order = C_ORDER if images.is_contiguous() and images.shape[1] < VECTOR else CHANNELS_LAST
        shape = *self._images[:2], *self._pooled
        pooled = torch.empty(shape, dtype=torch.float32, memory_format=order)
        self.mask = torch.empty(shape, dtype=torch.int32, memory_format=order)
        self._call(self._max_pool, order, images, pooled)
        return pooled

    def use(self, mask: torch.Tensor) -> None:
        """As MaxPool's."""
        self.mask = mask.int()

    def backward(self, gradient: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """As MaxPool's, in the images' order; ValueError where shapes are no more what they were."""
        if images.shape != self._images or gradient.shape != self.mask.shape:
            raise ValueError(f"images {text(images.shape)} and a gradient {text(gradient.shape)}, but the pass forward "
                             f"made {text(self.mask.shape)} of {text(self._images)}")
        order = C_ORDER if images.is_contiguous() else CHANNELS_LAST
        images_gradient = torch.empty(self._images, dtype=torch.float32, memory_format=order)
        self._call(self._max_pool_backward, order, images_gradient, gradient)
        return images_gradient

    def _call(self, function: Any, order: torch.memory_format, bottom: torch.Tensor, top: torch.Tensor) -> None:
        num, channels = bottom.shape[:2]
        if order is C_ORDER:
            num, channels = num * channels, 1
        bottom, top, mask = (tensor.contiguous(memory_format=order) for tensor in (bottom, top, self.mask))
        function(self._windows, num, channels, bottom.data_ptr(), top.data_ptr(), mask.data_ptr())


class ByTorch:
    """By PyTorch, which lets NaN win, pads less, and begins at -inf: where that matters images are prepared."""

    def __init__(self, windows: Windows) -> None:
        self._windows, self._is_wide = windows, windows.are_padded_widely()
        self._settings = [*windows.settings(), [1, 1], windows.overhang and not self._is_wide]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """As MaxPool's."""
        self._has_gaps = self._is_wide or images.device.type != "cpu"  # on a GPU, looking costs more than taking care
        if images.device.type == "cpu" and images.shape[1] >= VECTOR:
            images = images.contiguous(memory_format=CHANNELS_LAST)
        if not self._has_gaps:
            pooled, self.mask = aten.max_pool2d_with_indices(images, *self._settings)
            self._has_gaps = not all_exceed(pooled, -FLT_MAX)
        return self._with_gaps(images) if self._has_gaps else pooled

    def use(self, mask: torch.Tensor) -> None:
        """As MaxPool's."""
        self.mask, self._has_gaps = mask, True

    def backward(self, gradient: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """As MaxPool's."""
        mask = self.mask
        if self._has_gaps:
            gradient, mask = gradient.masked_fill(mask == NO_MAXIMUM, 0), mask.clamp_min(0)
        if self._is_wide:
            rows = images.new_zeros(images.shape).flatten(2)
            return rows.scatter_add_(2, mask.flatten(2), gradient.flatten(2)).view(images.shape)
        return aten.max_pool2d_with_indices_backward(gradient, images, *self._settings, mask)

    def _with_gaps(self, images: torch.Tensor) -> torch.Tensor:
        """Caffe starts at -FLT_MAX and looks for larger numbers: windows may be without any."""
        images = images.nan_to_num(-FLT_MAX, posinf=float("inf"), neginf=-FLT_MAX)
        if self._is_wide:
            images = self._windows.padded(images, -FLT_MAX)
        pooled, mask = aten.max_pool2d_with_indices(images, *self._settings)
        if self._is_wide:
            (top, left), width = self._windows.pad, images.shape[3]
            mask = (mask // width - top) * self._windows.image[1] + mask % width - left
        self.mask = mask.masked_fill_(pooled == -FLT_MAX, NO_MAXIMUM)
        return pooled


class AveragePool:
    """Means of windows; what they have of the padding counts as 0, what lies beyond does not count."""

    def __init__(self, windows: Windows) -> None:
        self._windows, self._is_wide = windows, windows.are_padded_widely()
        self._settings = [*windows.settings(), windows.overhang and not self._is_wide, True,
                          1 if self._is_wide else None]
        self._areas = windows.areas()  # now: a pass that is recorded for a GPU cannot bring numbers there

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """N x C x H x W to N x C x pooled."""
        if not self._is_wide:
            return aten.avg_pool2d(images, *self._settings)
        sums = aten.avg_pool2d(self._windows.padded(images, 0), *self._settings)
        return sums / self._areas

    def backward(self, gradient: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """The gradient of the images."""
        if not self._is_wide:
            return aten.avg_pool2d_backward(gradient, images, *self._settings)
        shares, padded = gradient / self._areas, self._windows.padded(images, 0)
        return self._windows.cropped(aten.avg_pool2d_backward(shares, padded, *self._settings))


Pool = Union[MaxPool, AveragePool]


def make_pool(method: int, windows: Windows) -> Pool:
    """The pooling of a PoolingParameter's `pool`; ImpossibleNet for STOCHASTIC."""
    if method not in (MAX, AVE):
        raise ImpossibleNet("STOCHASTIC pooling does not exist on Caffe's CPU, nor here: use MAX or AVE")
    return MaxPool(windows) if method == MAX else AveragePool(windows)


@register("Pooling")
class Pooling(Layer):
    """N x C x H x W to N x C x pooled; a second top is the mask of MAX: places h W + w, -1 where nothing has won."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        param, image = self.param.pooling_param, bottom[0].shape[2:]
        kernel, stride, pad = pooling_window(param, image)
        overhang = param.round_mode == caffe_pb2.PoolingParameter.CEIL
        self._pool = make_pool(param.pool, Windows(image, kernel, stride, pad, top[0].shape[2:], overhang))

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        top[0].value = self._pool.forward(bottom[0].value)
        if len(top) > 1 and isinstance(self._pool, MaxPool):
            top[1].value = real(self._pool.mask)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if propagate_down[0]:
            images, gradient = bottom[0].value, top[0].grad
            if len(top) > 1 and isinstance(self._pool, MaxPool):
                self._pool.use(self._mask(top[1], prod(images.shape[2:])))
            if images.is_contiguous(memory_format=CHANNELS_LAST):  # the kernels are slow where orders differ
                gradient = gradient.contiguous(memory_format=CHANNELS_LAST)
            bottom[0].grad = self._pool.backward(gradient, images)

    def _mask(self, blob: Blob, pixels: int) -> torch.Tensor:
        """What the second top holds now."""
        mask = blob.value.long()
        check_indices(mask.masked_fill(mask == NO_MAXIMUM, 0), pixels, f"layer {self.param.name}: place")
        return mask
