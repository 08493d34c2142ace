"""LRN, Im2col, SPP and Crop.

Sources: `lrn_layer.cpp`, `im2col_layer.cpp`, `spp_layer.cpp`, `crop_layer.cpp`.

Notation (LRN)
--------------
x, y        bottom and top, n x c x h x w
m(z)        mean of z over the local_size channels around each (ACROSS_CHANNELS), or over the local_size x local_size
            pixels around each (WITHIN_CHANNEL); outside is 0
s           k + alpha m(x^2), where WITHIN_CHANNEL has 1 in place of k
f           s^-beta;  y = x f,  dx = dy f - 2 alpha beta x m(dy y / s)
"""
from __future__ import annotations

from math import prod
from typing import Sequence

import torch

from menndl_caffe.nets.layer_rules.blob import Shape, axis_of
from menndl_caffe.nets.layer_rules.convolution import windows_of
from menndl_caffe.nets.layer_rules.pooling import pyramid_level
from menndl_caffe.nets.layer_rules.spatial import crop_offsets
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe.columns import Columns
from menndl_caffe.torchcaffe.layer import Blobs, Layer, register
from menndl_caffe.torchcaffe.layer_types.pooling import Pool, Windows, make_pool

ACROSS_CHANNELS = caffe_pb2.LRNParameter.ACROSS_CHANNELS


@register("LRN")
class LRN(Layer):
    """Each element scaled by the squares around it."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        param = self.param.lrn_param
        self._is_across = param.norm_region == ACROSS_CHANNELS
        self._axes = (1,) if self._is_across else (2, 3)
        self._shift = param.k if self._is_across else 1.0
        self._alpha = param.alpha / param.local_size ** len(self._axes)  # of a sum in place of a mean

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        x = bottom[0].value
        self._scale = self._local_sum(x * x).mul_(self._alpha).add_(self._shift)
        self._factor = self._scale.pow(-self.param.lrn_param.beta)
        top[0].value = x * self._factor

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if not propagate_down[0]:
            return
        x, dy = bottom[0].value, top[0].grad
        # Caffe reads y from the top where another layer may have worked in place since.
        y = top[0].value if self._is_across else x * self._factor
        ratio = self._local_sum((dy * y).div_(self._scale))
        slope = 2 * self._alpha * self.param.lrn_param.beta
        bottom[0].grad = (dy * self._factor).sub_(ratio.mul_(x), alpha=slope)

    def _local_sum(self, tensor: torch.Tensor) -> torch.Tensor:
        for axis in self._axes:
            tensor = _window_sum(tensor, axis, self.param.lrn_param.local_size // 2)
        return tensor


def _window_sum(tensor: torch.Tensor, axis: int, reach: int) -> torch.Tensor:
    """Sum of each element and of its neighbours on `axis`, `reach` on either side."""
    total, size = tensor.clone(), tensor.shape[axis]
    for step in range(1, min(reach + 1, size)):
        rest = size - step
        total.narrow(axis, step, rest).add_(tensor.narrow(axis, 0, rest))
        total.narrow(axis, 0, rest).add_(tensor.narrow(axis, step, rest))
    return total


@register("Im2col")
class Im2col(Layer):
    """Every window as a column: channel c and place k of the kernel become channel c K + k."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        param, shape = self.param.convolution_param, bottom[0].shape
        axis = axis_of(param.axis, shape)
        image = shape[axis + 1:]
        self._images = (-1, *shape[axis:])
        self._columns = Columns(windows_of(param, len(image)), image, top[0].shape[axis + 1:])

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        top[0].value = self._columns.of(bottom[0].value.reshape(self._images)).reshape(top[0].shape)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if propagate_down[0]:
            columns = top[0].grad.reshape(-1, self._images[1], self._columns.places, *self._columns.steps)
            bottom[0].grad = self._columns.added(columns).view(bottom[0].shape)


@register("SPP")
class SPP(Layer):
    """Spatial pyramid pooling: level l pools 2^l x 2^l bins, and all bins of an image come in one row."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        param, image = self.param.spp_param, bottom[0].shape[2:]
        self._pools = [_bins(param.pool, image, level) for level in range(param.pyramid_height)]

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        pooled = [pool.forward(bottom[0].value) for pool in self._pools]
        self._shapes = [bins.shape for bins in pooled]
        top[0].value = torch.cat([bins.reshape(len(bins), -1) for bins in pooled], 1).view(top[0].shape)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if not propagate_down[0]:
            return
        rows = top[0].grad.reshape(top[0].shape[0], -1)
        shares = rows.split([prod(shape[1:]) for shape in self._shapes], 1)
        images = bottom[0].value
        gradients = [pool.backward(share.reshape(shape), images)
                     for pool, share, shape in zip(self._pools, shares, self._shapes)]
        bottom[0].grad = torch.stack(gradients).sum(0)


@register("Crop")
class Crop(Layer):
    """The first bottom cut to the size of the second."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        axis, offsets = crop_offsets(self.param.crop_param, bottom[0].shape)
        starts = (0,) * axis + offsets
        self._part = tuple(slice(start, start + size) for start, size in zip(starts, top[0].shape))

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        top[0].value = bottom[0].value[self._part].clone()

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if propagate_down[0]:
            gradient = torch.zeros_like(bottom[0].value)
            gradient[self._part] = top[0].grad
            bottom[0].grad = gradient


def _bins(method: int, image: Shape, level: int) -> Pool:
    kernel, pad, pooled = pyramid_level(level, image, method)
    return make_pool(method, Windows(image, kernel, kernel, pad, pooled, overhang=True))
