"""Searches on made-up landscapes, without loop and farm: who is asked for, when results come in their own time."""
from __future__ import annotations

import heapq
from itertools import count
from typing import Any, Callable, List, Optional, Tuple

from menndl_caffe.genome import Genome, SearchSpace
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
