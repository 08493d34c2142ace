"""T1-T2: one training that adapts its decays while it trains (Luketina et al. 2016, "Scalable gradient-based tuning of
continuous regularization hyperparameters").

| symbol | here | meaning |
|---|---|---|
| t, w_t | `iteration`, `weights` | iteration, and the weights before it, shape (n,) |
| d_i | `Decays.of_weights` | decay of weight i: s_i exp(z_j), where s_i is what the texts state and j the group of i |
| z_j | `Decays.logs` | what is learned, one number a group, 0 at first |
| a_t, m | `rates`, `hand.lr_mult` | learning rate of iteration t; lr_mult of each weight |
| G_t | | gradient of the loss of a validation batch at w_t, without decay |

A step of SGD without momentum is w_{t+1} = w_t - a_t m (g_t + d w_t), so greedily, with G_t at w_t as its authors do:

    dE/dd_i = -a_t m_i w_i G_i                              (1)
    dE/dz_j = sum of d_i dE/dd_i over the weights i of j    (2)
    z <- z - Adam's step with (2), rate 0.02                (3)
    z_j such that 1e-8 <= d_i <= 0.1 / (m_i max a_t)        (4)

(1) is small where d is: so Adam, which looks at signs. (4) keeps SGD stable. A decay that is stated as 0 stays 0.
"""
from __future__ import annotations

from typing import List, NamedTuple

import numpy as np

from menndl_caffe.trainer.adam import Adam
from menndl_caffe.trainer.groups import NO_GROUP, Groups, grouped
from menndl_caffe.trainer.learned import POINTS, CurvePoint, Learned, curve_point
from menndl_caffe.trainer.net_in_hand import VALIDATION, NetInHand
from menndl_caffe.trainer.plain import advance, check_plain, learning_rates

LOWEST, HIGHEST = 1e-8, 0.1  # (4); the second over the learning rate


class Settings(NamedTuple):
    """How decays are adapted."""

    groups: str  # which weights share a decay: PER_...
    every: int = 1  # iterations from one adaptation to the next
    rate: float = 0.02  # Adam's, of log decay


def adapt(hand: NetInHand, settings: Settings) -> Learned:
    """Train a net in hand (`own_decay`) from its weights to max_iter, and its decays from those that the texts state.

    Adaptation k takes validation batch k. Solvers of any type, by (1) as SGD. Unsuitable as by `check_plain`, or where
    no decay is stated; Diverged where the training is.
    """
    check_plain(hand)
    rates, total = learning_rates(hand.param), hand.param.max_iter
    decays = Decays(hand, grouped(hand.parameters, settings.groups), HIGHEST / max(rates))
    adam = Adam(len(decays.logs), settings.rate)
    curve: List[CurvePoint] = []
    for iteration in range(total):
        if iteration % settings.every == 0:
            hand.show(VALIDATION, iteration // settings.every)
            by_decay = -rates[iteration] * hand.lr_mult * hand.take() * hand.gradient()[1]
            decays.move(-adam.step(decays.gradient(by_decay)))
            hand.decay = decays.of_weights
        advance(hand, iteration)
        if (iteration + 1) % -(-total // POINTS) == 0 or iteration + 1 == total:
            curve.append(curve_point(iteration + 1, decays.of_groups))
    return Learned(decays.of_weights, decays.groups.names, decays.of_groups, curve)


class Decays:
    """What the groups' decays are."""

    def __init__(self, hand: NetInHand, groups: Groups, highest: float):
        """`highest`: bound of decay * lr_mult."""
        self.groups, self._stated = groups, hand.decay
        decayed = groups.of_weight != NO_GROUP
        group, stated, count = groups.of_weight[decayed], np.log(self._stated[decayed]), len(groups.names)
        self._mean = np.bincount(group, stated) / np.bincount(group)
        self._low, self._high = np.full(count, -np.inf), np.full(count, np.inf)
        np.maximum.at(self._low, group, np.log(LOWEST) - stated)
        np.minimum.at(self._high, group, np.log(highest / hand.lr_mult[decayed]) - stated)
        self.logs = np.clip(np.zeros(count), self._low, self._high)

    @property
    def of_weights(self) -> np.ndarray:
        """Of each weight, shape (n,)."""
        return self._stated * np.exp(self.groups.spread(self.logs))

    @property
    def of_groups(self) -> np.ndarray:
        """Of each group, the geometric mean of its weights', shape (m,)."""
        return np.exp(self._mean + self.logs)

    def gradient(self, by_decay: np.ndarray) -> np.ndarray:
        """(2) from (1)."""
        return self.groups.sums(self.of_weights * by_decay)

    def move(self, step: np.ndarray) -> None:
        """(3), (4)."""
        self.logs = np.clip(self.logs + step, self._low, self._high)
