"""Products of a curvature of the training loss with a vector, at the weights in hand, which are there again afterwards.

| symbol | here | meaning |
|---|---|---|
| w, n | `hand.take()` | the weights, shape (n,) |
| v | `direction` | what is multiplied, shape (n,) |
| L(w) | | the mean of the loss over some training batches, without decay |
| z(w), J | | what the loss layer judges, and its derivative dz/dw |
| H | `hessian_product` | the second derivative of L |
| G | `gauss_newton_product` | J' (d2L/dz2) J: H, as if z were linear in w; never negative if L is convex in z |
| c, e | `reach`, `step` | the step of the differences, relative to w, and as a factor of v |

    e = c |w| / |v|                                                  (1)
    H v = (grad L(w + e v) - grad L(w - e v)) / 2e                   (2)
    u   = (dL/dz (w + e v) - dL/dz (w - e v)) / 2e = (d2L/dz2) J v   (3)
    G v = J' u                                                       (4)

(2) needs a gradient without jumps. z has no jumps in any net, so (3) suffers little from kinks, but steps must be
shorter where there are many of them (Martens 2010, Deep learning via Hessian-free optimization, for both products).
"""
from __future__ import annotations

from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

from menndl_caffe.trainer.feeding import is_in
from menndl_caffe.trainer.hypergradient.estimate import mean_gradient
from menndl_caffe.trainer.net_in_hand import TRAIN, NetInHand

Numbers = Sequence[int]  # of training batches
Product = Callable[[NetInHand, Numbers, np.ndarray], np.ndarray]  # with a vector v, over these batches
COST = 2  # of either product, in gradients of the same batches: 1.4 to 2.8 were measured
EXACT_COST = 4  # of the torch engine's own: 3 to 5

# Random v would bear 5e-3, but v along which the loss is flat do not: conjugate gradients in 30,730 weights left a
# residual of 1e-3 with 1e-3, of 1e-2 with 3e-3 and of 1e-1 with 1e-2, and none of them saw it.
REACH, POOLED_REACH = 1e-3, 3e-4

# Layers whose derivative has no jumps, besides pooling by averages and sums and products; all others count as kinked.
SMOOTH = {"Input", "Split", "Silence", "Accuracy", "Dropout",
          "InnerProduct", "Convolution", "Deconvolution", "Embed", "Im2col",
          "Sigmoid", "TanH", "BNLL", "Swish", "Power", "Exp", "Log", "Softmax", "LRN", "MVN", "Scale", "Bias", "Concat",
          "Slice", "Flatten", "Reshape", "Tile", "Crop", "SoftmaxWithLoss", "EuclideanLoss",
          "SigmoidCrossEntropyLoss", "MultinomialLogisticLoss", "InfogainLoss"}


def kinked_layers(hand: NetInHand) -> List[str]:
    """Names of the layers of the training net, for which (2) may not be trusted."""
    return [layer.name for layer in _layers(hand) if not _is_smooth(layer)]


def hessian_product(hand: NetInHand, batches: Numbers, direction: np.ndarray,
                    reach: float = REACH) -> np.ndarray:
    """H v by (2), float64, shape (n,)."""
    step = _step(hand, direction, reach)
    if not step:
        return np.zeros(hand.size)
    up, down = _on_both_sides(hand, direction, step, lambda: mean_gradient(hand, TRAIN, batches))
    return np.asarray((up - down) / (2 * step))


def gauss_newton_product(hand: NetInHand, batches: Numbers, direction: np.ndarray) -> np.ndarray:
    """G v by (3) and (4), float64, shape (n,)."""
    step = _step(hand, direction, _gauss_newton_reach(hand))
    if not step:
        return np.zeros(hand.size)
    up, down = _on_both_sides(hand, direction, step, lambda: _output_gradients(hand, batches))
    total = np.zeros(hand.size)
    for number, above, below in zip(batches, up, down):
        hand.show(TRAIN, number)
        total += hand.pull((above - below) / (2 * step))
    return total / len(batches)


EXACT, HESSIAN, GAUSS_NEWTON = "EXACT", "HESSIAN", "GAUSS_NEWTON"  # `hand.exact_product`, and those here
PRODUCTS: Dict[str, Product] = {HESSIAN: hessian_product, GAUSS_NEWTON: gauss_newton_product}


def _gauss_newton_reach(hand: NetInHand) -> float:
    pooled = any(layer.type in ("Pooling", "SPP") and not _is_smooth(layer) for layer in _layers(hand))
    return POOLED_REACH if pooled else REACH


def _step(hand: NetInHand, direction: np.ndarray, reach: float) -> float:
    """e of (1), where w = 0 as if |w| were 1; 0 where v = 0."""
    length = float(np.linalg.norm(direction))
    size = float(np.linalg.norm(hand.take().astype(np.float64)))
    return reach * (size or 1.0) / length if length else 0.0


def _on_both_sides(hand: NetInHand, direction: np.ndarray, step: float, seen: Callable[[], Any]) -> Tuple[Any, Any]:
    """What is seen at w + e v and at w - e v."""
    weights = hand.take()
    try:
        hand.put(weights + step * direction)
        up = seen()
        hand.put(weights - step * direction)
        return up, seen()
    finally:
        hand.put(weights)


def _output_gradients(hand: NetInHand, batches: Numbers) -> List[np.ndarray]:
    found = []
    for number in batches:
        hand.show(TRAIN, number)
        found.append(hand.output_gradient().astype(np.float64))
    return found


def _layers(hand: NetInHand) -> List[Any]:
    return [layer for layer in hand.param.net_param.layer if is_in(layer, hand.engine.TRAIN)]


def _is_smooth(layer: Any) -> bool:
    if layer.type == "Pooling":
        return bool(layer.pooling_param.pool == layer.pooling_param.AVE)
    if layer.type == "Eltwise":
        return bool(layer.eltwise_param.operation != layer.eltwise_param.MAX)
    return layer.type in SMOOTH
