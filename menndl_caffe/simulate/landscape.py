"""What trainings find: from what is known of others, or by chance where nothing is.

An individual that is known has its own values, the mean of its trainings. Another one has those of its nearest
neighbours by Shepard's interpolation (1968): the mean of NEIGHBOURS values with weights 1 / d^2, d the distance of
coordinates (search/cube.py). So nothing is ever better than the best that is known, and there is no luck in it: a
search's climb on this surface says how it does against others, not what it will find. Of one that was stopped early the
end is what a search is told of it (search/rungs.py): so never better than the median of those that came to theirs.
"""
from __future__ import annotations

import math
import statistics
from typing import Dict, List, NamedTuple, Optional, Protocol, Sequence, Tuple

import numpy as np

from menndl_caffe.genome import Genome, SearchSpace
from menndl_caffe.objective import BY_ACCURACY, Objective
from menndl_caffe.search.cube import Cube
from menndl_caffe.simulate.curves import MADE_UP, Curve, Shares, known_at, made_up
from menndl_caffe.simulate.known import Known
from menndl_caffe.trial import OK, STOPPED

NEIGHBOURS = 5
CHECKED = 200  # individuals of which the error is found, each from all others


class Found(NamedTuple):
    """What a training found."""

    status: str
    values: Tuple[float, ...]  # of each objective; none where it failed
    seconds: Optional[float] = None  # of a failure, which may come early
    curve: Curve = ()  # of a search with rungs, the fitness at the shares of its iterations


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

    def __init__(self, objectives: int, shares: Shares = ()):
        self._objectives, self._shares = objectives, shares
        self.said += f"; {MADE_UP}" * bool(shares)

    def __call__(self, genome: Genome, rng: np.random.RandomState) -> Found:
        """See Landscape."""
        values = tuple(map(float, rng.random_sample(self._objectives)))
        return Found(OK, values, curve=made_up(0.0, values[0], self._shares, rng))


class Neighbours:
    """The surface over what is known; curves too, where all that did not fail have one."""

    is_known = True

    def __init__(self, known: Sequence[Known], space: SearchSpace, source: str, shares: Shares = (),
                 fitness: Objective = BY_ACCURACY):
        early, known = _to_the_end(known, fitness)
        by_genome: Dict[Genome, List[Known]] = {}
        for one in known:
            by_genome.setdefault(one.genome, []).append(one)
        self._cube = Cube(space)
        self._shares = shares
        self._curves = bool(shares) and all(one.curve for one in known if one.values is not None)
        self._found = {genome: _mean(several, shares if self._curves else ()) for genome, several in by_genome.items()}
        self._start = max((found.values[0] for found in self._found.values() if found.status == OK), key=fitness.cost,
                          default=0.0)
        self._genomes = list(self._found)
        self._at = self._cube.coordinates(self._cube.points(self._genomes))
        self.said = (f"of {len(self._genomes):,} individuals of {source}, others from their {NEIGHBOURS} nearest "
                     f"(error {self.error():.3g}, spread {self._spread():.3g})")
        self.said += f"; {early:,} stopped early, their ends by the others' curves" * bool(early)
        self.said += f"; {'curves of theirs' if self._curves else MADE_UP}" * bool(shares)

    def __call__(self, genome: Genome, rng: np.random.RandomState) -> Found:
        """See Landscape."""
        found = self._found.get(genome) or self._between(self._cube.coordinates(self._cube.points([genome]))[0])
        if found.status != OK or self._curves:
            return found
        return found._replace(curve=made_up(self._start, found.values[0], self._shares, rng))

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
        found = [self._found[self._genomes[i]] for i in several]
        values, curves = (weights @ np.array(one) / weights.sum()
                          for one in ([one.values for one in found], [one.curve for one in found]))
        return Found(OK, tuple(values.tolist()), curve=tuple(curves.tolist()))

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


def _to_the_end(known: Sequence[Known], fitness: Objective) -> Tuple[int, List[Known]]:
    """How many were stopped early, and all, these as if they had come to their ends: the cost changes as the median of
    the others did from there on, and is not below the median of their ends. Without others' curves they are left out.
    """
    others = [one for one in known if one.status == OK and one.values and one.curve]
    ends = [fitness.cost(one.values[0]) for one in others if one.values]

    def ended(one: Known) -> Known:
        passed = [fitness.cost(known_at(other.curve, (one.share,))[0]) for other in others]
        further = statistics.median_high(end - cost for end, cost in zip(ends, passed))
        value, *more = one.values or ()
        end = fitness.cost(max(fitness.cost(value) + further, statistics.median_high(ends)))  # its own inverse
        return one._replace(status=OK, values=(end, *more), curve=(*one.curve, (1.0, end)))

    early = [ended(one) for one in known if one.status == STOPPED and others]
    return len(early), [one for one in known if one.status != STOPPED] + early


def _mean(several: Sequence[Known], shares: Shares) -> Found:
    """Of the trainings of one individual; it failed where all did."""
    values = [one.values for one in several if one.values is not None]
    if not values:
        return Found(several[0].status, (), several[0].seconds)
    curves = [known_at(one.curve, shares) for one in several if one.values is not None and shares]
    return Found(OK, tuple(np.mean(values, axis=0).tolist()),
                 curve=tuple(np.mean(curves, axis=0).tolist()) if curves else ())
