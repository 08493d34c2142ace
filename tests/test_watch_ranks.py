"""Who trains what: as the lines of a journal say, held against what the results say afterwards."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest

from menndl_caffe.genome import Genome
from menndl_caffe.journal import NAME, Follower
from menndl_caffe.record import Record
from menndl_caffe.trial import Result, Trial
from menndl_caffe.watch.ranks import doing, slots
from tests.support import big_journal
from tests.test_report import RUN


def line(id: int, rank: Optional[int] = None, given: float = 0.0) -> Dict[str, Any]:
    to = {} if rank is None else {"rank": rank, "given": given}
    return {"event": "trial", **Trial(id, Genome(("kernel1",), (id,)), 7, 10, 0).as_dict(), **to}


def result(id: int, rank: int, end: float, same_as: Any = None) -> Dict[str, Any]:
    found = Result(id, "ok", 0.5, started=end - 5, seconds=5, rank=rank, host=f"node{rank}", same_as=same_as)
    return {"event": "result", **found.as_dict()}


def begin(event: str = "run", ranks: int = 3, slots: int = 3, started: float = 100.0, **more: Any) -> Dict[str, Any]:
    return {**RUN, "event": event, "ranks": ranks, "slots": slots, "started": started, **more}


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """The record of these lines."""
    def read(*lines: Dict[str, Any]) -> Record:
        (tmp_path / NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
        follower = Follower(tmp_path)
        follower.look()
        return follower.record
    return read


def seen(record: Record) -> List[Tuple[int, str, Optional[int], float]]:
    return [(one.rank, one.host, one.trial, one.since) for one in doing(record)]


START = [begin(), line(1, 2, 101), line(2, 0, 102), line(3, 1, 103)]


def test_each_rank_has_what_its_trials_line_says(read: Any) -> None:
    assert seen(read(*START)) == [(0, "", 2, 102), (1, "", 3, 103), (2, "", 1, 101)]
    after = read(*START, result(3, 1, 130), line(4, 1, 131), result(1, 2, 140))
    assert seen(after) == [(0, "", 2, 102), (1, "node1", 4, 131), (2, "node2", None, 140)]


def test_a_rank_that_has_had_nothing_is_not_listed(read: Any) -> None:
    record = read(begin(ranks=4), line(1, 2, 101))
    assert seen(record) == [(2, "", 1, 101)] and slots(record) == 3


def test_a_rank_may_have_several(read: Any) -> None:
    record = read(begin(ranks=1, slots=2), line(1, 0, 101), line(2, 0, 102))
    assert seen(record) == [(0, "", 1, 101), (0, "", 2, 102)]


def test_what_waits_or_was_met_before_is_with_nobody(read: Any) -> None:
    record = read(*START, line(4), line(5), result(3, 1, 130), result(5, 1, 130, same_as=3))
    assert seen(record) == [(0, "", 2, 102), (1, "node1", None, 130), (2, "", 1, 101)]


def test_a_trial_whose_rank_has_died_is_with_another(read: Any) -> None:
    assert seen(read(*START, result(3, 1, 130), line(1, 1, 133))) == [(0, "", 2, 102), (1, "node1", 1, 133)]


def test_a_resumed_run_hands_out_again_what_had_no_result(read: Any) -> None:
    resumed = [*START, result(2, 0, 130), begin("resume", ranks=2, slots=2, started=900.0)]
    assert seen(read(*resumed)) == [] and slots(read(*resumed)) == 2
    assert seen(read(*resumed, line(3, 0, 901))) == [(0, "", 3, 901)]


def test_a_journal_that_does_not_say_who_trains(read: Any) -> None:
    record = read({**RUN, "event": "run"}, line(1), line(2), result(1, 0, 120))
    assert seen(record) == [] and slots(record) is None


@pytest.mark.parametrize("n", [1, 2, 7])
def test_what_is_said_comes_true(tmp_path: Path, n: int) -> None:
    path = big_journal.write(tmp_path, population=40, generations=4, ranks=n, failures=0.1) / NAME
    lines, followed = path.read_bytes().splitlines(keepends=True), tmp_path / "followed"
    truth = {line["id"]: line for line in map(json.loads, lines) if line["event"] == "result"}
    followed.mkdir()
    follower, said = Follower(followed), 0
    with open(followed / NAME, "ab", buffering=0) as growing:
        for line in lines:
            growing.write(line)
            follower.look()
            ranks = doing(follower.record)
            assert len({one.rank for one in ranks}) == len(ranks) <= n
            for one in ranks:
                if one.trial is not None:
                    assert (one.rank, one.since) == (truth[one.trial]["rank"], truth[one.trial]["started"])
                    said += 1
    assert said > len(truth) / 2 and all(one.trial is None for one in ranks)
