"""What searches without generations have in common: whoever is idle gets another trial, and no genome comes twice."""
from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import chain, islice
from typing import Dict, Iterator, Optional, Set

import numpy as np

from menndl_caffe.genome import Genome
from menndl_caffe.search.cube import Cube
from menndl_caffe.search.search import Problem, check_asked
from menndl_caffe.search.unrepeated import next_unmet
from menndl_caffe.trial import Result, Trial

TRIES = 1000  # proposals, and genomes drawn at random, among which a new one is looked for


class SteadyState(ABC):
    """Asks for `problem.first`, then for what `_proposals` says, but for genomes that were asked for before.

    Where all genomes of the space were asked for, it is finished.
    """

    generations = None

    def __init__(self, problem: Problem):
        self._problem, self._cube = problem, Cube(problem.space)
        self._shift = problem.rng(0).random_sample(self._cube.genes)  # of a design that fills the space evenly
        self._met: Set[Genome] = set()
        self._pending: Dict[int, Genome] = {}  # by id
        self._exhausted = False

    @property
    def total(self) -> Optional[int]:
        """Genomes of the space; None where they are beyond counting."""
        size = self._problem.space.size
        return int(size) if size < math.inf else None

    @property
    def finished(self) -> bool:
        """Whether no genome is left."""
        return self._exhausted and not self._pending

    def ask(self) -> Optional[Trial]:
        """A trial of a new genome; None where none is left."""
        genome = next((genome for genome in self._candidates() if genome not in self._met), None) or self._left()
        if genome is None:
            self._exhausted = True
            return None
        trial = self._problem.new_trial(genome, None)
        self._begin(trial)
        return trial

    def asked(self, trial: Trial) -> None:
        """See Search."""
        check_asked(self, trial)

    def tell(self, trial: Trial, result: Result) -> None:
        """Take a result; KeyError for a trial that nobody waits for."""
        del self._pending[trial.id]

    @abstractmethod
    def _proposals(self, number: int, rng: np.random.RandomState) -> Iterator[Genome]:
        """The genomes that trial `number` = 0, 1, ... of the search should have, the most wanted first."""

    def _begin(self, trial: Trial) -> None:
        self._met.add(trial.genome)
        self._pending[trial.id] = trial.genome

    def _candidates(self) -> Iterator[Genome]:
        """Genomes for the next trial in the order of their worth."""
        number, space = len(self._met), self._problem.space
        rng = self._problem.rng(number)
        drawn = (space.from_unit(rng.random_sample(self._cube.genes).tolist()) for _ in range(TRIES))
        return chain(self._problem.first, islice(self._proposals(number, rng), TRIES), drawn)

    def _left(self) -> Optional[Genome]:
        """One that no chance has found: next to nothing is left, or nothing."""
        return next_unmet(self._problem.space, self._problem.space.default, self._met)

    def _design(self, number: int) -> Genome:
        """The default, then points that fill the space evenly."""
        if number == 0:
            return self._problem.space.default
        return self._cube.genome(self._cube.spread(number - 1, self._shift))
