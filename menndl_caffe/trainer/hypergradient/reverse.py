"""Back through the steps of SGD with momentum, from the last one to the first (Maclaurin et al. 2015, "Gradient-based
hyperparameter optimization through reversible learning", Algorithm 2, in Caffe's notation).

| symbol | here | meaning |
|---|---|---|
| t | | iteration, 0 .. T - 1 |
| w_t, v_t | `path.weights(t)`, `path.velocity(t)` | weights and velocity before iteration t, shape (n,); v_0 = 0 |
| g_t, H_t | | gradient and Hessian of L at w_t, of the training batch t, without decay |
| d, m | `hand.decay`, `hand.lr_mult` | decay and lr_mult of each weight, shape (n,) |
| a_t, b | `rates` | learning rate of iteration t; base_lr, to which every lr_policy is proportional |
| mu | `momentum` | momentum |
| E | | loss of the validation batches at w_T, without decay |
| W, V | `d_weights`, `d_velocity` | dE/dw and dE/dv, where v acts through the w that it makes, too |

The steps (sgd_solver.cpp):

    v_{t+1} = mu v_t + a_t m (g_t + d w_t)                  (1)
    w_{t+1} = w_t - v_{t+1}                                 (2)

Backwards from W = dE/dw_T, V = 0; for t = T - 1 .. 0:

    V <- V - W                                              (3)  by (2)
    dE/dd     += a_t m w_t V                                (4)  by (1)
    dE/db     += V . (v_{t+1} - mu v_t) / b                 (5)  by (1), whose last term is proportional to b
    dE/dm     += V (v_{t+1} - mu v_t) / m                   (6)  as (5)
    dE/dmu    += V . v_t                                    (7)  by (1)
    W <- W + a_t (H_t + d)(m V)                             (8)  by (1)
    V <- mu V                                               (9)  by (1)
"""
from __future__ import annotations

import functools
from typing import Callable, Dict, List, NamedTuple, Optional, Protocol

import numpy as np

from menndl_caffe.trainer.hypergradient.estimate import validation_gradient
from menndl_caffe.trainer.hypergradient.product import COST, EXACT_COST, hessian_product
from menndl_caffe.trainer.net_in_hand import TRAIN, NetInHand
from menndl_caffe.trainer.plain import learning_rates

HOPELESS = 1e12  # growth at which the way back is left: infinite weights may damage real Caffe's heap
CHECKS = 8  # iterations at which a product is taken with another step, too


class Path(Protocol):
    """Where a training went."""

    def weights(self, t: int) -> np.ndarray:
        """w_t, t = 0 .. T."""

    def velocity(self, t: int) -> np.ndarray:
        """v_t, t = 0 .. T."""


class Products(NamedTuple):
    """How H_t v is found, at the weights in hand, of iteration t and v."""

    product: Callable[[int, np.ndarray], np.ndarray]
    cost: int  # of one, in gradients of a batch
    other: Optional[Callable[[int, np.ndarray], np.ndarray]] = None  # another way to find it, by which it is checked


def differences(hand: NetInHand, c: float) -> Products:
    """By differences of gradients, of step c as `hessian_product` has it, checked with 3 c."""
    def product(t: int, v: np.ndarray, factor: float = 1.0) -> np.ndarray:
        return hessian_product(hand, [t], v, factor * c)

    return Products(product, COST, functools.partial(product, factor=3.0))


def exactly(hand: NetInHand) -> Products:
    """By the engine's own products."""
    def product(t: int, v: np.ndarray) -> np.ndarray:
        hand.show(TRAIN, t)
        return hand.exact_product(v)

    return Products(product, EXACT_COST)


class Reversed(NamedTuple):
    """What the way back gives."""

    by_decay: np.ndarray  # (4), shape (n,)
    by_base_lr: float  # (5)
    by_lr_mult: np.ndarray  # (6), shape (n,)
    by_momentum: float  # (7)
    growth: float  # (1 - mu) max |V| over the pass, relative to its first: of a W that stays what it was, 1 at most
    disagreement: float  # the largest |Hv - Hv the other way| / |Hv the other way| of some iterations; 0 without one
    gradients: int  # how many were computed on the way


def reverse(hand: NetInHand, path: Path, batches: int, products: Products) -> Reversed:
    """Back along a path that ends at the weights in hand, where it leaves them. `batches`: those of E."""
    param, decay, lr_mult = hand.param, hand.decay, hand.lr_mult
    rates = learning_rates(param)
    total = len(rates)
    d_weights, d_velocity = validation_gradient(hand, batches), np.zeros(hand.size)
    by_decay, by_rate, by_momentum = np.zeros(hand.size), np.zeros(hand.size), 0.0
    lengths: List[float] = []
    checked = np.linspace(0, total - 1, CHECKS).astype(int).tolist() if products.other else []
    disagreements: Dict[int, float] = dict.fromkeys(checked, 0.0)
    for t in reversed(range(total)):
        weights, velocity = path.weights(t).astype(float), path.velocity(t).astype(float)
        d_velocity -= d_weights
        lengths.append(float(np.linalg.norm(d_velocity)))
        if not lengths[-1] <= HOPELESS * lengths[0]:
            break
        by_decay += rates[t] * lr_mult * weights * d_velocity
        by_rate += d_velocity * (path.velocity(t + 1) - param.momentum * velocity)
        by_momentum += float(d_velocity @ velocity)
        direction = lr_mult * d_velocity
        hand.put(weights)
        product = products.product(t, direction)
        if products.other and t in disagreements:
            disagreements[t] = relative_difference(product, products.other(t, direction))
        d_weights += rates[t] * (product + decay * direction)
        d_velocity *= param.momentum
    hand.put(path.weights(total))
    return Reversed(by_decay, float(by_rate.sum()) / param.base_lr, by_rate / lr_mult, by_momentum,
                    (1 - param.momentum) * float(np.max(lengths)) / (lengths[0] or 1.0),
                    float(np.max([0.0, *disagreements.values()])),
                    batches + products.cost * (len(lengths) + len(disagreements)))


def relative_difference(one: np.ndarray, other: np.ndarray) -> float:
    """|one - other| / |other|."""
    return float(np.linalg.norm(one - other) / (np.linalg.norm(other) or 1.0))
