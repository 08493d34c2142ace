"""A search along gradients as its descents: the steps of each, which gradients were not trusted, how it ended.

Descents and steps are counted from 1.
"""
from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from menndl_caffe.experiment.recorded import Run, counted
from menndl_caffe.objective import LOSS
from menndl_caffe.search import descending, learning
from menndl_caffe.search.descents import Descent as SearchDescent
from menndl_caffe.text import as_csv, fixed
from menndl_caffe.trial import Result, Trial

TRUSTED, DISTRUSTED, FAILED = "trusted", "not trusted", "failed"  # what became of a step's gradient
NUMBER = re.compile(r"\d+(\.\d+)?(e[-+]?\d+)?")
Pair = Tuple[Trial, Result]


def state(result: Result) -> str:
    """TRUSTED, DISTRUSTED or FAILED."""
    return FAILED if result.failed else TRUSTED if result.gradient else DISTRUSTED


def distrust(result: Result) -> str:
    """Why a gradient was not used; nothing where it was, or where there is none."""
    return str(result.gradient_by.get("distrust", "no reason is recorded")) if state(result) == DISTRUSTED else ""


@dataclass(frozen=True)
class Descent:
    """One descent and its steps that have a result, at least one, in their order."""

    number: int
    steps: Sequence[Pair]
    end: str  # how it ended, in words

    @property
    def best(self) -> Optional[Pair]:
        """The step of the least validation loss; None where all failed."""
        known = [(result.loss, trial.id, (trial, result)) for trial, result in self.steps if result.loss is not None]
        return min(known)[2] if known else None

    def count(self, of_state: str) -> int:
        """How many steps are TRUSTED, DISTRUSTED or FAILED."""
        return sum(state(result) == of_state for _, result in self.steps)


def descents(run: Run) -> List[Descent]:
    """Every descent that has a result, by number."""
    steps: Dict[int, List[Pair]] = {}
    for trial, result in run.record.individuals():
        steps.setdefault(counted(trial.descent) or 0, []).append((trial, result))
    ended = run.total is not None and sum(map(len, steps.values())) >= run.total
    return [Descent(number, steps[number], _end(run, steps[number], ended)) for number in sorted(steps) if number]


def leading(found: Sequence[Descent], most: int) -> List[int]:
    """The places, in their order, of so many of these descents that reached the least losses."""
    def reached(place: int) -> Tuple[bool, float, int]:
        best = found[place].best
        return best is None, best[1].loss or 0.0 if best else 0.0, place

    return sorted(sorted(range(len(found)), key=reached)[:most])


def _end(run: Run, steps: Sequence[Pair], ended: bool) -> str:
    """As the search itself finds when the steps are told to it again."""
    space, step = descending(run.message, run.space), learning(run.message).hypergradient_param.step
    again = SearchDescent(np.zeros(len(space.genes)), np.full(len(space.genes), step))
    for trial, result in steps:
        again.point = np.array(space.to_unit(space.from_dict(trial.genome.as_dict())))
        again.take(result, space.names)
    last = steps[-1][1]
    if not again.is_over:
        if run.message.HasField("inner") and len(steps) >= run.message.inner.steps:
            return "all its steps are done"
        return "cut off by the limit of the search" if ended else "goes on"
    if again.known is not None:
        return "no gene moves any more"
    if state(last) == DISTRUSTED:
        return f"its first gradient was not trusted: {distrust(last)}"
    return f"it failed before it had a gradient: {last.status}: {last.reason}"


def distrusted(found: Sequence[Descent]) -> Dict[str, Any]:
    """`gradients`, how many were found; how many of them were `distrusted`; the most frequent `reason`, which `count`
    of them have. Reasons that differ in their numbers alone count as one."""
    gradients = sum(descent.count(TRUSTED) + descent.count(DISTRUSTED) for descent in found)
    reasons = [distrust(result) for descent in found for _, result in descent.steps if state(result) == DISTRUSTED]
    kinds = Counter(NUMBER.sub("0", reason) for reason in reasons)
    first, count = kinds.most_common(1)[0] if kinds else ("", 0)
    reason = next((reason for reason in reasons if NUMBER.sub("0", reason) == first), "")
    return {"gradients": gradients, "distrusted": len(reasons), "reason": reason, "count": count}


def gradient_columns(run: Run) -> List[str]:
    """Their names in tables: `gradient.GENE`."""
    return [f"gradient.{name}" for name in descending(run.message, run.space).names]


def gradient_cells(run: Run, result: Result) -> List[Optional[float]]:
    """What stands in them."""
    return [result.gradient.get(name) for name in descending(run.message, run.space).names]


def descents_csv(run: Run, found: Sequence[Descent]) -> str:
    """A row for each step."""
    further = [run.fitness] if run.fitness.measure != LOSS else []

    def rows() -> Iterator[List[Any]]:
        for descent in found:
            for number, (trial, result) in enumerate(descent.steps, 1):
                reached = [None if result.failed else objective.digits(result.fitness) for objective in further]
                yield [descent.number, number, trial.id, result.status, fixed(result.loss, 6), *reached,
                       *trial.genome.values, *gradient_cells(run, result), distrust(result), result.reason]

    return as_csv(["descent", "step", "id", "status", LOSS, *(objective.measure for objective in further),
                   *run.space.names, *gradient_columns(run), "distrust", "reason"], rows())
