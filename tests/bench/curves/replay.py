"""One search over recorded trainings in an order, on so many ranks of a virtual clock, through the real rungs."""
from __future__ import annotations

import heapq
from itertools import count
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from google.protobuf import text_format

from menndl_caffe.genome import Genome, IntGene, SearchSpace
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.search import NewTrial, OtherTrial, Problem, Search
from menndl_caffe.search.rungs import with_rungs
from menndl_caffe.trial import OK, STOPPED, Result, Trial
from tests.bench.curves.recorded import Recorded


class Replayed(NamedTuple):
    """What a search with rungs came to."""

    spent: float  # share of the iterations that all trainings have
    found: float  # the best fitness of those that came to their ends
    ended: int  # individuals that came to their ends
    told: Dict[int, Tuple[str, float]]  # of each training: what became of it, and the fitness that the search was told


class InOrder:
    """A search that asks for the given trainings, one after the other."""

    total = None
    generations = None

    def __init__(self, genomes: Sequence[Genome], new_trial: NewTrial):
        self._left, self._new_trial = list(reversed(genomes)), new_trial
        self.told: Dict[int, float] = {}

    @property
    def finished(self) -> bool:
        return not self._left

    def ask(self) -> Optional[Trial]:
        return self._new_trial(self._left.pop(), None) if self._left else None

    def asked(self, trial: Trial) -> None:
        raise OtherTrial(None)

    def tell(self, trial: Trial, result: Result) -> None:
        self.told[_index(trial)] = result.fitness


def order(curves: int, seed: int) -> List[int]:
    """In which they come."""
    return np.random.RandomState(seed).permutation(curves).tolist()


def replay(curves: Sequence[Recorded], order: Sequence[int], stop: str, ranks: int = 1, seed: int = 0) -> Replayed:
    """Train `curves` in an `order` by the text of a StopParameter; an iteration lasts as long as its multiply-adds."""
    end = curves[0].curve[-1][0]
    space, ids = SearchSpace((IntGene("curve", 0, len(curves) - 1, 1, 0),)), count(1)
    problem = Problem(space, seed, lambda genome, generation: Trial(next(ids), genome, 1, end, generation))
    inner = InOrder([space.genome([index]) for index in order], problem.new_trial)
    search: Search = with_rungs(problem, text_format.Parse(stop, menndl_pb2.StopParameter()), end, lambda _: inner)
    spent, status, running = 0, {}, []  # type: int, Dict[int, str], List[Tuple[float, int, Trial]]
    now, begun = 0.0, {}  # type: float, Dict[int, int]
    results: List[Result] = []
    while True:
        while len(running) < ranks:
            trial = search.ask()
            if trial is None:
                break
            index, until = _index(trial), trial.until or end
            iterations = until - begun.get(index, 0)
            spent, begun[index] = spent + iterations, until
            heapq.heappush(running, (now + iterations * curves[index].multiply_adds, trial.id, trial))
        if not running:
            break
        now, _, trial = heapq.heappop(running)
        results.append(_result(trial, curves[_index(trial)]))
        status[_index(trial)] = results[-1].status
        search.tell(trial, results[-1])
    found = [result.fitness for result in results if result.finished]
    return Replayed(spent / end / len(curves), max(found), len(found),
                    {index: (status[index], fitness) for index, fitness in inner.told.items()})


def _result(trial: Trial, recorded: Recorded) -> Result:
    curve = [point for point in recorded.curve if trial.until is None or point[0] <= trial.until]
    return Result(trial.id, OK if trial.until is None else STOPPED, curve[-1][1], curve[-1][2], curve=tuple(curve))


def _index(trial: Trial) -> int:
    return int(trial.genome.values[0])
