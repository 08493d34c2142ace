"""The genetic algorithm of Young et al. 2015, section 3.1 and Table 1.

| symbol | here | meaning |
|---|---|---|
| N_INDIVIDUALS | `population` | individuals a generation |
| N_GENERATIONS | `generations` | generations, the random first one included |
| N_GENE | `len(space.genes)` | genes of an individual |
| p_c | `crossover` | probability that a pair of parents crosses |
| p_m | `mutation` | probability that a gene of a child is drawn afresh |

The paper leaves open how survivors are paired and how many children a pair has; the choices made here are listed in
docs/fidelity.md. Random numbers come from numpy's RandomState, whose stream is frozen for ever (NEP 19), seeded anew
for each generation: so what a generation breeds depends on its parents and the seed alone, not on who ran before.
"""
from __future__ import annotations

from itertools import islice
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from menndl_caffe.genome import Genome, SearchSpace
from menndl_caffe.search.search import Kind, OtherTrial, Problem, Wrong
from menndl_caffe.trial import Result, Trial


def random_population(space: SearchSpace, population: int, rng: np.random.RandomState) -> List[Genome]:
    """The first generation: "sampling each gene from a uniform random distribution"."""
    return [space.from_unit(point) for point in rng.random_sample((population, len(space.genes)))]


def survivors(genomes: Sequence[Genome], fitness: Sequence[float]) -> List[Genome]:
    """Selection: "removing any individuals ... that have a fitness value below the average fitness"."""
    # The mean of equal numbers may be rounded to just above them all, so the best always stay.
    threshold = min(float(np.mean(fitness)), max(fitness))
    return [genome for genome, value in zip(genomes, fitness) if value >= threshold]


def pairs(parents: Sequence[Genome], rng: np.random.RandomState) -> Iterator[Tuple[Genome, Genome]]:
    """Endless pairs of consecutive parents: each round goes once through all of them, newly shuffled."""

    def rounds() -> Iterator[Genome]:
        while True:
            for i in rng.permutation(len(parents)):
                yield parents[i]

    line = rounds()
    return zip(line, line)


def cross(pair: Tuple[Genome, Genome], crossover: float, rng: np.random.RandomState) -> Tuple[Genome, Genome]:
    """Two children: with probability p_c they exchange all genes from a point uniform in [0, N_GENE], else copies."""
    first, second = pair
    if rng.random_sample() >= crossover:
        return pair
    point = rng.randint(len(first.values) + 1)
    return (Genome(first.names, first.values[:point] + second.values[point:]),
            Genome(first.names, second.values[:point] + first.values[point:]))


def mutate(genome: Genome, space: SearchSpace, mutation: float, rng: np.random.RandomState) -> Genome:
    """Each gene, with probability p_m, takes a fresh uniform value of its range (which may be the one it had)."""
    hits = rng.random_sample(len(space.genes)) < mutation
    fresh = rng.random_sample(len(space.genes))
    return space.genome(gene.from_unit(u) if hit else value
                        for gene, value, hit, u in zip(space.genes, genome.values, hits, fresh))


class GeneticAlgorithm:
    """Generation after generation: a generation is bred when the last result of the one before has been told.

    Individuals are numbered through the whole run in the order of the population. Within a generation they are handed
    out longest expected first, so that no rank begins a long training when all others are about to finish.
    """

    def __init__(self, problem: Problem, settings: Any):
        """`settings`: a GAParameter."""
        self._problem, self._settings = problem, settings
        self._generation = 0
        self._members: Dict[int, Trial] = {}  # by id, in the order of the population
        self._waiting: Dict[int, Trial] = {}  # by id; the last one is asked for first
        self._sorted = False
        self._fitness: Dict[int, Optional[float]] = {}  # by id; None: failed
        population = random_population(problem.space, settings.population, self._rng())
        self._begin([*problem.first, *population[len(problem.first):]][:settings.population])

    @property
    def total(self) -> int:
        """N_INDIVIDUALS times N_GENERATIONS."""
        return self._settings.population * self._settings.generations

    @property
    def generations(self) -> int:
        """N_GENERATIONS."""
        return self._settings.generations

    @property
    def finished(self) -> bool:
        """Whether the last generation has all its results."""
        return self._generation == self._settings.generations

    def ask(self) -> Optional[Trial]:
        """The next trial of the current generation; None when all of it were asked for."""
        if not self._sorted:
            longest_first = sorted(self._waiting.values(), key=lambda trial: -self._problem.cost(trial.genome))
            self._waiting, self._sorted = {trial.id: trial for trial in reversed(longest_first)}, True
        return self._waiting.popitem()[1] if self._waiting else None

    def asked(self, trial: Trial) -> None:
        """See Search. Any trial of the generation will do: earlier versions of menndl had other orders within one."""
        given = self._waiting.get(trial.id)
        if given != trial:
            raise OtherTrial(given)
        del self._waiting[trial.id]

    def tell(self, trial: Trial, result: Result) -> None:
        """Take a result; the generation's last one breeds the next. KeyError for a trial that nobody waits for."""
        if trial.id not in self._members or trial.id in self._waiting or trial.id in self._fitness:
            raise KeyError(trial.id)
        costs = self._problem.costs(result)
        self._fitness[trial.id] = -costs[0] if costs else None
        if len(self._fitness) == len(self._members):
            self._breed()

    def _breed(self) -> None:
        parents = survivors([trial.genome for trial in self._members.values()], self._fitness_of_all())
        self._generation += 1
        if self.finished:
            return
        rng, settings, space = self._rng(), self._settings, self._problem.space
        children = (mutate(child, space, settings.mutation, rng)
                    for pair in pairs(parents, rng) for child in cross(pair, settings.crossover, rng))
        self._begin(list(islice(children, settings.population)))

    def _fitness_of_all(self) -> List[float]:
        """In the order of the population; the failed have the worst there is, which for an accuracy is 0."""
        known = [self._fitness[id] for id in self._members]
        worst = self._problem.objectives[0].worst
        if worst is None:
            worst = max((-value for value in known if value is not None), default=0.0)
        return [-worst if value is None else value for value in known]

    def _begin(self, genomes: Sequence[Genome]) -> None:
        trials = [self._problem.new_trial(genome, self._generation) for genome in genomes]
        self._members = {trial.id: trial for trial in trials}
        self._waiting, self._sorted, self._fitness = dict(self._members), False, {}

    def _rng(self) -> np.random.RandomState:
        return self._problem.rng(self._generation)


def check(settings: Any) -> Iterator[Wrong]:
    """What is wrong with a GAParameter."""
    for name in ("population", "generations"):
        if getattr(settings, name) < 1:
            yield name, getattr(settings, name), "1 or more"
    for name in ("crossover", "mutation"):
        if not 0 <= getattr(settings, name) <= 1:
            yield name, getattr(settings, name), "a probability in [0, 1]"


KIND = Kind(GeneticAlgorithm, "ga_param", check, first=lambda settings: int(settings.population))
