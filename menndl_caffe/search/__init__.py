"""Search algorithms, one a file; `KINDS` has them by the `type` of a search file."""
from __future__ import annotations

from typing import Any, Dict

from menndl_caffe.search import (
    adaptive,
    async_ga,
    cma_es,
    ga,
    guided_ga,
    hypergradient,
    hypernet,
    optuna_sampler,
    sampling,
)
from menndl_caffe.search.search import Kind, NewTrial, OtherTrial, Problem, Search

KINDS: Dict[str, Kind] = {
    "GA": ga.KIND, "RANDOM": sampling.RANDOM, "SOBOL": sampling.SOBOL, "GRID": sampling.GRID,
    "ASYNC_GA": async_ga.KIND, "GUIDED_GA": guided_ga.GUIDED_GA, "BO": guided_ga.BO,
    "CMA_ES": cma_es.KIND, "OPTUNA": optuna_sampler.KIND, "HYPERGRADIENT": hypergradient.KIND,
    "ADAPTIVE": adaptive.KIND, "HYPERNET": hypernet.KIND,
}


def make(message: Any, problem: Problem) -> Search:
    """The search of a SearchParameter of a valid `type`."""
    kind = KINDS[message.type]
    return kind.make(problem, kind.settings(message))


__all__ = ["KINDS", "Kind", "NewTrial", "OtherTrial", "Problem", "Search", "make"]
