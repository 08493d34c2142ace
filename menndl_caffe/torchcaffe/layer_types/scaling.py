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

from math import prod
from typing import Any, Optional, Sequence, Tuple

import torch

from menndl_caffe.nets.layer_rules.blob import Shape, axis_of
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.layer import Blobs, InputReader, Layer, register
from menndl_caffe.torchcaffe.numbers import are_dual, factors, real

aten: Any = torch.ops.aten
Tensors = Tuple[torch.Tensor, torch.Tensor]


@register("InnerProduct")
class InnerProduct(Layer):
    """Axes from `axis` on, flattened in C order, times the weight num_output x K (K x num_output if `transpose`)."""

    def fillers(self) -> Sequence[Any]:
        return self.param.inner_product_param.weight_filler, self.param.inner_product_param.bias_filler

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        weight = self._weight()
        rows, columns = factors(bottom[0].value.reshape(-1, weight.shape[1]), weight.t())
        bias = factors(self.blobs[1].value)[0] if len(self.blobs) > 1 else None
        product = rows @ columns if bias is None else torch.addmm(bias, rows, columns)
        top[0].value = real(product).view(top[0].shape)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        matrix = self._weight()
        gradient = top[0].grad.reshape(-1, len(matrix))
        dy, rows, weight = factors(gradient, bottom[0].value.reshape(-1, matrix.shape[1]), matrix)
        if self.propagates_to[0]:
            transpose = self.param.inner_product_param.transpose
            self.blobs[0].add_grad_product(*((rows.t(), dy) if transpose else (dy.t(), rows)))
        if len(self.blobs) > 1 and self.propagates_to[1]:
            self.blobs[1].add_grad(gradient.sum(0))
        if propagate_down[0]:
            bottom[0].grad = real(dy @ weight).view(bottom[0].shape)

    def _weight(self) -> torch.Tensor:
        """num_output x K."""
        weight = self.blobs[0].value
        return weight.t() if self.param.inner_product_param.transpose else weight


@register("BatchNorm")
class BatchNorm(Layer):
    """Each channel brought to mean 0 and variance 1, by the batch's statistics or by those summed up in training."""

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        super().setup(bottom, top)
        while len(self.param.param) < len(self.blobs):
            self.param.param.add(lr_mult=0)
        param = self.param.batch_norm_param
        is_test = self.phase == caffe_pb2.TEST
        self._is_global = param.use_global_stats if param.HasField("use_global_stats") else is_test

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        self._x = bottom[0].value if self._is_global else bottom[0].kept_value()
        self._mean, variance = self._summed() if self._is_global else self._of_batch()
        self._deviation = variance.add_(self.param.batch_norm_param.eps).sqrt_()
        room = top[0].value_room(self._x)
        centred = torch.sub(self._x, self._by_channel(self._mean), out=room)
        top[0].value = centred.div_(self._by_channel(self._deviation))

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        # As in Caffe, whether wanted or not: the layer has nothing else to do here.
        if self._is_global:
            bottom[0].grad = top[0].grad / self._by_channel(self._deviation)
        else:
            bottom[0].grad = aten.native_batch_norm_backward(
                top[0].grad, self._x, None, None, None, self._mean, 1 / self._deviation, True, 0.0,
                [True, False, False])[0]

    def _summed(self) -> Tensors:
        """S0/S2 and S1/S2; 0 before anything has been summed."""
        means, variances, count = (blob.value for blob in self.blobs)
        scale = torch.where(count == 0, count, 1 / count)
        return means * scale, variances * scale

    def _of_batch(self) -> Tensors:
        """m and v of the batch, once they have joined the sums."""
        mean, variance = _moments(self._x)
        size = self._x.numel() // len(mean)
        terms = mean, variance * (size / max(1, size - 1)), torch.ones_like(self.blobs[2].value)
        for blob, term in zip(self.blobs, terms):
            blob.value.mul_(self.param.batch_norm_param.moving_average_fraction).add_(term)
        return mean, variance

    def _by_channel(self, numbers: torch.Tensor) -> torch.Tensor:
        return aligned(numbers, self._x, 1)


