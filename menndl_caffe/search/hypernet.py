"""HYPERNET: as ADAPTIVE, with trainings that learn their decays by a hypernet."""
from __future__ import annotations

import math
from typing import Any, Iterator

from menndl_caffe.search.adaptive import Learning
from menndl_caffe.search.search import Kind, Problem, Search, Wrong
from menndl_caffe.trial import HYPERNET


def make(problem: Problem, settings: Any) -> Search:
    """Of HYPERNET."""
    return Learning(problem, HYPERNET)


def check(settings: Any) -> Iterator[Wrong]:
    """What is wrong with a HypernetParameter."""
    for name in ("pairs", "iterations", "steps"):
        if getattr(settings, name) < 1:
            yield name, getattr(settings, name), "1 or more"
    for name, most, expected in (("deviation", math.inf, "a number above 0"),
                                 ("net_rate", 1, "a number above 0, at most 1"),
                                 ("rate", 1, "a number above 0, at most 1")):
        found = getattr(settings, name)
        if not (0 < found <= most and math.isfinite(found)):
            yield name, found, expected


KIND = Kind(make, "hypernet_param", check, limited=True, program=HYPERNET)
