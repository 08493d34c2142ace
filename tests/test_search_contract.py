"""What every type of search keeps: a run that was stopped after any line of its journal goes on as if it never was."""
from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any, List

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.trial import INDIVIDUAL, Result, Trial
from tests.support.searches import EVERY, PlayedFarm, outcome, play, size

ANY = {"seed": st.integers(0, 2**31 - 1), "slots": st.integers(1, 8), "reuse": st.booleans(),
       "failing": st.sampled_from([1, 3, 10**9]), "chance": st.integers(0, 2**31 - 1).map(random.Random)}


def order_of(calls: List[Any]) -> List[int]:
    return [call.id for call in calls if isinstance(call, Result) and call.same_as is None]


def lines_of(run: Path) -> List[str]:
    return (run / journal.NAME).read_text().splitlines(keepends=True)


def individuals(calls: List[Any]) -> List[Trial]:
    return [call for call in calls if isinstance(call, Trial) and call.role == INDIVIDUAL]


@pytest.mark.parametrize("kind", EVERY)
@settings(max_examples=40)
@given(cut=st.floats(0, 1), **ANY)
def test_the_calls_go_on_exactly(tmp_path_factory: pytest.TempPathFactory, kind: str, seed: int, slots: int,
                                 reuse: bool, failing: int, chance: random.Random, cut: float) -> None:
    """With results in the same order, a resumed run asks for the same trials and tells the same results."""
    whole, again = (tmp_path_factory.mktemp("run") for _ in range(2))
    calls = play(whole, kind, seed, PlayedFarm(slots, [], chance, failing), reuse)
    lines = lines_of(whole)
    kept = round(cut * len(lines))
    (again / journal.NAME).write_text("".join(lines[:kept]))
    resumed = play(again, kind, seed, PlayedFarm(slots, order_of(calls), chance, failing), reuse)
    assert resumed == calls
    assert lines_of(again)[:kept] == lines[:kept], "only added to"


@pytest.mark.parametrize("kind", EVERY)
@settings(max_examples=25)
@given(cuts=st.lists(st.floats(0, 1), min_size=1, max_size=3), others=st.integers(1, 8), **ANY)
def test_a_run_may_go_on_elsewhere(tmp_path_factory: pytest.TempPathFactory, kind: str, seed: int, slots: int,
                                   others: int, reuse: bool, failing: int, chance: random.Random,
                                   cuts: List[float]) -> None:
    """On another number of slots, with results in another order, again and again: nothing is lost or done twice."""
    run = tmp_path_factory.mktemp("run")
    for cut in (*cuts, 1.0):
        calls = play(run, kind, seed, PlayedFarm(slots, [], chance, failing), reuse)
        slots, others = others, slots
        lines = lines_of(run)
        (run / journal.NAME).write_text("".join(lines[:round(cut * len(lines))]))
    trials, results = individuals(calls), [call for call in calls if isinstance(call, Result)]
    assert len(trials) == len({trial.id for trial in trials}) == len(results) - 1
    assert sum(trial.continues is None for trial in trials) == size(kind)
    trained = Counter(trial.work for trial in trials for result in results
                      if result.id == trial.id and result.same_as is None)
    assert not trained or max(trained.values()) == 1, "work is done once"
    for trial in trials:
        result = next(result for result in results if result.id == trial.id)
        assert result.fitness == outcome(trial, failing).fitness, "whoever was trained, the result is this work's"


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind != "Believer"])
def test_another_seed_is_another_search(tmp_path: Path, kind: str) -> None:
    play(tmp_path, kind, 1, PlayedFarm(2, [], random.Random(0), 10**9))
    before = lines_of(tmp_path)
    with pytest.raises(UserError, match="recorded trial .* is .*, this search asks for .*: .* of another search"):
        play(tmp_path, kind, 2, PlayedFarm(2, [], random.Random(0), 10**9))
    assert lines_of(tmp_path)[:len(before)] == before


def test_the_toy_breeds_from_what_it_was_told(tmp_path: Path) -> None:
    """Else the contract would ask nothing of an asynchronous search."""
    first, other = (individuals(play(tmp_path / str(i), "Children", 1, PlayedFarm(3, [], random.Random(i), 10**9)))
                    for i in range(2))
    assert [trial.genome for trial in first] != [trial.genome for trial in other]
