"""Searches on made-up landscapes, without loop and farm: who is asked for, when results come in their own time."""
from __future__ import annotations

import heapq
from itertools import count
from typing import Any, Callable, List, Optional, Tuple

from menndl_caffe.genome import Genome, RealGene, SearchSpace
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.objective import Objective
from menndl_caffe.search import Problem, Search, make
from menndl_caffe.trial import CRASHED, OK, Result, Trial

Cost = Callable[[Genome], Optional[float]]  # None: it fails
LOSS = (Objective("loss", minimize=True),)


def search(space: SearchSpace, kind: str, seed: int = 1, **problem: Any) -> Search:
    """A search for the lowest loss, of a type's default settings."""
    return adjusted(space, menndl_pb2.SearchParameter(type=kind), seed, **problem)


def adjusted(space: SearchSpace, message: Any, seed: int = 1, **problem: Any) -> Search:
    """The same of a search file's settings."""
    ids = count()

    def new_trial(genome: Genome, generation: Optional[int]) -> Trial:
        return Trial(next(ids), genome, 7, 10, generation)

    return make(message, Problem(space, seed, new_trial, **{"objectives": LOSS, **problem}))


def result(trial: Trial, cost: Optional[float]) -> Result:
    """Of a trial that came to this loss, or failed."""
    return Result(trial.id, CRASHED) if cost is None else Result(trial.id, OK, cost, loss=cost)


def drive(search: Search, cost: Cost, n: int, slots: int = 1,
          time: Callable[[Genome], float] = lambda genome: 1.0) -> List[Tuple[Genome, Optional[float]]]:
    """The n first individuals that a search asks for and their costs, as `slots` train them side by side."""
    asked: List[Tuple[Genome, Optional[float]]] = []
    running: List[Tuple[float, int, Trial]] = []
    now = 0.0
    while len(asked) < n:
        trial = search.ask() if len(running) < slots else None
        if trial is not None:
            asked.append((trial.genome, cost(trial.genome)))
            heapq.heappush(running, (now + time(trial.genome), len(asked), trial))
        else:
            now, place, done = heapq.heappop(running)
            search.tell(done, result(done, asked[place - 1][1]))
    return asked


def best(asked: List[Tuple[Genome, Optional[float]]]) -> float:
    """The lowest cost."""
    return min(cost for _, cost in asked if cost is not None)


TWO_ENDS = SearchSpace(tuple(RealGene(name, 0, 1, False, 0.1) for name in "abc"))


def between_two_ends(kind: str, n: int) -> List[Tuple[Tuple[float, float], float]]:
    """Costs and first gene of n individuals: the distances of that gene to 0.2 and to 0.8, each with those of the
    others to 0.5. The front is all between, the others at 0.5."""
    of = search(TWO_ENDS, kind, objectives=(Objective("loss", True), Objective("memory", True)))
    found = []
    for _ in range(n):
        trial = of.ask()
        assert trial is not None
        a, b, c = (float(value) for value in trial.genome.values)
        rest = abs(b - 0.5) + abs(c - 0.5)
        costs = abs(a - 0.2) + rest, abs(a - 0.8) + rest
        found.append((costs, a))
        of.tell(trial, Result(trial.id, OK, costs[0], loss=costs[0], measures={"memory": costs[1]}))
    return found


def goes_on_exactly(resumed: Search, calls: List[Any], cut: int, n: int) -> None:
    """A fresh search that is told the first `cut` calls of another gives the next n as that one did. A call is a trial
    that was asked for, or a trial and its result."""
    for call in calls[:cut]:
        resumed.asked(call) if isinstance(call, Trial) else resumed.tell(*call)
    for call in calls[cut:cut + n]:
        if isinstance(call, Trial):
            assert resumed.ask() == call
        else:
            resumed.tell(*call)
