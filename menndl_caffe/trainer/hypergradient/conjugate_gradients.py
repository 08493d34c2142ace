"""Conjugate gradients (Hestenes and Stiefel 1952).

| symbol | here | meaning |
|---|---|---|
| A | `product` | a symmetric matrix, known by its products A v |
| d | `diagonal` | what is added to its diagonal, shape (n,) |
| b, q | `right`, `Solved.solution` | (A + diag(d)) q = b, shape (n,) |
| r | `residual` | b - (A + diag(d)) q, as the recursion (3) has it |
| p | `direction` | the direction of the next step |
| s | `curved` | (A + diag(d)) p |

    a = r'r / p's                    (1)   p's <= 0: the curvature is not positive, and q is not to be found so
    q <- q + a p                     (2)
    r <- r - a s                     (3)
    p <- r + p (r'r / r'r before)    (4)
"""
from __future__ import annotations

from typing import Callable, NamedTuple, Optional

import numpy as np


class Solved(NamedTuple):
    """A solution and how good it is."""

    solution: np.ndarray  # q, shape (n,); where the curvature was not positive, as it was before that
    residual: float  # |r| / |b|
    iterations: int  # products that were taken
    positive: bool  # whether the curvature was, along every direction p


def solve(product: Callable[[np.ndarray], np.ndarray], diagonal: np.ndarray, right: np.ndarray, tolerance: float,
          at_most: int, start: Optional[np.ndarray] = None) -> Solved:
    """q from q = 0, or from `start`, on until |r| <= tolerance |b|, in float64, with `at_most` products."""
    solution, residual, iterations = np.zeros(right.size), right.astype(np.float64), 0
    norm = float(np.linalg.norm(residual))
    if start is not None:
        solution, residual, iterations = start, residual - product(start) - diagonal * start, 1
    direction, square = residual, float(residual @ residual)
    while square > (tolerance * norm) ** 2 and iterations < at_most:
        curved = product(direction) + diagonal * direction
        iterations += 1
        curvature = float(direction @ curved)
        if not curvature > 0:
            return Solved(solution, np.sqrt(square) / norm, iterations, False)
        length = square / curvature
        solution = solution + length * direction
        residual = residual - length * curved
        before, square = square, float(residual @ residual)
        direction = residual + direction * (square / before)
    return Solved(solution, float(np.sqrt(square)) / norm if norm else 0.0, iterations, True)
