"""What the rules of `stop` save and lose on more than 100 recorded trainings (tests/bench/curves)."""
from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from tests.bench.curves import calibration, recorded
from tests.bench.curves.__main__ import measured
from tests.bench.curves.recorded import Recorded
from tests.bench.curves.replay import order, replay


@pytest.fixture(scope="module")
def curves() -> List[Recorded]:
    return recorded.read()


def test_the_file(curves: List[Recorded], tmp_path: Path) -> None:
    assert len(curves) >= 100
    for one in curves:
        assert [iteration for iteration, *_ in one.curve] == list(range(40, 801, 40))
        assert len(one.genes) == 9 and all(0 <= accuracy <= 1 for _, accuracy, _ in one.curve)
    recorded.write(curves, tmp_path / "again")
    assert (tmp_path / "again").read_text() == recorded.HERE.read_text()


def test_without_a_rule_that_stops_anybody_all_is_spent(curves: List[Recorded]) -> None:
    found = replay(curves, order(len(curves), 0), "median { least: 1000 }", ranks=3)
    assert found.spent == 1 and found.ended == len(curves)
    assert found.told == {index: ("ok", one.fitness) for index, one in enumerate(curves)}
