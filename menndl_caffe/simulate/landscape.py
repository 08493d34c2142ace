"""What trainings find: from what is known of others, or by chance where nothing is.

An individual that is known has its own values, the mean of its trainings. Another one has those of its nearest
neighbours by Shepard's interpolation (1968): the mean of NEIGHBOURS values with weights 1 / d^2, d the distance of
coordinates (search/cube.py). So nothing is ever better than the best that is known, and there is no luck in it: a
search's climb on this surface says how it does against others, not what it will find.
"""
from __future__ import annotations

import math
from typing import Dict, List, NamedTuple, Optional, Protocol, Sequence, Tuple

import numpy as np

from menndl_caffe.genome import Genome, SearchSpace
from menndl_caffe.search.cube import Cube
from menndl_caffe.simulate.known import Known
from menndl_caffe.trial import OK

NEIGHBOURS = 5
CHECKED = 200  # individuals of which the error is found, each from all others


class Found(NamedTuple):
    """What a training found."""

    status: str
    values: Tuple[float, ...]  # of each objective; none where it failed
    seconds: Optional[float] = None  # of a failure, which may come early


class Landscape(Protocol):
    """Gives what a genome's training finds."""

    said: str  # for people
    is_known: bool  # whether it is more than chance

    def __call__(self, genome: Genome, rng: np.random.RandomState) -> Found:
        """Always the same for the same genome and random numbers."""


class Chance:
    """Nothing is known: values in [0, 1] by chance, so that selection has something to do and finds nothing."""

    said = "by chance, since nothing is known of it: --fitness RUN takes it from a run; what is found means nothing"
    is_known = False

    def __init__(self, objectives: int):
        self._objectives = objectives

    def __call__(self, genome: Genome, rng: np.random.RandomState) -> Found:
        """See Landscape."""
        return Found(OK, tuple(map(float, rng.random_sample(self._objectives))))


class Neighbours:
    """The surface over what is known."""

    is_known = True

    def __init__(self, known: Sequence[Known], space: SearchSpace, source: str):
        by_genome: Dict[Genome, List[Known]] = {}
        for one in known:
            by_genome.setdefault(one.genome, []).append(one)
        self._cube = Cube(space)
        self._found = {genome: _mean(several) for genome, several in by_genome.items()}
        self._genomes = list(self._found)
        self._at = self._cube.coordinates(self._cube.points(self._genomes))
        self.said = (f"of {len(self._genomes):,} individuals of {source}, others from their {NEIGHBOURS} nearest "
                     f"(error {self.error():.3g}, spread {self._spread():.3g})")

    def __call__(self, genome: Genome, rng: np.random.RandomState) -> Found:
        """See Landscape."""
        return self._found.get(genome) or self._between(self._cube.coordinates(self._cube.points([genome]))[0])

    def _between(self, at: np.ndarray, without: Optional[int] = None) -> Found:
        apart = np.where(self._cube.choices, self._at != at, self._at - at)
        squares = (apart ** 2).sum(axis=1)
        if without is not None:
            squares[without] = math.inf
        nearest = np.argsort(squares, kind="stable")
        first = self._found[self._genomes[nearest[0]]]
        if first.status != OK:
            return first
        several = [i for i in nearest[:NEIGHBOURS] if self._found[self._genomes[i]].status == OK and i != without]
        weights = 1 / np.maximum(squares[several], 1e-12)
        values = np.array([self._found[self._genomes[i]].values for i in several])
        return Found(OK, tuple(map(float, weights @ values / weights.sum())))

    def error(self) -> float:
        """Root mean square error of the fitness of known individuals, each found from the others."""
        known = self._ok()
        checked = known[::max(1, len(known) // CHECKED)] if len(self._genomes) > 1 else []
        pairs = [(self._found[self._genomes[i]], self._between(self._at[i], i)) for i in checked]
        errors = [one.values[0] - other.values[0] for one, other in pairs if other.status == OK]
        return math.sqrt(float(np.mean(np.square(errors)))) if errors else math.nan

    def _spread(self) -> float:
        return float(np.std([self._found[self._genomes[i]].values[0] for i in self._ok()] or [math.nan]))

    def _ok(self) -> List[int]:
        return [i for i, genome in enumerate(self._genomes) if self._found[genome].status == OK]


def _mean(several: Sequence[Known]) -> Found:
    """Of the trainings of one individual; it failed where all did."""
    values = [one.values for one in several if one.values is not None]
    if not values:
        return Found(several[0].status, (), several[0].seconds)
    return Found(OK, tuple(map(float, np.mean(values, axis=0))))
