"""Searches on a farm that is a script, for tests of the loop: whose result comes next is decided beforehand."""
from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Optional, Tuple

from google.protobuf import text_format

from menndl_caffe import journal
from menndl_caffe.genome import ChoiceGene, Genome, IntGene, RealGene, SearchSpace
from menndl_caffe.journal import Journal
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.run.loop import Loop
from menndl_caffe.run.numbering import Numbering
from menndl_caffe.search import KINDS, NewTrial, Problem, Search, going_on, make
from menndl_caffe.search.search import check_asked
from menndl_caffe.trial import (
    CRASHED,
    DEFAULT,
    DIVERGED,
    HYPERGRADIENT,
    OK,
    STOPPED,
    TRAIN,
    Result,
    Trial,
    training_seed,
)

# So few genomes that individuals are met again.
SPACE = SearchSpace((IntGene("kernel", 1, 4, 1, 2), ChoiceGene("pool", ("MAX", "AVE"), "MAX"),
                     RealGene("rate", 0.1, 0.1, True, 0.1)))
REALS = SearchSpace((RealGene("decay", 1e-5, 0.1, True, 1e-3), RealGene("momentum", 0.0, 0.99, False, 0.9)))
BOTH = SearchSpace((IntGene("kernel", 1, 40, 1, 2), *REALS.genes))
WITHIN = " with descents within"
RUNGS = " from rung to rung"
STOPS = {RUNGS: "halving { first: 2 factor: 2 }", " by their curves": "curve { probability: 0.3 }",
         " by the median": "median { least: 2 }"}
PLAIN = tuple(kind for kind in KINDS if KINDS[kind].program == TRAIN)  # types whose individuals are trained, no more
FIRST_LINE = {"search": "x", "engine": "fake", "started": 1e9}
LIMIT = 14
BUDGET = 10  # iterations


class Children:
    """An asynchronous toy: each individual depends on all results told so far, and on their order."""

    finished = False
    total = None
    generations = None

    def __init__(self, new_trial: NewTrial):
        self._new_trial = new_trial
        self._told: List[Tuple[int, float]] = []
        self._asked = 0

    def ask(self) -> Optional[Trial]:
        rng = random.Random(f"{self._told} {self._asked}")
        self._asked += 1
        return self._new_trial(SPACE.from_unit([rng.random() for _ in SPACE.genes]), None)

    def asked(self, trial: Trial) -> None:
        check_asked(self, trial)

    def tell(self, trial: Trial, result: Result) -> None:
        self._told.append((trial.id, result.fitness))


class Believer(Children):
    """The same by another way: it believes that a recorded trial is its own, as a search does that models results."""

    def asked(self, trial: Trial) -> None:
        self._asked += 1


def made(kind: str, seed: int, new_trial: NewTrial) -> Search:
    """A small search of a toy's name or of a type."""
    toys: Dict[str, Callable[[NewTrial], Search]] = {"Children": Children, "Believer": Believer}
    if kind in toys:
        return toys[kind](new_trial)
    message = menndl_pb2.SearchParameter(type=kind.split(" ")[0])
    if kind.endswith(WITHIN):
        message.inner.CopyFrom(menndl_pb2.InnerParameter(gene=REALS.names, steps=3))
    for ending, stop in STOPS.items():
        if kind.endswith(ending):
            message.max_iter = BUDGET
            text_format.Parse(stop, message.stop)
    message.ga_param.CopyFrom(menndl_pb2.GAParameter(population=5, generations=3, mutation=0.3))
    message.hypergradient_param.CopyFrom(menndl_pb2.HypergradientParameter(method="HOAG", starts=3))
    return make(message, Problem(space_of(kind), seed, new_trial, lambda genome: float(str(genome.values[0]))))


def space_of(kind: str) -> SearchSpace:
    """What a small search of this type searches."""
    if kind.endswith(WITHIN):
        return BOTH
    return REALS if kind in KINDS and KINDS[kind].program == HYPERGRADIENT else SPACE


