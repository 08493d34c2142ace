"""Menndl's own searches, driven through the Search protocol as a run drives them."""
from __future__ import annotations

import time
from typing import Callable, Dict, Optional, Protocol, Tuple

from google.protobuf import text_format

import menndl_caffe
from menndl_caffe import search
from menndl_caffe.genome import Genome, SearchSpace
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.objective import ACCURACY, LOSS, Objective
from menndl_caffe.trial import CRASHED, OK, Result, Trial

# Of types whose defaults are for other sizes than a race's: (slots) -> text. The paper's GA keeps its rates, and has a
# population that lets every slot work.
SETTINGS: Dict[str, Callable[[int], str]] = {"GA": lambda slots: f"population: {max(20, slots)} generations: 100000"}


def parameter(method: str, slots: int) -> menndl_pb2.SearchParameter:
    """Of `TYPE`, or `TYPE` with settings in text format: `GUIDED_GA rounds: 2`."""
    kind, _, text = method.partition(" ")
    message = menndl_pb2.SearchParameter(type=kind)
    text = text or SETTINGS.get(kind, lambda slots: "")(slots)
    if text:
        text_format.Parse(text, getattr(message, search.KINDS[kind].field))
    return message


class Searched(Protocol):
    """What is asked of a landscape."""

    @property
    def space(self) -> SearchSpace:
        """Of its genomes."""

    @property
    def accuracy(self) -> bool:
        """Whether costs are 1 - accuracy, or losses."""


class Ours:
    """A Contestant."""

    version = f"menndl {menndl_caffe.__version__}"

    def __init__(self, method: str, landscape: Searched, seed: int, slots: int):
        self.cpu = 0.0
        self._accuracy = landscape.accuracy
        self._trials: Dict[int, Trial] = {}  # asked and not told
        self._count = 0
        objective = Objective(ACCURACY) if landscape.accuracy else Objective(LOSS, minimize=True)
        problem = search.Problem(landscape.space, seed, self._new_trial, objectives=(objective,))
        self._search = search.make(parameter(method, slots), problem)

    def ask(self) -> Optional[Tuple[int, Genome]]:
        """See Contestant."""
        start = time.process_time()
        trial = None if self._search.finished else self._search.ask()
        self.cpu += time.process_time() - start
        return trial and (trial.id, trial.genome)

    def tell(self, number: int, cost: Optional[float]) -> None:
        """See Contestant. A failure is a failed result."""
        if cost is None:
            result = Result(number, CRASHED)
        else:
            result = Result(number, OK, 1 - cost if self._accuracy else cost)
        start = time.process_time()
        self._search.tell(self._trials.pop(number), result)
        self.cpu += time.process_time() - start

    def close(self) -> None:
        """See Contestant."""

    def _new_trial(self, genome: Genome, generation: Optional[int]) -> Trial:
        trial = Trial(self._count, genome, 0, 1, generation)
        self._trials[trial.id] = trial
        self._count += 1
        return trial
