"""Learning curves of simulated trainings, for searches whose trainings go from rung to rung.

| symbol | here | meaning |
|---|---|---|
| t | `shares` | share of the iterations, in [0, 1], at each test pass; the last one is 1 |
| y, y1 | `fitness` | fitness at t, and at the end |
| y0 | `start` | fitness at the beginning |
| tau | | how slow a training is: 0.1 exp(z), z standard normal |

Where curves are known, they are taken from there. Else they are made up (1): so one that ends well may begin badly, and
the order at a rung is not that at the end.

    y = y1 - (y1 - y0) (1 - t) / (1 + t / tau)                                                                      (1)
"""
from __future__ import annotations

import math
from typing import Sequence, Tuple

import numpy as np

TAU = 0.1
MADE_UP = f"curves made up: about half of the way after {100 * TAU:.0f}% of the iterations, sooner or later by chance"

Shares = Tuple[float, ...]
Curve = Tuple[float, ...]  # fitness at each of the shares


def shares_of(rungs: Sequence[int], passes: Sequence[int], max_iter: int) -> Shares:
    """Of the test passes, at each rung and at the end; none without rungs."""
    return tuple(at / max_iter for at in sorted({*passes, *rungs, max_iter})) if rungs else ()


def made_up(start: float, end: float, shares: Shares, rng: np.random.RandomState) -> Curve:
    """Equation (1)."""
    tau = TAU * math.exp(rng.standard_normal()) if shares else 1.0
    return tuple(end - (end - start) * (1 - t) / (1 + t / tau) for t in shares)


def known_at(points: Sequence[Tuple[float, float]], shares: Shares) -> Curve:
    """Of a known curve, points (t, y), between its test passes on a straight line."""
    t, y = zip(*points)
    return tuple(np.interp(shares, t, y).tolist())
