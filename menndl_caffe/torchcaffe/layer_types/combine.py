"""Layers that compare or combine the numbers of one blob or of several.

Sources: `argmax_layer.cpp`, `eltwise_layer.cpp`, `mvn_layer.cpp`, `reduction_layer.cpp`.

Notation
--------
x, y        a bottom's and a top's numbers
dy          gradient of the loss by y
"""
from __future__ import annotations

from typing import List, Optional, Sequence

import torch
from torch import Tensor

from menndl_caffe.nets.layer_rules.blob import axis_of
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe.layer import Blobs, Layer, register
from menndl_caffe.torchcaffe.numbers import real

Eltwise_, Reduction_ = caffe_pb2.EltwiseParameter, caffe_pb2.ReductionParameter


@register("ArgMax")
class ArgMax(Layer):
    """Places of the top_k largest numbers, of equal ones the last first.

    With `axis`: of each row on it, or with out_max_val the numbers. Without: of each image, N x 1 x top_k, or with
    out_max_val the places and the numbers, N x 2 x top_k.
    """

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        param, x = self.param.argmax_param, bottom[0].value
        if param.HasField("axis"):
            values, places = self._largest(x, axis_of(param.axis, bottom[0].shape))
            chosen = values if param.out_max_val else places
        else:
            values, places = self._largest(x.reshape(len(x), -1), 1)
            chosen = torch.stack([places, values], 1) if param.out_max_val else places
        top[0].value = chosen.reshape(top[0].shape)

    def _largest(self, x: Tensor, axis: int) -> List[Tensor]:
        """The numbers and their places, as floats."""
        values, order = x.flip(axis).sort(dim=axis, descending=True, stable=True)
        both = values, x.shape[axis] - 1 - order
        return [real(tensor.narrow(axis, 0, self.param.argmax_param.top_k)).contiguous() for tensor in both]


@register("Eltwise")
class Eltwise(Layer):
    """Sum, with coefficients, product or maximum of blobs of one shape."""

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        super().setup(bottom, top)
        self._coefficients = list(self.param.eltwise_param.coeff) or [1.0] * len(bottom)

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        operation = self.param.eltwise_param.operation
        combine = {Eltwise_.SUM: self._sum, Eltwise_.PROD: self._product, Eltwise_.MAX: self._maximum}[operation]
        values = [blob.value for blob in bottom]
        top[0].value = combine(values, top[0].value_room(values[0]))

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        operation = self.param.eltwise_param.operation
        for index, wanted in enumerate(propagate_down):
            if not wanted:
                continue
            if operation == Eltwise_.SUM:
                dy = top[0].grad
                gradient = torch.mul(dy, self._coefficients[index], out=bottom[index].grad_room(dy))
            elif operation == Eltwise_.PROD:
                gradient = self._others(index, bottom, top).mul_(top[0].grad)
            else:
                gradient = torch.where(self._winner == index, top[0].grad, 0.0)
            bottom[index].grad = gradient

    def _sum(self, x: List[Tensor], room: Optional[Tensor]) -> Tensor:
        c = self._coefficients
        total = torch.add(x[0] if c[0] == 1 else x[0] * c[0], x[1], alpha=c[1], out=room)
        for addend, coefficient in zip(x[2:], c[2:]):
            total.add_(addend, alpha=coefficient)
        return total

    def _product(self, x: List[Tensor], room: Optional[Tensor] = None) -> Tensor:
        product = torch.mul(x[0], x[1], out=room)
        for factor in x[2:]:
            product *= factor
        return product

    def _maximum(self, x: List[Tensor], room: Optional[Tensor]) -> Tensor:
        """Of equal ones among the first two the second wins, after that the earlier; so it goes with NaN too."""
        first_wins = x[0] > x[1]
        largest = torch.where(first_wins, x[0], x[1])
        self._winner = 1 - first_wins.int()
        for index, other in enumerate(x[2:], 2):
            wins = other > largest
            largest = torch.where(wins, other, largest)
            self._winner.masked_fill_(wins, index)
        return largest

    def _others(self, index: int, bottom: Blobs, top: Blobs) -> Tensor:
        """The product of all bottoms but one; unless stable_prod_grad, by division, and NaN where that one is 0."""
        if not self.param.eltwise_param.stable_prod_grad:
            return top[0].value / bottom[index].value
        others = [blob.value for place, blob in enumerate(bottom) if place != index]
        return self._product(others) if len(others) > 1 else others[0].clone()


@register("MVN")
class MVN(Layer):
    """x less its mean, and unless normalize_variance is false over its standard deviation plus eps.

    Of each channel of each image, or with across_channels of each image.
    """

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        rows = self._rows(bottom[0].value, top)
        centred = rows - rows.mean(1, keepdim=True)
        if self.param.mvn_param.normalize_variance:
            self._deviation = centred.square().mean(1, keepdim=True).sqrt_().add_(self.param.mvn_param.eps)
            centred /= self._deviation
        top[0].value = centred.view(top[0].shape)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if not propagate_down[0]:
            return
        dy = self._rows(top[0].grad, top)
        gradient = dy - dy.mean(1, keepdim=True)
        if self.param.mvn_param.normalize_variance:
            y = self._rows(top[0].value, top)
            gradient -= y * (y * dy).mean(1, keepdim=True)
            gradient /= self._deviation
        bottom[0].grad = gradient.view(bottom[0].shape)

    def _rows(self, x: Tensor, top: Blobs) -> Tensor:
        """What is normalised together as a row."""
        images, channels = top[0].shape[:2]
        return x.reshape(images if self.param.mvn_param.across_channels else images * channels, -1)


@register("Reduction")
class Reduction(Layer):
    """Sum, sum of absolute values or of squares, or mean over the axes from `axis` on, times coeff."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        self._row = bottom[0].count // top[0].count
        param = self.param.reduction_param
        self._coefficient = param.coeff / self._row if param.operation == Reduction_.MEAN else param.coeff

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        operation = self.param.reduction_param.operation
        rows = bottom[0].value.reshape(-1, self._row)
        if operation == Reduction_.ASUM:
            rows = rows.abs()
        elif operation == Reduction_.SUMSQ:
            rows = rows.square()
        top[0].value = rows.sum(1).mul_(self._coefficient).view(top[0].shape)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if not propagate_down[0]:
            return
        operation = self.param.reduction_param.operation
        factors = top[0].grad.reshape(-1, 1) * self._coefficient
        rows = bottom[0].value.reshape(-1, self._row)
        if operation == Reduction_.ASUM:
            gradient = rows.sign() * factors
        elif operation == Reduction_.SUMSQ:
            gradient = rows * (2 * factors)
        else:
            gradient = factors.expand_as(rows).contiguous()
        bottom[0].grad = gradient.view(bottom[0].shape)
