"""Search algorithms: `ask(n)` hands out trials, `tell(result)` takes what became of them. One algorithm a file.

`ask` may return fewer than n trials, and none means: wait for results. A search is deterministic: the same settings
and the same results give the same trials, in whatever order the results arrive within what was asked. So a run is
resumed by asking a fresh search again and telling it the recorded results.
"""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Protocol, Tuple

from menndl_caffe.genome import Genome, SearchSpace
from menndl_caffe.search import ga
from menndl_caffe.search.ga import GeneticAlgorithm
from menndl_caffe.trial import Result, Trial

NewTrial = Callable[[int, Genome, int], Trial]  # (id, genome, generation) -> the trial
Cost = Callable[[Genome], float]  # expected effort of training a genome, in any unit


class Search(Protocol):
    """What the run needs of an algorithm."""

    @property
    def finished(self) -> bool:
        """Whether every trial was told and none will follow."""

    @property
    def total(self) -> int:
        """Trials of the whole search."""

    def ask(self, n: int) -> List[Trial]:
        """Up to n new trials; none means that results must be told first, or that the search is finished."""

    def tell(self, result: Result) -> None:
        """Take the result of a trial that was asked for; KeyError for any other."""


class Kind(NamedTuple):
    """What a `type` of the search file stands for: the field with its settings, their check, and the maker.

    `check(settings)` yields (field's name, what stands there, what would be valid) for each that is wrong.
    """

    field: str
    check: Callable[[Any], Iterator[Tuple[str, Any, str]]]
    make: Callable[..., Search]


KINDS: Dict[str, Kind] = {"GA": Kind("ga_param", ga.check, GeneticAlgorithm)}


def make(message: Any, space: SearchSpace, new_trial: NewTrial, cost: Cost) -> Search:
    """The search that a SearchParameter of a valid `type` describes."""
    kind = KINDS[message.type]
    return kind.make(space, getattr(message, kind.field), message.random_seed, new_trial, cost)


__all__ = ["KINDS", "Cost", "GeneticAlgorithm", "Kind", "NewTrial", "Search", "make"]
