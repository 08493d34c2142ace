"""`menndl run` of a search with `stop`: what is recorded, said and kept, whoever trained it, and when it is gone on
with."""
from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Optional

import pytest

from menndl_caffe import journal
from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.recorded import expected
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.record import Record
from menndl_caffe.report.rungs import of_rungs
from menndl_caffe.report.status import status_dict
from menndl_caffe.run import progress as progress_of_runs
from menndl_caffe.run.loop import Loop
from menndl_caffe.run.progress import Progress
from menndl_caffe.search import going_on, hear_of_stopped
from menndl_caffe.search.halving import Halving
from menndl_caffe.trial import DEFAULT, OK, STOPPED, Result, Trial
from menndl_caffe.walltime import Stopped
from tests.support import runs, searches
from tests.support.in_process import Menndl, check_cuts, cut, lines_of

STOP = "stop { halving { first: 2 factor: 3 } }"
RUNGS, MAX_ITER, TOTAL = (2, 6, 18), 20, 18


def write(path: Path, data: Path, more: str = STOP, kind: str = "ASYNC_GA", **settings: int) -> Path:
    numbers = {"max_iter": MAX_ITER, "test_interval": 2, "trials": TOTAL, **settings}
    return runs.write_search(path, data, more, kind=runs.LIMITED[kind], **numbers)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("images") / "data")


def chains(record: Record) -> List[List[int]]:
    """The trials of each individual, in their order."""
    found: Dict[int, List[int]] = {}
    for trial in record.trials.values():
        if trial.role != DEFAULT:
            chain = found.pop(trial.continues, []) if trial.continues is not None else []
            found[trial.id] = [*chain, trial.id]
    return list(found.values())


