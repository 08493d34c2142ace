"""HYPERGRADIENT: descents along the gradient of the validation loss by all genes, some of them beside each other."""
from __future__ import annotations

from collections import deque
from typing import Any, Deque, Optional

from menndl_caffe.genome import Genome
from menndl_caffe.search.descents import Descents, Line, check
from menndl_caffe.search.search import Kind, OtherTrial, Problem
from menndl_caffe.trial import HYPERGRADIENT, Result, Trial


class Hypergradient(Descents):
    """As many descents at a time as the settings say; None is asked for while each waits for its result.

    The first begins where `problem.first` says, then at the default; when one ends another begins, at a point drawn at
    random.
    """

    finished = False
    total = None
    generations = None

    def __init__(self, problem: Problem, settings: Any):
        """`settings`: a HypergradientParameter."""
        super().__init__(problem, settings, problem.space)
        self._first: Deque[Genome] = deque(dict.fromkeys([*problem.first, problem.space.default]))

    def _start(self) -> Optional[Trial]:
        if len(self._waiting) >= self._settings.starts:
            return None
        if self._first:
            return self._problem.new_trial(self._first.popleft(), None)
        space = self._problem.space
        point = self._problem.rng(self._begun).random_sample(len(space.genes))
        return self._problem.new_trial(space.from_unit(point.tolist()), None)

    def _started(self, trial: Trial) -> Trial:
        given = self._start()
        if given is None:
            raise OtherTrial(None)
        return given

    def _ends(self, line: Line, result: Result) -> bool:
        return line.descent.is_over


KIND = Kind(Hypergradient, "hypergradient_param", check, limited=True, program=HYPERGRADIENT)
