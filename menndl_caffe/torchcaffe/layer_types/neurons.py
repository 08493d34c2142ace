"""Neurons: functions of each number by itself, most of which also work in place.

Sources: `neuron_layer.cpp`, and `absval_layer.cpp`, `bnll_layer.cpp`, `clip_layer.cpp`, …: a file for each type. In
place the bottom holds the output when the gradient is computed: Caffe's formulas read it as the input all the same, and
so do these.

Notation
--------
x, y        a bottom's and a top's numbers, y = f(x)
dy          gradient of the loss by y; the bottom's gradient is dy f'(x)
"""
from __future__ import annotations

from math import inf, log
from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.layer import Blobs, InputReader, Layer, register
from menndl_caffe.torchcaffe.numbers import are_dual, real

aten: Any = torch.ops.aten


class Neuron(Layer):
    """A layer of one function: its subclasses give `activate` and `gradient`, both of which make fresh tensors."""

    def activate(self, x: Tensor) -> Tensor:
        """y"""
        raise NotImplementedError

    def gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """dy f'(x)"""
        raise NotImplementedError

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        top[0].value = self.activate(bottom[0].value)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if propagate_down[0]:
            bottom[0].grad = self.gradient(top[0].grad, bottom[0].value, top[0].value)


@register("AbsVal")
class AbsVal(Neuron):
    """|x|, with gradient 0 at 0."""

    def activate(self, x: Tensor) -> Tensor:
        return x.abs()

    def gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return x.sign() * dy


@register("BNLL")
class BNLL(Neuron):
    """log(1 + e^x)"""

    def activate(self, x: Tensor) -> Tensor:
        return F.softplus(x)

    def gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return x.sigmoid() * dy


@register("Clip")
class Clip(Neuron):
    """x between min and max, min for NaN; gradient 1 from min to max, both included."""

    def activate(self, x: Tensor) -> Tensor:
        param = self.param.clip_param
        return torch.fmax(x.clamp_max(param.max), x.new_full((), param.min))

    def gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        param = self.param.clip_param
        return ((x >= param.min) & (x <= param.max)) * dy


@register("Dropout")
class Dropout(Layer):
    """x / (1 - dropout_ratio) where the mask lets it through, else 0; in phase TEST x itself, without a draw."""

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        super().setup(bottom, top)
        ratio = self.param.dropout_param.dropout_ratio
        self._is_active = self.phase == caffe_pb2.TRAIN
        self._kept = 1 - ratio
        self._scale = 1 / self._kept if self._kept else inf
        self._factors: Any = None

    @property
    def replayable(self) -> bool:
        """Not while it draws."""
        return not self._is_active

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        if self._is_active:
            shape = bottom[0].shape
            mask = torch.from_numpy(mode.generator().bernoulli(self._kept, bottom[0].count)).view(shape)
            room = self._factors if self._factors is not None and self._factors.shape == shape else None
            self._factors = torch.mul(mask.to(bottom[0].value.device), self._scale, out=room)
            x = bottom[0].own_value() if top[0] is bottom[0] else bottom[0].value
            top[0].value = torch.mul(x, self._factors, out=x if _in_place(bottom, top) else top[0].value_room(x))
        elif top[0] is not bottom[0]:
            top[0].value = bottom[0].value.clone()

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if not propagate_down[0]:
            return
        if self._is_active:
            dy = top[0].grad
            bottom[0].grad = torch.mul(dy, self._factors,
                                       out=dy if _in_place(bottom, top) else bottom[0].grad_room(dy))
        elif top[0] is not bottom[0]:
            bottom[0].grad = top[0].grad.clone()


@register("ELU")
class ELU(Neuron):
    """x, below 0 alpha (e^x - 1)"""

    def activate(self, x: Tensor) -> Tensor:
        return x.clamp_min(0) + self.param.elu_param.alpha * (x.clamp_max(0).exp() - 1)

    def gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return ((x > 0) + (self.param.elu_param.alpha + y) * (x <= 0)) * dy


@register("Exp")
class Exp(Neuron):
    """base^(shift + scale x); a base of -1 stands for e."""

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        super().setup(bottom, top)
        param = self.param.exp_param
        self._inner_scale = param.scale * _log_of(param.base)
        shift = torch.tensor(param.shift)
        self._outer_scale = float(shift.exp() if param.base == -1 else torch.pow(param.base, shift))

    def activate(self, x: Tensor) -> Tensor:
        return (x * self._inner_scale).exp_().mul_(self._outer_scale)

    def gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return y * dy * self._inner_scale


@register("Log")
class Log(Neuron):
    """Logarithm, of that base, of shift + scale x; a base of -1 stands for e."""

    def activate(self, x: Tensor) -> Tensor:
        param = self.param.log_param
        return _line(x, param).log_().mul_(1 / _log_of(param.base))

    def gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        param = self.param.log_param
        return _line(x, param).reciprocal_().mul_(param.scale / _log_of(param.base)).mul_(dy)


