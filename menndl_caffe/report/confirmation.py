"""What new seeds have said of a run's best individuals and of its default (`menndl confirm`), as the journal has it."""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.genome import Genome
from menndl_caffe.objective import Objective, values
from menndl_caffe.report.confirmed import Difference, Interval, Mean, shrunk
from menndl_caffe.report.summary import best_trained, chosen
from menndl_caffe.trial import CONFIRM, DEFAULT, Result, Trial


@dataclass(frozen=True)
class Repeated:
    """One individual, or the default, and what its trainings from new seeds gave."""

    id: int  # of the trial of the search
    genome: Genome
    reported: Optional[float]  # what the search measured; None where that failed
    values: Tuple[float, ...]  # of the trainings that did not fail, in the order of their coming
    failed: Mapping[str, int]  # the others by their status
    unfinished: int  # those that were handed out and have no result yet
    bounds: Interval  # between which all values lie

    @property
    def mean(self) -> Optional[Mean]:
        """Of the values; None where there are none."""
        return Mean.of(self.values, self.bounds)

    @property
    def trainings(self) -> int:
        """That have a result."""
        return len(self.values) + sum(self.failed.values())

    @property
    def failing(self) -> float:
        """The share of these that failed."""
        return sum(self.failed.values()) / max(1, self.trainings)


@dataclass(frozen=True)
class Confirmation:
    """The default and some of the best individuals, the one first that the search found best."""

    objective: Objective  # as it is measured on the test set, whatever images the search fits
    fitness_set: str  # `test` or `validation`, on which the search has measured it
    iterations: int
    max_iter: int  # iterations of the search, as many or fewer
    default: Repeated
    best: Sequence[Repeated]
    newer: Optional[int]  # the individual that the search finds best now, where that is none of these

    @property
    def difference(self) -> Optional[Difference]:
        """Of the search's best to the default; None before each has two values."""
        return self.above(self.best[0])

    def above(self, one: Repeated) -> Optional[Difference]:
        """Of one of the best to the default."""
        return Difference.of(one.mean, self.default.mean) if one.mean and self.default.mean else None

    def gains(self, difference: Difference) -> Interval:
        """The interval, as costs that the default has more; above 0 it is better."""
        low, high = difference.interval
        return (-high, -low) if self.objective.minimize else (low, high)

    @property
    def holds(self) -> Optional[bool]:
        """Whether the search's best is better than the default and fails no more often; None before that can be said.
        """
        if self.difference is None:
            return None
        return self.gains(self.difference)[0] > 0 and self.best[0].failing <= self.default.failing

    def expected(self) -> Dict[int, float]:
        """What each individual that has values can be expected to give with more seeds, by its id: see `shrunk`."""
        known = [(one.id, one.mean) for one in self.best if one.mean is not None]
        return dict(zip((id for id, _ in known), shrunk([mean for _, mean in known])))

    @property
    def expected_best(self) -> Optional[int]:
        """The individual of the best such expectation; None before any has a value."""
        expected = self.expected()
        return min(expected, key=lambda id: self.objective.cost(expected[id]), default=None)


def confirmed_objective(run: Run) -> Objective:
    """What is confirmed: the first objective that a test pass measures. StopIteration where no seed changes any."""
    return next(objective for objective in run.objectives if objective.is_tested)


def candidates(run: Run, number: int) -> List[Tuple[Trial, Result]]:
    """So many of the best individuals, those with the default's genes aside."""
    return [pair for pair in chosen(run) if pair[0].genome != run.space.default][:number]


def confirmation(run: Run, iterations: Optional[int] = None) -> Optional[Confirmation]:
    """What trainings of so many iterations from new seeds say, without a number the newest ones; None where there is no
    result of an individual or none of the default."""
    again = [trial for trial in run.record.trials.values() if trial.role == CONFIRM]
    if not (again and any(objective.is_tested for objective in run.objectives)):
        return None
    budget = iterations or again[-1].max_iter
    of: Dict[Genome, List[Trial]] = {}
    for trial in again:
        if trial.max_iter == budget:
            of.setdefault(trial.genome, []).append(trial)
    best = [_repeated(run, trial, result, of[trial.genome]) for trial, result in best_trained(run)
            if trial.genome in of and trial.genome != run.space.default]
    default = _default(run, of.get(run.space.default, []))
    if default is None or not (default.trainings and any(one.trainings for one in best)):
        return None
    newer = (trial.id for trial, _ in candidates(run, 1) if trial.genome != best[0].genome)
    return Confirmation(confirmed_objective(run), run.fitness_set, budget, run.message.max_iter, default, best,
                        next(newer, None))


def _default(run: Run, again: Sequence[Trial]) -> Optional[Repeated]:
    pairs = ((trial, run.record.results.get(id)) for id, trial in run.record.trials.items() if trial.role == DEFAULT)
    return next((_repeated(run, trial, result, again) for trial, result in pairs if result), None)


def _repeated(run: Run, trial: Trial, result: Result, again: Sequence[Trial]) -> Repeated:
    results = [run.record.results[one.id] for one in again if one.id in run.record.results]
    known = [_value(run, one) for one in results]
    return Repeated(trial.id, trial.genome, _value(run, result), tuple(value for value in known if value is not None),
                    Counter(one.status for one in results if one.failed), len(again) - len(results),
                    confirmed_objective(run).bounds)


def _value(run: Run, result: Result) -> Optional[float]:
    if result.failed:
        return None
    place = run.objectives.index(confirmed_objective(run))
    return values(run.objectives, result)[place]


def lacking(run: Run) -> int:
    """Trainings from new seeds that the search file asks for and that have no result yet. Before the search is finished
    those of its best count as lacking."""
    return sum(to_come(run).values())


def to_come(run: Run) -> Dict[Optional[Genome], int]:
    """The same by genome: of the best so far, of the default, and as None those of the best that are not there yet."""
    if not run.message.HasField("confirm"):
        return {}
    asked = run.message.confirm
    best = {trial.genome for trial, _ in candidates(run, asked.best)}
    finished = run.total in (None, sum(1 for _ in run.record.individuals())) and not run.record.undecided
    if finished and not best:
        return {}
    budget = asked.iterations or run.message.max_iter
    has = Counter(trial.genome for id, trial in run.record.trials.items() if trial.role == CONFIRM
                  and trial.max_iter == budget and id in run.record.results)
    unknown = 0 if finished else asked.best - len(best)
    return {**{genome: max(0, asked.seeds - has[genome]) for genome in (*best, run.space.default)},
            None: asked.seeds * unknown}
