"""Layers whose top is their bottom: the same as in a blob of their own, or refused where Caffe computes nonsense."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import menndl_caffe.torchcaffe as caffe
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, InPlace
from tests.support.torchcaffe.in_place import CASES, EXAMPLES, Example, rule_of
from tests.support.torchcaffe.parity import Case, run_case


@pytest.mark.parametrize("example, alone, in_place", [*zip(EXAMPLES, CASES[::2], CASES[1::2])], ids=[
    example.name for example in EXAMPLES])
def test_the_same_or_refused(example: Example, alone: Case, in_place: Case, tmp_path: Path,
                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if rule_of(example) is InPlace.NONSENSE:
        with pytest.raises(ImpossibleNet, match=f"{example.type} does not work in place"):
            run_case(caffe, in_place)
        return
    forward = run_case(caffe, in_place._replace(backward=False))
    assert np.array_equal(forward["data/z"], run_case(caffe, alone)["data/z"])
    if rule_of(example) is InPlace.NOT_ITS_GRADIENT:
        with pytest.raises(ImpossibleNet, match=f"in place, Caffe's {example.type} overwrites what its gradient"):
            run_case(caffe, in_place)
    else:
        run_case(caffe, in_place)
