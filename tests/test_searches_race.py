"""The races of tests/bench/searches: virtual time, budgets and repeats, by contestants that are scripts."""
from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Tuple

import pytest

from menndl_caffe.genome import Genome, IntGene, SearchSpace
from tests.bench.searches import plan, tables
from tests.bench.searches.problems import Landscape
from tests.bench.searches.race import STUBBORN, Outcome, Race

SPACE = SearchSpace((IntGene("x", 0, 9, 1, 0),))
GROUND = Landscape("line", 0, SPACE, lambda genome: None if genome.values[0] == 9 else genome.values[0] / 10,
                   lambda genome: float(genome.values[0]))


class Script:
    """Asks for these numbers, None where it waits until all are told; what it was told is in `told`."""

    cpu, version = 0.0, "1"

    def __init__(self, *numbers: Optional[int]):
        self._numbers, self._open = list(numbers), 0
        self.told: List[Tuple[int, Optional[float]]] = []

    def ask(self) -> Optional[Tuple[int, Genome]]:
        if self._numbers and self._numbers[0] is None and not self._open:
            self._numbers.pop(0)
        if not self._numbers or self._numbers[0] is None:
            return None
        self._open += 1
        number = self._numbers.pop(0)
        return number, SPACE.genome([number])

    def tell(self, number: int, cost: Optional[float]) -> None:
        self._open -= 1
        self.told.append((number, cost))

    def close(self) -> None:
        pass


def race(script: Script, slots: int, budget: int) -> Outcome:
    """A training takes as long as its number says."""
    return Race(GROUND, script, slots, budget, lambda genome: float(genome.values[0])).run()


def test_results_come_in_the_order_of_their_ends() -> None:
    script = Script(5, 3, 1, 4, 9)
    outcome = race(script, slots=2, budget=5)
    assert script.told == [(3, 0.3), (1, 0.1), (5, 0.5), (4, 0.4), (9, None)]
    assert (outcome.regrets, outcome.failed) == ([3, 1, 1, 1, 1], 1)


def test_who_waits_leaves_slots_idle() -> None:
    assert race(Script(4, 1, None, 3), slots=2, budget=3).utilization == pytest.approx(5 / 8)
    assert race(Script(4, 1, 3), slots=2, budget=3).utilization == 1, "until the last training begins"


def test_a_repeat_costs_nothing() -> None:
    script = Script(2, 2, 1, 2, 3)
    outcome = race(script, slots=1, budget=3)
    assert script.told == [(2, 0.2), (2, 0.2), (1, 0.1), (2, 0.2), (3, 0.3)]
    assert (len(outcome.regrets), outcome.repeats) == (3, 2)


def test_a_repeat_of_what_is_being_trained_ends_with_it() -> None:
    script = Script(4, 4, 1)
    outcome = race(script, slots=2, budget=2)
    assert script.told == [(1, 0.1), (4, 0.4), (4, 0.4)]
    assert (len(outcome.regrets), outcome.repeats) == (2, 1)


def test_a_stubborn_search_loses_trainings() -> None:
    outcome = race(Script(2, *[2] * (2 * STUBBORN), 1), slots=1, budget=4)
    assert (outcome.regrets, outcome.lost) == ([2, 2, 2, 1], 2)


def test_what_ended_is_not_run_again(tmp_path: Path) -> None:
    path, specs = tmp_path / "races.jsonl", [plan.Spec("quick6", i, "RANDOM", 2, 5) for i in range(2)]
    first = list(plan.run_all(specs[:1], path, workers=1))
    path.write_text(path.read_text() + '{"broken of')
    then = list(plan.run_all(specs, path, workers=1))
    assert [plan.spec_of(line) for line in (*first, *then)] == specs
    assert plan.read(path) == [*first, *then]


def test_the_sign_test_is_two_sided() -> None:
    assert tables.sign_test(5, 0) == 2 / 32 and tables.sign_test(3, 3) == 1 and tables.sign_test(0, 0) == 1


def test_places_are_shared() -> None:
    assert tables.places([1, 3, 1]) == [0.25, 1, 0.25]