@register("Scale")
class Scale(InputReader):
    """Times a factor that spans some axes, plus a bias of its shape if `bias_term`; the factor may be a bottom."""

    def fillers(self) -> Sequence[Any]:
        param = self.param.scale_param
        ones = caffe_pb2.FillerParameter(value=1)
        own = [param.filler if param.HasField("filler") else ones] * (len(self.blobs) - param.bias_term)
        return [*own, param.bias_filler]

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        x = self.input_now(bottom, top)
        factor = self._aligned(self._factor(bottom), x)
        if self.param.scale_param.bias_term:
            top[0].value = torch.addcmul(self._aligned(self.blobs[-1], x), x, factor, out=self._room(top[0], x))
        else:
            top[0].value = torch.mul(x, factor, out=self._room(top[0], x))

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        dy, blob, is_own = top[0].grad, self._factor(bottom), len(bottom) == 1
        factor = self._aligned(blob, dy)
        if self.param.scale_param.bias_term and self.propagates_to[-1]:
            _hand(self.blobs[-1], dy, factor.shape, adding=True)
        if self.propagates_to[0] if is_own else propagate_down[1]:
            adding = is_own and not self._forgets(factor.shape, dy.shape)
            _hand(blob, dy * self.input_again(bottom), factor.shape, adding)
        if propagate_down[0]:
            bottom[0].grad = torch.mul(dy, factor, out=bottom[0].grad_room(dy))

    def _room(self, top: Blob, x: torch.Tensor) -> Optional[torch.Tensor]:
        return top.value_room(x) if self._kept_input is None else None

    def _factor(self, bottom: Blobs) -> Blob:
        return bottom[1] if len(bottom) > 1 else self.blobs[0]

    def _aligned(self, blob: Blob, like: torch.Tensor) -> torch.Tensor:
        return aligned(blob.value, like, self.param.scale_param.axis)

    @staticmethod
    def _forgets(factor: Shape, shape: Shape) -> bool:
        """Whether Caffe overwrites the factor's gradient where it should add to it: nothing comes before its axes."""
        before = next((index for index, size in enumerate(factor) if size > 1), len(factor))
        return prod(shape[:before]) == 1 and (prod(factor) > 1 or prod(shape) == 1)


@register("Bias")
class Bias(Layer):
    """Plus a term that spans some axes, which may be a bottom."""

    def fillers(self) -> Sequence[Any]:
        return [self.param.bias_param.filler]

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        x = bottom[0].value
        top[0].value = torch.add(x, self._aligned(bottom), out=top[0].value_room(x))

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        dy, bias = top[0].grad, self._bias(bottom)
        if self.propagates_to[0] if len(bottom) == 1 else propagate_down[1]:
            _hand(bias, dy, self._aligned(bottom).shape, adding=len(bottom) == 1)
        if propagate_down[0] and bottom[0] is not top[0]:
            bottom[0].grad = dy.clone()

    def _bias(self, bottom: Blobs) -> Blob:
        return bottom[1] if len(bottom) > 1 else self.blobs[0]

    def _aligned(self, bottom: Blobs) -> torch.Tensor:
        return aligned(self._bias(bottom).value, bottom[0].value, self.param.bias_param.axis)


@register("Parameter")
class Parameter(Layer):
    """A parameter as a top: one memory, so that what the layers above do to the top's gradient, they do to its own."""

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        top[0].share(self.blobs[0])

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        """Nothing is left to do."""


def aligned(term: torch.Tensor, like: torch.Tensor, axis: int) -> torch.Tensor:
    """A term that spans the axes of `like` from `axis` on, with axes of size 1 for all others."""
    start = axis_of(axis, like.shape) if term.dim() else 0
    return term.view([1] * start + list(term.shape) + [1] * (like.dim() - start - term.dim()))


def _moments(x: torch.Tensor) -> Tensors:
    """m, and v over M."""
    if are_dual():  # the fast kernel has no derivative
        variance, mean = torch.var_mean(x, [axis for axis in range(x.dim()) if axis != 1], correction=0)
        return mean, variance
    return aten.batch_norm_update_stats(x, None, None, 0.0)


def _hand(blob: Blob, gradients: torch.Tensor, shape: Shape, adding: bool) -> None:
    """Give the blob, `aligned` to `shape`, the sum of the gradients of where it went."""
    total = gradients.sum_to_size(shape).view(blob.shape)
    if adding:
        blob.grad += total
    else:
        blob.grad.copy_(total)  # a parameter's stays where it is, for passes that are replayed
