"""What every estimator gives, and what all of them ask of a net in hand."""
from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple

import numpy as np

from menndl_caffe.trainer.net_in_hand import VALIDATION, NetInHand


class Batches(NamedTuple):
    """How many there are."""

    train: int  # in an epoch
    validation: int  # in a test pass
    train_period: int  # after how many the images come again
    validation_period: int


Tested = Callable[[int], None]  # told the iterations that are done, after each: a test pass may be due


class Estimate(NamedTuple):
    """A hypergradient, and how far it may be trusted."""

    by_decay: np.ndarray  # dE/d decay of each weight, shape (n,)
    others: Dict[str, float]  # dE/d momentum and `lr LAYER[I]` (base_lr * lr_mult), where the method knows them
    how: Dict[str, Any]  # method, and what it measured: inner, residual, iterations, curvature ...
    distrust: str = ""  # why it may not be used; empty where it may


def validation_gradient(hand: NetInHand, batches: int) -> np.ndarray:
    """The gradient of E at the weights in hand: the mean over the batches, float64, shape (n,)."""
    total = np.zeros(hand.size)
    for number in range(batches):
        hand.show(VALIDATION, number)
        total += hand.gradient()[1]
    return total / batches
