"""Losses and accuracies: a prediction against its labels.

Sources: `loss_layer.cpp`, `softmax_loss_layer.cpp`, `accuracy_layer.cpp`, `infogain_loss_layer.cpp`,
`euclidean_loss_layer.cpp`, `sigmoid_cross_entropy_loss_layer.cpp`, `hinge_loss_layer.cpp`,
`multinomial_logistic_loss_layer.cpp`, `contrastive_loss_layer.cpp`.
"""
from __future__ import annotations

from math import prod

from menndl_caffe.nets.layer_rules.blob import SCALAR, ImpossibleNet, Message, Outcome, Shapes, axis_of, legacy, text

LOSS = Outcome((SCALAR,))


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
    _check_batch(bottoms)
    _check_labels(bottoms, layer.softmax_param.axis)
    if len(layer.top) > 1:
        raise ImpossibleNet("Caffe 1.0 aborts on a second top (the probabilities), whatever its loss_weight: "
                            "take a Softmax layer beside it")
    return LOSS


def infogain_loss(bottoms: Shapes, layer: Message) -> Outcome:
    """A second top holds the probabilities. The matrix H is the third bottom, or in a file that is not looked at."""
    scores = bottoms[0]
    _check_batch(bottoms)
    axis = _check_labels(bottoms, layer.infogain_loss_param.axis)
    if layer.loss_param.HasField("normalize"):
        raise ImpossibleNet("loss_param has normalize: InfogainLoss takes normalization only")
    if len(bottoms) == 2 and not layer.infogain_loss_param.HasField("source"):
        raise ImpossibleNet("needs its matrix: infogain_loss_param.source or a third bottom")
    if len(bottoms) == 3 and prod(bottoms[2]) != scores[axis] ** 2:
        raise ImpossibleNet(f"its matrix {text(bottoms[2])} must be {scores[axis]}x{scores[axis]}")
    return Outcome((SCALAR, scores)[:max(1, len(layer.top))])


def sigmoid_cross_entropy_loss(bottoms: Shapes, layer: Message) -> Outcome:
    """Two batches of equally many numbers."""
    _check_batch(bottoms)
    if prod(bottoms[0]) != prod(bottoms[1]):
        raise ImpossibleNet(f"its bottoms differ in size: {text(bottoms[0])} and {text(bottoms[1])}")
    return LOSS


def euclidean_loss(bottoms: Shapes, layer: Message) -> Outcome:
    """As `sigmoid_cross_entropy_loss`, of at most 4 axes."""
    legacy(bottoms[0])
    return sigmoid_cross_entropy_loss(bottoms, layer)


def hinge_loss(bottoms: Shapes, layer: Message) -> Outcome:
    """Scores and a class for each image."""
    _check_batch(bottoms)
    legacy(bottoms[0])
    return LOSS


def multinomial_logistic_loss(bottoms: Shapes, layer: Message) -> Outcome:
    """Probabilities and a class for each image."""
    _check_batch(bottoms)
    legacy(bottoms[0])
    if legacy(bottoms[1])[1:] != (1, 1, 1):
        raise ImpossibleNet(f"takes one label for each image, not {text(bottoms[1])}")
    return LOSS


def contrastive_loss(bottoms: Shapes, layer: Message) -> Outcome:
    """Two batches of vectors and, for each pair, whether they are alike."""
    first, second, alike = map(legacy, bottoms)
    _check_batch(bottoms)
    if first[1:] != second[1:] or first[2:] != (1, 1) or alike != (first[0], 1, 1, 1):
        raise ImpossibleNet(f"takes NxC, NxC and N, not {', '.join(map(text, bottoms))}")
    return LOSS


def _check_batch(bottoms: Shapes) -> None:
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
