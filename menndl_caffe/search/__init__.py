"""Search algorithms, one a file; `KINDS` has them by the `type` of a search file."""
from __future__ import annotations

from typing import Any, Dict

from menndl_caffe.genome import SearchSpace
from menndl_caffe.search import ga, sampling
from menndl_caffe.search.search import Cost, Kind, NewTrial, OtherTrial, Search

KINDS: Dict[str, Kind] = {"GA": ga.KIND, "RANDOM": sampling.RANDOM}


def make(message: Any, space: SearchSpace, new_trial: NewTrial, cost: Cost) -> Search:
    """The search that a SearchParameter of a valid `type` describes."""
    kind = KINDS[message.type]
    return kind.make(space, kind.settings(message), message.random_seed, new_trial, cost)


__all__ = ["Cost", "KINDS", "Kind", "NewTrial", "OtherTrial", "Search", "make"]
