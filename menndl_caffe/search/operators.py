"""How a steady-state genetic algorithm makes children of parents, many at a time.

| symbol | here | meaning |
|---|---|---|
| p_c | `crossover` | probability that a child takes each gene from either of two parents, not all from one |
| m | `mutations` | genes of a child that change, on average; one always does |
| sigma | WIDTH | standard deviation of a number's change, as a part of its range |

Points are those of cube.py: arrays of shape (individuals, N_GENE).
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from menndl_caffe.search.cube import Cube, Points

WIDTH = 0.15
AFRESH = 0.2  # of the numbers that change, the part that is drawn anew from the whole range


class Operators(NamedTuple):
    """The two operators of a space, with their odds."""

    cube: Cube
    crossover: float = 0.6
    mutations: float = 1.5

    def children(self, first: Points, second: Points, rng: np.random.RandomState) -> Points:
        """A child of each pair of parents: crossed, perhaps, and mutated."""
        crossed = rng.random_sample((len(first), 1)) < self.crossover
        others = rng.random_sample(first.shape) < 0.5
        return self.mutants(np.where(crossed & others, second, first), rng)

    def mutants(self, points: Points, rng: np.random.RandomState, width: float = WIDTH) -> Points:
        """Of each point one that differs in each gene with probability m / N_GENE, and in one at least.

        A number goes a normally distributed way, reflected at the ends of its range, a whole number at least one step;
        or it is drawn afresh, as a choice always is, which takes another value.
        """
        cube, levels, shape = self.cube, self.cube.levels(points), points.shape
        hit = rng.random_sample(shape) < self.mutations / cube.genes
        hit[np.arange(len(points)), rng.randint(cube.genes, size=len(points))] = True
        afresh = self._others(levels, rng.random_sample(shape))
        near = self._moved(levels, width * rng.standard_normal(shape), rng.random_sample(shape) < 0.5)
        new = np.where(cube.choices | (rng.random_sample(shape) < AFRESH), afresh, near)
        return cube.at_levels(np.where(hit, new, levels))

    def _others(self, levels: Points, drawn: Points) -> Points:
        """Of each gene another of its values, each with the same probability; of reals any."""
        sizes = np.where(self.cube.stepped, self.cube.sizes, 1.0)
        return np.where(self.cube.stepped, (levels + 1 + np.floor(drawn * (sizes - 1))) % sizes, drawn)

    def _moved(self, levels: Points, ways: Points, up: np.ndarray) -> Points:
        """Levels moved by these parts of their ranges; where that is less than a step, one step `up` or down."""
        cube = self.cube
        span = np.where(cube.stepped, cube.sizes - 1, 1.0)
        one, ways = np.where(up, 1.0, -1.0), ways * span
        steps = np.where(np.abs(ways) < 1, one, np.round(ways))
        moved = _reflected(levels + np.where(cube.stepped, steps, ways), span)
        back = cube.stepped & (moved == levels)  # reflected to where it was
        return np.where(back, _reflected(levels + one, span), moved)


def _reflected(levels: Points, span: np.ndarray) -> Points:
    """Levels outside [0, span] mirrored at its ends until they are inside."""
    inside = np.abs(levels) % np.maximum(2 * span, 1e-9)
    return np.minimum(inside, np.maximum(2 * span - inside, 0.0))
