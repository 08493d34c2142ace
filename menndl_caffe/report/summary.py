"""The numbers behind status, tables and figures: generations, individuals, speed. All from a Run."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from menndl_caffe.experiment.recorded import Run, counted
from menndl_caffe.trial import TEST, Result, Trial


def of_role(run: Run, role: str) -> Optional[Tuple[Trial, Result]]:
    """The trial of a role such as `default`, once it has a result; of `test` that of the best individual, since the
    best of then may have been tested before a run went further."""
    record = run.record
    pairs = ((trial, record.results[id]) for id, trial in record.trials.items()
             if trial.role == role and id in record.results)
    if role == TEST:
        pairs = (pair for pair in pairs if pair[0].genome == record.best(1)[0][0].genome)
    return next(pairs, None)


def best_trained(run: Run) -> List[Tuple[Trial, Result]]:
    """All different individuals that did not fail, fittest first."""
    return [(trial, result) for trial, result in run.record.best(len(run.record.results)) if not result.failed]


def described(run: Run, trial: Trial, result: Result) -> Dict[str, Any]:
    """One individual as plain data. `accuracy` is None where it failed; `seconds` are those of its own training,
    also when that was another trial's."""
    trained = run.record.results.get(result.id if result.same_as is None else result.same_as, result)
    return {"id": trial.id, "generation": counted(trial.generation), "genes": trial.genome.as_dict(),
            "status": result.status, "accuracy": None if result.failed else result.fitness, "loss": result.loss,
            "seconds": trained.seconds, "measures": dict(result.measures), "reason": result.reason}


@dataclass(frozen=True)
class Generation:
    """Fitness in one stage of a run, of all its individuals that have a result: failures count as 0, as in selection.
    """

    number: int  # 1, 2, ...
    evaluated: int
    complete: bool  # also where nobody knows how many there will be
    failed: int
    best: float
    mean: float
    quartiles: Tuple[float, float, float]  # lower, median, upper
    best_so_far: float


def generations(run: Run) -> List[Generation]:
    """Every stage (see Run.stages) that has at least one result, in order."""
    stages, members = run.stages, members_of(run)
    summaries: List[Generation] = []
    for number in sorted(members):
        fitness = np.array([result.fitness for _, result in members[number]])
        low, middle, high = (float(q) for q in np.percentile(fitness, [25, 50, 75]))
        failed = sum(result.failed for _, result in members[number])
        best = float(fitness.max())
        so_far = max(best, summaries[-1].best_so_far if summaries else 0.0)
        complete = len(fitness) == (stages.size(number) or len(fitness))
        summaries.append(Generation(number, len(fitness), complete, failed, best, float(fitness.mean()),
                                    (low, middle, high), so_far))
    return summaries


def members_of(run: Run) -> Dict[int, List[Tuple[Trial, Result]]]:
    """The number of every stage that has a result -> its individuals that have one, by id."""
    stages = run.stages
    members: Dict[int, List[Tuple[Trial, Result]]] = {}
    for trial, result in run.record.individuals():
        members.setdefault(stages.of(trial) or 0, []).append((trial, result))  # every individual is in one
    return members


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy measured on so many images: that of a binomial share."""
    return math.sqrt(accuracy * (1 - accuracy) / images)
