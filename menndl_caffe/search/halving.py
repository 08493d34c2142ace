"""Asynchronous successive halving (Li et al. 2018, "A System for Massively Parallel Hyperparameter Tuning"), in the
form in which nobody waits: who comes to a rung goes on, or is stopped, by those who were there so far.

| symbol | here | meaning |
|---|---|---|
| r | `first` | iterations of the first rung |
| eta | `factor` | of so many, one goes on |
| n | | who came to this rung so far, this one included |

Rungs are at r eta^k, k = 0, 1, ..., below max_iter (1). Who is among the ceil(n / eta) best of a rung goes on (2). So
the first one always does.
"""
from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from typing import Any, DefaultDict, Iterator, List, Optional

from menndl_caffe.search.search import Problem, Wrong
from menndl_caffe.trial import Result, Trial


class Halving:
    """The rule (rungs.Rule)."""

    def __init__(self, problem: Problem, factor: int):
        self._objective, self._factor = problem.objectives[0], factor
        self._at: DefaultDict[Optional[int], List[float]] = defaultdict(list)  # rung -> costs, ascending

    def learn(self, trial: Trial, result: Result) -> None:
        """See Rule."""
        if not result.failed:
            insort(self._at[trial.until], self._objective.cost(result.fitness))

    def goes_on(self, trial: Trial, result: Result) -> bool:
        """Equation (2)."""
        at, cost = self._at[trial.until], self._objective.cost(result.fitness)
        return bisect_left(at, cost) < -(-len(at) // self._factor)


def make(problem: Problem, settings: Any) -> Halving:
    """The rule of a HalvingParameter."""
    return Halving(problem, settings.factor)


def rungs(settings: Any, max_iter: int) -> List[int]:
    """Equation (1)."""
    found, rung = [], settings.first
    while rung < max_iter:
        found.append(rung)
        rung *= settings.factor
    return found


def check(settings: Any, max_iter: int) -> Iterator[Wrong]:
    """What is wrong with a HalvingParameter."""
    if not 1 <= settings.first < max_iter:
        yield "first", settings.first, f"1 to {max_iter - 1}, iterations before max_iter"
    if settings.factor < 2:
        yield "factor", settings.factor, "2 or more"
