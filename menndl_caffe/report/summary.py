"""The numbers behind status, tables and figures: what was searched, generations, individuals, speed."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Optional, Tuple

import numpy as np

from menndl_caffe.errors import UserError
from menndl_caffe.experiment.search_file import of_text
from menndl_caffe.genome import SearchSpace
from menndl_caffe.journal import Record
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.trial import OK, Result, Trial

# What every report needs of a journal's first line.
FIRST_LINE: Dict[str, Any] = {"search": str, "engine": str, "total": int, "generations": int, "started": (int, float)}


def searched(record: Record) -> Tuple[Any, SearchSpace]:
    """The SearchParameter of a run and the space of its genes; UserError where the run has not begun, or is none."""
    if not record.run:
        raise UserError("the journal has no first line: the run has not begun, or died before it did; start it again")
    for name, kind in FIRST_LINE.items():
        if not isinstance(record.run.get(name), kind) or not record.run[name]:
            raise UserError(f"the journal's first line has no good field {name!r}: it is of another program, or of "
                            "another version of menndl")
    experiment = of_text(record.run["search"], "the journal's search")
    return experiment.message, experiment.space


def fitness_set(message: Any) -> str:
    """`test` or `validation`: the images whose accuracy is the fitness."""
    return menndl_pb2.SearchParameter.FitnessSet.Name(message.fitness_set).lower()


def of_role(record: Record, role: str) -> Optional[Tuple[Trial, Result]]:
    """The one trial of a role such as `default`, once it has a result."""
    return next(((trial, record.results[id]) for id, trial in record.trials.items()
                 if trial.role == role and id in record.results), None)


def best_trained(record: Record) -> List[Tuple[Trial, Result]]:
    """All different individuals that did not fail, fittest first."""
    return [(trial, result) for trial, result in record.best(len(record.results)) if result.status == OK]


def described(record: Record, trial: Trial, result: Result) -> Dict[str, Any]:
    """One individual as plain data. `accuracy` is None where it failed; `seconds` are those of its own training,
    also when that was another trial's."""
    trained = record.results.get(result.id if result.same_as is None else result.same_as, result)
    return {"id": trial.id, "generation": counted(trial.generation), "genes": trial.genome.as_dict(),
            "status": result.status, "accuracy": result.fitness if result.status == OK else None, "loss": result.loss,
            "seconds": trained.seconds, "reason": result.reason}


def counted(generation: Optional[int]) -> Optional[int]:
    """The generation's number for people: the journal's 0 is the first."""
    return None if generation is None else generation + 1


@dataclass(frozen=True)
class Generation:
    """Fitness in one generation, of all its individuals that have a result: failures count as 0, as in selection."""

    number: int  # 1, 2, ...
    evaluated: int
    complete: bool
    failed: int
    best: float
    mean: float
    quartiles: Tuple[float, float, float]  # lower, median, upper
    best_so_far: float


def generations(record: Record) -> List[Generation]:
    """Every generation that has at least one result, in order."""
    members: Dict[int, List[Result]] = {}
    for trial, result in record.individuals():
        members.setdefault(trial.generation or 0, []).append(result)
    population = record.run["total"] // record.run["generations"]
    summaries: List[Generation] = []
    for number in sorted(members):
        fitness = np.array([result.fitness for result in members[number]])
        low, middle, high = (float(q) for q in np.percentile(fitness, [25, 50, 75]))
        failed = sum(result.status != OK for result in members[number])
        best = float(fitness.max())
        so_far = max(best, summaries[-1].best_so_far if summaries else 0.0)
        summaries.append(Generation(number + 1, len(fitness), len(fitness) == population, failed, best,
                                    float(fitness.mean()), (low, middle, high), so_far))
    return summaries


def busy_seconds(results: Iterable[Result]) -> float:
    """Time in which at least one rank was training: the union of the results' intervals, so that the pauses of an
    interrupted run do not count."""
    busy, end = 0.0, -math.inf
    for start, seconds in sorted((result.started, result.seconds) for result in results):
        busy += max(0.0, start + seconds - max(start, end))
        end = max(end, start + seconds)
    return busy


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy measured on so many images: that of a binomial share."""
    return math.sqrt(accuracy * (1 - accuracy) / images)
