"""One search on so many simulated ranks: the search, the loop and the journal of `menndl run`, on a farm whose clock is
virtual."""
from __future__ import annotations

import functools
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from menndl_caffe import search
from menndl_caffe.experiment.experiment import Experiment
from menndl_caffe.experiment.recorded import used_up
from menndl_caffe.farm.simulated import SimulatedFarm
from menndl_caffe.journal import Journal
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.objective import LOSS, Objective
from menndl_caffe.record import Record
from menndl_caffe.report.idle import BUSY, REASONS, ranks_time
from menndl_caffe.run.loop import Loop
from menndl_caffe.run.numbering import Numbering
from menndl_caffe.run.warm_start import begun_with
from menndl_caffe.simulate.curves import Curve, Shares, shares_of
from menndl_caffe.simulate.landscape import Landscape
from menndl_caffe.simulate.times import Times, Work
from menndl_caffe.trial import DEFAULT, INDIVIDUAL, INVALID, OK, STOPPED, TEST, CurvePoint, Result, Trial, failure
from menndl_caffe.walltime import Stopped

HOUR = 3600.0
NOTED = 1000  # individuals after which a simulation says how far it is


@dataclass(frozen=True)
class Setup:
    """A search file, what its trainings cost and find, and its name."""

    name: str
    experiment: Experiment
    work: Work
    times: Times
    landscape: Landscape

    def train(self, trial: Trial) -> Result:
        """What a trial gives; always the same for the same work, so that simulations can be compared."""
        if self.work.is_known and not self.work(trial.genome):
            return failure(trial.id, INVALID, "the net cannot exist")
        whole, rng = self._whole(trial)
        seconds, found = whole * (trial.end - self._begin(trial)) / trial.max_iter, self.landscape(trial.genome, rng)
        if found.status != OK:
            early = found.seconds or whole
            return failure(trial.id, found.status, "as one that is known",
                           seconds=early if trial.until is None else min(early, seconds))
        curve = self._passes(trial, found.curve)
        if trial.until is not None:
            return Result(trial.id, STOPPED, curve[-1][1], seconds=seconds, curve=curve)
        fitness, *further = found.values
        more = {one.measure: value for one, value in zip(self.experiment.objectives[1:], further)}
        return Result(trial.id, OK, fitness, more.pop(LOSS, None), seconds=seconds, measures=more, curve=curve)

    @functools.cached_property
    def rungs(self) -> Sequence[int]:
        """The iterations at which trainings may be stopped, ascending."""
        return search.rungs_of(self.experiment.message)

    @functools.cached_property
    def shares(self) -> Shares:
        """Of the iterations, at which trainings are tested; none without rungs."""
        return shares_of(self.rungs, self.work.passes, self.experiment.message.max_iter)

    def iterations(self, trial: Trial, result: Result) -> float:
        """How many a trial took: its seconds' share of a whole training."""
        whole, _ = self._whole(trial)
        return trial.max_iter * min(1.0, result.seconds / whole) if result.seconds else 0.0

    def _whole(self, trial: Trial) -> Tuple[float, np.random.RandomState]:
        """Seconds of a training to its end, and the chance for what it finds."""
        rng = np.random.RandomState(trial.seed)
        return self.times.seconds(self.work(trial.genome), rng), rng

    def _begin(self, trial: Trial) -> int:
        """From which iteration on it is trained: with what it continues in hand from its rung, else from 0."""
        return 0 if trial.continues is None else max(rung for rung in self.rungs if rung < trial.end)

    def _passes(self, trial: Trial, curve: Curve) -> Tuple[CurvePoint, ...]:
        """Its test passes up to its rung or its end, none without rungs; the fitness is their losses, too, be it one or
        not."""
        at = (round(share * trial.max_iter) for share in self.shares)
        return tuple((iteration, value, value) for iteration, value in zip(at, curve) if iteration <= trial.end)


@dataclass(frozen=True)
class Circumstances:
    """What beside the search decides how a simulation goes."""

    master: float = 0.0  # seconds that the master needs for a trial
    deaths: float = 0.0  # of a rank, an hour
    hours: Optional[float] = None  # after which it ends


