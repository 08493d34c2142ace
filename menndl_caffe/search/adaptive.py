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
        super().__init__(trained_by(problem, program))

    def _proposals(self, number: int, rng: np.random.RandomState) -> Iterator[Genome]:
        yield self._design(number)


def trained_by(problem: Problem, program: str) -> Problem:
    """The same, its trials trained by this program."""

    def new_trial(genome: Genome, generation: Optional[int]) -> Trial:
        return replace(problem.new_trial(genome, generation), program=program)

    return replace(problem, new_trial=new_trial)


def make(problem: Problem, settings: Any) -> Search:
    """Of ADAPTIVE."""
    return Learning(problem, ADAPTIVE)


def check(settings: Any) -> Iterator[Wrong]:
    """What is wrong with an AdaptiveParameter."""
    for name in ("every", "steps"):
        if getattr(settings, name) < 1:
            yield name, getattr(settings, name), "1 or more"
    if not 0 <= settings.rate <= 1:
        yield "rate", settings.rate, "a number from 0 (the method's own) to 1"


KIND = Kind(make, "adaptive_param", check, limited=True, program=ADAPTIVE)
