"""Scores of classes: probabilities, accuracy, and the losses that compare them with labels place by place.

Sources: `softmax_layer.cpp`, `softmax_loss_layer.cpp`, `infogain_loss_layer.cpp`, `accuracy_layer.cpp`.

Notation
--------
place       one prediction: an index into all axes but that of the classes
p           probabilities: softmax of the scores over the classes
H           Infogain's matrix, classes x classes: row of the label, column of the predicted class
"""
from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any, Callable, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, Shape, axis_of
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.files import read_message
from menndl_caffe.torchcaffe.layer import Blobs, Layer, numbers_of, register
from menndl_caffe.torchcaffe.numbers import FLT_MIN, check_indices, real

aten: Any = torch.ops.aten
VALID, FULL = caffe_pb2.LossParameter.VALID, caffe_pb2.LossParameter.FULL
BATCH_SIZE = caffe_pb2.LossParameter.BATCH_SIZE
LEAST_PROBABILITY = 1e-20  # kLOG_THRESHOLD


def labels_of(layer: Layer, labels: Blob, shape: Shape, classes: int, ignored: Optional[int] = None
              ) -> Tuple[Tensor, Optional[Tensor]]:
    """The first labels, truncated to integers, in this shape, and where they are `ignored` (there they become 0).

    UserError, with layer and label, for one that is not a class.
    """
    numbers, mask = unchecked_labels(labels, shape, ignored)
    check_indices(numbers, classes, f"layer {layer.param.name}: label")
    return numbers, mask


def unchecked_labels(labels: Blob, shape: Shape, ignored: Optional[int]) -> Tuple[Tensor, Optional[Tensor]]:
    """The same, for `at_labels`."""
    numbers, count, mask = labels.value, prod(shape), None
    if labels.count != count:
        numbers = numbers.reshape(-1)[:count]
    numbers = numbers.reshape(shape).long()
    if ignored is not None:
        mask = numbers == ignored
        numbers = numbers.masked_fill(mask, 0)
    return numbers, mask


def at_labels(layer: Layer, kernel: Callable[..., Tensor], numbers: Tensor, axis: int, labels: Tensor,
              *rest: Tensor) -> Tensor:
    """`kernel(numbers, axis, labels, *rest)`; UserError, with layer and label, for one that is not a class.

    On a CPU the kernel itself looks whether they are, which costs nothing.
    """
    def check() -> None:
        check_indices(labels, numbers.shape[axis], f"layer {layer.param.name}: label")

    if labels.device.type != "cpu":
        check()
    try:
        return kernel(numbers, axis, labels, *rest)
    except RuntimeError:
        check()
        raise


def ignored_label(param: Any) -> Optional[int]:
    """The ignore_label of a LossParameter or an AccuracyParameter, None without."""
    return param.ignore_label if param.HasField("ignore_label") else None


def normalization_of(param: Any, default: int = VALID) -> int:
    """The mode by which a LossParameter divides; the older `normalize` counts where `normalization` is not given."""
    if param.HasField("normalization"):
        return int(param.normalization)
    if param.HasField("normalize"):
        return VALID if param.normalize else BATCH_SIZE
    return default


def normalizer(kind: int, outer: int, inner: int, ignored: Optional[Tensor]) -> Union[int, Tensor]:
    """What a loss over outer x inner places is divided by, at least 1 (`get_normalizer`)."""
    if kind == VALID and ignored is not None:
        return (~ignored).sum().clamp_min(1)
    return {VALID: outer * inner, FULL: outer * inner, BATCH_SIZE: outer}.get(kind, 1)


def refuse_labels(layer: Layer, propagate_down: Sequence[bool]) -> None:
    """ImpossibleNet where the gradient is wanted of anything but the first bottom."""
    if any(propagate_down[1:]):
        raise ImpossibleNet(f"{layer.type} has no gradient for its labels", layer.param.name)


