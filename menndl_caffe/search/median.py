"""The median rule (Golovin et al. 2017, "Google Vizier", section 3.2.2).

| symbol | here | meaning |
|---|---|---|
| t | | the iteration at which it is decided |
| c(s) | `costs` | cost of the test pass at iteration s, the lower the better |
| m_j(t) | `_average` | running average of individual j: the mean of its c(s), s <= t |
| n | `least` | others that must have come as far before anybody is stopped |

Who is stopped (1): min_{s <= t} c(s) > median_j m_j(t), over all other individuals j that came to iteration t, if there
are n of them. An average over the whole curve lags behind its end, so that (1) is a mild rule.
"""
from __future__ import annotations

import statistics
from typing import Any, Dict, Iterator, Optional

from menndl_caffe.search import checkpoints
from menndl_caffe.search.checkpoints import Costs, rungs
from menndl_caffe.search.search import Problem, Wrong
from menndl_caffe.trial import Result, Trial


class Median:
    """The rule (rungs.Rule)."""

    def __init__(self, problem: Problem, least: int):
        self._objective, self._least = problem.objectives[0], least
        self._curves: Dict[Optional[int], Costs] = {}  # by the id of the individual's last trial

    def learn(self, trial: Trial, result: Result) -> None:
        """See Rule."""
        if not result.failed:
            self._curves.pop(trial.continues, None)
            self._curves[trial.id] = checkpoints.costs(result, self._objective)

    def goes_on(self, trial: Trial, result: Result) -> bool:
        """Equation (1)."""
        at = trial.until or trial.max_iter
        others = [_average(curve, at) for id, curve in self._curves.items()
                  if id != trial.id and curve[0][0] <= at <= curve[-1][0]]
        best = min(cost for _, cost in self._curves[trial.id])
        return len(others) < self._least or best <= statistics.median(others)


def _average(curve: Costs, at: int) -> float:
    """m_j(t)."""
    return statistics.fmean(cost for iteration, cost in curve if iteration <= at)


def make(problem: Problem, settings: Any) -> Median:
    """The rule of a MedianParameter."""
    return Median(problem, settings.least)


def check(settings: Any, max_iter: int) -> Iterator[Wrong]:
    """What is wrong with a MedianParameter."""
    if settings.least < 1:
        yield "least", settings.least, "1 or more"
    yield from checkpoints.check(settings, max_iter)


__all__ = ["Median", "check", "make", "rungs"]
