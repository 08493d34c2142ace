"""What is raced on: a space, and what each genome of it costs.

| symbol | here | meaning |
|---|---|---|
| cost | `cost` | what a search is told, the lower the better: 1 - accuracy, or the logarithm of a loss; None: failed |
| regret | `regret` | what is reported: how far from the best there is, without noise where that is known |
"""
from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Callable, Optional

import numpy as np

from menndl_caffe.genome import Genome, SearchSpace


def hashed(*what: Any) -> int:
    """A whole number that is random in `what` and the same everywhere."""
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:4], "big")


def rng(*what: Any) -> np.random.RandomState:
    """Random numbers that belong to `what`."""
    return np.random.RandomState(hashed(*what))


@dataclass(frozen=True)
class Landscape:
    """One instance of a problem.

    The space's default is drawn by chance for each instance, so that a search that begins with it is told nothing.
    """

    name: str
    instance: int
    space: SearchSpace
    cost: Callable[[Genome], Optional[float]]
    regret: Callable[[Genome], float]  # of genomes that do not fail
    accuracy: bool = True  # whether costs are 1 - accuracy, whose worst is 1
    train_time: Optional[Callable[[Genome], float]] = None  # seconds

    def log_normal(self, genome: Genome) -> float:
        """A duration of mean 1 and sigma 0.8, which has nothing to do with the cost."""
        z = rng(self.name, self.instance, "duration", genome.values).standard_normal()
        return float(np.exp(0.8 * z - 0.8 ** 2 / 2))
