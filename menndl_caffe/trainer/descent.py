"""Decays that go down the hypergradient of whole trainings, one training after the other, within one trial.

| symbol | here | meaning |
|---|---|---|
| k | `step` | outer step, 0, 1, ... |
| d_i, z_j | `Decays` | decay of weight i, and what is learned of its group j, as in `adaptive` |
| dE/dd | `Estimate.by_decay` | the hypergradient, by one of the methods of `hypergradient` |

    dE/dz_j = sum of d_i dE/dd_i over the weights i of j       (1)
    z <- z - Adam's step with (1), rate 0.5                     (2)   within the bounds of `adaptive`

UNROLLED and DRMAD train anew in each step, from the same first weights. IMPLICIT, HOAG and CHOLESKY solve for weights,
in each step from those of the step before, and for q likewise (Pedregosa 2016), to a tolerance that is relative to |g|
at the first weights; HOAG's is max(1e-4, 1e-2 / 2^k).

A hypergradient that may not be trusted is not used: the descent ends where it is, and says why.
"""
from __future__ import annotations

from typing import Callable, NamedTuple, Optional

import numpy as np

from menndl_caffe.trainer.adam import Adam
from menndl_caffe.trainer.adaptive import HIGHEST, Decays
from menndl_caffe.trainer.groups import grouped
from menndl_caffe.trainer.hypergradient import lbfgs
from menndl_caffe.trainer.hypergradient.methods import ALONG_THE_PATH, Method, estimate
from menndl_caffe.trainer.learned import Learned, curve_point
from menndl_caffe.trainer.net_in_hand import NetInHand
from menndl_caffe.trainer.plain import Batches, check_plain, learning_rates

TOLERANCE, FIRST_TOLERANCE = 1e-4, 1e-2


class Settings(NamedTuple):
    """How a descent goes on."""

    method: str  # of hypergradient.methods
    groups: str  # which weights share a decay: PER_...
    steps: int = 8
    rate: float = 0.5  # Adam's, of log decay


def descend(make: Callable[[], NetInHand], batches: Batches, settings: Settings) -> Learned:
    """From the decays that the texts state. `make`: a net in hand as made (`own_decay`), the same each time.

    Unsuitable where the method, or learning decays at all, is not for such a net; Diverged where a training is.
    """
    hand = make()
    check_plain(hand)
    decays = Decays(hand, grouped(hand.parameters, settings.groups), HIGHEST / max(learning_rates(hand.param)))
    adam, curve = Adam(len(decays.logs), settings.rate), [curve_point(0, decays.of_groups)]
    reference = float(np.linalg.norm(lbfgs.criterion(hand, batches.train, decays.of_weights)(hand.take())[1]))
    gradients, distrust, q = 0, "", None  # type: int, str, Optional[np.ndarray]
    for step in range(settings.steps):
        if step and settings.method in ALONG_THE_PATH:
            hand = make()
        hand.decay = decays.of_weights
        found = estimate(_method(settings.method, step, reference, q), hand, batches, tested=lambda iteration: None)
        gradients += found.how["gradients"]
        distrust, q = found.distrust, found.solution
        if distrust:
            break
        decays.move(-adam.step(decays.gradient(found.by_decay)))
        curve.append(curve_point(step + 1, decays.of_groups))
    by = {"method": settings.method, "steps": len(curve) - 1, "gradients": gradients, "distrust": distrust}
    return Learned(decays.of_weights, decays.groups.names, decays.of_groups, curve, by=by)


def _method(name: str, step: int, reference: float, q: Optional[np.ndarray]) -> Method:
    first = FIRST_TOLERANCE * 0.5 ** step if name == "HOAG" else 0.0
    return Method(name, max(TOLERANCE, first), reference, q)
