"""Runs of random search whose trainings go from rung to rung, their journals made by hand: trials of several
individuals interleave; of these some are stopped, some fail, and some still go on."""
from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

from menndl_caffe.files import sha256_of
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.trial import CRASHED, DEFAULT, INDIVIDUAL, OK, STOPPED, Result, Trial
from tests.support import mixed_run

MAX_ITER, RUNGS = 500, (50, 150, 450)
ENDS = (*RUNGS, None)
RUNNING = "running"
MEASURES = {"parameters": 1000.0, "multiply_adds": 64000.0, "memory": 4096.0}
POOLS = ("MAX", "AVE", "STOCHASTIC")
STOP = "stop { halving { first: 50 factor: 3 } }\n"


class Individual(NamedTuple):
    """What becomes of one: `status` OK, STOPPED, CRASHED or RUNNING, in its trial that ends at ENDS[last]."""

    genes: Tuple[Any, ...]
    status: str
    last: int
    accuracy: float  # at its end
    slowness: float

    def at(self, end: int) -> Tuple[Tuple[int, float, float], ...]:
        """Its curve up to an iteration: [iteration, accuracy, loss]."""
        return tuple((i, round(self.accuracy * (0.2 + 0.8 * (1 - (1 - i / MAX_ITER) ** self.slowness)), 4),
                      round(2.3 - 2 * self.accuracy * i / MAX_ITER, 4)) for i in range(0, end + 1, 50))


def drawn(chance: random.Random, number: int) -> Individual:
    """One by chance; better ones come further."""
    accuracy, fate = round(chance.uniform(0.2, 0.8), 4), chance.random()
    status = CRASHED if fate < 0.1 else RUNNING if fate < 0.2 else OK if accuracy > 0.65 else STOPPED
    last = {OK: len(RUNGS), STOPPED: min(2, int(4 * (accuracy - 0.2)))}.get(status, chance.randrange(len(ENDS)))
    return Individual((2 + 4 * (number % 13), round(0.0001 * (number + 1), 6), 0.5, POOLS[number % 3], "no"), status,
                      last, accuracy, chance.uniform(1, 6))


class _Written:
    """A journal with a clock: each trial is given to the rank that is free first."""

    def __init__(self, journal: Journal, free: List[float]):
        """`free`: when each rank is."""
        self.journal, self.free, self.id = journal, free, 0
        self.ids: Dict[int, List[int]] = {}  # individual -> its trials

    def trial(self, number: int, one: Individual, link: int) -> None:
        before = self.ids.setdefault(number, [])
        self.id += 1
        genome = Genome(mixed_run.NAMES, one.genes)
        trial = Trial(self.id, genome, 100 + number, MAX_ITER, None, INDIVIDUAL, until=ENDS[link],
                      continues=before[-1] if before else None)
        before.append(self.id)
        rank = min(range(3), key=self.free.__getitem__)
        self.journal.add_trial(trial, rank)
        if link < one.last or one.status != RUNNING:
            self.journal.add_result(replace(self._result(trial, one, link), rank=rank))

    def _result(self, trial: Trial, one: Individual, link: int) -> Result:
        rank = min(range(3), key=self.free.__getitem__)
        before = 0 if link == 0 else RUNGS[link - 1]
        seconds = round(0.1 * (trial.end - before), 3)
        started, self.free[rank] = self.free[rank], self.free[rank] + seconds + 0.5
        known: Dict[str, Any] = {"started": started, "seconds": seconds, "engine_seconds": seconds, "host": "n1"}
        if link == one.last and one.status == CRASHED:
            return Result(trial.id, CRASHED, reason="the trainer died", **known)
        curve = one.at(trial.end)
        status = OK if trial.until is None else STOPPED
        return Result(trial.id, status, *curve[-1][1:], curve=curve, measures=MEASURES, **known)


def write(folder: Path, seed: int = 1, individuals: int = 30) -> Tuple[Path, List[Individual], List[List[int]]]:
    """The folder of the run, in `folder`/run; its individuals, and the ids of the trials of each."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    net, solver = folder / "net.j2", folder / "solver.j2"
    net.write_text(mixed_run.NET)
    solver.write_text(mixed_run.SOLVER)
    search = mixed_run.SEARCH.format(folder=folder, generations=1).replace(
        "ga_param { population: 4 generations: 1 }", f'type: "RANDOM"\nlimit {{ trials: {individuals} }}') + STOP
    made = [drawn(chance, number) for number in range(individuals)]
    free = [1000.0] * 3
    with Journal(folder / "run", fsync=False, clock=lambda: min(free)) as journal:
        journal.begin({"search": search, "engine": "caffe", "seed": 9, "image_shape": [1, 8, 8], "total": individuals,
                       "slots": 3, "ranks": 3, "test_images": 1000, "started": 1000.0,
                       "templates": {"net": sha256_of(net), "solver": sha256_of(solver)}})
        default = Trial(0, Genome(mixed_run.NAMES, (10, 0.001, 0.5, "MAX", "no")), 1, MAX_ITER, None, DEFAULT)
        journal.add_trial(default, 0)
        curve = Individual((), OK, 3, 0.6, 3.0).at(MAX_ITER)
        journal.add_result(Result(0, OK, curve[-1][1], curve[-1][2], curve=curve, started=1000.0, seconds=50.0,
                                  engine_seconds=50.0, host="n1", measures=MEASURES))
        free[0] = 1050.5
        written = _Written(journal, free)
        going = [(number, 0) for number in range(individuals)]
        while going:  # now the first of those that wait, now one that goes on
            number, link = going.pop(chance.randrange(min(4, len(going))))
            written.trial(number, made[number], link)
            if link < made[number].last:
                going.insert(0, (number, link + 1))
    return folder / "run", made, [written.ids[number] for number in range(individuals)]
