"""The inner solver: limited-memory BFGS (Nocedal 1980; Nocedal and Wright 2006, algorithm 7.4).

| symbol | here | meaning |
|---|---|---|
| w | `weights` | the weights, shape (n,), in the precision of the start |
| d | `decay` | the decay of each weight, shape (n,) |
| C(w) | `_Point.value` | the training criterion, the mean over the batches of L + sum_i d_i w_i^2 / 2 |
| g | `_Point.gradient` | its gradient, shape (n,) |
| s, y | `pairs` | differences of w and of g between points that followed each other |
| p | `_direction` | minus the approximate inverse Hessian times g |
| t | `length` | of the step |
| | `ratio` | |g| / |g at start|, or over what takes its place |

    C(w + t p) <= C(w) + 1e-4 t g'p                                              (1)   Armijo
    C(w + t p) <= C(w) + 1e-6 |C(w)|  and  g(w + t p)'p <= (2e-4 - 1) g'p        (2)   of a parabola the same

A step is halved until it meets (1) or (2). (2) goes by slopes, for the last steps, whose float32 losses do not tell
their values apart (Hager and Zhang 2005, approximate Wolfe conditions).
"""
from __future__ import annotations

import math
from collections import deque
from typing import Callable, Deque, NamedTuple, Optional, Tuple

import numpy as np

from menndl_caffe.trainer.net_in_hand import TRAIN, NetInHand
from menndl_caffe.trainer.train import Diverged

MEMORY, SUFFICIENT, ALIKE, HALVINGS = 20, 1e-4, 1e-6, 20
Criterion = Callable[[np.ndarray], Tuple[float, np.ndarray]]  # of w: C(w) and g
Pairs = Deque[Tuple[np.ndarray, np.ndarray]]


class Minimum(NamedTuple):
    """Where the solver ended."""

    weights: np.ndarray
    ratio: float  # |g| / |g at start|
    gradients: int  # of C that were taken


class _Point(NamedTuple):
    weights: np.ndarray
    value: float
    gradient: np.ndarray
    norm: float  # |g|


def criterion(hand: NetInHand, batches: int, decay: np.ndarray) -> Criterion:
    """C and g of the training batches 0, 1, ..., `batches` - 1. Diverged where a loss is not finite."""

    def evaluated(weights: np.ndarray) -> Tuple[float, np.ndarray]:
        hand.put(weights)
        wide = weights.astype(np.float64)
        value, total = float(decay @ wide ** 2) / 2, decay * wide
        for number in range(batches):
            hand.show(TRAIN, number)
            loss, gradient = hand.gradient()
            if not math.isfinite(loss):
                raise Diverged(f"training loss is {loss} on the way to the inner minimum")
            value, total = value + loss / batches, total + gradient.astype(np.float64) / batches
        return value, total

    return evaluated


def minimise(function: Criterion, start: np.ndarray, tolerance: float, at_most: int,
             reference: Optional[float] = None) -> Minimum:
    """From `start` until |g| <= tolerance |g at start|, with `at_most` gradients or as far as steps still descend.

    `reference` takes the place of |g at start|.
    """
    point, pairs, taken = _at(function, start), deque(maxlen=MEMORY), 1  # type: Tuple[_Point, Pairs, int]
    first = point.norm if reference is None else reference
    while point.norm > tolerance * first and taken < at_most:
        reached, evaluations = _search(function, point, _direction(point.gradient, pairs), at_most - taken)
        taken += evaluations
        if reached is None and not pairs:
            break
        if reached is None:
            pairs.clear()  # once more, down the gradient
            continue
        _remember(pairs, point, reached)
        point = reached
    return Minimum(point.weights, point.norm / first if first else 0.0, taken)


def _at(function: Criterion, weights: np.ndarray) -> _Point:
    value, gradient = function(weights)
    return _Point(weights, value, gradient, float(np.linalg.norm(gradient)))


def _search(function: Criterion, point: _Point, direction: np.ndarray, at_most: int) -> Tuple[Optional[_Point], int]:
    """The first point of the halved steps that meets (1) or (2), if any, and how many were looked at."""
    slope, length = float(point.gradient @ direction), 1.0
    tries = min(HALVINGS, at_most)
    for number in range(1, tries + 1):
        # A net's weights are float32: so are those at which C is known, and the differences between them.
        found = _at(function, (point.weights + length * direction).astype(point.weights.dtype))
        if (found.value <= point.value + SUFFICIENT * length * slope
                or found.value <= point.value + ALIKE * abs(point.value)
                and found.gradient @ direction <= (2 * SUFFICIENT - 1) * slope):
            return found, number
        length /= 2
    return None, tries


def _remember(pairs: Pairs, old: _Point, new: _Point) -> None:
    step, change = new.weights.astype(np.float64) - old.weights, new.gradient - old.gradient
    if step @ change > 1e-10 * np.linalg.norm(step) * np.linalg.norm(change):  # else the Hessian would not be positive
        pairs.append((step, change))


def _direction(gradient: np.ndarray, pairs: Pairs) -> np.ndarray:
    """p by the two loops; without pairs a step down the gradient, no longer than 1."""
    if not pairs:
        return np.asarray(-gradient / max(1.0, float(np.linalg.norm(gradient))))
    left, parts = -gradient, []
    for step, change in reversed(pairs):
        part = (step @ left) / (step @ change)
        parts.append(part)
        left = left - part * change
    step, change = pairs[-1]
    left = left * ((step @ change) / (change @ change))
    for (step, change), part in zip(pairs, reversed(parts)):
        left = left + (part - (change @ left) / (step @ change)) * step
    return left
