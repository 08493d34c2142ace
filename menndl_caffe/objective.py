"""What a search optimizes: measures of a result that are to be large, or small.

| symbol | here | meaning |
|---|---|---|
| f | `costs` | an individual's costs, one for each objective: the lower, the better |
| f dominates g | `front` | f_i <= g_i for every objective i, and f_i < g_i for one of them |
| Pareto front | `front` | the individuals that no other one dominates |
| hypervolume | `hypervolume` | the area between a front and a reference point (Zitzler and Thiele 1998) |
"""
from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import List, Optional, Sequence, Tuple

from menndl_caffe.text import fixed
from menndl_caffe.trial import Result

ACCURACY, LOSS = "accuracy", "loss"
MEASURES = ("parameters", "multiply_adds", "memory")  # of a net, before it is trained: see experiment.appraise
Costs = Tuple[float, ...]  # of an individual, one for each objective: the lower, the better


@dataclass(frozen=True)
class Objective:
    """One measure; more of it is better, or less."""

    measure: str = ACCURACY
    minimize: bool = False

    @property
    def worst(self) -> Optional[float]:
        """The cost of an individual that failed; None for measures that have no worst value."""
        return 0.0 if self.measure == ACCURACY and not self.minimize else None

    @property
    def bounds(self) -> Tuple[float, float]:
        """Between which all its values lie: 0 and 1 of an accuracy, else infinite."""
        return (0.0, 1.0) if self.measure == ACCURACY else (-math.inf, math.inf)

    @property
    def is_tested(self) -> bool:
        """Whether it is measured by test passes, on images."""
        return self.measure not in MEASURES

    def cost(self, value: float) -> float:
        """The lower, the better."""
        return value if self.minimize else -value

    def rank_key(self, result: Result) -> Tuple[bool, bool, float, int]:
        """Sorts results by their fitness, the best first; of equals the one met first, then who was stopped early, and
        who failed in the end."""
        cost = 0.0 if result.failed else self.cost(result.fitness)
        return result.failed, not result.finished, cost, result.id

    def label(self, images: str) -> str:
        """The measure's name, and on which images it is measured: `accuracy on the test set`."""
        return f"{self.measure} on the {images} set" if self.is_tested else self.measure

    def text(self, value: Optional[float]) -> str:
        """A value of it as people read it; nothing for none."""
        if value is None or self.measure in (ACCURACY, LOSS):
            return fixed(value)
        return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"

    def signed(self, difference: float) -> str:
        """The difference of two values, with its sign."""
        return f"{'-' if difference < 0 else '+'}{self.text(abs(difference))}"

    def digits(self, value: Optional[float]) -> str:
        """The same for programs: without separators, and with as many digits as Caffe prints."""
        if value is None or self.measure in (ACCURACY, LOSS):
            return fixed(value)
        return f"{value:.0f}" if float(value).is_integer() else f"{value:.6g}"


BY_ACCURACY = Objective()  # what is optimized unless a search says otherwise


def costs(objectives: Sequence[Objective], result: Result) -> Optional[Costs]:
    """A result's costs, the fitness's first; None where no training came to its end: it failed, or was stopped."""
    if not result.finished:
        return None
    return tuple(objective.cost(value) for objective, value in zip(objectives, values(objectives, result)))


def values(objectives: Sequence[Objective], result: Result) -> Tuple[float, ...]:
    """What the objectives measure in a result that did not fail, the fitness first."""
    return (result.fitness, *(measured(result, objective.measure) for objective in objectives[1:]))


def measured(result: Result, measure: str) -> float:
    """The value of a measure other than the fitness; KeyError where the result has it not."""
    return result.loss if measure == LOSS and result.loss is not None else result.measures[measure]


def translated(result: Result, before: Sequence[Objective], now: Sequence[Objective]) -> Result:
    """A result of a search with other objectives as one of this would have it; KeyError where it has not what these
    measure."""
    if result.failed:
        return result
    known = {objective.measure: result.fitness if objective.measure == before[0].measure else
             measured(result, objective.measure) for objective in now}
    further = {objective.measure: known[objective.measure] for objective in now[1:] if objective.measure != LOSS}
    return replace(result, fitness=known[now[0].measure], measures={**result.measures, **further})


def curve_measure(objectives: Sequence[Objective]) -> str:
    """What learning curves show beside the loss: the first objective that is measured by test passes, else the loss."""
    return next((objective.measure for objective in objectives if objective.is_tested), LOSS)


def front(costs: Sequence[Costs]) -> List[int]:
    """The places of those that no other one dominates, in their order; equals do not dominate each other."""
    kept: List[int] = []
    # In the order of their costs nobody is dominated by one who comes later.
    for place in sorted(range(len(costs)), key=costs.__getitem__):
        if not any(_dominates(costs[other], costs[place]) for other in reversed(kept)):
            kept.append(place)
    return sorted(kept)


def _dominates(one: Costs, other: Costs) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other))


def hypervolume(costs: Sequence[Costs]) -> Optional[float]:
    """Of two costs, the share of the rectangle between the worst and the best of each that the front dominates, in
    [0, 1]; None where all are equal in one of them. As the rectangle is these individuals' own, shares of different
    runs are not comparable."""
    (best, worst), (best_second, worst_second) = ((min(each), max(each)) for each in zip(*costs))
    if best == worst or best_second == worst_second:
        return None
    area, second = 0.0, worst_second
    for place in sorted(front(costs), key=costs.__getitem__):
        area += (worst - costs[place][0]) * (second - costs[place][1])
        second = costs[place][1]
    return area / ((worst - best) * (worst_second - best_second))