@dataclass
class Outcome:
    """What came of one simulation; times in seconds."""

    search: str
    type: str
    ranks: int
    individuals: int = 0
    trained: int = 0
    failed: int = 0
    early: int = 0  # individuals that were stopped at a rung
    iterations: float = 0.0  # of all trainings, with what had to be repeated; not those that dead ranks lost
    died: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # that search and loop took here
    stopped: str = ""  # why it ended early
    spent: Dict[str, float] = field(default_factory=dict)  # rank-seconds by what they went into: see report/idle.py
    best: List[Tuple[float, float]] = field(default_factory=list)  # when, and from then on the best fitness

    def share(self, kind: str) -> float:
        """Of all ranks' time."""
        whole = self.ranks * self.seconds
        return self.spent.get(kind, 0.0) / whole if whole else 0.0

    @property
    def utilisation(self) -> float:
        """Share of the ranks' time in which they trained what counts."""
        return self.share(BUSY)

    def reached(self, fitness: float, objective: Objective) -> Optional[float]:
        """When an individual was so good, or better."""
        return next((when for when, value in self.best if objective.cost(value) <= objective.cost(fitness)), None)


def simulate(setup: Setup, ranks: int, how: Circumstances, note: Callable[[int], None] = lambda individuals: None
             ) -> Outcome:
    """Play a whole search: the default, all individuals, and the best on the test set where the search file has it so.
    `note` is told each time that some individuals have their results.
    """
    experiment, objective = setup.experiment, setup.experiment.objectives[0]
    outcome = Outcome(setup.name, experiment.message.type, ranks)
    until = math.inf if how.hours is None else how.hours * HOUR
    farm = SimulatedFarm(ranks, setup.train, how.master, setup.times.delay, _deaths(setup, ranks, how.deaths), until)

    def watch(trial: Trial, result: Result, recorded: bool) -> None:
        outcome.individuals += trial.role == INDIVIDUAL and trial.continues is None
        if not outcome.individuals % NOTED:
            note(outcome.individuals)
        if trial.role == INDIVIDUAL and result.finished and (
                not outcome.best or objective.cost(result.fitness) < objective.cost(outcome.best[-1][1])):
            outcome.best.append((farm.now, result.fitness))

    def stop() -> str:
        return f"after {how.hours:g} hours" if farm.now >= until else ""

    numbering = Numbering(experiment)
    problem = search.Problem(experiment.space, experiment.message.random_seed, numbering, setup.work.cost,
                             experiment.objectives, steady=functools.cache(setup.work.steady))
    began = time.process_time()
    journal = _Unwritten(lambda: farm.now)
    journal.begin({"search": prototxt.dumps(experiment.message), "engine": "none", "started": 0.0, "slots": ranks})
    default = numbering(experiment.space.default, role=DEFAULT)
    algorithm = search.make(experiment.message, begun_with(problem, experiment.enqueued, []))
    limit = search.total(experiment.message, algorithm)
    loop = Loop(algorithm, farm, journal, numbering, limit, lambda *_: None, watch, stop,
                lambda: used_up(experiment.message, journal.record), search.going_on(algorithm))
    try:
        loop.run([default])
        if experiment.message.fitness_set == menndl_pb2.SearchParameter.VALIDATION:
            loop.run([numbering(journal.record.best(1, objective)[0][0].genome, role=TEST)])
    except Stopped as stopped:
        outcome.stopped = stop() or str(stopped)
    _count(outcome, journal.record, farm, setup)
    outcome.cpu_seconds = time.process_time() - began
    return outcome


class _Unwritten(Journal):
    """A journal in memory alone."""

    def __init__(self, clock: Callable[[], float]):
        self.run_dir, self.record, self._clock = Path("simulated"), Record(), clock

    def _append(self, *lines: Dict[str, Any], sync: bool) -> None:
        pass


def _deaths(setup: Setup, ranks: int, rate: float) -> Dict[int, float]:
    """When each rank dies, in seconds: after an exponential time."""
    if not rate:
        return {}
    rng = np.random.RandomState([setup.experiment.message.random_seed & 0xFFFFFFFF, ranks])
    return dict(enumerate(rng.exponential(HOUR / rate, ranks).tolist()))


def _count(outcome: Outcome, record: Record, farm: SimulatedFarm, setup: Setup) -> None:
    results: Any = record.results.values()
    ends = [result for _, result in record.individuals()]
    outcome.individuals = len(ends)
    outcome.trained = sum(result.same_as is None and record.trials[result.id].continues is None for result in results)
    outcome.failed = sum(result.failed for result in results)
    outcome.early = sum(result.status == STOPPED for result in ends)
    outcome.iterations = sum(setup.iterations(record.trials[result.id], result) for result in results)
    outcome.died, outcome.seconds = len(farm.died), farm.now
    by_rank = ranks_time(record, farm.now, farm.died)
    outcome.spent = {kind: sum(spent[kind] for spent in by_rank.values()) for kind in (BUSY, *REASONS)}
