"""InnerProduct, BatchNorm, Scale, Bias and Parameter.

Sources: `inner_product_layer.cpp`, `batch_norm_layer.cpp`, `scale_layer.cpp`, `bias_layer.cpp`, `parameter_layer.hpp`.

Notation (BatchNorm)
--------------------
x, y        bottom and top, n x c x ...
M           elements of a channel in a batch
m, v        mean and variance of each channel: of the batch (v over M in y, over M - 1 in the sums), or S0/S2 and S1/S2
y           (x - m) / sqrt(v + eps)
S0, S1, S2  parameters: sums of m and v, and their count; S <- S moving_average_fraction + new, never divided
"""
from __future__ import annotations

from typing import Any, Sequence, Tuple

import torch

from menndl_caffe.layer_rules.blob import axis_of
from menndl_caffe.proto import caffe_pb2
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.layer import Blobs, Layer, register
from menndl_caffe.torchcaffe.numbers import factors

aten: Any = torch.ops.aten


@register("InnerProduct")
class InnerProduct(Layer):
    """Axes from `axis` on, flattened in C order, times the weight num_output x K (K x num_output if `transpose`)."""

    def fillers(self) -> Sequence[Any]:
        return self.param.inner_product_param.weight_filler, self.param.inner_product_param.bias_filler

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        rows, weight = factors(self._rows(bottom[0].value), self._weight())
        if len(self.blobs) > 1:
            product = torch.addmm(*factors(self.blobs[1].value), rows, weight.t())
        else:
            product = rows @ weight.t()
        top[0].value = product.float().view(top[0].shape)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        gradient = top[0].grad.reshape(-1, self.param.inner_product_param.num_output)
        dy, rows, weight = factors(gradient, self._rows(bottom[0].value), self._weight())
        if self.propagates_to[0]:
            product = rows.t() @ dy if self.param.inner_product_param.transpose else dy.t() @ rows
            self.blobs[0].grad += product
        if len(self.blobs) > 1 and self.propagates_to[1]:
            self.blobs[1].grad += gradient.sum(0)
        if propagate_down[0]:
            bottom[0].grad = (dy @ weight).float().view(bottom[0].shape)

    def _rows(self, tensor: torch.Tensor) -> torch.Tensor:
        axis = axis_of(self.param.inner_product_param.axis, tensor.shape)
        return tensor.flatten(axis).flatten(0, -2) if axis else tensor.reshape(1, -1)

    def _weight(self) -> torch.Tensor:
        weight = self.blobs[0].value
        return weight.t() if self.param.inner_product_param.transpose else weight


@register("BatchNorm")
class BatchNorm(Layer):
    """Each channel brought to mean 0 and variance 1, by the batch's statistics or by those summed up in training."""

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        super().setup(bottom, top)
        specs = self.param.param
        while len(specs) < len(self.blobs):
            specs.add(lr_mult=0)
        param = self.param.batch_norm_param
        test = self.phase == caffe_pb2.TEST
        self._is_global = param.use_global_stats if param.HasField("use_global_stats") else test

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        self._x = unchanging(bottom[0], top[0])
        if self._is_global:
            count = self.blobs[2].value
            scale = torch.where(count == 0, count, 1 / count)
            mean, variance = self.blobs[0].value * scale, self.blobs[1].value * scale
        else:
            mean, variance = (torch.empty_like(self.blobs[0].value) for _ in range(2))
        top[0].value, *self._statistics = self._normalized(mean, variance)

    def _normalized(self, mean: torch.Tensor, variance: torch.Tensor) -> Tuple[torch.Tensor, ...]:
        return aten.native_batch_norm(self._x, None, None, mean, variance, not self._is_global, 1.0,
                                      self.param.batch_norm_param.eps)
