"""What a run needs of a search algorithm, and what it gives to one."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterator, NamedTuple, Optional, Protocol, Sequence, Tuple

import numpy as np

from menndl_caffe.genome import Genome, SearchSpace
from menndl_caffe.objective import Costs, Objective, costs
from menndl_caffe.trial import TRAIN, Result, Trial

NewTrial = Callable[[Genome, Optional[int]], Trial]  # (genome, generation) -> the next trial, numbered by the run
Cost = Callable[[Genome], float]  # expected effort of training a genome, in any unit
Steady = Callable[[Genome, int], bool]  # whether a genome's learning rate falls no more by far after an iteration
Wrong = Tuple[str, Any, str]  # a field of an algorithm's settings, what was found there, what would be valid


class Search(Protocol):
    """Who is tried next.

    What `ask` gives depends on the settings and on the earlier calls of `ask` and `tell` alone: not on how many ranks
    are idle, and not on time. Random numbers are drawn from (the run's seed, the number of the trial or generation),
    never from a stream that lives long. So nothing is saved but the journal, and a run is resumed by making a fresh
    search and repeating the journal's calls in the journal's order.
    """

    @property
    def finished(self) -> bool:
        """Whether every trial was told and none will follow; False for ever in a search that only a limit ends."""

    @property
    def total(self) -> Optional[int]:
        """Trials of the whole search, if no limit comes first; None for one that only a limit ends."""

    @property
    def generations(self) -> Optional[int]:
        """Generations of the whole search; None for one that has none."""

    def ask(self) -> Optional[Trial]:
        """The next trial; None means that results must be told first, or that the search is finished."""

    def asked(self, trial: Trial) -> None:
        """This recorded trial was handed out earlier, as if `ask` had returned it now.

        An algorithm whose proposals cost little looks whether it is the trial that it gives: OtherTrial where not.
        """

    def tell(self, trial: Trial, result: Result) -> None:
        """Take the result of a trial that was asked for."""


class OtherTrial(Exception):
    """A recorded trial is not the one that this search asks for; `given` is that one, None where it asks for none."""

    def __init__(self, given: Optional[Trial]):
        self.given = given


def check_asked(search: Search, trial: Trial) -> None:
    """`asked` of a search that gives its trials one after the other: OtherTrial unless `trial` is the next."""
    given = search.ask()
    if given != trial:
        raise OtherTrial(given)


@dataclass(frozen=True)
class Problem:
    """What is searched, as every algorithm gets it.

    `first` are individuals that come before all others; `earlier` are those of other runs with their costs, the fittest
    first, the failed last and without: they are known, and no individuals of this run. Until a training is `steady`,
    its curve does not say where it will end.
    """

    space: SearchSpace
    seed: int  # the run's
    new_trial: NewTrial
    cost: Cost = lambda genome: 0.0
    objectives: Sequence[Objective] = (Objective(),)
    first: Sequence[Genome] = ()
    earlier: Sequence[Tuple[Genome, Optional[Costs]]] = ()
    steady: Steady = lambda genome, iteration: True

    def costs(self, result: Result) -> Optional[Costs]:
        """Of each objective, the lower the better; None where the individual failed or was stopped."""
        return costs(self.objectives, result)

    def rng(self, number: int) -> np.random.RandomState:
        """The random numbers of a trial or generation: of the run's seed and this number alone."""
        return np.random.RandomState([self.seed & 0xFFFFFFFF, number])


class Kind(NamedTuple):
    """A search algorithm as the search file knows it."""

    make: Callable[[Problem, Any], Search]  # with its settings; UserError where a package that it needs is missing
    field: str = ""  # of a SearchParameter, with its settings; none for an algorithm without
    check: Callable[[Any], Iterator[Wrong]] = lambda settings: iter(())  # what is wrong with the settings
    limited: bool = False  # whether it goes on until `limit`
    ends: bool = False  # whether a limited one has an end of its own, too, and `limit` may be left out
    several: bool = False  # whether it takes more than one objective
    program: str = TRAIN  # by which its individuals are trained
    first: Callable[[Any], Optional[int]] = lambda settings: None  # of how many `Problem.first` there may be; None: any

    def settings(self, message: Any) -> Any:
        """The algorithm's own part of a SearchParameter; None where it has none."""
        return getattr(message, self.field) if self.field else None
