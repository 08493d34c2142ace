"""Covariance matrix adaptation (Hansen 2016) for the tuning of networks, as Loshchilov and Hutter 2016 used it.

| symbol | here | meaning |
|---|---|---|
| d | `len(free.genes)` | genes of more than one value; the others are no dimensions |
| lambda | `population` | results that move the distribution once; at first 4 + 3 ln d, rounded down |
| m | `mean` | of the distribution, in the unit cube of these genes; at first the default, or the best of `earlier` |
| sigma | `sigma` | first standard deviation in every direction |

The distributions are those of the library cmaes: CMA-ES with margin (Hamano et al. 2022) for numbers, CatCMA with
margin (Hamano et al. 2025) where there are choices too, which begin as equals. The margin keeps a whole number from
freezing on one value.

- Nobody waits for a generation: whoever is idle gets a draw of the distribution as it is, and each lambda results that
  have come, of whatever generation, move it.
- The library is told ranks, not costs, as the method looks at the order alone: so failures are simply the last. Equals
  are ranked as they came. When all lambda are equal there is no order, and no move.
- Random numbers of a draw come from the run's seed and the number of the draw.
- The distribution begins anew, at a point drawn by chance and with lambda doubled, when the library says that it has
  converged, when different genomes are all equal (all failed, say), or when 50 draws in a row were met before. lambda
  grows no larger than the number of individuals so far. Results of an earlier distribution are not told to a new one.
- A whole number of more than 1,000 values is a real number that is rounded.
"""
from __future__ import annotations

import math
from operator import itemgetter
from typing import Any, Iterator, List, NamedTuple, Optional, Protocol, Sequence, Set, Tuple

import numpy as np

from menndl_caffe.errors import UserError
from menndl_caffe.genome import ChoiceGene, Gene, Genome, IntGene, SearchSpace
from menndl_caffe.objective import Costs
from menndl_caffe.search.search import Kind, Problem, Search, Wrong
from menndl_caffe.search.unrepeated import Unrepeated

FINE = 1000  # values of a whole number, above which it is a real one
SEEDS = 2**31 - 1  # of the library's random numbers
Point = Sequence[float]  # of the unit cube, one coordinate for each free gene


def _library(name: str) -> Any:
    """CMAwM or CatCMAwM of the library."""
    try:
        import cmaes
        return getattr(cmaes, name)
    except (ImportError, AttributeError):
        raise UserError(f'type CMA_ES needs {name} of the package cmaes: pip install "menndl_caffe[search]"') from None


class _Distribution(Protocol):
    """What the two of the library have in common."""

    def draw(self, seed: int) -> Tuple[Point, Any]:
        """A point, and the solution that `tell` wants for it."""

    def solution(self, point: Point) -> Any:
        """The solution of a point that was not drawn."""

    def tell(self, ranked: List[Tuple[Any, float]]) -> None:
        """lambda solutions with their ranks, the best first."""

    @property
    def stopped(self) -> bool:
        """Whether it has converged, or broken down numerically."""


def _shares(gene: Gene) -> int:
    """Into how many values a whole number divides its unit interval; 0 for all that is taken as a real number."""
    return gene.size if isinstance(gene, IntGene) and 1 < gene.size <= FINE else 0


def _choices(gene: Gene) -> int:
    """How many choices there are to be learned about."""
    return len(gene.choices) if isinstance(gene, ChoiceGene) and len(gene.choices) > 1 else 0


class _Numbers:
    """CMAwM: whole and real numbers."""

    def __init__(self, genes: Sequence[Gene], mean: Point, sigma: float, population: int):
        steps = np.array([1 / _shares(gene) if _shares(gene) else 0.0 for gene in genes])
        bounds = np.stack([steps / 2, 1 - steps / 2], axis=1)  # the values are the middles of their shares
        self._cma = _library("CMAwM")(np.clip(mean, *bounds.T), sigma, bounds, steps, population_size=population)

    def draw(self, seed: int) -> Tuple[Point, Any]:
        self._cma.reseed_rng(seed)
        point, solution = self._cma.ask()
        return point.tolist(), solution

    def solution(self, point: Point) -> Any:
        return np.array(point)

    def tell(self, ranked: List[Tuple[Any, float]]) -> None:
        self._cma.tell(ranked)

    @property
    def stopped(self) -> bool:
        return not np.isfinite(self._cma.mean).all() or self._cma.should_stop()