@register("Softmax")
class Softmax(Layer):
    """Probabilities along `axis`."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        self._axis = axis_of(self.param.softmax_param.axis, bottom[0].shape)

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        top[0].value = bottom[0].value.softmax(self._axis)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if propagate_down[0]:
            y = top[0].value
            bottom[0].grad = aten._softmax_backward_data(top[0].grad, y, self._axis, y.dtype)


class Classifier(Layer):
    """Scores with the classes on one axis, and a label for every place."""

    def class_axis(self) -> int:
        """The setting that names the axis."""
        raise NotImplementedError

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        shape = bottom[0].shape
        self._axis = axis_of(self.class_axis(), shape)
        self._classes = shape[self._axis]
        self._places = shape[:self._axis] + (1,) + shape[self._axis + 1:]

    def _labels(self, bottom: Blobs, param: Any) -> Tuple[Tensor, Optional[Tensor]]:
        """Labels, which `at_labels` looks at, and where they are ignored, with a single class."""
        return unchecked_labels(bottom[1], self._places, ignored_label(param))

    def _normalizer(self, ignored: Optional[Tensor]) -> Union[int, Tensor]:
        kind = normalization_of(self.param.loss_param)
        return normalizer(kind, prod(self._places[:self._axis]), prod(self._places[self._axis:]), ignored)


@register("SoftmaxWithLoss")
class SoftmaxWithLoss(Classifier):
    """-log p of the labels, p being at least FLT_MIN: a hopeless place costs 87.3365."""

    def class_axis(self) -> int:
        return int(self.param.softmax_param.axis)

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        self._minus_one = torch.full(self._places, -1.0, device=mode.device())

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        self._probabilities = bottom[0].value.softmax(self._axis)
        label, ignored = self._labels(bottom, self.param.loss_param)
        logs = at_labels(self, torch.gather, self._probabilities, self._axis, label).clamp_min_(FLT_MIN).log_()
        if ignored is not None:
            logs.masked_fill_(ignored, 0)
        top[0].value = logs.sum().div_(-self._normalizer(ignored))

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        refuse_labels(self, propagate_down)
        if not propagate_down[0]:
            return
        label, ignored = self._labels(bottom, self.param.loss_param)
        gradient = at_labels(self, torch.scatter_add, self._probabilities, self._axis, label, self._minus_one)
        if ignored is not None:
            gradient.masked_fill_(ignored, 0)
        bottom[0].grad = gradient.mul_(top[0].grad / self._normalizer(ignored))


@register("InfogainLoss")
class InfogainLoss(Classifier):
    """-H[label] log p, p being at least 1e-20. H is the third bottom, or in the BlobProto file `source`."""

    def class_axis(self) -> int:
        return int(self.param.infogain_loss_param.axis)

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        super().setup(bottom, top)
        self._p = Blob()
        if len(bottom) == 2:
            source = self.param.infogain_loss_param.source
            self._h = numbers_of(read_message(Path(source), caffe_pb2.BlobProto))

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        if len(bottom) == 2:
            if self._h.numel() != self._classes**2:
                raise ImpossibleNet(f"the matrix in {self.param.infogain_loss_param.source} has {self._h.numel()} "
                                    f"numbers, not {self._classes} times {self._classes}")
            self._h = self._h.view(self._classes, self._classes)

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        self._p.reshape(*bottom[0].shape)
        self._p.value = bottom[0].value.softmax(self._axis)
        matrix = self._matrix(bottom)
        label, ignored = self._checked_labels(bottom)
        logs = self._p.value.movedim(self._axis, -1).clamp_min(LEAST_PROBABILITY).log_()
        gains = logs.mul_(matrix[label.squeeze(self._axis)]).sum(-1)
        if ignored is not None:
            gains.masked_fill_(ignored.squeeze(self._axis), 0)
        top[0].value = gains.sum().neg_().div_(self._normalizer(ignored))
        for blob in top[1:]:
            blob.share_data(self._p)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        refuse_labels(self, propagate_down)
        if not propagate_down[0]:
            return
        label, ignored = self._checked_labels(bottom)
        label, matrix = label.squeeze(self._axis), self._matrix(bottom)
        rows = matrix[label].movedim(-1, self._axis)
        sums = matrix.sum(1)[label].unsqueeze(self._axis)
        gradient = (self._p.value * sums).sub_(rows)
        if ignored is not None:
            gradient.masked_fill_(ignored, 0)
        bottom[0].grad = gradient.mul_(top[0].grad / self._normalizer(ignored))

    def _checked_labels(self, bottom: Blobs) -> Tuple[Tensor, Optional[Tensor]]:
        """An index that is negative would be taken from the end."""
        return labels_of(self, bottom[1], self._places, self._classes, ignored_label(self.param.loss_param))

    def _matrix(self, bottom: Blobs) -> Tensor:
        """H."""
        return bottom[2].value.reshape(self._classes, self._classes) if len(bottom) > 2 else self._h


@register("Accuracy")
class Accuracy(Classifier):
    """The share of places whose label is among the top_k; a second top: the same for each class, 0 for absent ones.

    As many scores as top_k, the label's own included, may be as large as the label's: equal ones count against it, and
    NaN counts as right.
    """

    def class_axis(self) -> int:
        return int(self.param.accuracy_param.axis)

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        param, scores = self.param.accuracy_param, bottom[0].value
        label, ignored = self._labels(bottom, param)
        as_large = (scores >= at_labels(self, torch.gather, scores, self._axis, label)).sum(self._axis, keepdim=True)
        counted = torch.ones_like(label, dtype=torch.bool) if ignored is None else ~ignored
        correct = (as_large <= param.top_k).logical_and_(counted)
        top[0].value = correct.sum() / counted.sum().clamp_min(1)
        if len(top) > 1:
            top[1].value = self._by_class(correct, label) / self._by_class(counted, label).clamp_min(1)

    def _by_class(self, places: Tensor, label: Tensor) -> Tensor:
        """How many of the places are True, for each class."""
        counts = torch.zeros(self._classes, device=places.device)
        return counts.index_add_(0, label.reshape(-1), real(places.reshape(-1)))
