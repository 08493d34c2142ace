"""UNROLLED: reverse mode through the recorded path of the training (Maclaurin et al. 2015); exact but for differences.

The recursion is in `reverse`. Both w_t and v_t are kept, 8 T n bytes in float32.
"""
from __future__ import annotations

import numpy as np

from menndl_caffe.trainer.hypergradient.estimate import Estimate
from menndl_caffe.trainer.hypergradient.trust import check_reversible, estimate
from menndl_caffe.trainer.net_in_hand import NetInHand
from menndl_caffe.trainer.plain import Tested, advance
from menndl_caffe.trainer.train import Unsuitable

MEMORY = 2 << 30  # bytes that a path may take


def unrolled(hand: NetInHand, batches: int, tested: Tested) -> Estimate:
    """Train from the weights in hand to max_iter, then go back; in the end the trained weights are in hand.

    `batches`: of the validation, those of E. `others` has momentum, and `lr NAME` of each blob, base_lr times lr_mult.
    Unsuitable where the solver, the net or the path's size is not for this; Diverged where the training is.
    """
    check_reversible(hand)
    total = hand.param.max_iter
    needed = 2 * total * hand.size * hand.take().itemsize
    if needed > MEMORY:
        raise Unsuitable(f"{total} iterations of {hand.size} weights take {needed / 2**30:.1f} GiB to record; expected "
                         f"{MEMORY / 2**30:g} GiB at most: a smaller max_iter or net, or another method")
    path = Recorded(hand)
    tested(0)
    for iteration in range(total):
        advance(hand, iteration)
        path.record(iteration + 1)
        tested(iteration + 1)
    return estimate("UNROLLED", hand, path, batches)


class Recorded:
    """A path as it was gone."""

    def __init__(self, hand: NetInHand):
        """With the weights in hand as w_0."""
        first = hand.take()
        self._weights = np.zeros((hand.param.max_iter + 1, hand.size), first.dtype)
        self._velocities = np.zeros_like(self._weights)
        self._weights[0] = first
        self._hand = hand

    def record(self, t: int) -> None:
        """What is in hand after t iterations."""
        self._weights[t], self._velocities[t] = self._hand.take(), self._hand.update()

    def weights(self, t: int) -> np.ndarray:
        """w_t."""
        return self._weights[t]

    def velocity(self, t: int) -> np.ndarray:
        """v_t."""
        return self._velocities[t]
