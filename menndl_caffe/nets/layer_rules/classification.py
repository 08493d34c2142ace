"""Scores of classes: probabilities, accuracy, and the losses that compare them with labels place by place.

Sources: `softmax_layer.cpp`, `loss_layer.cpp`, `softmax_loss_layer.cpp`, `infogain_loss_layer.cpp`,
`accuracy_layer.cpp`.
"""
from __future__ import annotations

from math import prod

from menndl_caffe.nets.layer_rules.blob import SCALAR, ImpossibleNet, Message, Outcome, Shapes, axis_of, text

LOSS = Outcome((SCALAR,))


def softmax(bottoms: Shapes, layer: Message) -> Outcome:
    """Probabilities along `axis`."""
    axis_of(layer.softmax_param.axis, bottoms[0])
    return Outcome(bottoms)


def accuracy(bottoms: Shapes, layer: Message) -> Outcome:
    """A scalar; a second top holds the accuracy of each class."""
    param = layer.accuracy_param
    scores, labels = bottoms
    axis = _check_labels(bottoms, param.axis)
    if param.top_k > prod(scores) // prod(labels):
        raise ImpossibleNet(f"top_k {param.top_k} is more than the {prod(scores) // prod(labels)} classes")
    return Outcome((SCALAR, (scores[axis],))[:len(layer.top)])


def softmax_with_loss(bottoms: Shapes, layer: Message) -> Outcome:
    """Scores and a class for each; axis of the classes in softmax_param."""
    check_batch(bottoms)
    _check_labels(bottoms, layer.softmax_param.axis)
    if len(layer.top) > 1:
        raise ImpossibleNet("Caffe 1.0 aborts on a second top (the probabilities), whatever its loss_weight: "
                            "take a Softmax layer beside it")
    return LOSS


def infogain_loss(bottoms: Shapes, layer: Message) -> Outcome:
    """A second top holds the probabilities. The matrix H is the third bottom, or in a file that is not looked at."""
    scores = bottoms[0]
    check_batch(bottoms)
    axis = _check_labels(bottoms, layer.infogain_loss_param.axis)
    if layer.loss_param.HasField("normalize"):
        raise ImpossibleNet("loss_param has normalize: InfogainLoss takes normalization only")
    if len(bottoms) == 2 and not layer.infogain_loss_param.HasField("source"):
        raise ImpossibleNet("needs its matrix: infogain_loss_param.source or a third bottom")
    if len(bottoms) == 3 and prod(bottoms[2]) != scores[axis] ** 2:
        raise ImpossibleNet(f"its matrix {text(bottoms[2])} must be {scores[axis]}x{scores[axis]}")
    return Outcome((SCALAR, scores)[:max(1, len(layer.top))])


def check_batch(bottoms: Shapes) -> None:
    """Refuse predictions and labels that are not of as many images."""
    if not (bottoms[0] and bottoms[1]) or bottoms[0][0] != bottoms[1][0]:
        raise ImpossibleNet(f"its bottoms differ in the first axis: {text(bottoms[0])} and {text(bottoms[1])}")


def _check_labels(bottoms: Shapes, axis: int) -> int:
    """The axis of the classes, once each prediction is known to have its label."""
    scores, labels = bottoms[:2]
    classes = axis_of(axis, scores)
    wanted = scores[:classes] + scores[classes + 1:]
    if prod(labels) != prod(wanted):
        raise ImpossibleNet(f"predictions {text(scores)} with classes on axis {classes} need {text(wanted)} labels, "
                            f"not {text(labels)}")
    return classes