EVERY = ("Children", "Believer", *KINDS, *(kind + WITHIN for kind in ("GA", "RANDOM", "GUIDED_GA", "CMA_ES")),
         *(kind + RUNGS for kind in ("GA", "RANDOM", "ASYNC_GA", "CMA_ES")),
         "RANDOM by their curves", "GA by the median")
# May ask for a genome again.
REPEATING = ("Children", "Believer", "RANDOM", "HYPERGRADIENT", "RANDOM" + RUNGS, "RANDOM by their curves")


def size(kind: str) -> int:
    """Individuals of a whole search: where no genome comes twice, all that the space has."""
    if kind.endswith(WITHIN):
        return LIMIT
    return 15 if kind.split(" ")[0] == "GA" else LIMIT if kind in REPEATING else int(SPACE.size)


def outcome(trial: Trial, failing: int) -> Result:
    """What becomes of a trial, by its work alone; about one in `failing` fails."""
    chance = random.Random(repr(trial.work))
    status = chance.choice((CRASHED, DIVERGED)) if chance.random() < 1 / failing else OK
    gradient = {name: chance.random() - 0.5 for name in trial.genome.names} if chance.random() < 0.9 else {}
    loss = chance.random()
    if status != OK:
        return Result(trial.id, status, log="a log")
    fitness = chance.random()
    curve = tuple((at, chance.random(), loss) for at in range(1, trial.until or BUDGET)) + (
        (trial.until or BUDGET, fitness, loss),)
    return Result(trial.id, OK if trial.until is None else STOPPED, fitness, loss, log="a log", curve=curve,
                  gradient=gradient if trial.program == HYPERGRADIENT else {})


class PlayedFarm:
    """Gives the results in the `order` of these ids; of those not in it, one by chance."""

    def __init__(self, slots: int, order: List[int], chance: random.Random, failing: int):
        self.slots, self._order, self._chance, self._failing = slots, list(order), chance, failing
        self._running: Dict[int, Trial] = {}

    @property
    def idle(self) -> int:
        return self.slots - len(self._running)

    def submit(self, trial: Trial) -> int:
        assert self.idle and trial.id not in self._running, "a trial too many"
        self._running[trial.id] = trial
        return trial.id % self.slots

    def poll(self, seconds: float) -> List[Result]:
        assert self._running, "nothing runs, so nothing will come"
        while self._order and self._order[0] not in self._running:
            self._order.pop(0)  # answered without training, or before the run was stopped
        id = self._order.pop(0) if self._order else self._chance.choice(list(self._running))
        return [outcome(self._running.pop(id), self._failing)]

    def lost(self) -> List[Trial]:
        return []

    def close(self) -> None:
        pass


def numbering(seed: int, reuse: bool = True) -> Numbering:
    """Of trials whose seeds are made as an experiment makes them."""
    def trial(id: int, genome: Genome, generation: Optional[int], role: str) -> Trial:
        return Trial(id, genome, training_seed(seed, genome, "" if reuse else str(id)), BUDGET, generation, role)

    experiment: Any = SimpleNamespace(trial=trial)
    return Numbering(experiment)


def play(run: Path, kind: str, seed: int, farm: Any, reuse: bool = True, limit: int = LIMIT) -> List[Any]:
    """Run or go on with a search, its default first; the journal's calls, in their order."""
    number = numbering(seed, reuse)
    default = number(space_of(kind).default, role=DEFAULT)
    search = made(kind, seed, number)
    total = None if kind.split(" ")[0] == "GA" else min(limit, search.total or limit)
    with Journal(run, fsync=False) as writer:
        writer.begin(FIRST_LINE)
        Loop(search, farm, writer, number, total, lambda *_: None, lambda *_: None,
             go_on=going_on(search)).run([default])
    return journal.read(run).calls
