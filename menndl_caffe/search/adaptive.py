"""Searches whose trainings learn their decays themselves: what is searched is only what they start from, spread evenly.
"""
from __future__ import annotations

from dataclasses import replace
from typing import Any, Iterator, Optional

import numpy as np

from menndl_caffe.genome import Genome
from menndl_caffe.search.search import Kind, Problem, Search, Wrong
from menndl_caffe.search.steady import SteadyState
from menndl_caffe.trial import ADAPTIVE, Trial


class Learning(SteadyState):
    """The default, then points that fill the space evenly, each trained by a program that learns."""

    def __init__(self, problem: Problem, program: str):
        def new_trial(genome: Genome, generation: Optional[int]) -> Trial:
            return replace(problem.new_trial(genome, generation), program=program)

        super().__init__(replace(problem, new_trial=new_trial))

    def _proposals(self, number: int, rng: np.random.RandomState) -> Iterator[Genome]:
        yield self._design(number)


def make(problem: Problem, settings: Any) -> Search:
    """Of ADAPTIVE."""
    return Learning(problem, ADAPTIVE)


def check(settings: Any) -> Iterator[Wrong]:
    """What is wrong with an AdaptiveParameter."""
    if settings.every < 1:
        yield "every", settings.every, "1 or more"
    if not 0 < settings.rate <= 1:
        yield "rate", settings.rate, "a number above 0, at most 1"


KIND = Kind(make, "adaptive_param", check, limited=True, program=ADAPTIVE)
