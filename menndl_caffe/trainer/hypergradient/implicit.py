"""IMPLICIT and HOAG: the hypergradient through the optimality condition (Bengio 2000; Pedregosa 2016).

| symbol | here | meaning |
|---|---|---|
| w | `Minimum.weights` | the weights where the inner solver ended, shape (n,) |
| d, D | `decay` | the decay of each weight, shape (n,), and the matrix with d on its diagonal |
| C(w) | | the training criterion L(w) + w'D w / 2 |
| A | `product` | the second derivative H of L at w, or its Gauss-Newton part G |
| E(w) | | the loss of the validation batches |
| q | `Solved.solution` | shape (n,) |

    grad L(w) + D w = 0            (1)   w is a minimum of C, up to |g| <= tolerance |g at start|
    (H + D) dw/dd_i = -w_i e_i     (2)   (1), differentiated
    (A + D) q = grad E(w)          (3)   by conjugate gradients, up to the same tolerance
    dE/dd_i = -q_i w_i             (4)   (2) and (3)

HOAG is the same with a tolerance that changes from one outer step to the next (his epsilon_k). H is exact, but where
the net has kinks its products by differences are noise, and short of the minimum it may have negative curvature; then
G takes its place, which is biased where z is far from linear in w: by 20 % for nets with one hidden layer.
"""
from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

import numpy as np

from menndl_caffe.trainer.hypergradient import conjugate_gradients, lbfgs
from menndl_caffe.trainer.hypergradient.conjugate_gradients import Solved
from menndl_caffe.trainer.hypergradient.estimate import Estimate, validation_gradient
from menndl_caffe.trainer.hypergradient.product import COST, GAUSS_NEWTON, HESSIAN, PRODUCTS, kinked_layers
from menndl_caffe.trainer.net_in_hand import NetInHand
from menndl_caffe.trainer.train import Unsuitable


class Settings(NamedTuple):
    """What an estimate is made of."""

    method: str  # IMPLICIT or HOAG: only a name here
    tolerance: float  # of (1) and (3), in (0, 1)
    train_batches: int
    validation_batches: int
    reference: Optional[float] = None  # the |g| that (1) is relative to; None: that at the weights in hand
    start: Optional[np.ndarray] = None  # q to begin with; None: 0
    inner_gradients: int = 500  # at most, of C
    iterations: int = 200  # at most, of conjugate gradients


def estimate(hand: NetInHand, settings: Settings) -> Estimate:
    """The hypergradient at the minimum of C, from the weights in hand on, which end there.

    Unsuitable where C is no fixed function of w, or has no decay.
    """
    check_fixed(hand)
    decay = hand.decay
    if not decay.any():
        raise Unsuitable("every blob's decay is 0, weight_decay times decay_mult; expected some, so that there is a "
                         "minimum")
    function = lbfgs.criterion(hand, settings.train_batches, decay)
    inner = lbfgs.minimise(function, hand.take(), settings.tolerance, settings.inner_gradients, settings.reference)
    hand.put(inner.weights)
    right = validation_gradient(hand, settings.validation_batches)
    name, solved, why, products = _solved(hand, settings, decay, right)
    spent = settings.train_batches * (inner.gradients + COST * products) + settings.validation_batches
    how = {"method": settings.method, "product": name, "why": why, "inner": inner.ratio, "residual": solved.residual,
           "iterations": solved.iterations, "curvature": "positive" if solved.positive else "negative",
           "gradients": spent}
    distrust = _distrust(inner.ratio, solved, settings)
    return Estimate(-solved.solution * inner.weights, {}, how, distrust, solved.solution)


def check_fixed(hand: NetInHand) -> None:
    """Unsuitable where a pass over the same batch at the same weights gives another loss, or moves more than w."""
    if hand.is_random:
        raise Unsuitable("the training net is random (Dropout, or images that are mirrored or cropped), so its loss "
                         "has no minimum to differentiate; expected a net that is the same function in each pass")
    if hand.has_statistics:
        raise Unsuitable("the net has statistics of its batches (BatchNorm), which move in each pass; expected a net "
                         "whose only state are learned weights")


def _solved(hand: NetInHand, settings: Settings, decay: np.ndarray,
            right: np.ndarray) -> Tuple[str, Solved, str, int]:
    """(3) with the better product that serves: its name, the solution, why not H, and how many products were taken."""

    def by(name: str) -> Solved:
        def product(direction: np.ndarray) -> np.ndarray:
            return PRODUCTS[name](hand, range(settings.train_batches), direction)

        return conjugate_gradients.solve(product, decay, right, settings.tolerance, settings.iterations, settings.start)

    kinked = kinked_layers(hand)
    if kinked:
        solved = by(GAUSS_NEWTON)
        return GAUSS_NEWTON, solved, f"kinks in {', '.join(kinked)}", solved.iterations
    exact = by(HESSIAN)
    if exact.positive:
        return HESSIAN, exact, "", exact.iterations
    solved = by(GAUSS_NEWTON)
    return GAUSS_NEWTON, solved, "negative curvature of the Hessian", exact.iterations + solved.iterations


def _distrust(inner: float, solved: Solved, settings: Settings) -> str:
    allowed = settings.tolerance
    if not inner <= allowed:
        return f"the inner solver reached {inner:.2g} of the gradient at the start; expected {allowed:.2g}"
    if not solved.positive:
        return "negative curvature: no minimum of the training criterion"
    if not solved.residual <= allowed:
        return f"conjugate gradients reached a residual of {solved.residual:.2g}; expected {allowed:.2g}"
    return ""
