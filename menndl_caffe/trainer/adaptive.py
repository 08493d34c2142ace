"""T1-T2: one training that adapts its decays while it trains (Luketina et al. 2016, "Scalable gradient-based tuning of
continuous regularization hyperparameters"), and the plain training with what was learned.

| symbol | here | meaning |
|---|---|---|
| t, w_t | `iteration`, `weights` | iteration, and the weights before it, shape (n,) |
| d_i | `Groups.decay` | decay of weight i: s_i exp(z_j), where s_i is what the texts state and j the group of i |
| z_j | `Groups.logs` | what is learned, one number a group, 0 at first |
| a_t, m | `rates`, `hand.lr_mult` | learning rate of iteration t; lr_mult of each weight |
| G_t | | gradient of the loss of a validation batch at w_t, without decay |

A step of SGD without momentum is w_{t+1} = w_t - a_t m (g_t + d w_t), so greedily, with G_t at w_t as its authors do:

    dE/dd_i = -a_t m_i w_i G_i                              (1)
    dE/dz_j = sum of d_i dE/dd_i over the weights i of j    (2)
    z <- Adam's step with (2), rate 0.02 (Kingma & Ba 2015) (3)
    z_j such that 1e-8 <= d_i <= 0.1 / (m_i max a_t)        (4)

(1) is small where d is: so Adam, which looks at signs. (4) keeps SGD stable. A decay that is stated as 0 stays 0.
"""
from __future__ import annotations

from typing import Dict, List, NamedTuple, Tuple, Union

import numpy as np

from menndl_caffe.trainer.hypergradient.estimate import Tested
from menndl_caffe.trainer.net_in_hand import VALIDATION, NetInHand
from menndl_caffe.trainer.plain import advance, check_plain, learning_rates
from menndl_caffe.trainer.train import Unsuitable

PER_NET, PER_LAYER, PER_BLOB, PER_UNIT, PER_WEIGHT = "PER_NET", "PER_LAYER", "PER_BLOB", "PER_UNIT", "PER_WEIGHT"
LOWEST, HIGHEST = 1e-8, 0.1  # (4); the second over the learning rate
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
POINTS = 100  # of the curve, at most


class Settings(NamedTuple):
    """How decays are adapted."""

    groups: str  # which weights share a decay: PER_...
    every: int = 1  # iterations from one adaptation to the next
    rate: float = 0.02  # Adam's, of log decay


class Learned(NamedTuple):
    """What an adaptive training learned."""

    decay: np.ndarray  # of each weight, shape (n,), float64
    curve: List[Dict[str, Union[int, float, List[float]]]]  # iteration; geometric mean and QUANTILES over the groups


def adapt(hand: NetInHand, settings: Settings, tested: Tested) -> Learned:
    """Train a net in hand (`own_decay`) from its weights to max_iter, and its decays from those that the texts state.

    Adaptation k takes validation batch k. Solvers of any type, by (1) as SGD. Unsuitable as by `check_plain`, or where
    no decay is stated; Diverged where the training is.
    """
    check_plain(hand)
    rates, total = learning_rates(hand.param), hand.param.max_iter
    groups = Groups(hand, settings.groups, HIGHEST / max(rates))
    adam, curve = Adam(len(groups.logs), settings.rate), []
    tested(0)
    for iteration in range(total):
        if iteration % settings.every == 0:
            hand.show(VALIDATION, iteration // settings.every)
            by_decay = -rates[iteration] * hand.lr_mult * hand.take() * hand.gradient()[1]
            groups.move(adam.step(groups.gradient(by_decay)))
        advance(hand, iteration, groups.decay)
        if (iteration + 1) % -(-total // POINTS) == 0 or iteration + 1 == total:
            curve.append({"iteration": iteration + 1, **groups.distribution()})
        tested(iteration + 1)
    return Learned(groups.decay, curve)


def retrain(hand: NetInHand, decay: np.ndarray, tested: Tested) -> None:
    """The plain training with the decay of each weight, shape (n,), of a net in hand (`own_decay`) that is as made."""
    tested(0)
    for iteration in range(hand.param.max_iter):
        advance(hand, iteration, decay)
        tested(iteration + 1)


class Groups:
    """The decays, and which weights share one."""

    def __init__(self, hand: NetInHand, kind: str, highest: float):
        """`highest`: bound of decay * lr_mult."""
        stated = hand.decay
        self._decayed = np.flatnonzero(stated)
        if not len(self._decayed):
            raise Unsuitable("the texts state no decay; expected a positive weight_decay to start from")
        _, self._group = np.unique(labels(hand, kind)[self._decayed], return_inverse=True)
        self._size = hand.size
        self._stated = np.log(stated[self._decayed])
        count = np.bincount(self._group)
        self._mean = np.bincount(self._group, self._stated) / count
        self._low, self._high = np.full(len(count), -np.inf), np.full(len(count), np.inf)
        np.maximum.at(self._low, self._group, np.log(LOWEST) - self._stated)
        np.minimum.at(self._high, self._group, np.log(highest / hand.lr_mult[self._decayed]) - self._stated)
        self.logs = np.clip(np.zeros(len(count)), self._low, self._high)

    @property
    def decay(self) -> np.ndarray:
        """Of each weight, shape (n,)."""
        decay = np.zeros(self._size)
        decay[self._decayed] = np.exp(self._stated + self.logs[self._group])
        return decay

    def gradient(self, by_decay: np.ndarray) -> np.ndarray:
        """(2) from (1)."""
        return np.bincount(self._group, (self.decay * by_decay)[self._decayed])

    def move(self, step: np.ndarray) -> None:
        """(3), (4)."""
        self.logs = np.clip(self.logs + step, self._low, self._high)

    def distribution(self) -> Dict[str, Union[float, List[float]]]:
        """Of the groups' decays, each the geometric mean of its weights'."""
        logs = self._mean + self.logs
        return {"mean": float(np.exp(logs.mean())), "quantiles": np.exp(np.quantile(logs, QUANTILES)).tolist()}


class Adam:
    """Adam's steps downhill, with its usual moments; free of scale, since gradients of log decay are as small as 1e-12.
    """

    def __init__(self, size: int, rate: float, moments: Tuple[float, float] = (0.9, 0.999)):
        self._rate, self._moments, self._count = rate, moments, 0
        self._mean, self._square = np.zeros(size), np.zeros(size)

    def step(self, gradient: np.ndarray) -> np.ndarray:
        """What to add, of at most about `rate`."""
        first, second = self._moments
        self._count += 1
        self._mean += (1 - first) * (gradient - self._mean)
        self._square += (1 - second) * (gradient ** 2 - self._square)
        length = np.sqrt(self._square / (1 - second ** self._count))
        return -self._rate * self._mean / (1 - first ** self._count) / np.where(length > 0, length, 1)


def labels(hand: NetInHand, kind: str) -> np.ndarray:
    """The group of each weight, a number, shape (n,). A unit is an index of a blob's first axis."""
    layers = {name: number for number, name in enumerate(dict.fromkeys(each.layer for each in hand.parameters))}
    if kind == PER_NET:
        return np.zeros(hand.size, int)
    if kind == PER_LAYER:
        return hand.of_blobs([layers[each.layer] for each in hand.parameters])
    if kind == PER_BLOB:
        return hand.of_blobs(list(range(len(hand.parameters))))
    if kind == PER_UNIT:
        units = [np.repeat(np.arange(each.shape[0]), np.prod(each.shape[1:], dtype=int)) for each in hand.parameters]
        return np.concatenate([each.place.start + unit for each, unit in zip(hand.parameters, units)])
    return np.arange(hand.size)
