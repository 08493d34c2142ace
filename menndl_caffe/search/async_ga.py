"""ASYNC_GA: a steady-state genetic algorithm. Whoever is idle gets a child of the best so far; nobody waits.

The first `population` individuals are the default and points that fill the space evenly. Selection begins when half of
them have their results, not with the few that train fastest: for those found the population otherwise (evaluation-time
bias; Scott and De Jong 2015). Each parent wins a tournament of two; with probability `sweet` it is one that is still
being trained, so that good individuals that train slowly have children in time (SWEET; Coletti et al.).
"""
from __future__ import annotations

from typing import Any, Iterator, Optional, Tuple

import numpy as np

from menndl_caffe.genome import Genome
from menndl_caffe.objective import Costs
from menndl_caffe.search.cube import Points
from menndl_caffe.search.operators import Operators
from menndl_caffe.search.pool import Member, Pool
from menndl_caffe.search.search import Kind, Problem, Wrong
from menndl_caffe.search.steady import SteadyState
from menndl_caffe.trial import Result, Trial

CHILDREN = 8  # made at a time: the first new one is taken


def winners(pool: int, shape: Tuple[int, ...], rng: np.random.RandomState) -> np.ndarray:
    """Places in a pool, the best at 0, of winners of tournaments of two."""
    return rng.randint(pool, size=(2, *shape)).min(axis=0)


class AsynchronousGA(SteadyState):
    """Children of the best so far, one for each that asks."""

    def __init__(self, problem: Problem, settings: Any):
        """`settings`: an AsyncGAParameter."""
        super().__init__(problem)
        self._settings = settings
        self._operators = Operators(self._cube, settings.crossover, settings.mutations)
        self._pool = Pool(settings.population)
        self._told = 0
        for genome, costs in problem.earlier:
            self._take(genome, costs)

    def tell(self, trial: Trial, result: Result) -> None:
        """See Search."""
        super().tell(trial, result)
        self._take(trial.genome, self._problem.costs(result))

    def _take(self, genome: Genome, costs: Optional[Costs]) -> None:
        self._told += 1
        if costs is not None:
            self._pool.add(Member(self._cube.points([genome])[0], costs))

    def _proposals(self, number: int, rng: np.random.RandomState) -> Iterator[Genome]:
        population = self._settings.population
        if number < population and len(self._problem.earlier) < population:
            yield self._design(number)
        while len(self._pool.members) > 1 and self._told >= population // 2:
            parents = self._parents(2 * CHILDREN, rng)
            for point in self._operators.children(parents[:CHILDREN], parents[CHILDREN:], rng):
                yield self._cube.genome(point)
        yield self._design(number)

    def _parents(self, n: int, rng: np.random.RandomState) -> Points:
        members, pending = self._pool.members, list(self._pending.values())
        parents = np.array([members[place].point for place in winners(len(members), (n,), rng)])
        still, which = rng.random_sample(n) < self._settings.sweet, rng.random_sample(n)
        for i in np.flatnonzero(still) if pending else ():
            parents[i] = self._cube.points([pending[int(which[i] * len(pending))]])[0]
        return parents


def check(settings: Any) -> Iterator[Wrong]:
    """What is wrong with an AsyncGAParameter."""
    if settings.population < 2:
        yield "population", settings.population, "2 or more"
    for name in ("crossover", "sweet"):
        if not 0 <= getattr(settings, name) <= 1:
            yield name, getattr(settings, name), "a probability in [0, 1]"
    if not settings.mutations > 0:
        yield "mutations", settings.mutations, "above 0"


KIND = Kind(AsynchronousGA, "async_ga_param", check, limited=True, several=True)
