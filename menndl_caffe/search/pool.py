"""The parents of a steady-state genetic algorithm: the best individuals so far, of one objective or of several.

| symbol | here | meaning |
|---|---|---|
| c | `costs` | an individual's costs, one for each objective: the lower, the better |
| rank | `ranks` | 0 of those that no other is better than in every objective, 1 when these are left out, ... |
| distance | `crowding` | how far an individual's neighbours of its rank lie from each other |

With several objectives that is the survival of NSGA-II (Deb et al. 2002, sections III-A and III-B), child by child.
"""
from __future__ import annotations

from typing import List, NamedTuple, Sequence

import numpy as np

from menndl_caffe.objective import Costs


class Member(NamedTuple):
    """An individual of the pool."""

    point: np.ndarray  # where its genome lies (cube.py), shape (N_GENE,)
    costs: Costs


class Pool:
    """At most `size` members, the best first; of equals the newest, as the others are those that train fast."""

    def __init__(self, size: int):
        self._size = size
        self.members: List[Member] = []

    def add(self, member: Member) -> None:
        """Take one in; the worst goes where there are too many."""
        members = [member, *self.members]
        self.members = [members[i] for i in order([each.costs for each in members])[:self._size]]


def order(costs: Sequence[Costs]) -> List[int]:
    """The places of individuals from the best to the worst: by cost, or by rank and then the most lonely first."""
    if len(costs[0]) == 1:
        return sorted(range(len(costs)), key=lambda i: costs[i])
    table = np.array(costs)
    rank = ranks(table)
    distance = np.zeros(len(table))
    for level in np.unique(rank):
        distance[rank == level] = crowding(table[rank == level])
    return sorted(range(len(costs)), key=lambda i: (rank[i], -distance[i]))


def ranks(costs: np.ndarray) -> np.ndarray:
    """The rank of each individual by non-domination; `costs` of shape (individuals, objectives)."""
    worse = (costs[:, None] >= costs[None]).all(axis=2) & (costs[:, None] > costs[None]).any(axis=2)
    rank, left, level = np.zeros(len(costs), int), np.ones(len(costs), bool), 0
    while left.any():
        front = left & ~(worse & left[None]).any(axis=1)
        rank[front], left, level = level, left & ~front, level + 1
    return rank


def crowding(costs: np.ndarray) -> np.ndarray:
    """The crowding distance of individuals of the same rank: infinite at the ends of each objective."""
    distance = np.zeros(len(costs))
    for values in costs.T:
        by_value = np.argsort(values, kind="stable")
        distance[by_value[[0, -1]]] = np.inf
        span = values[by_value[-1]] - values[by_value[0]]
        if span > 0:
            distance[by_value[1:-1]] += (values[by_value[2:]] - values[by_value[:-2]]) / span
    return distance
