"""Who trains what: worked out from a journal's order alone, and held against what the results say afterwards."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterable, Tuple

import pytest

from menndl_caffe.genome import Genome
from menndl_caffe.journal import Follower
from menndl_caffe.trial import TEST, Result, Trial
from menndl_caffe.watch.ranks import Ranks
from tests.support import big_journal
from tests.test_report import RUN

Seen = Dict[int, Tuple[Tuple[int, ...], bool]]


def trial(id: int, value: int = 0, role: str = "individual") -> Trial:
    return Trial(id, Genome(("kernel1",), (value or id,)), 7, 10, 0, role)


def result(id: int, rank: int, end: float, same_as: Any = None) -> Result:
    return Result(id, "ok", 0.5, started=end - 5, seconds=5, rank=rank, host=f"node{rank}", same_as=same_as)


def begin(event: str = "run", ranks: int = 3, slots: int = 3, started: float = 100.0, **more: Any) -> Dict[str, Any]:
    return {**RUN, "event": event, "ranks": ranks, "slots": slots, "started": started, **more}


def after(*entries: Any) -> Ranks:
    ranks = Ranks()
    for entry in entries:
        ranks.take(entry)
    return ranks


def seen(ranks: Ranks) -> Seen:
    return {doing.rank: (doing.trials, doing.may_idle) for doing in ranks.doing()}


START = [begin(), trial(1), trial(2), trial(3)]


def test_of_a_first_handful_it_is_not_known_who_has_which() -> None:
    ranks = after(*START)
    assert seen(ranks) == {rank: ((1, 2, 3), False) for rank in (0, 1, 2)}
    assert {doing.since for doing in ranks.doing()} == {100.0} and ranks.training == 3


def test_whoever_has_reported_gets_the_next() -> None:
    ranks = after(*START, result(2, rank=1, end=130))
    assert seen(ranks) == {0: ((1, 3), False), 1: ((), True), 2: ((1, 3), False)}
    ranks.take(trial(4))
    assert seen(ranks)[1] == ((4,), False)
    (doing,) = (doing for doing in ranks.doing() if doing.rank == 1)
    assert (doing.host, doing.since) == ("node1", 130.0)
    for entry in (result(1, rank=2, end=140), trial(5)):
        ranks.take(entry)
    assert seen(ranks) == {0: ((3,), False), 1: ((4,), False), 2: ((5,), False)}  # the third is with whom is left


def test_two_that_report_at_once_share_the_next_two() -> None:
    ranks = after(*START, result(1, 0, 120), result(2, 1, 121), trial(4))
    assert seen(ranks) == {0: ((4,), True), 1: ((4,), True), 2: ((3,), False)}
    ranks.take(trial(5))
    assert seen(ranks) == {0: ((4, 5), False), 1: ((4, 5), False), 2: ((3,), False)}
    for entry in (result(5, 0, 150), trial(6)):
        ranks.take(entry)
    assert seen(ranks) == {0: ((6,), False), 1: ((4,), False), 2: ((3,), False)}


def test_an_individual_met_again_is_with_nobody() -> None:
    ranks = after(*START, result(1, 0, 120), trial(4, value=2), trial(5, value=1), result(5, 0, 120, same_as=1))
    assert seen(ranks)[0] == ((), True) and ranks.training == 2
    ranks.take(trial(6, value=1, role=TEST))  # but the last one on the test set is trained
    assert seen(ranks)[0] == ((6,), False)
    again = after(begin(search=RUN["search"] + "reuse_results: false\n"), trial(1), trial(2), trial(3),
                  result(1, 0, 120), trial(4, value=2))
    assert seen(again)[0] == ((4,), False)


def test_a_master_that_does_not_train_is_no_rank() -> None:
    assert list(seen(after(begin(ranks=4, slots=3)))) == [1, 2, 3]
    assert seen(after(begin(ranks=1, slots=1), trial(1))) == {0: ((1,), False)}


def test_a_resumed_run_hands_out_again_what_had_no_result() -> None:
    ranks = after(*START, result(2, 1, 130), trial(4), begin("resume", ranks=2, slots=2, started=900.0))
    assert seen(ranks) == {rank: ((1, 3, 4), False) for rank in (0, 1)}
    assert {doing.since for doing in ranks.doing()} == {900.0}
    ranks.take(result(4, 0, 950))  # rank 0 takes the third that is left
    assert seen(ranks) == {0: ((1, 3), False), 1: ((1, 3), False)}
    ranks.take(result(1, 0, 960))
    assert seen(ranks) == {0: ((), True), 1: ((3,), False)}
    more = after(*START[:2], begin("resume", started=900.0))
    assert seen(more) == {rank: ((1,), True) for rank in (0, 1, 2)}


def test_a_result_from_elsewhere_unmakes_what_was_thought() -> None:
    """A rank has died, and another has got its trial."""
    ranks = after(*START, result(1, 0, 120), trial(4), result(2, 1, 125), trial(5))
    assert seen(ranks) == {0: ((4,), False), 1: ((5,), False), 2: ((3,), False)}
    ranks.take(result(3, 1, 160))
    assert seen(ranks) == {0: ((4,), False), 1: ((), True), 2: ((), True)}  # one of these two has 5, or nobody has
    for entry in (trial(6), result(5, 1, 170)):
        ranks.take(entry)
    assert seen(ranks)[0] == ((4,), False) and ranks.training == 2


def test_a_journal_that_does_not_say_who_trains() -> None:
    assert after({**RUN, "event": "run"}, trial(1), result(1, 0, 120)).doing() == []


def certain(ranks: Ranks) -> Iterable[Tuple[int, int, float]]:
    return ((doing.rank, doing.trials[0], doing.since) for doing in ranks.doing()
            if len(doing.trials) == 1 and not doing.may_idle)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_what_is_said_to_be_certain_comes_true(tmp_path: Path, n: int) -> None:
    follower = Follower(big_journal.write(tmp_path, population=40, generations=4, ranks=n, failures=0.1))
    ranks, said = Ranks(), 0
    entries = follower.look()
    truth: Dict[int, Result] = {id: result for id, result in follower.record.results.items() if result.same_as is None}
    for entry in entries:
        ranks.take(entry)
        for rank, id, since in certain(ranks):
            assert truth[id].rank == rank and since == pytest.approx(truth[id].started, abs=5.01)
            said += 1
        for doing in ranks.doing():
            mine = [id for id in doing.trials if truth[id].rank == doing.rank]
            assert mine or doing.may_idle or not doing.trials
    assert said > len(truth) / 2 and ranks.training == 0
