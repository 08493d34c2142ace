"""Whether those that train longer are better: then a search that learns from results as they come hears of them late.

| symbol | meaning |
|---|---|
| rho | rank correlation (Spearman 1904): Pearson's correlation of the ranks of training times and of fitnesses |
| n | individuals that were trained to their ends; a training's time is that of all its rungs |

Without any relation rho has mean 0 and standard deviation 1 / sqrt(n - 1).
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.report.summary import trainings

FEWEST = 10  # individuals of which a correlation is told


@dataclass(frozen=True)
class Slowness:
    """The rank correlation of training time and fitness."""

    rho: float
    individuals: int
    better: bool  # whether a long training is a sign of a good individual rather than of a bad one

    @property
    def is_clear(self) -> bool:
        """Whether chance alone would rarely, about once in twenty, give so much."""
        return abs(self.rho) > 2 / math.sqrt(self.individuals - 1)


def slowness(run: Run) -> Optional[Slowness]:
    """None where the individuals are fewer than FEWEST, or all alike."""
    trained = [(trial, result) for trial, result in run.record.individuals()
               if result.finished and result.same_as is None]
    seconds = np.array([sum(one.engine_seconds for one in trainings(run, trial)) for trial, _ in trained])
    fitness = np.array([result.fitness for _, result in trained])
    if len(trained) < FEWEST or np.ptp(seconds) == 0 or np.ptp(fitness) == 0:
        return None
    rho = float(np.corrcoef(ranks(seconds), ranks(fitness))[0, 1])
    return Slowness(rho, len(trained), (rho > 0) != run.fitness.minimize)


def ranks(values: Any) -> Any:
    """Of each value, shape (n,), its place in the order of all, from 1; equals have the mean of theirs."""
    _, value_of, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[value_of.ravel()]
