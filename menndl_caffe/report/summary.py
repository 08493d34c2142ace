"""The numbers behind status, tables and figures: generations, individuals, speed. All from a Run."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

from menndl_caffe.experiment.recorded import Run, counted
from menndl_caffe.objective import ACCURACY, values
from menndl_caffe.search import program
from menndl_caffe.text import gene_text
from menndl_caffe.trial import BESIDE, HYPERGRADIENT, LEARNING, STOPPED, TEST, TRAIN, YARDSTICK, Result, Trial


def has_gradients(run: Run) -> bool:
    """Whether its individuals are trained for the gradient of the validation loss, which they fit then."""
    return program(run.message) == HYPERGRADIENT


def learns_decays(run: Run) -> bool:
    """Whether the trainings of its individuals learn weight decays, which fit the validation images then."""
    return program(run.message) in LEARNING


def roles(run: Run) -> Tuple[str, ...]:
    """The roles beside the individuals that such a run may have, in the order in which they are shown."""
    return tuple(role for role in BESIDE if role != YARDSTICK or program(run.message) != TRAIN)


def of_role(run: Run, role: str) -> Optional[Tuple[Trial, Result]]:
    """The trial of a role such as `default`, once it has a result; of `test` that of the best individual, since the
    best of then may have been tested before a run went further."""
    record = run.record
    pairs = ((trial, record.results[id]) for id, trial in record.trials.items()
             if trial.role == role and id in record.results)
    if role == TEST:
        pairs = (pair for pair in pairs if [pair[0].genome] == [trial.genome for trial, _ in best_trained(run)[:1]])
    return next(pairs, None)


def best_trained(run: Run) -> List[Tuple[Trial, Result]]:
    """All different individuals that were trained to their ends, fittest first."""
    return [(trial, result)
            for trial, result in run.record.best(len(run.record.results), run.fitness)
            if result.finished]


def trainings(run: Run, trial: Trial) -> List[Result]:
    """The results that made an individual's, rung by rung, of another one's trainings where those were taken over; one
    that served for several rungs stands there once."""
    results = run.record.results
    own = [results[one.id] for one in run.record.chain(trial) if one.id in results]
    made = [one if one.same_as is None else results.get(one.same_as, one) for one in own]
    return list({one.id: one for one in made}.values())


def chosen(run: Run) -> List[Tuple[Trial, Result]]:
    """The individuals that a search was made for, fittest first: all different ones that were trained to their ends,
    and where there are several objectives, those of the front."""
    return run.front() if len(run.objectives) > 1 else best_trained(run)


def described(run: Run, trial: Trial, result: Result) -> Dict[str, Any]:
    """One individual as plain data. What is optimized is its `accuracy`, or where the search has other objectives, its
    `objectives` by their measures; None where it failed. `seconds` are those of its own training, also when that was
    another trial's; of one that went from rung to rung, all together."""
    return {"id": trial.id, "generation": counted(trial.generation), "genes": trial.genome.as_dict(),
            "status": result.status, **_optimized(run, result), "loss": result.loss,
            "seconds": sum(one.seconds for one in trainings(run, trial)), "measures": dict(result.measures),
            "reason": result.reason, **_descended(trial, result),
            **({"learned": dict(result.learned)} if result.learned else {})}


def _descended(trial: Trial, result: Result) -> Dict[str, Any]:
    """What a step of a descent has beside; nothing for other individuals."""
    if trial.descent is None:
        return {}
    return {"descent": counted(trial.descent), "gradient": dict(result.gradient),
            "gradient_by": dict(result.gradient_by)}


def learned_text(learned: Mapping[str, Any]) -> str:
    """`2 (PER_BLOB), geometric mean 0.0001, from 5e-05 to 0.0002`; of one `1 (PER_NET), 0.0027`. Of a descent of whole
    trainings also how many steps it took, and why it ended early."""
    said = f"{learned['count']:,} ({learned['groups']}), "
    lowest, highest = learned["quantiles"][0], learned["quantiles"][-1]
    if learned["count"] == 1:
        said += gene_text(learned["mean"])
    else:
        said += f"geometric mean {gene_text(learned['mean'])}, from {gene_text(lowest)} to {gene_text(highest)}"
    by = learned.get("by", {})
    if by:
        said += f", by {by.get('method')} in {by.get('steps')} steps"
    return said + (f", then a gradient was not trusted: {by['distrust']}" if by.get("distrust") else "")


def _optimized(run: Run, result: Result) -> Dict[str, Any]:
    measures = [objective.measure for objective in run.objectives]
    known = [None] * len(measures) if result.failed else values(run.objectives, result)
    return {ACCURACY: known[0]} if measures == [ACCURACY] else {"objectives": dict(zip(measures, known))}


def optimized(row: Mapping[str, Any]) -> Dict[str, Optional[float]]:
    """Measure -> value of all objectives of a `described` individual, the fitness first."""
    return row["objectives"] if "objectives" in row else {ACCURACY: row[ACCURACY]}


def fitness(row: Mapping[str, Any]) -> Optional[float]:
    """The fitness of a `described` individual; None where it failed."""
    return next(iter(optimized(row).values()))


def counted_fitness(run: Run, result: Result) -> Optional[float]:
    """The fitness as statistics count it: of a failure the worst that there is, 0 of an accuracy, else none; none of
    one that was stopped early, whose fitness is held against no other."""
    counts = result.finished or result.failed and run.fitness.worst is not None
    return result.fitness if counts else None


def told_fitness(run: Run, result: Result) -> Optional[float]:
    """The fitness in a table that says how each ended: as statistics count it, and of one that was stopped early what
    it was then."""
    return result.fitness if result.status == STOPPED else counted_fitness(run, result)


@dataclass(frozen=True)
class Generation:
    """Fitness in one stage of a run, of all its individuals that have a result: failures count as the worst that there
    is, an accuracy of 0, as in selection; of measures that have no worst they are left out, and so are those that were
    stopped early.

    None where all are left out.
    """

    number: int  # 1, 2, ...
    evaluated: int
    complete: bool  # also where nobody knows how many there will be
    failed: int
    stopped: int
    best: Optional[float]
    mean: Optional[float]
    quartiles: Tuple[Optional[float], Optional[float], Optional[float]]  # lower, median, upper
    best_so_far: Optional[float]


def generations(run: Run) -> List[Generation]:
    """Every stage (see Run.stages) that has at least one result, in order."""
    stages, members = run.stages, members_of(run)
    summaries: List[Generation] = []
    so_far: Optional[float] = None
    for number in sorted(members):
        results = [result for _, result in members[number]]
        known = [value for value in (counted_fitness(run, result) for result in results) if value is not None]
        best = min(known, key=run.fitness.cost, default=None)
        so_far = min((value for value in (best, so_far) if value is not None), key=run.fitness.cost, default=None)
        low, middle, high = (float(q) for q in np.percentile(known, [25, 50, 75])) if known else (None, None, None)
        complete = len(results) == (stages.size(number) or len(results))
        failed, stopped = sum(one.failed for one in results), sum(one.status == STOPPED for one in results)
        summaries.append(Generation(number, len(results), complete, failed, stopped, best,
                                    float(np.mean(known)) if known else None, (low, middle, high), so_far))
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
