"""The pool of parents: of one objective the best, of several the survivors of NSGA-II."""
from __future__ import annotations

import math
from typing import List, Tuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from menndl_caffe.search.pool import Member, Pool, crowding, order, ranks

SMALL = st.integers(0, 4).map(float)
TABLES = st.integers(2, 3).flatmap(lambda m: st.lists(st.tuples(*[SMALL] * m), min_size=1, max_size=12))


def dominates(a: Tuple[float, ...], b: Tuple[float, ...]) -> bool:
    return all(x <= y for x, y in zip(a, b)) and a != b


def peeled(costs: List[Tuple[float, ...]]) -> List[int]:
    """Ranks by their definition: the front, then the front of the rest, ..."""
    rank = {}
    while len(rank) < len(costs):
        left = [i for i in range(len(costs)) if i not in rank]
        front = [i for i in left if not any(dominates(costs[j], costs[i]) for j in left)]
        rank.update(dict.fromkeys(front, max(rank.values(), default=-1) + 1))
    return [rank[i] for i in range(len(costs))]


@given(TABLES)
def test_ranks_are_those_of_peeling(costs: List[Tuple[float, ...]]) -> None:
    assert ranks(np.array(costs)).tolist() == peeled(costs)


def test_crowding_is_the_worked_example() -> None:
    """Each objective's gap between the neighbours as a part of its span; the ends are infinitely lonely."""
    costs = np.array([[0.0, 10.0], [1.0, 6.0], [4.0, 2.0], [10.0, 0.0]])
    assert crowding(costs).tolist() == [math.inf, 0.4 + 0.8, 0.9 + 0.6, math.inf]
    assert crowding(np.array([[1.0, 1.0]] * 3))[1:-1].tolist() in ([0.0], [math.inf])
    assert order([(4.0, 2.0), (1.0, 6.0), (9.0, 9.0), (0.0, 10.0), (10.0, 0.0)]) == [3, 4, 0, 1, 2]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(2, 6))
def test_one_objective_keeps_the_best_and_of_equals_the_newest(costs: List[int], size: int) -> None:
    pool = Pool(size)
    for i, cost in enumerate(costs):
        pool.add(Member(np.array([i]), (float(cost),)))
    best = sorted(range(len(costs)), key=lambda i: (costs[i], -i))[:size]
    assert [int(member.point[0]) for member in pool.members] == best


@given(TABLES)
def test_the_front_stays_whole_while_there_is_room(costs: List[Tuple[float, ...]]) -> None:
    pool = Pool(12)
    for i, each in enumerate(costs):
        pool.add(Member(np.array([i]), each))
    front = [i for i, each in enumerate(costs) if not any(dominates(other, each) for other in costs)]
    assert {int(member.point[0]) for member in pool.members[:len(front)]} == set(front)
