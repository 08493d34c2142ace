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
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import numpy as np

from menndl_caffe.genome import Genome, SearchSpace
from menndl_caffe.trial import Result, Trial


def check(settings: Any) -> Iterator[Tuple[str, Any, str]]:
    """The fields of a GAParameter that are out of range: name, value, what would be valid."""
    for name in ("population", "generations"):
        if getattr(settings, name) < 1:
            yield name, getattr(settings, name), "1 or more"
    for name in ("crossover", "mutation"):
        if not 0 <= getattr(settings, name) <= 1:
            yield name, getattr(settings, name), "a probability in [0, 1]"


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

    Individuals are numbered 1, 2, ... through the whole run, in the order of the population. Within a generation they
    are handed out longest expected first, so that no rank begins a long training when all others are about to finish.
    """

    def __init__(self, space: SearchSpace, settings: Any, seed: int, new_trial: Callable[[int, Genome, int], Trial],
                 cost: Callable[[Genome], float]):
        """`settings`: a GAParameter; `new_trial`: (id, genome, generation) -> trial; `cost`: its expected effort."""
        self._space, self._settings, self._seed = space, settings, seed
        self._new_trial, self._cost = new_trial, cost
        self._generation = 0
        self._genomes: List[Genome] = []
        self._fitness: Dict[int, float] = {}
        self._waiting: List[Trial] = []
        self._sorted = False
        self._begin(random_population(space, settings.population, self._rng()))

    @property
    def total(self) -> int:
        """N_INDIVIDUALS times N_GENERATIONS."""
        return self._settings.population * self._settings.generations

    @property
    def finished(self) -> bool:
        """Whether the last generation has all its results."""
        return self._generation == self._settings.generations

    def ask(self, n: int) -> List[Trial]:
        """Up to n trials of the current generation."""
        if n < len(self._waiting) and not self._sorted:  # sorting renders each: not worth it when all go out at once
            self._waiting.sort(key=lambda trial: -self._cost(trial.genome))
            self._sorted = True
        asked, self._waiting = self._waiting[:n], self._waiting[n:]
        return asked

    def tell(self, result: Result) -> None:
        """Take a result; the generation's last one breeds the next."""
        index = result.id - 1 - self._generation * self._settings.population
        if not 0 <= index < len(self._genomes) or index in self._fitness:
            raise KeyError(result.id)
        self._fitness[index] = result.fitness
        if len(self._fitness) == len(self._genomes):
            self._breed()

    def _breed(self) -> None:
        parents = survivors(self._genomes, [self._fitness[i] for i in range(len(self._genomes))])
        self._generation += 1
        if self.finished:
            self._genomes = []
            return
        rng, settings, space = self._rng(), self._settings, self._space
        children = (mutate(child, space, settings.mutation, rng)
                    for pair in pairs(parents, rng) for child in cross(pair, settings.crossover, rng))
        self._begin(list(islice(children, settings.population)))

    def _begin(self, genomes: List[Genome]) -> None:
        first = 1 + self._generation * self._settings.population
        self._genomes, self._fitness, self._sorted = genomes, {}, False
        self._waiting = [self._new_trial(first + i, genome, self._generation) for i, genome in enumerate(genomes)]

    def _rng(self) -> np.random.RandomState:
        return np.random.RandomState([self._seed & 0xFFFFFFFF, self._generation])
