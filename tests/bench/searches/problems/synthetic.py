"""Random landscapes with an optimum that is known: its genome is drawn uniformly from the space, and so is the default.

| symbol | here | meaning |
|---|---|---|
| u | `_u` | a genome's numbers as points of [0, 1] |
| z | `z` | u minus the optimum, which each choice moves, mixed: z_i + rho_i z_j for a random j |
| q | in `error` | sum_i w_i z_i^2, weights w log-uniform over two decades |
| error | `error` | 0.2 + 0.6 (1 - exp(-q)) + 0.02 mean_i sin^2(pi f_i z_i) + penalties of the choices |

All parts are 0 or more, and 0 at the optimum: the regret is exact. What a search is told has a noise of 0.5 points,
by a hash of the genome. A share of the space fails, where a random positive sum of the numbers, a network's memory,
is largest.
"""
from __future__ import annotations

from dataclasses import replace
from typing import Callable, Dict, List, Optional, Tuple

import numpy as np

from menndl_caffe.genome import ChoiceGene, Gene, Genome, IntGene, RealGene, SearchSpace
from tests.bench.searches.problems.landscape import Landscape, rng

FLOOR, DEPTH, RIPPLE, PENALTY, NOISE = 0.2, 0.6, 0.02, 0.05, 0.005


def quick6() -> List[Gene]:
    """cifar10_quick's genes as the paper has them."""
    return [gene for i in (1, 2, 3)
            for gene in (IntGene(f"kernel{i}", 1, 8, 1, 5), IntGene(f"output{i}", 16, 126, 2, 32))]


def mixed10() -> List[Gene]:
    """Three real numbers, four whole ones, three choices."""
    return [RealGene("rate", 1e-5, 1e-1, True, 1e-3), RealGene("decay", 1e-6, 1e-2, True, 1e-4),
            RealGene("dropout", 0.0, 0.8, False, 0.5), IntGene("layers", 1, 6, 1, 2), IntGene("kernel", 1, 9, 2, 3),
            IntGene("filters", 8, 256, 8, 64), IntGene("units", 16, 512, 1, 128),
            ChoiceGene("pool", ("MAX", "AVE"), "MAX"), ChoiceGene("layer", ("ReLU", "TanH", "Sigmoid"), "ReLU"),
            ChoiceGene("solver", ("SGD", "Adam", "RMSProp", "Nesterov", "AdaGrad"), "SGD")]


SPACES: Dict[str, Tuple[Callable[[], List[Gene]], float]] = {"quick6": (quick6, 0.045), "mixed10": (mixed10, 0.05)}


class Valley:
    """One instance: its numbers are drawn in the order in which they stand here."""

    def __init__(self, genes: List[Gene], failing: float, chance: np.random.RandomState):
        self.space = SearchSpace(tuple(genes))
        self._numbers = [i for i, gene in enumerate(genes) if not isinstance(gene, ChoiceGene)]
        self._choices = [i for i, gene in enumerate(genes) if isinstance(gene, ChoiceGene)]
        n = len(self._numbers)
        self._weights = 10 ** chance.uniform(-1.3, 0.7, n)
        self._partner, self._rho = chance.permutation(n), chance.uniform(-0.5, 0.5, n)
        self._waves = chance.randint(2, 5, n)
        self._shift = {i: chance.uniform(-0.2, 0.2, (len(genes[i].choices), n)) for i in self._choices}
        self._penalty = {i: chance.uniform(0, PENALTY, len(genes[i].choices)) for i in self._choices}
        self._memory = chance.uniform(0, 1, n)
        drawn = [self.space.from_unit(u) for u in chance.random_sample((2000, len(genes)))]
        self._most = float(np.quantile([self._memory @ self._u(genome) for genome in drawn], 1 - failing))
        fitting = [genome for genome in drawn if not self.fails(genome)]
        self.optimum, self.default = fitting[:2]
        for i in self._choices:
            best = self._place(self.optimum, i)
            self._shift[i] -= self._shift[i][best]
            self._penalty[i][best] = 0

    def _u(self, genome: Genome) -> np.ndarray:
        return np.array(self.space.to_unit(genome))[self._numbers]

    def _place(self, genome: Genome, i: int) -> int:
        return self.space.genes[i].choices.index(genome.values[i])

    def fails(self, genome: Genome) -> bool:
        """Whether it needs more memory than there is."""
        return bool(self._memory @ self._u(genome) > self._most)

    def error(self, genome: Genome) -> float:
        """Without noise, in [0.2, 1)."""
        places = {i: self._place(genome, i) for i in self._choices}
        off = self._u(genome) - self._u(self.optimum) - sum(self._shift[i][place] for i, place in places.items())
        z = off + self._rho * off[self._partner]
        ripples = RIPPLE * np.mean(np.sin(np.pi * self._waves * z) ** 2)
        penalty = sum(self._penalty[i][place] for i, place in places.items())
        return float(FLOOR + DEPTH * (1 - np.exp(-self._weights @ z ** 2)) + ripples + penalty)


def make(name: str, instance: int) -> Landscape:
    """A random landscape of this name."""
    genes, failing = SPACES[name]
    valley = Valley(genes(), failing, rng(name, instance))
    space = SearchSpace(tuple(replace(gene, default=value) for gene, value in zip(genes(), valley.default.values)))

    def cost(genome: Genome) -> Optional[float]:
        noise = NOISE * rng(name, instance, "noise", genome.values).standard_normal()
        return None if valley.fails(genome) else valley.error(genome) + noise

    return Landscape(name, instance, space, cost, lambda genome: 100 * (valley.error(genome) - FLOOR))

