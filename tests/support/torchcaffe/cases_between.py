"""Numbers that are edited between forward and backward: a gradient reads some of them anew, and keeps others.

Of each kind of net in the other modules one, in place and not, of losses all; all inputs are edited, or one other blob.
"""
from __future__ import annotations

import re
from typing import Dict, Iterator, List, Tuple

from tests.support.torchcaffe import (
    cases_arrange,
    cases_losses,
    cases_neurons,
    cases_recurrent,
    cases_scaling,
    cases_spatial,
)
from tests.support.torchcaffe.parity import Case

OTHERS = cases_arrange, cases_neurons, cases_recurrent, cases_scaling, cases_spatial
READS_ITS_TOPS = {"LSTM", "RNN"}  # and so does what Caffe shares with them: docs/fidelity.md says what is kept here


def _types(case: Case) -> Tuple[str, ...]:
    return tuple(re.findall(r'type: "(\w+)"', case.net))


def _tops(case: Case) -> Tuple[str, ...]:
    return tuple(re.findall(r'top: "(\w+)"', case.net))


def _chosen() -> Iterator[Case]:
    first: Dict[Tuple[Tuple[str, ...], ...], Case] = {}
    for module in OTHERS:
        for case in module.CASES:
            if case.backward and case.inputs:
                first.setdefault((_types(case), _tops(case)), case)
    yield from first.values()
    yield from (case for case in cases_losses.CASES if case.backward)


def _edited() -> Iterator[Case]:
    for case in _chosen():
        yield case._replace(name=f"{case.name} inputs", edited=tuple(case.inputs), exact=())
        if not READS_ITS_TOPS & set(_types(case)):
            for top in sorted(set(_tops(case)) - set(case.inputs)):
                yield case._replace(name=f"{case.name} {top}", edited=[top], exact=())


CASES: List[Case] = list(_edited())
