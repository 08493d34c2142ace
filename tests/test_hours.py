"""`limit { hours: ... }`: a search that ends by time, is complete then, stays so when it is resumed, and goes further
with a longer limit."""
from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, List

import pytest

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded, search_file
from menndl_caffe.experiment.recorded import worked
from menndl_caffe.journal import Journal
from menndl_caffe.record import Given, Record
from menndl_caffe.report.status import complete_text, hours_text, status_dict, status_text
from menndl_caffe.run import worktime
from menndl_caffe.run.worktime import Worktime, to_confirm
from menndl_caffe.trial import DEFAULT, OK, Result
from tests.support import mixed_run, runs
from tests.support.in_process import Menndl, cut, lines_of, results
from tests.support.searches import FIRST_LINE
from tests.test_run import Case, ScriptedFarm, trial

HOURS = 'type: "RANDOM" limit {{ hours: {hours} }}'


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """That by which a search is over; the others tell the time as it is."""
    clock = Clock()
    monkeypatch.setattr(worktime, "time", clock)
    return clock


@pytest.fixture
def menndl(local: Menndl, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Menndl:
    """With each result 100 seconds pass."""
    add_result = Journal.add_result

    def slower(self: Journal, result: Result) -> None:
        clock.now += 100
        add_result(self, result)

    monkeypatch.setattr(Journal, "add_result", slower)
    return local


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("images") / "data", validation=40)


def write(folder: Path, data: Path, hours: float, kind: str = HOURS, more: str = "") -> Path:
    return runs.write_search(folder / "s.search.prototxt", data, more, kind.replace("{hours}", str(hours)))


def ends(run: Path) -> List[Any]:
    """Of each line that says so, the hours and how many results came before."""
    lines = [json.loads(line) for line in lines_of(run)]
    return [(line["hours"], sum(one["event"] == "result" for one in lines[:i]))
            for i, line in enumerate(lines) if line["event"] == "ended"]


def test_a_search_by_time_is_complete_when_that_is_over(menndl: Menndl, data: Path, tmp_path: Path) -> None:
    """In 1,000 seconds the default and 9 individuals; resumed it stays there; with 500 more it is 14, and those 9 are
    what they were."""
    run = tmp_path / "run"
    menndl.run(write(tmp_path, data, 1000 / 3600), run)
    assert "menndl run:" not in menndl.said and "training the default first, 4 iterations" in menndl.said
    first = results(run)
    assert len(first) == 10 and ends(run) == [(pytest.approx(1000 / 3600), 10)]
    status = menndl.json("status", run)
    assert (status["complete"], status["done"], status["total"]) == (True, 9, 9)
    assert status["seconds_left"] == 0 or status["seconds_left"] is None or status["complete"]
    assert menndl("status", run) == 0
    assert re.search(r"^state +complete after 16.67 minutes, 9 individuals$", menndl.out, re.M), menndl.out
    assert "budget      9 individuals of 4 iterations in at most 16.67 minutes" in menndl.out
    assert "settings" not in menndl.out and "RANDOM: hours 0.27" in menndl.out
    assert menndl("watch", run, "--plain") == 0 and "individuals 9/9" in menndl.out and "complete" in menndl.out
    assert menndl("best", run) == 0 and menndl.out.startswith("Best 5 of 9 individuals, ")
    menndl.run(tmp_path / "s.search.prototxt", run)
    assert results(run) == first and len(ends(run)) == 1

    menndl.run(write(tmp_path, data, 1500 / 3600), run)
    assert len(ends(run)) == 2 and results(run)[:10] == first
    assert recorded.read(run).total == len(results(run)) - 1 > 9


