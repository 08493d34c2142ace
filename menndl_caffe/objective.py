"""What a search optimizes: measures of a result that are to be large, or small."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

from menndl_caffe.trial import Result

ACCURACY, LOSS = "accuracy", "loss"
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

    def cost(self, value: float) -> float:
        """The lower, the better."""
        return value if self.minimize else -value


def costs(objectives: Sequence[Objective], result: Result) -> Optional[Costs]:
    """A result's costs, the fitness's first; None where it failed."""
    if result.failed:
        return None
    first, *others = objectives
    return (first.cost(result.fitness),
            *(objective.cost(measured(result, objective.measure)) for objective in others))


def measured(result: Result, measure: str) -> float:
    """The value of a measure other than the fitness; KeyError where the result has it not."""
    return result.loss if measure == LOSS and result.loss is not None else result.measures[measure]
