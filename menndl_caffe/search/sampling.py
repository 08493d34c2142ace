"""Searches that learn nothing from results: random search, Sobol's sequence, every combination of a grid."""
from __future__ import annotations

import math
from itertools import count
from typing import Any, Iterator, List, Optional

import numpy as np

from menndl_caffe.errors import UserError
from menndl_caffe.genome import Gene, Genome
from menndl_caffe.search.search import Kind, Problem, Wrong, check_asked
from menndl_caffe.search.steady import SteadyState
from menndl_caffe.trial import Result, Trial

MOST_VALUES, MOST_COMBINATIONS = 100_000, 10**300
GOLDEN = (math.sqrt(5) - 1) / 2


class RandomSearch:
    """Every individual is drawn anew, each gene uniform in its own scale, until the run's limit (Bergstra and Bengio
    2012). The same one may come again."""

    finished = False
    total = None
    generations = None

    def __init__(self, problem: Problem, settings: Any = None):
        self._problem = problem
        self._asked = 0

    def ask(self) -> Optional[Trial]:
        """The next individual; there is always one."""
        problem, number = self._problem, self._asked
        self._asked += 1
        if number < len(problem.first):
            return problem.new_trial(problem.first[number], None)
        point = problem.rng(number).random_sample(len(problem.space.genes))
        return problem.new_trial(problem.space.from_unit(point.tolist()), None)

    def asked(self, trial: Trial) -> None:
        """See Search."""
        check_asked(self, trial)

    def tell(self, trial: Trial, result: Result) -> None:
        """Nothing is learned from it."""


class Sobol(SteadyState):
    """Sobol's sequence, shifted by chance around the cube (Cranley and Patterson 1976): any first part fills it evenly.

    It is not scrambled, so that the points are the same with every version of scipy.
    """

    def __init__(self, problem: Problem, settings: Any = None):
        """UserError where there is no scipy that knows Sobol's sequence."""
        super().__init__(problem)
        try:
            from scipy.stats import qmc
        except ImportError:
            raise UserError('type SOBOL needs scipy 1.7 or newer: pip install "menndl_caffe[search]"') from None
        self._sequence = qmc.Sobol(self._cube.genes, scramble=False)

    def _proposals(self, number: int, rng: np.random.RandomState) -> Iterator[Genome]:
        for _ in count():
            yield self._cube.genome((self._sequence.random(1)[0] + self._shift) % 1.0)


class Grid(SteadyState):
    """Every combination of the genes' values once, of real ranges of `levels` values, in an order drawn by chance.

    Combination number i is i's digits in the mixed radix of the genes' sizes. They are gone through in steps of about
    the golden section of all N, coprime with N, so that any first part is spread over the whole grid.
    """

    def __init__(self, problem: Problem, settings: Any):
        """`settings`: a GridParameter. UserError where there are more values or combinations than can be counted."""
        super().__init__(problem)
        for gene in problem.space.genes:
            if MOST_VALUES < gene.size < math.inf:
                raise UserError(f"type GRID takes every value of gene {gene.name}, which has {gene.size}; expected "
                                f"{MOST_VALUES} at most: a larger step, or another type")
        self._values = [_values(gene, settings.levels) for gene in problem.space.genes]
        self._beside = sum(not self._has(genome) for genome in problem.first)
        self._size = math.prod(map(len, self._values))
        if self._size > MOST_COMBINATIONS:
            raise UserError(f"type GRID has more than {MOST_COMBINATIONS:.0e} combinations here; expected fewer genes "
                            "or levels, or another type")
        self._start = int(problem.rng(0).random_sample() * self._size)
        self._step = next(step for step in count(max(1, int(GOLDEN * self._size))) if math.gcd(step, self._size) == 1)
        self._next = 0

    @property
    def total(self) -> Optional[int]:
        """Combinations, and the individuals of `problem.first` that are none."""
        return self._size + self._beside

    def _has(self, genome: Genome) -> bool:
        return all(gene.from_unit(gene.to_unit(value)) in map(gene.from_unit, points)
                   for gene, value, points in zip(self._problem.space.genes, genome.values, self._values))

    def _candidates(self) -> Iterator[Genome]:
        yield from self._problem.first
        while self._next < self._size:
            rest = (self._start + self._next * self._step) % self._size
            self._next += 1
            point = []
            for values in self._values:
                rest, digit = divmod(rest, len(values))
                point.append(values[digit])
            yield self._problem.space.from_unit(point)

    def _left(self) -> Optional[Genome]:
        return None  # the rest is not of the grid

    def _proposals(self, number: int, rng: np.random.RandomState) -> Iterator[Genome]:
        return iter(())  # _candidates has them all


def _values(gene: Gene, levels: int) -> List[float]:
    """Of a gene, the points of the unit interval that the grid has, each another value."""
    if gene.size < math.inf:
        return [(k + 0.5) / gene.size for k in range(int(gene.size))]
    points = [k / (levels - 1) for k in range(levels)] if levels > 1 else [gene.to_unit(gene.default)]
    return list({gene.from_unit(point): point for point in points}.values())


def check_grid(settings: Any) -> Iterator[Wrong]:
    """What is wrong with a GridParameter."""
    if settings.levels < 1:
        yield "levels", settings.levels, "1 or more"


RANDOM = Kind(RandomSearch, limited=True, several=True)
SOBOL = Kind(Sobol, limited=True, several=True)
GRID = Kind(Grid, "grid_param", check_grid, limited=True, ends=True, several=True)
