"""Losses between two blobs, and those of one label for each image.

Sources: `loss_layer.cpp`, `euclidean_loss_layer.cpp`, `sigmoid_cross_entropy_loss_layer.cpp`, `hinge_loss_layer.cpp`,
`multinomial_logistic_loss_layer.cpp`, `contrastive_loss_layer.cpp`.
"""
from __future__ import annotations

from math import prod

from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, Message, Outcome, Shapes, legacy, text
from menndl_caffe.nets.layer_rules.classification import LOSS, check_batch


def sigmoid_cross_entropy_loss(bottoms: Shapes, layer: Message) -> Outcome:
    """Two batches of equally many numbers."""
    check_batch(bottoms)
    if prod(bottoms[0]) != prod(bottoms[1]):
        raise ImpossibleNet(f"its bottoms differ in size: {text(bottoms[0])} and {text(bottoms[1])}")
    return LOSS


def euclidean_loss(bottoms: Shapes, layer: Message) -> Outcome:
    """As `sigmoid_cross_entropy_loss`, of at most 4 axes."""
    legacy(bottoms[0])
    return sigmoid_cross_entropy_loss(bottoms, layer)


def hinge_loss(bottoms: Shapes, layer: Message) -> Outcome:
    """Scores and a class for each image."""
    check_batch(bottoms)
    legacy(bottoms[0])
    return LOSS


def multinomial_logistic_loss(bottoms: Shapes, layer: Message) -> Outcome:
    """Probabilities and a class for each image."""
    check_batch(bottoms)
    legacy(bottoms[0])
    if legacy(bottoms[1])[1:] != (1, 1, 1):
        raise ImpossibleNet(f"takes one label for each image, not {text(bottoms[1])}")
    return LOSS


def contrastive_loss(bottoms: Shapes, layer: Message) -> Outcome:
    """Two batches of vectors and, for each pair, whether they are alike."""
    first, second, alike = map(legacy, bottoms)
    check_batch(bottoms)
    if first[1:] != second[1:] or first[2:] != (1, 1) or alike != (first[0], 1, 1, 1):
        raise ImpossibleNet(f"takes NxC, NxC and N, not {', '.join(map(text, bottoms))}")
    return LOSS