def check_record(record: Record) -> None:
    """Every individual went from rung to rung as halving has it, each trial has one result, and its curve is whole."""
    assert set(record.results) == set(record.trials)
    individuals = chains(record)
    assert len(individuals) == TOTAL == len(list(record.individuals()))
    for chain in individuals:
        trials = [record.trials[id] for id in chain]
        assert len({trial.genome for trial in trials}) == 1
        assert [trial.until for trial in trials] == [*RUNGS, None][:len(chain)]
        for trial in trials:
            result, until = record.results[trial.id], trial.until or MAX_ITER
            assert result.status == (OK if trial.until is None else STOPPED)
            assert [iteration for iteration, _, _ in result.curve] == list(range(2, until + 1, 2))
            assert result.curve[-1][1:] == (result.fitness, result.loss)
            assert result.curve == record.results[chain[-1]].curve[:until // 2]
    at = Counter(len(chain) for chain in individuals)
    assert at[1] >= TOTAL // 3 and at[4] >= 1


def test_individuals_go_from_rung_to_rung(local: Menndl, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    local.run(write(tmp_path / "s", data), run)
    record = journal.read(run)
    check_record(record)
    stopped = sum(result.status == STOPPED for _, result in record.individuals())
    said = local.said.splitlines()
    assert said.count("rungs at 2, 6 and 18 of 20 iterations") == 1
    last, = (line for line in said if line.startswith(f"individuals {TOTAL}/{TOTAL}"))
    ends = {id: result.fitness for id, result in record.results.items() if result.status == OK and id}
    assert f"best {max(ends.values()):.4f}  " in last and f"  stopped {stopped}  " in last and "failed" not in last
    best = max(ends, key=lambda id: (ends[id], -id))
    assert {folder.name for folder in (run / "trials").iterdir()} == {"0", str(best)}
    assert (run / "trials" / str(best) / "caffe.log").read_text().startswith(
        f"menndl: this training went on from trial {record.trials[best].continues}, which ended at iteration 18; where")
    assert "menndl" not in (run / "trials" / "0" / "caffe.log").read_text()
    local.run(tmp_path / "s", run)
    assert journal.read(run).calls == record.calls


@pytest.mark.parametrize("trials", [3, 5])
def test_no_moment_of_a_run_is_taken_for_its_end(local: Menndl, data: Path, tmp_path: Path, trials: int,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Its journal after each line: somebody may go on from a last rung until a line says that nobody does. That line
    counts, whatever the rule would say now."""
    local.run(write(tmp_path / "s", data, "stop { halving { first: 2 factor: 2 } }", trials=trials), tmp_path / "run")
    lines = lines_of(tmp_path / "run")
    complete = []
    for count in range(1, len(lines) + 1):
        run = recorded.read(cut(lines[:count], tmp_path / str(count)))
        complete.append(status_dict(run, 0.0)["complete"])
    assert complete == [False] * (len(lines) - 1) + [True]
    last = json.loads(lines[-1])
    assert (last["event"] == "ended") == (json.loads(lines[-2]).get("status") == STOPPED) and "hours" not in last
    monkeypatch.setattr(Halving, "goes_on", lambda *_: True)
    before = [one.id for one in recorded.read(tmp_path / "run").record.calls]
    local.run(tmp_path / "s", tmp_path / "run")
    again = recorded.read(tmp_path / "run")
    assert [one.id for one in again.record.calls] == before and status_dict(again, 0.0)["complete"]
    assert sum('"ended"' in line for line in lines_of(tmp_path / "run")) == (last["event"] == "ended")


def test_what_is_undecided_at_a_rung_is_seen_by_what_follows() -> None:
    """Of 1, 2 and 3, 2 goes on: so 1 is stopped, and of 3 nothing is known before another one is begun."""
    record = Record(undecided=[1, 2, 3])
    record.decide(trial(7, 0, 2))
    assert record.undecided == [3]
    record.decide(trial(8, 2))
    assert record.undecided == []


def test_it_goes_on_after_any_line(local: Menndl, data: Path, tmp_path: Path) -> None:
    stop = "stop { halving { first: 2 factor: 2 } }"
    check_cuts(local, write(tmp_path / "s", data, stop, trials=5, max_iter=8), tmp_path)


def test_rungs_change_nothing_of_who_comes_to_the_end(local: Menndl, data: Path, tmp_path: Path) -> None:
    """A random search asks for the same with and without them."""
    local.run(write(tmp_path / "s", data, kind="RANDOM"), tmp_path / "with")
    local.run(write(tmp_path / "t", data, "", "RANDOM"), tmp_path / "without")
    ends, whole = ({trial.genome: result for trial, result in journal.read(tmp_path / name).individuals()}
                   for name in ("with", "without"))
    assert ends.keys() == whole.keys()
    for genome, result in ends.items():
        assert result.curve == whole[genome].curve[:len(result.curve)]
        assert result.status == STOPPED or result.fitness == whole[genome].fitness


def test_the_default_is_trained_once(local: Menndl, data: Path, tmp_path: Path) -> None:
    """Its training to the end says what it had at every rung."""
    local.run(write(tmp_path / "s", data), tmp_path / "run")
    record = journal.read(tmp_path / "run")
    default = record.trials[0]
    same = [record.results[id] for id, trial in record.trials.items() if trial.genome == default.genome and id]
    assert len(same) == len(RUNGS) + 1 and {result.same_as for result in same} == {0}
    assert [result.fitness for result in same] == [
        next(value for at, value, _ in record.results[0].curve if at == rung) for rung in (*RUNGS, MAX_ITER)]


def test_a_later_run_knows_those_who_came_to_the_end(local: Menndl, data: Path, tmp_path: Path) -> None:
    search = write(tmp_path / "s", data)
    local.run(search, tmp_path / "first")
    search.write_text(f'{search.read_text()}warm_start: "{tmp_path}/first"\n')
    local.run(search, tmp_path / "second")
    ends = [result for _, result in journal.read(tmp_path / "first").individuals() if result.status == OK]
    assert f"/first: {len(ends)} different individuals are known, {TOTAL - len(ends)} were stopped early" in local.said
    assert [(one.result.id, one.result.fitness) for one in journal.read(tmp_path / "second").earlier] == [
        (result.id, result.fitness) for result in ends]


def test_evaluate_trains_fully(local: Menndl, data: Path, tmp_path: Path) -> None:
    assert local("evaluate", write(tmp_path / "s", data)) == 0
    result = json.loads(local.out)
    assert (result["status"], result["curve"][-1][0]) == (OK, MAX_ITER)


def test_check_says_where_rungs_are(local: Menndl, data: Path, tmp_path: Path) -> None:
    search = write(tmp_path / "s", data)
    assert local("check", search, "--samples", 0) == 0
    assert "18 individuals of 6 genes and 20 iterations; rungs at 2, 6 and 18 of 20 iterations\n" in local.said
    assert local("check", search, "--samples", 0, "--iterations", 6) == 0
    assert "; a rung at 2 of 6 iterations\n" in local.said
    assert local("check", search, "--iterations", 2) == 2
    assert "stop.halving.first: is 2; expected 1 to 1, iterations before max_iter" in local.said


@pytest.mark.parametrize(("stop", "interval", "why"), [
    (STOP, 4, "is 4, so no test pass is due at iteration 2, where `stop` has a rung; expected 2 or a divisor of it, or "
              "rungs at multiples of 4"),
    (STOP, 0, "is 0, so no test pass is due at iteration 2, where `stop` has a rung; expected 2 or a divisor of it"),
    ("stop { halving { first: 6 factor: 2 } }", 4, "is 4, so no test pass is due at iteration 6, where `stop` has a "
                                                   "rung; expected 6 or a divisor of it, or rungs at multiples of 4")])
def test_no_test_pass_at_a_rung_is_a_mistake_at_once(local: Menndl, data: Path, tmp_path: Path, stop: str,
                                                     interval: int, why: str) -> None:
    """With the line of the solver."""
    search = write(tmp_path / "s", data, stop, test_interval=interval)
    for command in (["check"], ["run", "--out", tmp_path / "run"]):
        assert local(*command, search) == 2
        assert f"solvers/quick.solver.prototxt.j2 (rendered):7: test_interval: {why}\n" in local.said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("results, total, of", [(4, TOTAL, f" of {TOTAL}"), (9, TOTAL, f" of {TOTAL}"),
                                                (15, None, ""), (22, TOTAL, f" of {TOTAL}")])
def test_a_run_that_is_stopped_counts_as_done_who_is_not_gone_on_with(tmp_path: Path, results: int,
                                                                      total: Optional[int], of: str) -> None:
    """Of how many is not said where nobody knows, be the space ever so finite."""
    number = searches.numbering(1)
    search = searches.made("RANDOM" + searches.RUNGS, 1, number)
    farm: Any = searches.PlayedFarm(3, [], random.Random(5), 99)
    with Journal(tmp_path, fsync=False) as writer:
        writer.begin(searches.FIRST_LINE)
        loop = Loop(search, farm, writer, number, total, lambda *_: None, lambda *_: None,
                    lambda: "time is up" if len(writer.record.results) >= results else "", go_on=going_on(search))
        with pytest.raises(Stopped) as stopped:
            loop.run()
    record = journal.read(tmp_path)
    done = sum(chain[-1] in record.results for chain in chains(record))
    assert str(stopped.value) == f"time is up: {done}{of} individuals are done; the same command goes on"


# ---- the line of a run ----

def trial(id: int, until: int = 0, continues: int = -1) -> Trial:
    return Trial(id, Genome(("a",), (id,)), 7, MAX_ITER, None, until=until or None,
                 continues=None if continues < 0 else continues)


def test_who_came_to_a_rung_is_done_once_it_is_stopped() -> None:
    progress = Progress(3, None, None)

    def line() -> str:
        return progress.line().partition("  default")[0]

    first, second, third = (trial(id, 2) for id in (1, 2, 3))
    progress(first, Result(1, STOPPED, 0.9), True)
    assert line() == "individuals 0/3", "it may go on, and is not the best"
    progress.stopped(first)
    assert line() == "individuals 1/3  stopped 1"
    progress(second, Result(2, STOPPED, 0.5), True)
    progress(third, Result(3, STOPPED, 0.4), True)
    progress(trial(4, 0, 2), Result(4, OK, 0.6), True)
    assert line() == "individuals 2/3  best 0.6000  stopped 1", "of the third one nothing is decided"
    progress.stopped(third)
    assert line() == "individuals 3/3  best 0.6000  stopped 2"


def test_of_how_many_may_be_guessed_for_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of four individuals took ten seconds, and a third is being trained."""
    now = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr(progress_of_runs, "time", now)
    progress = Progress(None, None, None)
    now.monotonic = lambda: 10.0
    for id in (1, 2):
        progress(trial(id), Result(id, OK, 0.6), False)
    assert "left" not in progress.line()
    progress.expected = lambda: 4.0
    assert progress.line().endswith("0:10 left")


@pytest.mark.parametrize("limit, expected_in_all", [(0, math.inf), (10, 7.5), (4, 3.0), (1, 3.0)])
def test_how_many_individuals_so_many_iterations_will_be(limit: int, expected_in_all: float) -> None:
    """Three were given four."""
    message = menndl_pb2.SearchParameter()
    message.limit.iterations = limit
    assert expected(message, Record(begun=3, iterations=4)) == expected_in_all
    assert expected(message, Record()) == math.inf


def test_the_last_that_is_stopped_ends_the_search(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(1, None, None)
    progress(trial(1, 2), Result(1, STOPPED, 0.9), True)
    progress.stopped(trial(1, 2))
    assert capsys.readouterr().err.splitlines()[-1] == "individuals 1/1  stopped 1"


@pytest.mark.parametrize("seed", range(3))
def test_a_search_says_whom_it_stopped_when_it_is_decided(tmp_path: Path, seed: int) -> None:
    """Of a whole search, and of the same repeated from its journal: each once, before the next individual is begun."""
    def said() -> List[int]:
        stopped: List[Trial] = []
        number = searches.numbering(1)
        search = searches.made("RANDOM" + searches.RUNGS, 1, number)
        hear_of_stopped(search, stopped.append)
        farm: Any = searches.PlayedFarm(3, [], random.Random(seed), 99)
        with Journal(tmp_path, fsync=False) as writer:
            writer.begin(searches.FIRST_LINE)
            Loop(search, farm, writer, number, TOTAL, lambda *_: None, lambda *_: None, go_on=going_on(search)).run()
        return [trial.id for trial in stopped]

    first = said()
    assert sorted(first) == [trial.id for trial, result in journal.read(tmp_path).individuals()
                             if result.status == STOPPED]
    assert said() == first != []


def test_one_rung_and_none() -> None:
    message = menndl_pb2.SearchParameter(max_iter=4000)
    assert of_rungs(message) == ""
    message.stop.halving.first = 250
    assert of_rungs(message) == "rungs at 250, 750 and 2,250 of 4,000 iterations"
    message.stop.halving.first = 2000
    assert of_rungs(message) == "a rung at 2,000 of 4,000 iterations"
