"""Adam for hyper-parameters (Kingma and Ba 2015, algorithm 1, with their moments; without their epsilon, beside which
gradients of the logarithms of small decays would vanish).

| symbol | here | meaning |
|---|---|---|
| g | `gradient` | the gradient of this step, shape (m,) |
| m, v | `_mean`, `_square` | running means of g and g^2 |
| t | `_steps` | steps so far: 1 at the first |
"""
from __future__ import annotations

import numpy as np

BETA1, BETA2 = 0.9, 0.999


class Adam:
    """The step to be subtracted, about `rate` for each value."""

    def __init__(self, size: int, rate: float) -> None:
        self._mean, self._square, self._steps, self._rate = np.zeros(size), np.zeros(size), 0, rate

    def step(self, gradient: np.ndarray) -> np.ndarray:
        """The step for a gradient, shape (m,)."""
        self._steps += 1
        self._mean += (1 - BETA1) * (gradient - self._mean)
        self._square += (1 - BETA2) * (gradient ** 2 - self._square)
        length = np.sqrt(self._square / (1 - BETA2 ** self._steps))
        return self._rate * self._mean / (1 - BETA1 ** self._steps) / np.where(length > 0, length, 1)
