"""What every farm must do, checked on a farm that runs: in the tests' own process, or as a program under mpirun.

    mpirun -n N python -m tests.farm_world SEARCH CASE     the case's summary as JSON, from the master
"""
from __future__ import annotations

import itertools
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set

from menndl_caffe.errors import UserError
from menndl_caffe.farm import Farm
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.run.launch import Options, Parts
from menndl_caffe.trial import OK, Result, Trial
from menndl_caffe.walltime import Walltime


def contract(farm: Farm, trial: Callable[[int], Trial]) -> Dict[str, Any]:
    """Slots are filled and become idle again one by one, every trial has one result, and no poll waits for nothing."""
    assert farm.idle == farm.slots >= 1
    assert farm.poll(0.0) == []
    ranks: Set[int] = set()
    for first, total in ((100, farm.slots), (200, 3 * farm.slots + 1)):  # as many as there are slots; more than that
        for result in feed(farm, [trial(first + i) for i in range(total)]):
            assert result.status == OK and 0 < result.fitness < 1
            ranks.add(result.rank)
    assert min(idle_seconds(farm) for _ in range(3)) < 1  # what happens to a busy machine does not happen each time
    return {"slots": farm.slots, "ranks": sorted(ranks)}


def idle_seconds(farm: Farm) -> float:
    """How long a poll of a tenth of a second takes for which nothing comes."""
    before = time.monotonic()
    assert farm.poll(0.1) == []
    return time.monotonic() - before


def feed(farm: Farm, trials: List[Trial]) -> List[Result]:
    """Every trial's result, of the rank that it was given to; whatever slot is idle gets the next trial."""
    waiting, running, results = list(trials), {}, []
    deadline = time.monotonic() + 120
    while len(results) < len(trials) and time.monotonic() < deadline:
        while waiting and farm.idle:
            trial = waiting.pop(0)
            running[trial.id] = farm.submit(trial)
            assert farm.idle == farm.slots - len(running)
        for result in farm.poll(0.5):
            assert running.pop(result.id) == result.rank
            results.append(result)
        assert farm.idle == farm.slots - len(running) and farm.lost() == []
    assert sorted(result.id for result in results) == sorted(trial.id for trial in trials)
    return results


def goes_on(farm: Farm, trial: Callable[[int], Trial]) -> Dict[str, Any]:
    """Whom trials are given that continue others, all ranks being idle; and one whose rank is busy.

    Round 1 are new trials, one for each slot. Rounds 2 and 3 continue those of the round before, in reverse order and
    then as they came. At last two trials continue the same one.
    """
    def round(*continued: Optional[int]) -> List[int]:
        trials = [replace(trial(next(ids)), continues=one) for one in continued]
        ranks = [farm.submit(one) for one in trials]
        results: List[Result] = []
        while len(results) < len(trials):
            results += farm.poll(1.0)
        return ranks

    ids = itertools.count()
    n = farm.slots
    rounds = [round(*[None] * n), round(*reversed(range(n))), round(*range(n, 2 * n)), round(2 * n, 2 * n)]
    return {"rounds": rounds}


class CaseJob:
    """A world whose master or rank does what a case says."""

    def __init__(self, search: str, case: str):
        self._search, self._case, self.walltime = search, case, Walltime()
        self.summary: Dict[str, Any] = {}

    def prepare(self) -> None:
        self._parts = Parts.of(Options(self._search, Path(".")))

    def has(self) -> str:
        return self._case

    def check(self, first: str) -> None:
        if first != self._case:
            raise UserError("another case")

    def evaluator(self, rank: int) -> Evaluator:
        if self._case == f"rank {rank} breaks":
            raise RuntimeError("a rank that breaks")
        return self._parts.evaluator(rank)

    def master(self, farm: Farm, ranks: int) -> None:
        """The contract; or to fail, when all others are idle or in the middle of trials that take long (FAKE_SECONDS),
        and before the others could be sent home or after that."""
        default = self._parts.experiment.space.default
        if self._case == "goes on":
            self.summary = goes_on(farm, lambda id: self._parts.experiment.trial(id, default))
            return farm.close()
        if not self._case.startswith("fail"):
            self.summary = {**contract(farm, lambda id: self._parts.experiment.trial(id, default)), "world": ranks}
            return farm.close()
        while self._case != "fail_idle" and farm.idle:
            farm.submit(self._parts.experiment.trial(farm.idle, default))
        if self._case != "fail_unclosed":
            farm.close()
        raise UserError("the master does not like it")


if __name__ == "__main__":
    from menndl_caffe.farm import world

    job = CaseJob(*sys.argv[1:])
    try:
        world.play(job)
    except UserError as error:
        print(f"the program's end: {error}")
        raise SystemExit(2) from None
    if job.summary:
        print(json.dumps(job.summary))
