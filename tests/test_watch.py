"""`menndl watch`: what its screen and its lines say of a journal made by hand, every number worked out by hand."""
from __future__ import annotations

import io
import json
import math
import re
import time
from pathlib import Path
from typing import Any, List, Mapping, Tuple

import pytest
from rich.console import Console, Group

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.report import status
from menndl_caffe.trial import CONFIRM, DEFAULT, Result, Trial
from menndl_caffe.watch import picture, plain
from menndl_caffe.watch.charts import bars, levels, sampled
from menndl_caffe.watch.picture import Watched
from menndl_caffe.watch.screen import Screen
from tests.support import big_journal
from tests.test_report import RUN, SEARCH, TRIALS, record

SIZES = [(80, 23), (60, 23), (200, 50), (80, 60)]
LAST = 2015.0  # when trial 7 ended
GENES = ("kernel1", "base_lr", "pool")
DEFAULT_GENES, BETTER = (5, 0.001, "MAX"), (2, 0.001, "MAX")


# Trial -> the rank that had it, and since when; 4 was answered without training, 8 is not finished.
GIVEN = {0: (0, 1000.0), 1: (1, 1010.0), 2: (0, 1010.0), 3: (1, 1020.0), 5: (1, 2000.0), 6: (0, 2000.0),
         7: (1, 2005.0), 8: (0, 2004.0)}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    record(tmp_path, TRIALS, ranks=2, slots=2)
    give(tmp_path, GIVEN)
    return tmp_path


@pytest.fixture(autouse=True)
def nobody_knows_who_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the tests' own process does, now and then; test_states.py looks at that."""
    monkeypatch.setattr(status, "writer", lambda run: None)