class _Mixed:
    """CatCMAwM: choices, and numbers where there are any."""

    def __init__(self, genes: Sequence[Gene], mean: Point, sigma: float, population: int):
        self._choice = [i for i, gene in enumerate(genes) if _choices(gene)]
        self._whole = [i for i, gene in enumerate(genes) if _shares(gene)]
        self._real = [i for i in range(len(genes)) if i not in {*self._choice, *self._whole}]
        self._sizes = np.array([_choices(genes[i]) for i in self._choice])
        numbers = [*self._real, *self._whole]
        self._cma = _library("CatCMAwM")(
            x_space=[[0.0, 1.0]] * len(self._real) or None,
            z_space=[_middles(_shares(genes[i])) for i in self._whole] or None,
            c_space=self._sizes.tolist(), population_size=population,
            **{"mean": np.array(mean)[numbers], "sigma": sigma, "cov": np.eye(len(numbers))} if numbers else {})
        self._has_numbers = bool(numbers)

    def draw(self, seed: int) -> Tuple[Point, Any]:
        self._cma.reseed_rng(seed)
        solution = self._cma.ask()
        point = np.empty(len(self._real) + len(self._whole) + len(self._choice))
        for places, values in ((self._real, solution.x), (self._whole, solution.z)):
            if places:
                point[places] = values
        point[self._choice] = (solution.c.argmax(axis=1) + 0.5) / self._sizes
        return point.tolist(), solution

    def solution(self, point: Point) -> Any:
        values = np.array(point)
        real, whole = values[self._real], values[self._whole]
        chosen = (values[self._choice] * self._sizes).astype(int)
        one_hot = np.arange(self._sizes.max()) == chosen[:, None]
        return self._cma.Solution(real, whole, one_hot, np.concatenate([real, whole]))

    def tell(self, ranked: List[Tuple[Any, float]]) -> None:
        self._cma.tell(ranked)

    @property
    def stopped(self) -> bool:
        if not np.isfinite(self._cma._q).all():
            return True
        return self._has_numbers and (not np.isfinite(self._cma._mean).all() or self._cma.should_stop())


def _middles(size: int) -> List[float]:
    return [(value + 0.5) / size for value in range(size)]


class _Draw(NamedTuple):
    genome: Genome
    solution: Any
    restarts: int  # before it


class CovarianceMatrixAdaptation:
    """Draws genomes, and moves to where the better ones are (see Sampler)."""

    def __init__(self, problem: Problem, settings: Any):
        """`settings`: a CMAESParameter."""
        self._problem, self._sigma, self._restarts = problem, settings.sigma, 0
        self._free = SearchSpace(tuple(gene for gene in problem.space.genes if gene.size > 1)
                                 or problem.space.genes[:1])
        self._population: int = settings.population or 4 + int(3 * math.log(len(self._free.genes)))
        self._told: List[Tuple[float, _Draw]] = []  # less than lambda
        self._met: Set[Genome] = set()
        best = next((genome for genome, costs in problem.earlier if costs), problem.space.default)
        self._distribution = self._at(self._point(best))

    def draw(self, number: int) -> Tuple[Genome, _Draw]:
        """See Sampler."""
        point, solution = self._distribution.draw(int(self._problem.rng(number).randint(SEEDS)))
        values = {**self._problem.space.default.as_dict(), **self._free.from_unit(point).as_dict()}
        genome = self._problem.space.from_dict(values)
        return genome, _Draw(genome, solution, self._restarts)

    def stand_in(self, token: _Draw, genome: Genome) -> _Draw:
        """See Sampler: as if the genome's own point had been drawn."""
        return token._replace(genome=genome, solution=self._distribution.solution(self._point(genome)))

    def injected(self, genome: Genome) -> None:
        """Nothing is heard of it: the step sizes follow what the distribution itself has drawn."""

    def learn(self, token: _Draw, costs: Optional[Costs]) -> None:
        """See Sampler."""
        self._met.add(token.genome)
        if token.restarts == self._restarts:
            self._told.append((costs[0] if costs else math.inf, token))
            if len(self._told) == self._population:
                self._move()

    def stuck(self) -> bool:
        """Begin anew."""
        self._restart()
        return True

    def _move(self) -> None:
        told, self._told = sorted(self._told, key=itemgetter(0)), []
        if told[0][0] < told[-1][0]:
            with np.errstate(all="ignore"):  # what comes of it is looked at
                self._distribution.tell([(draw.solution, float(rank)) for rank, (_, draw) in enumerate(told)])
                stopped = self._distribution.stopped
        else:
            stopped = len({draw.genome for _, draw in told}) > 1
        if stopped:
            self._restart()

    def _restart(self) -> None:
        self._restarts += 1
        self._told = []
        if 2 * self._population <= len(self._met):
            self._population *= 2
        anywhere = self._problem.rng(SEEDS + self._restarts).random_sample(len(self._free.genes))
        self._distribution = self._at(anywhere.tolist())

    def _at(self, mean: Point) -> _Distribution:
        kind = _Mixed if any(map(_choices, self._free.genes)) else _Numbers
        return kind(self._free.genes, mean, self._sigma, self._population)

    def _point(self, genome: Genome) -> Point:
        values = genome.as_dict()
        return self._free.to_unit(self._free.genome(values[name] for name in self._free.names))


def check(settings: Any) -> Iterator[Wrong]:
    """What is wrong with a CMAESParameter."""
    if settings.population and settings.population < 4:
        yield "population", settings.population, "4 or more, or 0: 4 + 3 ln N_GENE"
    if not 0 < settings.sigma < math.inf:
        yield "sigma", settings.sigma, "a number above 0"


def make(problem: Problem, settings: Any) -> Search:
    """UserError where the library cmaes is missing."""
    return Unrepeated(problem, CovarianceMatrixAdaptation(problem, settings))


KIND = Kind(make, "cma_es_param", check, limited=True)
