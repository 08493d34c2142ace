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
    assert len(curves) == 100
    for one in curves:
        assert [iteration for iteration, *_ in one.curve] == list(range(40, 801, 40))
        assert len(one.genes) == 9 and all(0 <= accuracy <= 1 for _, accuracy, _ in one.curve)
    recorded.write(curves, tmp_path / "again")
    assert (tmp_path / "again").read_text() == recorded.HERE.read_text()


def test_without_a_rule_that_stops_anybody_all_is_spent(curves: List[Recorded]) -> None:
    found = replay(curves, order(len(curves), 0), "median { least: 1000 }", ranks=3)
    assert found.spent == 1 and found.ended == len(curves)
    assert found.told == {index: ("ok", one.fitness) for index, one in enumerate(curves)}


def test_halving_spends_what_it_did(curves: List[Recorded]) -> None:
    """It compares, no more: so to the last iteration, on every machine."""
    found = [replay(curves, order(len(curves), seed), "halving { first: 120 factor: 2 }").spent for seed in range(3)]
    assert found == pytest.approx([0.3495, 0.398, 0.3755], abs=1e-12)


@pytest.mark.parametrize("ranks", [1, 8])
def test_a_third_of_the_iterations_finds_the_best(curves: List[Recorded], ranks: int) -> None:
    """Two orders of the 20 of docs/budgets.md; the last bits of a forecast may be others elsewhere."""
    found = measured(curves, "median { at: 80 at: 120 } curve { }", ranks, orders=2)
    assert found["kept"] == 2 and found["spent most"] < 1 / 3


def test_forecasts_are_as_sure_as_they_say(curves: List[Recorded]) -> None:
    """Of 100, those within intervals of 0.5 and 0.9, as measured; a few lie so close to an end that they may change."""
    found = [calibration.numbers(calibration.forecasts(curves, iteration), curves) for iteration in (200, 400, 600)]
    assert [one["inside 50%"] for one in found] == pytest.approx([0.50, 0.53, 0.55], abs=0.03)
    assert [one["inside 90%"] for one in found] == pytest.approx([0.96, 0.90, 0.95], abs=0.03)
    assert [one["mean absolute error"] for one in found] == pytest.approx([0.074, 0.034, 0.019], abs=0.003)


def test_the_best_are_not_ahead_at_first(curves: List[Recorded]) -> None:
    """What docs/budgets.md says of fast starters."""
    best = max(curves, key=lambda one: one.fitness)
    ahead = [sum(one.curve[k][1] > best.curve[k][1] for one in curves) for k in (0, 4)]
    assert ahead == [37, 19]
