"""Searches that learn nothing from results: random search (Bergstra and Bengio 2012)."""
from __future__ import annotations

from typing import Any, Optional

import numpy as np

from menndl_caffe.genome import SearchSpace
from menndl_caffe.search.search import Cost, Kind, NewTrial, check_asked
from menndl_caffe.trial import Result, Trial


class RandomSearch:
    """Every individual is drawn anew, each gene uniform in its own scale, until the run's limit."""

    finished = False
    total = None
    generations = None

    def __init__(self, space: SearchSpace, settings: Any, seed: int, new_trial: NewTrial, cost: Cost):
        self._space, self._seed, self._new_trial = space, seed, new_trial
        self._asked = 0

    def ask(self) -> Optional[Trial]:
        """The next individual; there is always one."""
        rng = np.random.RandomState([self._seed & 0xFFFFFFFF, self._asked])
        self._asked += 1
        return self._new_trial(self._space.from_unit(rng.random_sample(len(self._space.genes)).tolist()), None)

    def asked(self, trial: Trial) -> None:
        """See Search."""
        check_asked(self, trial)

    def tell(self, trial: Trial, result: Result) -> None:
        """Nothing is learned from it."""


RANDOM = Kind(RandomSearch, limited=True)
