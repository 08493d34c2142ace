"""What every estimator gives, and what all of them ask of a net in hand."""
from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Sequence

import numpy as np

from menndl_caffe.trainer.net_in_hand import VALIDATION, NetInHand


class Estimate(NamedTuple):
    """A hypergradient, and how far it may be trusted."""

    by_decay: np.ndarray  # dE/d decay of each weight, shape (n,)
    others: Dict[str, float]  # dE/d momentum and `lr LAYER[I]` (base_lr * lr_mult), where the method knows them
    how: Dict[str, Any]  # method, and what it measured: inner, residual, iterations, curvature ...
    distrust: str = ""  # why it may not be used; empty where it may
    solution: Optional[np.ndarray] = None  # q of `implicit`, shape (n,): where to begin after a step of the decays


def validation_gradient(hand: NetInHand, batches: int) -> np.ndarray:
    """The gradient of E at the weights in hand: the mean over the batches, float64, shape (n,)."""
    return mean_gradient(hand, VALIDATION, range(batches))


def mean_gradient(hand: NetInHand, part: str, numbers: Sequence[int]) -> np.ndarray:
    """The gradient of a part's loss without decay: the mean over the batches of these numbers, float64, shape (n,)."""
    total = np.zeros(hand.size)
    for number in numbers:
        hand.show(part, number)
        total += hand.gradient()[1]
    return total / len(numbers)
