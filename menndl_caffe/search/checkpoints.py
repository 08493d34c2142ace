"""What rules have in common that look at learning curves: when they decide, and how they read a curve."""
from __future__ import annotations

from typing import Any, Iterator, List, Tuple

from menndl_caffe.objective import LOSS, Objective
from menndl_caffe.search.search import Wrong
from menndl_caffe.trial import Result

Costs = List[Tuple[int, float]]  # iteration, cost of the test pass there: the lower, the better


def rungs(settings: Any, max_iter: int) -> List[int]:
    """The iterations at which it is decided: `at`, or a quarter, a half and three quarters of max_iter, rounded up."""
    return list(settings.at) or sorted({-(-max_iter * k // 4) for k in (1, 2, 3)} - {max_iter})


def check(settings: Any, max_iter: int, first: int = 1) -> Iterator[Wrong]:
    """What is wrong with `at`; nothing is decided before iteration `first`."""
    at = list(settings.at)
    if any(not first <= one < max_iter for one in at) or at != sorted(set(at)):
        why = ", a quarter of max_iter," if first > 1 else ""
        yield "at", ", ".join(map(str, at)), f"iterations, ascending, from {first}{why} to {max_iter - 1}"


def costs(result: Result, objective: Objective) -> Costs:
    """A learning curve, in what the objective measures."""
    return [(iteration, objective.cost(loss if objective.measure == LOSS else measure))
            for iteration, measure, loss in result.curve]