def give(folder: Path, given: Mapping[int, Tuple[int, float]]) -> None:
    """Say in the trials' lines who had them."""
    lines = [json.loads(line) for line in (folder / journal.NAME).read_text().splitlines()]
    for line in lines:
        if line["event"] == "trial" and line["id"] in given:
            line["rank"], line["given"] = given[line["id"]]
    (folder / journal.NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count anew at every look."""
    monkeypatch.setattr(picture, "COST_SHARE", math.inf)


def shown(watched: Watched, now: float, columns: int = 80, rows: int = 23, ascii: bool = False) -> List[str]:
    """The rows as a terminal without colours gets them; they fit into it."""
    console = Console(file=io.StringIO(), record=True, width=columns, height=rows)
    console.print(Group(*Screen(columns, rows, ascii).show(watched.folder, watched.picture, now)))
    lines = console.export_text().splitlines()
    assert len(lines) <= rows and all(len(line) <= columns for line in lines)
    return [line.rstrip() for line in lines]


def row(lines: List[str], name: str) -> str:
    """What stands beside a name."""
    (line,) = (line for line in lines if line.strip().startswith(name))
    return line.strip()[len(name):].strip()


@pytest.mark.parametrize("columns, rows", SIZES)
def test_the_numbers_of_a_run(run: Path, columns: int, rows: int) -> None:
    lines = shown(Watched(run), LAST + 5, columns, rows)
    assert row(lines, "generation").startswith("2 of 3") and row(lines, "generation").endswith("7 of 12 (58%)")
    # 7 trainings in 45 s; of 7 individuals 6 were new, 5 are left: 30/7 trainings of 45/7 s are 27.55 s.
    assert row(lines, "speed") == "560 trials/h   0:27 left   last result 0:05 ago"
    assert row(lines, "best   ").startswith("0.7400  default 0.7000 (+0.0400)  trial 5")
    assert "kernel1 5→4  base_lr 0.001→0.002" in row(lines, "genes") and "pool MAX→AVE" in "".join(lines)
    assert row(lines, "best so far").split("  ")[:2] == ["▁█", "0.7200 to 0.7400"]
    assert row(lines, "mean").split("  ")[:2] == ["█▁", "0.5100 to 0.4833"]
    assert row(lines, "failed").startswith("2: 1 crashed, 1 diverged")
    assert row(lines, "the last").startswith("trial 6 crashed: killed by signal 9")
    text = "\n".join(lines)
    # The trainings that succeeded took 10, 10, 20, 10 and 10 s.
    assert "takes 0:10 to 0:10, the median 0:10, the longest 0:20" in text or columns == 60
    assert "1 of 2 have a recorded trial" in text


def test_what_the_ranks_do(run: Path) -> None:
    """Who trains comes before who does not, though for less long."""
    assert shown(Watched(run), LAST + 65)[-1].split() == [
        "0", "node1", "trial", "8", "1:16", "1", "node1", "none", "recorded", "1:05"]
    with Journal(run, fsync=False) as writer:
        writer.add_trial(Trial(9, Genome(GENES, (7, 0.002, "MAX")), 7, 500, 1))
        writer.add_result(Result(8, "ok", 0.5, 1.0, started=2015, seconds=15, rank=0, host="node1.cluster"))
        writer.add_trial(Trial(10, Genome(GENES, (8, 0.002, "MAX")), 7, 500, 1))
        writer.add_trial(Trial(11, Genome(GENES, (8, 0.002, "MAX")), 7, 500, 1))  # waits for 10, which is the same
    give(run, {9: (1, 2015.0), 10: (0, 2030.0)})
    lines = shown(Watched(run), 2040.0)
    assert "2 of 2 have a recorded trial" in row(lines, "ranks")
    assert lines[-1].split() == ["1", "node1", "trial", "9", "0:25", "0", "node1", "trial", "10", "0:10"]


def test_earlier_versions_did_not_say_who_trains(tmp_path: Path) -> None:
    record(tmp_path, TRIALS, ranks=2, slots=2)
    assert not [line for line in shown(Watched(tmp_path), LAST) if line.startswith(("ranks", "    0", "    1"))]


def test_silence_is_said_and_not_explained(run: Path) -> None:
    watched = Watched(run)
    assert "last result 1:00 ago" in row(shown(watched, LAST + 60), "speed")
    lines = shown(watched, LAST + 61)
    assert row(lines, "speed").endswith("no result for 1:01") and "if the run still goes on" in row(lines, "ranks")
    with Journal(run, fsync=False) as writer:
        writer.add_result(Result(8, "ok", 0.5, 1.0, started=2015, seconds=100, rank=0))
    watched = Watched(run)  # trainings may take 100 s
    assert row(shown(watched, 2215), "speed").endswith("last result 1:40 ago")
    assert row(shown(watched, 2216), "speed").endswith("no result for 1:41")


def test_a_run_without_results(tmp_path: Path) -> None:
    record(tmp_path, [TRIALS[8]], ranks=2, slots=2)
    lines = shown(Watched(tmp_path), 1000.0)
    assert row(lines, "speed") == "no result yet after 0:10" and "no individual" in row(lines, "best")
    assert row(lines, "generation").endswith("0 of 12 (0%)") and row(lines, "failed") == "0"


def test_a_run_that_has_not_begun_or_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        Watched(tmp_path)
    (tmp_path / journal.NAME).write_text('{"event": "run", "sea')
    watched = Watched(tmp_path)
    assert "has not begun" in "".join(shown(watched, 0.0)) and not watched.complete
    record(tmp_path, TRIALS)
    watched.look()
    assert row(shown(watched, LAST), "generation").endswith("7 of 12 (58%)")


def test_a_finished_run_has_no_ranks_and_no_time_left(run: Path) -> None:
    record(run / "whole", TRIALS[:8], ranks=2, slots=2, total=7)
    give(run / "whole", GIVEN)
    watched = Watched(run / "whole")
    lines = shown(watched, 9000.0)
    assert watched.complete and row(lines, "speed") == "560 trials/h   complete"
    assert not any(line.startswith("ranks") for line in lines)


def with_curve(folder: Path, **best: Any) -> Watched:
    curve = ((0, 0.1, 2.3), (250, 0.5, 1.5), (500, 0.9, 0.6))
    with Journal(folder, fsync=False) as writer:
        writer.begin({**RUN, "search": SEARCH})
        for id, role in ((0, DEFAULT), (1, "individual")):
            writer.add_trial(Trial(id, Genome(GENES, (id + 1, 0.001, "MAX")), 7, 500, id - 1 if id else None, role))
        writer.add_result(Result(1, **{**dict(status="ok", fitness=0.9, loss=0.6, curve=curve, started=1000.0,
                                              seconds=9.0), **best}))
    return Watched(folder)


def test_the_curve_of_the_best(tmp_path: Path) -> None:
    lines = shown(with_curve(tmp_path), 1010.0, rows=24)
    top = next(i for i, line in enumerate(lines) if line.startswith("best's curve"))
    assert lines[top].split()[2] == "0.9000" and set(lines[top].split()[3]) == {"█"}
    below = next(line for line in lines[top:] if line.split()[0] == "0.1000")
    assert [cell[0] for cell in below.split()[1:]] == ["▁", "█", "█"]
    assert any(line.split() == ["0", "500", "iterations"] for line in lines)
    assert "default" not in row(lines, "best  ")  # which has no result yet


def test_nothing_in_a_journal_moves_the_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watched = with_curve(tmp_path, status="crashed", fitness=0.0, loss=None, curve=(),
                         reason="\x1b[2J\x1b]0;\x07 \u202e [red]x[/]")
    text = "\n".join(shown(watched, 1010.0))
    assert r"crashed: \u001b[2J\u001b]0;\u0007 \u202e [red]x[/]" in text and "\x1b" not in text


@pytest.mark.parametrize("columns, rows", SIZES)
def test_a_terminal_without_unicode(run: Path, columns: int, rows: int) -> None:
    lines = shown(Watched(run), LAST, columns, rows, ascii=True)
    assert all(line.isascii() for line in lines) and "kernel1 5->4" in row(lines, "genes")
    assert row(lines, "best so far").startswith("_#")


def test_each_moment_of_a_growing_journal(run: Path, at_once: None) -> None:
    """Read on piece by piece, lines torn anywhere, it says the same as read at once."""
    whole = (run / journal.NAME).read_bytes()
    growing = run / "growing"
    growing.mkdir()
    (growing / journal.NAME).write_bytes(b"")
    watched = Watched(growing)
    for end in [*range(0, len(whole), 97), len(whole)]:
        (growing / journal.NAME).write_bytes(whole[:end])
        watched.look()
        assert watched.picture == Watched(growing).picture
    assert watched.picture == Watched(run).picture


def test_a_resumed_run_goes_on(run: Path, at_once: None) -> None:
    """Trials without a result are with nobody until they are given out again."""
    watched = Watched(run)
    with Journal(run, fsync=False, clock=lambda: 5001.0) as writer:
        writer.begin({**RUN, "ranks": 1, "slots": 1, "started": 5000.0})
        watched.look()
        assert watched.picture is not None and watched.picture.doing == []
        writer.add_trial(writer.record.trials[8], 0)
    watched.look()
    assert shown(watched, 5010.0)[-1].split() == ["0", "trial", "8", "0:09"]
    with Journal(run, fsync=False) as writer:
        writer.add_result(Result(8, "ok", 0.75, 0.7, started=5000, seconds=12, rank=0, host="node1"))
    watched.look()
    assert row(shown(watched, 5013.0), "best   ").startswith("0.7500  default 0.7000 (+0.0500)  trial 8")
    assert shown(watched, 5013.0)[-1].split() == ["0", "node1", "none", "recorded", "0:01"]


def test_counting_rests_when_it_is_costly(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(picture.time, "monotonic", lambda: clock[0])

    def costly(*_: Any) -> Any:
        clock[0] += 0.5
        return real(*_)

    real = picture._picture
    monkeypatch.setattr(picture, "_picture", costly)
    watched = Watched(run)
    before = watched.picture
    with Journal(run, fsync=False) as writer:
        writer.add_result(Result(8, "ok", 0.75, 0.7, started=2015, seconds=12))
    clock[0] = 109.9  # 20 x 0.5 s after the begin of the last time
    assert watched.look() and watched.picture is before
    clock[0] = 110.0
    assert not watched.look() and watched.picture is not before  # what was read meanwhile is counted now
    now, clock[0] = watched.picture, 1000.0
    assert not watched.look() and watched.picture is now


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's search, 14,000 lines of its journal."""
    folder = big_journal.write(tmp_path_factory.mktemp("big"), ranks=64)
    with open(folder / journal.NAME, "r+b") as file:
        file.truncate(sum(len(line) for line, _ in zip(file.readlines(), range(14000))))
    return folder


@pytest.mark.parametrize("columns, rows", SIZES)
def test_the_papers_whole_search(big: Path, columns: int, rows: int) -> None:
    watched = Watched(big)
    begin = time.process_time()
    for second in range(20):
        watched.look()
        shown(watched, big_journal.STARTED + second, columns, rows)
    assert time.process_time() - begin < 2
    done = (big / journal.NAME).read_bytes().count(b'"event": "result"') - 1  # all but the default
    text = "\n".join(shown(watched, big_journal.STARTED + 100000, columns, rows))
    assert f"{done:,} of 17,500" in text and " of 64 have a" in text
    assert len(re.findall(r"nid\d{5} ", text)) == 64 or rows < 50


# Charts

def test_levels() -> None:
    assert levels([0, 1, 2, 3, 4, 5, 6, 7], 20) == "▁▂▃▄▅▆▇█"
    assert levels([0.7, 0.7], 20) == "▄▄" and levels([], 20) == "" and levels([1, 2], 20, ascii=True) == "_#"
    assert sampled(range(10), 4) == [1, 4, 6, 9] and sampled([1, 2], 4) == [1, 2]


def test_bars() -> None:
    # 0.5 lies half way: 1 + 7.5 of 16 eighths, rounded to the even 9.
    assert bars([(0, 0.1), (500, 0.5), (1000, 0.9)], 16, 2) == [
        "0.9000    ▁▁ ██",
        "0.1000 ▁▁ ██ ██",
        "       0  1,000 iterations"]
    assert bars([(10, 0.5), (20, 0.5)], 9, 2, ascii=True)[:2] == ["0.5000", "0.5000 ##"]


# Plain lines

LINE = "generation 2/3  7/12  best 0.7400  default 0.7000  failed 2  560 trials/h  0:27 left"


def test_the_plain_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain.follow(Watched(run), 10, once=True)
    assert capsys.readouterr().out.splitlines()[0] == LINE


def test_plain_lines_of_a_growing_journal(tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / journal.NAME).write_bytes(b"")
    record(tmp_path / "source", TRIALS[:8], total=7)
    lines = (tmp_path / "source" / journal.NAME).read_bytes().splitlines(keepends=True)
    clock = [0.0]

    def sleep(seconds: float) -> None:
        """The next line is written, and a minute goes by."""
        clock[0] += 60
        if lines:
            with open(tmp_path / journal.NAME, "ab") as file:
                file.write(lines.pop(0))

    monkeypatch.setattr(plain.time, "sleep", sleep)
    monkeypatch.setattr(plain.time, "time", lambda: 2500.0 + clock[0])
    plain.follow(Watched(tmp_path), 10, once=False)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "the run has not begun" and said[1].startswith("generation 0/3  0/7")
    assert said[-1].endswith("7/7  best 0.7400  default 0.7000  failed 2  560 trials/h  complete")
    assert [line for line in said if line.startswith("trial")] == [
        "trial 3 diverged: loss is nan", 'trial 6 crashed: killed by signal 9, "oom"']
    assert len(said) == len(set(said))


def test_plain_warnings_come_ever_more_seldom(run: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    clock = [LAST]

    class Enough(Exception):
        pass

    def sleep(seconds: float) -> None:
        clock[0] += 60
        if clock[0] > LAST + 3600:
            raise Enough

    monkeypatch.setattr(plain.time, "sleep", sleep)
    monkeypatch.setattr(plain.time, "time", lambda: clock[0])
    with pytest.raises(Enough):
        plain.follow(Watched(run), 10, once=False)
    assert capsys.readouterr().out.splitlines() == [
        LINE, "no result for 5:00", "no result for 10:00", "no result for 20:00", "no result for 40:00"]


def test_the_screen_says_what_is_to_be_confirmed_and_then_what_was(tmp_path: Path) -> None:
    """The default, a better one, and two new seeds of each."""
    again = [(BETTER, 0.8), (BETTER, 0.82), (DEFAULT_GENES, 0.5), (DEFAULT_GENES, 0.52)]
    trials = [Trial(0, Genome(GENES, DEFAULT_GENES), 7, 500, role=DEFAULT), Trial(1, Genome(GENES, BETTER), 8, 500, 0)]
    trials += [Trial(id, Genome(GENES, genes), id, 500, role=CONFIRM, repetition=1 + id % 2)
               for id, (genes, _) in enumerate(again, 2)]
    said = []
    with Journal(tmp_path, fsync=False) as writer:
        writer.begin({**RUN, "search": SEARCH + "confirm { best: 1 seeds: 2 }\n"})
        for trial, accuracy in zip(trials, (0.5, 0.9, *(value for _, value in again))):
            writer.add_trial(trial)
            writer.add_result(Result(trial.id, "ok", accuracy, 0.5, started=1000.0 + trial.id, seconds=1.0))
            said += [line for line in shown(Watched(tmp_path), 1010.0, 118) if line.startswith("confirmed")]
    to_come = "confirmed    not yet; trainings from new seeds to come: "
    assert said[:4] == [f"{to_come}{count}" for count in (4, 3, 2, 1)]
    assert said[4].startswith("confirmed    holds: 0.8100 against 0.5100, +0.3000 (95%: ")
