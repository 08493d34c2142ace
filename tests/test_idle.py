"""What the time of a run's ranks went into, of small journals by hand."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest

from menndl_caffe import journal
from menndl_caffe.journal import Journal
from menndl_caffe.report.idle import BUSY, REASONS, idle_text, ranks_time, shares
from menndl_caffe.trial import DEFAULT, INDIVIDUAL, OK, Result, Trial
from tests.support.searches import SPACE

# ("give", time, trial, rank, generation) or ("end", trial, seconds) or ("resume", time, slots)
Lines = List[Tuple[Any, ...]]


def written(run: Path, slots: int, lines: Lines) -> Any:
    """What ranks_time makes of a journal that has these lines; what was spent on nothing is left out."""
    now = 1000.0
    with Journal(run, fsync=False, clock=lambda: now) as writer:
        writer.begin({"search": "x", "engine": "fake", "started": 999.0, "slots": slots})
        for event, *rest in lines:
            if event == "give":
                time, id, rank, generation = rest
                now = 1000.0 + time
                role = DEFAULT if id == 0 else INDIVIDUAL
                writer.add_trial(Trial(id, SPACE.default, id, 4, generation, role), rank)
            elif event == "end":
                id, seconds = rest
                writer.add_result(Result(id, OK, 0.5, seconds=seconds))
            else:
                writer.begin({"search": "x", "engine": "fake", "started": 1000.0 + rest[0], "slots": rest[1]})
    return spent(journal.read(run))


def spent(record: Any, until: Optional[float] = None) -> Dict[Optional[int], Dict[str, float]]:
    return {rank: {kind: pytest.approx(seconds) for kind, seconds in of_rank.items() if seconds}
            for rank, of_rank in ranks_time(record, until).items()}


def test_a_generation_waits_for_its_slowest(tmp_path: Path) -> None:
    """Rank 1 is done at 4, rank 0 at 10; the master needs 1 and 2 for the next generation's trials."""
    assert written(tmp_path, 2, [
        ("give", 0, 1, 0, 0), ("give", 0, 2, 1, 0), ("end", 2, 4), ("end", 1, 10),
        ("give", 11, 3, 1, 1), ("give", 12, 4, 0, 1), ("end", 3, 5), ("end", 4, 4),
    ]) == {0: {"busy": 14, "master": 2}, 1: {"busy": 9, "generation": 6, "master": 1}}


def test_a_steady_search_is_the_masters_and_at_the_end_has_none(tmp_path: Path) -> None:
    assert written(tmp_path, 2, [
        ("give", 0, 1, 0, None), ("give", 0, 2, 1, None), ("end", 1, 4), ("give", 4.5, 3, 0, None), ("end", 2, 7),
        ("end", 3, 5.5),
    ]) == {0: {"busy": 9.5, "master": 0.5}, 1: {"busy": 7, "no_trial": 3}}


def test_what_the_master_hears_late_is_its_own(tmp_path: Path) -> None:
    """It is busy with rank 0's next trial from 4 to 9; rank 1, done at 5, waits for it, and not for a trial."""
    assert written(tmp_path, 2, [
        ("give", 0, 1, 0, None), ("give", 0, 2, 1, None), ("end", 1, 4), ("give", 9, 3, 0, None), ("end", 2, 5),
        ("give", 12, 4, 1, None), ("end", 3, 11), ("end", 4, 8),
    ]) == {0: {"busy": 15, "master": 5}, 1: {"busy": 13, "master": 7}}


def test_more_ranks_than_trials_have_none(tmp_path: Path) -> None:
    """Of three ranks one trains the default, as part of the first generation, one the individual, one nothing."""
    assert written(tmp_path, 3, [
        ("give", 0, 0, 0, None), ("give", 0, 1, 1, 0), ("end", 0, 2), ("end", 1, 6), ("give", 6, 2, 1, 1),
        ("end", 2, 4),
    ]) == {0: {"busy": 2, "generation": 4, "no_trial": 4}, 1: {"busy": 10}, None: {"no_trial": 10}}


def test_the_pause_between_two_starts_is_nobodys(tmp_path: Path) -> None:
    """Trial 2 was lost when the run was stopped after 6 s, and is trained again at 100."""
    assert written(tmp_path, 2, [
        ("give", 0, 1, 0, None), ("give", 0, 2, 1, None), ("end", 1, 4), ("give", 6, 3, 0, None),
        ("resume", 99, 2), ("give", 100, 2, 1, None), ("give", 100, 3, 0, None), ("end", 2, 10), ("end", 3, 10),
    ]) == {0: {"busy": 14, "master": 2}, 1: {"busy": 10, "lost": 6}}


def test_a_rank_that_died_over_a_trial(tmp_path: Path) -> None:
    """Rank 1's trial begins anew on rank 0 at 5, and rank 1 is dead from then on."""
    assert written(tmp_path, 2, [
        ("give", 0, 1, 0, None), ("give", 0, 2, 1, None), ("end", 1, 5), ("give", 5, 2, 0, None), ("end", 2, 7),
    ]) == {0: {"busy": 12}, 1: {"lost": 5, "dead": 7}}


def test_what_is_being_trained_is_work(tmp_path: Path) -> None:
    assert written(tmp_path, 2, [
        ("give", 0, 1, 0, None), ("give", 0, 2, 1, None), ("end", 1, 4), ("give", 4, 3, 0, None)]) == {
        0: {"busy": 4}, 1: {"busy": 4}}
    assert spent(journal.read(tmp_path), 1009.0) == {0: {"busy": 9}, 1: {"busy": 9}}


def test_a_journal_that_does_not_say_who_trains(tmp_path: Path) -> None:
    with Journal(tmp_path, fsync=False) as writer:
        writer.begin({"search": "x", "engine": "fake", "started": 1.0})
        writer.add_trial(Trial(1, SPACE.default, 1, 4))
        writer.add_result(Result(1, OK, 0.5, seconds=3))
    assert ranks_time(journal.read(tmp_path)) == {}


def test_in_words() -> None:
    """Two ranks of 10 s; 0.05% is the least that is told."""
    nothing = dict.fromkeys(REASONS, 0.0)
    by_rank = {0: {**nothing, BUSY: 9.0, "generation": 0.996, "master": 0.004}, 1: {**nothing, BUSY: 8.0, "dead": 2.0}}
    assert shares(by_rank) == pytest.approx({**nothing, BUSY: 0.85, "generation": 0.0498, "master": 2e-4, "dead": 0.1})
    assert idle_text(by_rank) == "5.0% waiting for the end of a generation, 10.0% dead"
    assert idle_text({}) == ""