def test_a_longer_search_finds_what_one_of_that_length_finds(menndl: Menndl, data: Path, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was recorded when it was cut."""
    monkeypatch.setattr(worktime, "worked", lambda record: 100.0 * len(record.results))
    search = write(tmp_path, data, 1000 / 3600)
    menndl.run(search, tmp_path / "whole")
    expected = results(tmp_path / "whole")
    lines = lines_of(tmp_path / "whole")
    for kept in range(1, len(lines), 6):
        again = cut(lines[:kept], tmp_path / str(kept))
        menndl.run(search, again)
        assert results(again) == expected and len(ends(again)) == 1


@pytest.mark.parametrize("kind, in_time", [
    ("type: \"RANDOM\" limit {{ hours: {hours} trials: 4 }}", False),
    ("type: \"RANDOM\" limit {{ hours: {hours} trials: 400 }}", True),
    ("ga_param {{ population: 4 generations: 3000 mutation: 0.5 }} limit {{ hours: {hours} }} reuse_results: false",
     True),
    ("ga_param {{ population: 2 generations: 2 }} limit {{ hours: {hours} }}", False)])
def test_whichever_comes_first(menndl: Menndl, data: Path, tmp_path: Path, kind: str, in_time: bool) -> None:
    menndl.run(write(tmp_path, data, 0.25, kind), tmp_path / "run")
    status = menndl.json("status", tmp_path / "run")
    assert status["complete"] and bool(ends(tmp_path / "run")) == in_time == (status["ended"] == 0.25)
    assert status["done"] == status["total"] == (8 if in_time else 4)
    run = recorded.read(tmp_path / "run")
    assert run.generations == (None if "RANDOM" in kind else 2)
    assert run.stages.planned == (2 if "ga_param" in kind else status["done"])
    assert [run.stages.size(number) for number in (1, 2)] == ([4, 4] if in_time else [2, 2]) * ("ga_param" in kind) \
        or "RANDOM" in kind


def test_the_best_is_tested_when_the_time_is_over(menndl: Menndl, data: Path, tmp_path: Path) -> None:
    menndl.run(write(tmp_path, data, 0.1, more="fitness_set: VALIDATION"), tmp_path / "run")
    record = journal.read(tmp_path / "run")
    assert [trial.role for trial in record.trials.values()] == [DEFAULT] + ["individual"] * 3 + ["test"]
    assert menndl.json("status", tmp_path / "run")["complete"]


def test_no_time_at_all(menndl: Menndl, data: Path, tmp_path: Path) -> None:
    """The default is trained, and that is it."""
    menndl.run(write(tmp_path, data, 1e-9, more="fitness_set: VALIDATION"), tmp_path / "run")
    assert "No individual has a result yet" in menndl.out
    for command in (["status"], ["best"], ["watch", "--once"], ["export", "--to", "csv"]):
        assert menndl(command[0], tmp_path / "run", *command[1:]) == 0, menndl.said


def test_a_limit_that_is_taken_away(menndl: Menndl, data: Path, tmp_path: Path) -> None:
    """Then the number of individuals alone counts."""
    menndl.run(write(tmp_path, data, 0.1), tmp_path / "run")
    menndl.run(write(tmp_path, data, 0, 'type: "RANDOM" limit {{ trials: 6 }}'), tmp_path / "run")
    status = menndl.json("status", tmp_path / "run")
    assert (status["done"], status["total"], status["ended"], status["complete"]) == (6, 6, None, True)


def test_those_in_training_are_finished(tmp_path: Path) -> None:
    """Three slots; the time is over when the second result has come."""
    farm, trials = ScriptedFarm(3), [trial(id, id) for id in range(1, 9)]
    case = Timed(tmp_path, trials, farm, lambda: len(journal.read(tmp_path).results) >= 2)
    assert farm.submitted == [1, 2, 3, 4] == case.told


class Timed(Case):
    """A run of the loop with an end in time."""

    def __init__(self, run: Path, trials: Any, farm: ScriptedFarm, over: Callable[[], bool]):
        from menndl_caffe.run.loop import Loop, never
        from tests.support.searches import numbering
        from tests.test_run import Generations

        self.search = Generations(run, trials)
        self.kept, self.watched = [], []
        with Journal(run) as self.journal:
            self.journal.begin(FIRST_LINE)
            Loop(self.search, farm, self.journal, numbering(1), None, self.keep, self.watch, never, over).run()


# The time that was worked

def record_of(starts: List[float], given: List[float], ended: List[float]) -> Record:
    record = Record(run={"started": starts[0]}, resumes=[{"started": start} for start in starts[1:]])
    record.given = {id: Given(0, time) for id, time in enumerate(given)}
    record.results = {id: Result(id, OK, 0.5, started=time - 5, seconds=5.0) for id, time in enumerate(ended)}
    return record


@pytest.mark.parametrize("starts, given, ended, seconds", [
    ([100], [], [], 0), ([100], [101, 150], [140], 50), ([100], [101], [140], 40),
    ([100, 1000], [101, 1001], [150, 1100], 50 + 100), ([100, 1000], [101], [150], 50),
    ([100, 1000, 2000], [101, 2001], [150, 2030], 80), ([100, 1000], [], [1000], 0), ([100], [], [90], 0)])
def test_the_time_of_a_run_is_that_of_its_starts(starts: List[float], given: List[float], ended: List[float],
                                                 seconds: float) -> None:
    assert worked(record_of(starts, given, ended)) == seconds


def test_earlier_starts_count(tmp_path: Path, clock: Clock) -> None:
    with Journal(tmp_path) as writer:
        writer.begin(FIRST_LINE)
        writer.record.results = record_of([1], [], [FIRST_LINE["started"] + 3000]).results
        over = Worktime(writer, 1.0)
        assert not over()
        clock.now += 599
        assert not over() and writer.record.ended is None
        clock.now += 1
        assert over() and over() and writer.record.ended == 1.0
        assert not Worktime(writer, 2.0)() and Worktime(writer, 0.5)() and not Worktime(writer, 0)()
    assert len(ends(tmp_path)) == 1 and journal.read(tmp_path).ended == 1.0


def test_the_example_of_the_journals_page_is_such_a_line(tmp_path: Path) -> None:
    example, = re.findall(r'^{"event": "ended".*}$', (runs.REPOSITORY / "docs" / "journal.md").read_text(), re.M)
    with Journal(tmp_path) as writer:
        writer.begin(FIRST_LINE)
        writer.add_end(2)
    assert list(json.loads(example)) == list(json.loads(lines_of(tmp_path)[-1]))


# What is said of it

@pytest.mark.parametrize("hours, text", [(2, "2 hours"), (1, "1 hour"), (1.5, "1.5 hours"), (0.5, "30 minutes"),
                                         (1 / 60, "1 minute"), (0.001, "3.6 seconds"), (100, "100 hours")])
def test_hours_in_words(hours: float, text: str) -> None:
    assert hours_text(hours) == text
    assert complete_text({"ended": hours, "done": 12000, "over": True}) == f"complete after {text}, 12,000 individuals"
    assert complete_text({"ended": None, "over": False}) == "complete"


def test_the_time_left_is_that_of_the_limit_where_it_comes_first(menndl: Menndl, data: Path, tmp_path: Path) -> None:
    menndl.run(write(tmp_path, data, 0.1), tmp_path / "run")
    lines = [line for line in lines_of(tmp_path / "run") if '"ended"' not in line]
    run = recorded.read(cut(lines, tmp_path / "on"))
    left = status_dict(run, 0.0)["seconds_left"]
    assert left == pytest.approx(360 - worked(run.record), abs=0.1)
    assert "state       complete" not in status_text(run, 0.0)


@pytest.mark.parametrize("text, said", [
    ('type: "RANDOM" limit { hours: 0 }', r"limit.hours: is 0; expected a number above 0"),
    ('limit { hours: -1 }', r"limit.hours: is -1; expected a number above 0"),
    ('type: "RANDOM" limit { hours: inf }', r"limit.hours: is inf; expected a number above 0"),
    ('type: "RANDOM" limit { hours: nan }', r"limit.hours: is nan; expected a number above 0"),
    ('type: "RANDOM"', r"or another number of individuals, or limit \{ hours: 2 \}"),
    ('limit { trials: 3 hours: 2 }', r"limit: is for searches without generations, and GA has them; .* are for all"),
    ('limit { }', r"limit: is for searches without generations"),
    ('type: "RANDOM" limit { iterations: 0 }', r"limit.iterations: is 0; expected 1 or more"),
    ('limit { iterations: -1 }', r"limit.iterations: is -1; expected 1 or more"),
    ('type: "RANDOM"', r"or limit \{ iterations: 100000 \}"),
    ('limit { trials: 3 iterations: 2 }', r"limit: is for searches without generations, and GA has them")])
def test_a_limit_that_is_none(tmp_path: Path, data: Path, in_repository: Path, text: str, said: str) -> None:
    search = runs.write_search(tmp_path / "s.search.prototxt", data, kind=text.replace("{", "{{").replace("}", "}}"))
    with pytest.raises(UserError, match=said):
        search_file.load(str(search))


@pytest.mark.parametrize("line", ['{"event": "ended"}', '{"event": "ended", "hours": -1, "time": 1}',
                                  '{"event": "ended", "hours": "two", "time": 1}', '{"event": "ended", "hours": 2}'])
def test_a_damaged_end_is_named(tmp_path: Path, line: str) -> None:
    with Journal(tmp_path) as writer:
        writer.begin(FIRST_LINE)
    with open(tmp_path / "journal.jsonl", "a") as file:
        file.write(line + "\n")
    with pytest.raises(UserError, match="journal.jsonl:2: damaged: "):
        journal.read(tmp_path)


# A deadline that leaves time to confirm

CONFIRM = "confirm { best: 2 seeds: 2 }"


@pytest.fixture
def hundred(local: Menndl, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Menndl:
    """Each training takes 100 seconds, and is recorded so."""
    add_result = Journal.add_result

    def slower(self: Journal, result: Result) -> None:
        clock.now += 100
        add_result(self, replace(result, seconds=100.0))

    monkeypatch.setattr(Journal, "add_result", slower)
    return local


@pytest.mark.parametrize("seconds, more, searched", [
    (3000, "", 29), (3000, CONFIRM, 22), (3000, f"fitness_set: VALIDATION {CONFIRM}", 21), (1000, CONFIRM, 4)])
def test_a_confirmation_comes_within_the_hours(hundred: Menndl, data: Path, tmp_path: Path, seconds: int, more: str,
                                               searched: int) -> None:
    """6 trainings, and one more which may be going on, and with images to test on another one, are 700 or 800 seconds;
    of 1,000 seconds the search has half."""
    hundred.run(write(tmp_path, data, seconds / 3600, more=more), tmp_path / "run")
    record = journal.read(tmp_path / "run")
    assert sum(1 for _ in record.individuals()) == searched
    assert len(record.results) * 100 <= max(seconds, 1100) and record.ended == pytest.approx(seconds / 3600)
    status = hundred.json("status", tmp_path / "run")
    assert status["complete"] and status["to_confirm"] == 0


def test_what_a_confirmation_takes(tmp_path: Path) -> None:
    """The two best took 15 and 16 seconds, the default 10, each twice for double the iterations; 17 was the longest."""
    more = "confirm { best: 2 seeds: 2 iterations: 1000 }\n"
    search = mixed_run.SEARCH.format(folder=tmp_path, generations=2)
    run = recorded.read(mixed_run.write(tmp_path, search=search + more))
    again = [2 * seconds for seconds in (15.0, 16.0, 10.0) for _ in range(2)]
    assert to_confirm(run, 1) == pytest.approx(17 + sum(again))
    assert to_confirm(run, 3) == pytest.approx(17 + (sum(again) + 2 * 32) / 3)
    (tmp_path / "none").mkdir()
    assert to_confirm(recorded.read(mixed_run.write(tmp_path / "none")), 1) == 0
