"""What every farm must do, checked on a farm that runs: in the tests' own process, or as a program under mpirun.

    mpirun -n N python -m tests.farm_world SEARCH CASE     the case's summary as JSON, from the master
"""
from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Set

from menndl_caffe.errors import UserError
from menndl_caffe.farm import Farm
from menndl_caffe.run.launch import Options, Parts
from menndl_caffe.trial import OK, Result, Trial


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
    """Every trial's result; whatever slot is idle gets the next trial."""
    waiting, running, results = list(trials), set(), []
    deadline = time.monotonic() + 120
    while len(results) < len(trials) and time.monotonic() < deadline:
        while waiting and farm.idle:
            running.add(waiting[0].id)
            farm.submit(waiting.pop(0))
            assert farm.idle == farm.slots - len(running)
        for result in farm.poll(0.5):
            running.remove(result.id)
            results.append(result)
        assert farm.idle == farm.slots - len(running)
    assert sorted(result.id for result in results) == sorted(trial.id for trial in trials)
    return results


def check_contract(parts: Parts, farm: Farm, ranks: int) -> Dict[str, Any]:
    default = parts.experiment.space.default
    summary = contract(farm, lambda id: parts.experiment.trial(id, default))
    farm.close()
    return {**summary, "world": ranks}


def fail_idle(parts: Parts, farm: Farm, ranks: int) -> None:
    """The master fails when all others are idle: everybody goes home in order."""
    farm.close()
    raise UserError("the master does not like it")


def fail_busy(parts: Parts, farm: Farm, ranks: int) -> None:
    """The master fails in the middle of the others' trials, which take long (FAKE_SECONDS)."""
    fill(parts, farm)
    fail_idle(parts, farm, ranks)


def fail_unclosed(parts: Parts, farm: Farm, ranks: int) -> None:
    """The master fails before it could send the others home."""
    fill(parts, farm)
    raise UserError("the master does not like it")


def fill(parts: Parts, farm: Farm) -> None:
    while farm.idle:
        farm.submit(parts.experiment.trial(farm.idle, parts.experiment.space.default))


def evaluator(parts: Parts, rank: int) -> Any:
    if CASE == f"rank {rank} breaks":
        raise RuntimeError("a rank that breaks")
    return parts.evaluator(rank)


CASE = sys.argv[2] if len(sys.argv) > 2 else ""
MASTERS = {"fail_idle": fail_idle, "fail_busy": fail_busy, "fail_unclosed": fail_unclosed}

if __name__ == "__main__":
    from menndl_caffe.farm import mpi

    try:
        master = MASTERS.get(CASE, check_contract)
        summary = mpi.run_world(None, lambda: Parts(Options(sys.argv[1], Path("."))), evaluator, master,
                                lambda: False)
    except UserError as error:
        print(f"the program's end: {error}")
        raise SystemExit(2) from None
    if summary:
        print(json.dumps(summary))
