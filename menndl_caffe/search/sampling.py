"""Searches that learn nothing from results: random search (Bergstra and Bengio 2012)."""
from __future__ import annotations

from typing import Any, Optional

from menndl_caffe.search.search import Kind, Problem, check_asked
from menndl_caffe.trial import Result, Trial


class RandomSearch:
    """Every individual is drawn anew, each gene uniform in its own scale, until the run's limit."""

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


RANDOM = Kind(RandomSearch, limited=True, several=True)