@register("Power")
class Power(Neuron):
    """(shift + scale x)^power. Where power or scale is 0, one number for all, of which NaN is no exception."""

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        super().setup(bottom, top)
        param = self.param.power_param
        self._slope = param.power * param.scale
        self._constant = float(torch.tensor(param.shift).pow(param.power))

    def activate(self, x: Tensor) -> Tensor:
        param = self.param.power_param
        if self._slope == 0:
            return torch.full_like(x, self._constant)
        line = _line(x, param)
        return line if param.power == 1 else line.pow_(param.power)

    def gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        param = self.param.power_param
        if self._slope == 0:
            return torch.zeros_like(dy)
        if param.power == 1:
            return dy * self._slope
        if param.power == 2:
            return _line(x, param).mul_(self._slope).mul_(dy)
        return (y / _line(x, param)).mul_(self._slope).mul_(dy)  # NaN, as Caffe's, where both are 0


@register("PReLU")
class PReLU(InputReader):
    """x, below 0 slope x: slopes of C channels, or a single one if `channel_shared`."""

    def fillers(self) -> Sequence[Any]:
        param = self.param.prelu_param
        return (param.filler if param.HasField("filler") else caffe_pb2.FillerParameter(type="constant", value=0.25),)

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        x = self.input_now(bottom, top)
        top[0].value = x.clamp_min(0).add_(x.clamp_max(0).mul_(self._slopes(x)))

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        x, dy, slopes = self.input_again(bottom), top[0].grad, self.blobs[0]
        if self.propagates_to[0]:
            by_slope = (dy * x).mul_(x <= 0)
            others = [axis for axis in range(x.dim()) if axis != 1 or not slopes.shape]
            slopes.grad += by_slope.sum(others)
        if propagate_down[0]:
            bottom[0].grad = ((x > 0) + self._slopes(x) * (x <= 0)).mul_(dy)

    def _slopes(self, x: Tensor) -> Tensor:
        """One for each number of x, by broadcasting."""
        slopes = self.blobs[0].value
        return slopes.view(-1, *[1] * (x.dim() - 2)) if self.blobs[0].shape else slopes


@register("ReLU")
class ReLU(Layer):
    """x, below 0 negative_slope x: NaN for -inf and a slope of 0, as 0 times infinity is."""

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        super().setup(bottom, top)
        self._slope = float(self.param.relu_param.negative_slope)

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        if _in_place(bottom, top):
            F.leaky_relu_(bottom[0].own_value(), self._slope)
        else:
            top[0].value = F.leaky_relu(bottom[0].value, self._slope)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if not propagate_down[0]:
            return
        x, dy, slope = bottom[0].value, top[0].grad, self._slope
        if slope != 0:
            bottom[0].grad = ((x > 0) + slope * (x <= 0)).mul_(dy)  # 0 where x is NaN
        elif _in_place(bottom, top):
            bottom[0].grad = aten.leaky_relu_backward.grad_input(dy, x, slope, False, grad_input=dy)
        else:
            bottom[0].grad = aten.leaky_relu_backward(dy, x, slope, False)


@register("Sigmoid")
class Sigmoid(Neuron):
    """1 / (1 + e^-x)"""

    def activate(self, x: Tensor) -> Tensor:
        return x.sigmoid()

    def gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return aten.sigmoid_backward(dy, y)


@register("Swish")
class Swish(Neuron):
    """x sigmoid(beta x)"""

    def activate(self, x: Tensor) -> Tensor:
        self._sigmoid = (x * self.param.swish_param.beta).sigmoid_()
        return x * self._sigmoid

    def gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        weighted = y * self.param.swish_param.beta
        return (weighted + self._sigmoid * (1 - weighted)).mul_(dy)


@register("TanH")
class TanH(Neuron):
    """Hyperbolic tangent."""

    def activate(self, x: Tensor) -> Tensor:
        return x.tanh()

    def gradient(self, dy: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return aten.tanh_backward(dy, y)


@register("Threshold")
class Threshold(Layer):
    """1 above the threshold, else 0; without a gradient."""

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        top[0].value = real(bottom[0].value > self.param.threshold_param.threshold)


def _in_place(bottom: Blobs, top: Blobs) -> bool:
    """Whether kernels may: those that do have no derivatives, or not all."""
    return top[0] is bottom[0] and not are_dual()


def _line(x: Tensor, param: Any) -> Tensor:
    """shift + scale x; of -0 without a shift it is -0."""
    line = x * param.scale
    return line.add_(param.shift) if param.shift else line


def _log_of(base: float) -> float:
    return 1.0 if base == -1 else log(base)
