"""Search algorithms, one a file; `KINDS` has them by the `type` of a search file."""
from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Optional

from menndl_caffe.genome import SearchSpace
from menndl_caffe.search import (
    adaptive,
    async_ga,
    cma_es,
    ga,
    guided_ga,
    hypergradient,
    hypernet,
    inner,
    optuna_sampler,
    rungs,
    sampling,
)
from menndl_caffe.search.search import Kind, NewTrial, OtherTrial, Problem, Search
from menndl_caffe.trial import Trial

KINDS: Dict[str, Kind] = {
    "GA": ga.KIND, "RANDOM": sampling.RANDOM, "SOBOL": sampling.SOBOL, "GRID": sampling.GRID,
    "ASYNC_GA": async_ga.KIND, "GUIDED_GA": guided_ga.GUIDED_GA, "BO": guided_ga.BO,
    "CMA_ES": cma_es.KIND, "OPTUNA": optuna_sampler.KIND, "HYPERGRADIENT": hypergradient.KIND,
    "ADAPTIVE": adaptive.KIND, "HYPERNET": hypernet.KIND,
}


def make(message: Any, problem: Problem) -> Search:
    """The search of a SearchParameter of a valid `type`."""
    kind = KINDS[message.type]

    def outer(problem: Problem) -> Search:
        return kind.make(problem, kind.settings(message))

    if message.HasField("inner"):
        return inner.within(problem, message.inner, KINDS[message.inner.type], outer)
    if message.HasField("stop"):
        return rungs.with_rungs(problem, message.stop, message.max_iter, outer)
    return outer(problem)


def going_on(search: Search) -> Callable[[], Optional[Trial]]:
    """What gives the next trial that goes on with an individual which is begun, whether or not more are begun."""
    return search.go_on if isinstance(search, rungs.Rungs) else lambda: None


def hear_of_stopped(search: Search, told: Callable[[Trial], None]) -> None:
    """Have it `told` of each individual that is stopped early: its last trial, once that is decided."""
    if isinstance(search, rungs.Rungs):
        search.when_stopped = told


def nobody_goes_on(search: Search) -> None:
    """All that came to a rung so far are stopped, whatever the rule says now."""
    if isinstance(search, rungs.Rungs):
        search.nobody_goes_on()


def rungs_of(message: Any) -> List[int]:
    """The iterations of a valid SearchParameter's rungs, ascending; none where no training ends early."""
    return rungs.rungs(message.stop, message.max_iter) if message.HasField("stop") else []


def learning(message: Any) -> Any:
    """What of a SearchParameter says how its individuals are trained: `inner` where there is one, else all of it."""
    return message.inner if message.HasField("inner") else message


def program(message: Any) -> str:
    """By which the individuals of a SearchParameter are trained."""
    return KINDS[learning(message).type].program


def total(message: Any, search: Search) -> Optional[int]:
    """Individuals of a SearchParameter's whole search, as far as the search or its limit knows. How many so many
    iterations are is not known where trainings may end early."""
    known = [count for count in (message.limit.trials, search.total) if count]
    if message.limit.iterations:
        at = rungs_of(message)
        most = math.ceil(message.limit.iterations / (at[0] if at else message.max_iter))
        known = [count for count in known if count < most] or ([] if at else [most])
    return min(known, default=None)


def descending(message: Any, space: SearchSpace) -> SearchSpace:
    """The genes that go down a gradient, where the program is HYPERGRADIENT."""
    return space.part(message.inner.gene) if message.HasField("inner") else space


__all__ = ["KINDS", "Kind", "NewTrial", "OtherTrial", "Problem", "Search", "descending", "going_on", "hear_of_stopped",
           "learning", "make", "nobody_goes_on", "program", "rungs_of", "total"]
