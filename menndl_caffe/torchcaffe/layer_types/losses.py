"""Losses between two blobs, and those of one label for each image.

Sources: `euclidean_loss_layer.cpp`, `contrastive_loss_layer.cpp`, `hinge_loss_layer.cpp`,
`multinomial_logistic_loss_layer.cpp`, `sigmoid_cross_entropy_loss_layer.cpp`.

Notation
--------
N           images: size of the first axis
w           weight of the loss: what the top's gradient holds
"""
from __future__ import annotations

from typing import Optional, Sequence, Tuple

import torch
from torch import Tensor

from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.layer import Blobs, Layer, register
from menndl_caffe.torchcaffe.layer_types.classification import (
    BATCH_SIZE,
    LEAST_PROBABILITY,
    ignored_label,
    labels_of,
    normalization_of,
    normalizer,
    refuse_labels,
)
from menndl_caffe.torchcaffe.numbers import real


@register("EuclideanLoss")
class EuclideanLoss(Layer):
    """Sum of squared differences / 2N."""

    def allows_force_backward(self, bottom: int) -> bool:
        return True

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        first, second = bottom
        self._difference = first.value - second.value.reshape(first.shape)
        top[0].value = self._difference.square().sum().div_(2 * first.shape[0])

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        for blob, wanted, sign in zip(bottom, propagate_down, (1, -1)):
            if wanted:
                factor = top[0].grad * sign / blob.shape[0]
                blob.grad = (self._difference * factor).reshape(blob.shape)


@register("ContrastiveLoss")
class ContrastiveLoss(Layer):
    """Pairs of vectors at distance d. Alike ones: d^2; others: max(margin - d, 0)^2; the sum / 2N.

    `legacy_version`: max(margin - d^2, 0).
    """

    def allows_force_backward(self, bottom: int) -> bool:
        return bottom != 2

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        param = self.param.contrastive_loss_param
        first, second = map(_by_image, bottom[:2])
        self._difference = first - second
        squares = self._difference.square().sum(1, keepdim=True)
        self._distance = squares if param.legacy_version else squares.sqrt()
        lacking = (param.margin - self._distance).clamp_min_(0)
        unlike = lacking if param.legacy_version else lacking.square()
        top[0].value = torch.where(_are_alike(bottom), squares, unlike).sum().div_(2 * len(first))

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        param, d = self.param.contrastive_loss_param, self._distance
        lacking, alike = param.margin - d, _are_alike(bottom)
        push = -torch.ones_like(d) if param.legacy_version else -lacking / (d + 1e-4)
        gradient = torch.where(alike, self._difference, push * self._difference)
        gradient.masked_fill_(~(alike | (lacking > 0)), 0)
        for blob, wanted, sign in zip(bottom, propagate_down, (1, -1)):
            if wanted:
                blob.grad = (gradient * (top[0].grad * sign / blob.shape[0])).view(blob.shape)


@register("HingeLoss")
class HingeLoss(Layer):
    """max(0, 1 - score) of the label, max(0, 1 + score) of other classes (0 for NaN), or their squares: the sum / N.

    As in Caffe, these margins are what the bottom's gradient holds between forward and backward.
    """

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        scores = _by_image(bottom[0])
        margins = torch.fmax(self._flipped(scores, bottom).add_(1), scores.new_zeros(()))
        costs = margins if self._is_l1() else margins.square()
        top[0].value = costs.sum().div_(len(scores))
        bottom[0].grad = margins.view(bottom[0].shape)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        refuse_labels(self, propagate_down)
        if propagate_down[0]:
            images = bottom[0].shape[0]
            margins = self._flipped(bottom[0].grad.reshape(images, -1), bottom)
            gradient = margins.sign_() if self._is_l1() else margins.mul_(2)
            bottom[0].grad = gradient.mul_(top[0].grad / images).view(bottom[0].shape)

    def _is_l1(self) -> bool:
        return bool(self.param.hinge_loss_param.norm == caffe_pb2.HingeLossParameter.L1)

    def _flipped(self, matrix: Tensor, bottom: Blobs) -> Tensor:
        """A copy with the sign changed at the labels."""
        label = _label_of_images(self, bottom)
        return matrix.scatter(1, label, -matrix.gather(1, label))


@register("MultinomialLogisticLoss")
class MultinomialLogisticLoss(Layer):
    """Mean of -log p of the labels, p being the bottom's probabilities and at least 1e-20."""

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        top[0].value = self._p(bottom, _label_of_images(self, bottom)).log().mean().neg_()

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        refuse_labels(self, propagate_down)
        if propagate_down[0]:
            images, label = bottom[0].shape[0], _label_of_images(self, bottom)
            gradient = torch.zeros_like(_by_image(bottom[0]))
            gradient.scatter_(1, label, -top[0].grad / images / self._p(bottom, label))
            bottom[0].grad = gradient.view(bottom[0].shape)

    @staticmethod
    def _p(bottom: Blobs, label: Tensor) -> Tensor:
        return _by_image(bottom[0]).gather(1, label).clamp_min_(LEAST_PROBABILITY)


@register("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(Layer):
    """-t log s - (1 - t) log(1 - s) of targets t and s = sigmoid of the scores, by default divided by N."""

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        x, param = bottom[0].value, self.param.loss_param
        target, ignored = self._target(bottom)
        self._sigmoid, positive = x.sigmoid(), real(x >= 0)
        losses = (1 + (x - 2 * x * positive).exp_()).log_() - x * (target - positive)
        if ignored is not None:
            losses.masked_fill_(ignored, 0)
        self._divisor = normalizer(normalization_of(param, BATCH_SIZE), len(x), bottom[0].count // len(x), ignored)
        top[0].value = losses.sum().div_(self._divisor)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        refuse_labels(self, propagate_down)
        if not propagate_down[0]:
            return
        target, ignored = self._target(bottom)
        gradient = self._sigmoid - target
        if ignored is not None:
            gradient.masked_fill_(ignored, 0)
        bottom[0].grad = gradient.mul_(top[0].grad / self._divisor)

    def _target(self, bottom: Blobs) -> Tuple[Tensor, Optional[Tensor]]:
        """The targets, and where they are ignored."""
        target, ignored = bottom[1].value.reshape(bottom[0].shape), ignored_label(self.param.loss_param)
        return target, None if ignored is None else target.long() == ignored


def _are_alike(bottom: Blobs) -> Tensor:
    """Whether the two of a pair belong together, n x 1."""
    return bottom[2].value.reshape(-1, 1)[:bottom[0].shape[0]].long() != 0


def _label_of_images(layer: Layer, bottom: Blobs) -> Tensor:
    """n x 1."""
    scores = _by_image(bottom[0])
    return labels_of(layer, bottom[1], (len(scores), 1), scores.shape[1])[0]


def _by_image(blob: Blob) -> Tensor:
    """A row for each image."""
    return blob.value.reshape(blob.shape[0], -1)
