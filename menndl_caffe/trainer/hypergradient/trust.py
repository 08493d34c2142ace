"""What the way back gives, and how far it may be trusted.

Products by differences are wrong where the gradient jumps: within a step a ReLU net crosses kinks, and each jump is
divided by the step. Some products are taken with 3 c, too. Where they disagree by more than `AGREEMENT`, and wherever
the net has kinks, the whole way is gone once more, with 3 c: what counts is how far the hypergradient moves, its
`spread`, in each of its parts (all log decays together, base_lr, momentum). Measured against differences of whole
trainings in float64 (784-10, 784-50-10 and smaller nets, 20 to 200 iterations, learning rate 0.05 or 0.005, momentum 0
or 0.9; one seed):

- linear and TanH nets, 16 trainings: products disagree by 6e-5 to 3e-3; log decays err by 4e-8 to 4e-5;
- ReLU nets, 11 trainings: products disagree by 1.4 to 2.1. Where the spread was within 0.05 in all parts (5 trainings,
  momentum 0 or learning rate 0.005) each part errs by 0.05 at most; else the worst part errs by 0.09 to 7.

Where the engine has exact products (torch) they take the place of differences in nets with kinks: then the derivative
is that of the path between its kinks, and what the jumps add is left out. Against differences of whole trainings over
0.1 and 0.3 (a ReLU net and a small LeNet, 60 and 200 iterations, rates as above; 12 trainings, one seed) decays err by
0.12 at most, log learning rates come out up to 0.31 too small, one 0.09 too large, and every sign is right; by
differences of gradients the worst was five times too large.
"""
from __future__ import annotations

from typing import Any, Dict

import numpy as np

from menndl_caffe.trainer.hypergradient.estimate import Estimate
from menndl_caffe.trainer.hypergradient.product import EXACT, HESSIAN, kinked_layers
from menndl_caffe.trainer.hypergradient.reverse import (
    HOPELESS,
    Path,
    Reversed,
    differences,
    exactly,
    relative_difference,
    reverse,
)
from menndl_caffe.trainer.net_in_hand import NetInHand
from menndl_caffe.trainer.plain import check_plain
from menndl_caffe.trainer.train import Unsuitable

STEP = 1e-3  # c of the products
AGREEMENT = 0.05
SPREAD = 0.05


def check_reversible(hand: NetInHand) -> None:
    """Unsuitable for a solver or a net whose steps are not (1) and (2) of `reverse`."""
    check_plain(hand)
    if hand.param.type != "SGD":
        raise Unsuitable(f'the solver is of type "{hand.param.type}"; expected "SGD"')
    if hand.has_statistics:
        raise Unsuitable("the net has a BatchNorm layer, through whose running averages there is no way back; "
                         "expected none")


def estimate(method: str, hand: NetInHand, path: Path, batches: int) -> Estimate:
    """The hypergradient of a path that ends at the weights in hand, where it leaves them.

    `batches`: of the validation, those of E. `others` has momentum, and `lr NAME` of each blob, base_lr times lr_mult.
    """
    kinks = bool(kinked_layers(hand))
    exact = kinks and hand.has_exact_products
    back = reverse(hand, path, batches, exactly(hand) if exact else differences(hand, STEP))
    how: Dict[str, Any] = {"method": method, "product": EXACT if exact else HESSIAN, "growth": back.growth,
                           "disagreement": back.disagreement, "gradients": back.gradients, "kinks": kinks}
    distrust = ""
    if not back.growth <= HOPELESS * (1 - hand.param.momentum):
        distrust = f"the way back was left when it had grown {back.growth:.2g}-fold"
    elif not exact and (kinks or not back.disagreement <= AGREEMENT):
        again = reverse(hand, path, batches, differences(hand, 3 * STEP))
        how["gradients"] += again.gradients
        how["spread"] = spread(hand, back, again)
        part, worst = max(how["spread"].items(), key=lambda item: item[1])
        if not worst <= SPREAD:
            distrust = (f"with other steps of the Hessian products it changes by {worst:.2g} for {part}; expected "
                        f"{SPREAD:g} at most" + "; the net has kinks" * kinks)
    return Estimate(back.by_decay, _others(hand, back), how, distrust)


def spread(hand: NetInHand, one: Reversed, other: Reversed) -> Dict[str, float]:
    """By how much two ways back differ, relative to one: of all blobs' log decay together, of base_lr, of momentum."""
    def parts(back: Reversed) -> Dict[str, Any]:
        return {"decay": hand.by_blob(hand.decay * back.by_decay), "base_lr": [back.by_base_lr],
                "momentum": [back.by_momentum]}

    return {name: relative_difference(np.array(parts(other)[name]), np.array(value))
            for name, value in parts(one).items()}


def _others(hand: NetInHand, back: Reversed) -> Dict[str, float]:
    by_blob = zip(hand.parameters, hand.by_blob(back.by_lr_mult))
    return {"momentum": back.by_momentum,
            **{f"lr {parameter.name}": value / hand.param.base_lr for parameter, value in by_blob}}
