"""A layered drawing of a graph: every node on its row, few crossings, straight ways (Sugiyama et al., 1981).

| symbol | meaning |
|---|---|
| node | a name; or, where an edge passes a row, the `(upper, lower, row)` through which it goes |
| order | of each row, its nodes from left to right |
"""
from __future__ import annotations

import random
from itertools import combinations, count
from typing import Dict, Hashable, List, Mapping, Sequence, Set, Tuple

import numpy as np
from scipy.optimize import linprog

Node = Hashable
Edge = Tuple[str, str]
Order = List[List[Node]]
Path = List[Node]
RESTARTS, SWEEPS = 60, 12


def ways(rows: Sequence[Sequence[str]], edges: Sequence[Edge]) -> Dict[Edge, Path]:
    """Of each edge, which points down, the nodes on its way: one on each row, its two ends included."""
    row_of = {name: row for row, names in enumerate(rows) for name in names}
    return {(upper, lower): [upper, *((upper, lower, row) for row in range(row_of[upper] + 1, row_of[lower])), lower]
            for upper, lower in edges}


def ordered(rows: Sequence[Sequence[str]], paths: Mapping[Edge, Path]) -> Order:
    """The rows, ways included, in the best order that was found; the same for the same graph."""
    chance = random.Random(1)
    first: Order = [list(names) for names in rows]
    row_of = {name: row for row, names in enumerate(rows) for name in names}
    for (upper, _), path in paths.items():
        for row, node in zip(count(row_of[upper] + 1), path[1:-1]):
            first[row].append(node)
    above, below = _neighbours(paths)
    best, fewest = first, _crossings(first, below)
    for _ in range(RESTARTS):
        order = [chance.sample(row, len(row)) for row in first]
        for _ in range(SWEEPS):
            for row in (*range(1, len(order)), *reversed(range(len(order) - 1))):
                _sort(order, row, above)
                _sort(order, row, below)
            crossings = _crossings(order, below)
            if crossings < fewest:
                best, fewest = [list(row) for row in order], crossings
    return best


def _neighbours(paths: Mapping[Edge, Path]) -> Tuple[Dict[Node, Set[Node]], Dict[Node, Set[Node]]]:
    """Of every node, the nodes that a line joins it with on the row above, and below."""
    above: Dict[Node, Set[Node]] = {}
    below: Dict[Node, Set[Node]] = {}
    for path in paths.values():
        for upper, lower in zip(path, path[1:]):
            above.setdefault(lower, set()).add(upper)
            below.setdefault(upper, set()).add(lower)
    return above, below


def _sort(order: Order, row: int, neighbours: Mapping[Node, Set[Node]]) -> None:
    """Each node of a row to the mean place of its neighbours; one that has none stays where it is."""
    place = {node: (i + 0.5) / len(names) for names in order for i, node in enumerate(names)}

    def wanted(node: Node) -> float:
        near = [place[other] for other in neighbours.get(node, ())]
        return sum(near) / len(near) if near else place[node]
    order[row].sort(key=wanted)


def _crossings(order: Order, below: Mapping[Node, Set[Node]]) -> int:
    """Pairs of lines that cross."""
    place = {node: i for names in order for i, node in enumerate(names)}
    lines = [[(place[upper], place[lower]) for upper in names for lower in below.get(upper, ())] for names in order]
    return sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for row in lines for a, b in combinations(row, 2))


def positions(order: Order, paths: Mapping[Edge, Path], widths: Mapping[Node, float], gap: float,
              width: float) -> Dict[Node, float]:
    """Middle of every node, from 0 to `width`: neighbours keep `gap`, and lines lean as little as can be.

    A linear program in the places x and the leanings: each is at least |x[upper] - x[lower]|, and least is their sum,
    in which a line from one row that an edge passes to the next counts eight times, one that begins or ends an edge
    twice. ValueError where a row is wider than `width`.
    """
    nodes = [node for names in order for node in names]
    index = {node: i for i, node in enumerate(nodes)}
    lines = [line for path in paths.values() for line in zip(path, path[1:])]
    beside = [pair for names in order for pair in zip(names, names[1:])]
    half = [widths.get(node, 0.0) / 2 for node in nodes]
    leanings, apart = _differences(lines, index), _differences(beside, index)
    minus, none = -np.eye(len(lines)), np.zeros((len(beside), len(lines)))
    weights = [(1.0, 2.0, 8.0)[sum(isinstance(end, tuple) for end in line)] for line in lines]
    found = linprog(
        [0.0] * len(nodes) + weights,
        A_ub=np.block([[leanings, minus], [-leanings, minus], [apart, none]]),
        b_ub=[0.0] * (2 * len(lines)) + [-gap - half[index[left]] - half[index[right]] for left, right in beside],
        bounds=[(side, width - side) for side in half] + [(0, None)] * len(lines), method="highs")
    if not found.success:
        raise ValueError(f"the rows do not fit into {width:g}: {found.message}")
    return dict(zip(nodes, found.x))


def _differences(pairs: Sequence[Tuple[Node, Node]], index: Mapping[Node, int]) -> np.ndarray:
    """The matrix (pairs, nodes) that takes places to first - second."""
    matrix = np.zeros((len(pairs), len(index)))
    for row, (first, second) in enumerate(pairs):
        matrix[row, index[first]], matrix[row, index[second]] = 1.0, -1.0
    return matrix
