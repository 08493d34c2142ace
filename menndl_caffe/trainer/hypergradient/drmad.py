"""DRMAD: reverse mode along a straight line from the first weights to the last (Fu et al. 2016, "DrMAD: distilling
reverse-mode automatic differentiation for optimizing hyperparameters of deep neural networks"); memory O(n).

    w_t = w_0 + t / T (w_T - w_0)                           (1)

The recursion is in `reverse`. The way back multiplies by 1 - a_t H at weights where the training never was. Where that
is more than 1 it grows without bound: so the growth is measured, and beyond `GROWTH` the result may not be used.

Growth and the cosine between DRMAD's and UNROLLED's dE/dd, of 52 trainings (linear and TanH nets, 50 to 500 iterations,
momentum 0 to 0.95): up to 1.8 the cosine was 0.90 to 1.00, from 3.2 to 5.5 it was 0.75 to 0.86, from 6 on 0.59 or less.
Even where the direction is right the length is not: 0.5 to 1.1 of UNROLLED's.
"""
from __future__ import annotations

import numpy as np

from menndl_caffe.trainer.hypergradient.estimate import Estimate
from menndl_caffe.trainer.hypergradient.trust import check_reversible, estimate
from menndl_caffe.trainer.net_in_hand import NetInHand
from menndl_caffe.trainer.plain import Tested, advance

GROWTH = 2.0


def drmad(hand: NetInHand, batches: int, tested: Tested) -> Estimate:
    """Train from the weights in hand to max_iter, then go back along the line; as `unrolled`, but for decays alone."""
    check_reversible(hand)
    first = hand.take()
    tested(0)
    for iteration in range(hand.param.max_iter):
        advance(hand, iteration)
        tested(iteration + 1)
    found = estimate("DRMAD", hand, Line(first, hand.take(), hand.param.max_iter), batches)._replace(others={})
    growth = found.how["growth"]
    if not growth <= GROWTH:
        reason = f"on the way back along the line it grew {growth:.2g}-fold; expected {GROWTH:g} at most"
        return found._replace(distrust=reason)
    return found


class Line:
    """A straight path, at constant velocity."""

    def __init__(self, first: np.ndarray, last: np.ndarray, total: int):
        self._first, self._last, self._total = first.astype(float), last, total

    def weights(self, t: int) -> np.ndarray:
        """w_t."""
        if t == self._total:
            return self._last
        return self._first + t / self._total * (self._last - self._first)

    def velocity(self, t: int) -> np.ndarray:
        """v_t."""
        return (self._first - self._last) / self._total if t else np.zeros(len(self._first))
