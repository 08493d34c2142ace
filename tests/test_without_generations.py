"""A search without generations, its end known or not, as every reader shows it: numbers worked out by hand."""
from __future__ import annotations

import argparse
import csv
import io
import re
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
from rich.console import Console, Group

from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.recorded import Run, Stages
from menndl_caffe.export import command
from menndl_caffe.genome import Genome
from menndl_caffe.record import Record
from menndl_caffe.report.best import best_dict, best_text
from menndl_caffe.report.files import write_report
from menndl_caffe.report.page import page
from menndl_caffe.report.page.columns import columns
from menndl_caffe.report.status import status_dict, status_text
from menndl_caffe.report.summary import generations
from menndl_caffe.run.progress import Progress
from menndl_caffe.trial import DEFAULT, INDIVIDUAL, Result, Trial
from menndl_caffe.watch import plain
from menndl_caffe.watch.picture import Watched
from menndl_caffe.watch.screen import Screen
from tests.support import odd_runs


@pytest.fixture(scope="module")
def open_ended(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """45 individuals, in groups of 3 with the 46th that is being trained; accuracy 0.41 to 0.84, every fifth failed."""
    return recorded.read(odd_runs.open_ended(tmp_path_factory.mktemp("open") / "run"))


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All 30 of 30 individuals, in groups of 2, and the best on the test set."""
    return recorded.read(odd_runs.validated(tmp_path_factory.mktemp("planned") / "run"))


def fact(text: str, name: str) -> Optional[str]:
    """What stands beside a name."""
    return next((line[len(name):].strip() for line in text.splitlines() if line.startswith(name)), None)


# What the stages are

def record(*generations: Optional[int], default: bool = True) -> Record:
    trials = {id: Trial(id, Genome(("a",), (id,)), 7, 10, generation)
              for id, generation in enumerate(generations, 1)}
    return Record(trials={**({0: Trial(0, Genome(("a",), (0,)), 7, 10, None, DEFAULT)} if default else {}), **trials})


@pytest.mark.parametrize("members, total, name, planned, size, of_last", [
    (7, 50, "group of 3", 17, 3, 3),  # 50 in at most 20 groups
    (7, 20, "individual", 20, 1, 7), (7, 21, "group of 2", 11, 2, 4), (0, 20, "individual", 20, 1, None),
    (20, None, "individual", None, 1, 20), (21, None, "group of 2", None, 2, 11),
    (400, None, "group of 20", None, 20, 20), (0, None, "individual", None, 1, None)])
def test_groups_of_individuals(members: int, total: Optional[int], name: str, planned: Optional[int], size: int,
                               of_last: Optional[int]) -> None:
    made = record(*[None] * members)
    stages = Stages(made, total, None)
    assert (stages.name, stages.planned, stages.size(1)) == (name, planned, size)
    assert (stages.of(made.trials[members]), stages.begun) == (of_last, of_last or 0)
    assert stages.until == (planned or of_last or 1) and stages.of(made.trials[0]) is None


def test_the_last_group_may_be_a_smaller_one() -> None:
    stages = Stages(record(), 50, None)
    assert [stages.size(number) for number in (1, 16, 17)] == [3, 3, 2]


def test_generations_are_what_the_trials_say() -> None:
    made = record(0, 0, 1)
    stages = Stages(made, 8, 2)
    assert (stages.name, stages.plural, stages.planned, stages.begun) == ("generation", "generations", 2, 2)
    assert [stages.of(trial) for trial in made.trials.values()] == [None, 1, 1, 2] and stages.size(1) == 4
    of_unknown_number = Stages(made, None, None)
    assert (of_unknown_number.name, of_unknown_number.planned, of_unknown_number.until) == ("generation", None, 2)
    assert of_unknown_number.size(1) is None
    assert Stages(record(), 8, 2).name == "generation"  # none has begun
    assert Stages(record(0, None, 1), 8, 2).name == "individual"  # not all have one


# status, best

def test_status(open_ended: Run, planned: Run) -> None:
    status, whole = status_dict(open_ended, 1300.0), status_dict(planned, 1300.0)
    names = ("generation", "generations", "done", "total", "unfinished", "complete")
    assert [status[name] for name in names] == [None, None, 45, None, 1, False]
    assert [whole[name] for name in names] == [None, None, 30, 30, 0, True]
    # The default and 45 individuals between 1000 and 1186, when the 44th ended; nobody knows how many are left.
    assert (status["busy_seconds"], status["trials_per_hour"]) == (186, 890.32) and status["seconds_left"] is None
    assert status["failed"] == {"diverged": 9} and (status["best"]["id"], status["best"]["accuracy"]) == (44, 0.84)
    assert status["best"]["measures"] == {"parameters": 1044, "multiply_adds": 2_000_044, "memory": 176_000}
    assert status["default"]["measures"] == {}


def test_the_best_without_a_column_of_generations(open_ended: Run) -> None:
    text, html = best_text(open_ended), page([open_ended])
    head = next(line for line in text.splitlines() if " accuracy  " in line and " id " in line)
    assert head.split() == ["id", *open_ended.space.names, "accuracy", "loss", "seconds"]
    table = html.split('class="numbers individuals"')[1].split("</table>")[0]
    heads = re.findall(r"<th scope=\"col\"[^>]*>([^<]*)</th>", table.split("</thead>")[0])
    rows = [row for row in table.split("<tr>")[2:]]
    assert heads[:2] == ["id", open_ended.space.names[0]] and "generation" not in heads
    assert all(row.count("<td>") == len(heads) for row in rows) and len(rows) == 6


def test_status_for_people(open_ended: Run, planned: Run) -> None:
    text, whole = status_text(open_ended, 1300.0), status_text(planned, 1300.0)
    assert fact(text, "generation") is None is fact(whole, "generation")
    assert str(fact(text, "individuals")).startswith("45, 0 of them met before")
    assert str(fact(whole, "individuals")).startswith("30 of 30 (100%), 0 of them met before")
    assert fact(text, "budget") == "individuals of 500 iterations" and fact(text, "time left") == "unknown"
    assert fact(whole, "budget") == "30 individuals of 500 iterations" and fact(whole, "state") == "complete"
    assert str(fact(text, "search")).startswith("RANDOM") and str(fact(text, "best")).endswith("(id 44)")


def test_best(open_ended: Run, planned: Run) -> None:
    best = best_dict(open_ended, 3)
    assert [row["id"] for row in best["best"]] == [44, 43, 42] and best["total"] is None
    assert best["best"][0]["measures"]["parameters"] == 1044
    assert best_text(open_ended).startswith("Best 5 of 45 individuals so far, 45 of them different;")
    assert best_text(planned).startswith("Best 5 of 30 individuals, 30 of them different;")


def test_nothing_yet(tmp_path: Path) -> None:
    run = recorded.read(odd_runs._write(tmp_path, [], None, None))
    assert best_text(run).startswith("No individual has a result yet.\n")
    assert fact(status_text(run, 1000.0), "individuals") == "0, 0 of them met before and not trained again"
    assert "0 individuals," in page([run]) and generations(run) == []


# report

def test_report(open_ended: Run, tmp_path: Path) -> None:
    write_report(open_ended, lambda text: None, tmp_path)
    by_group = list(csv.DictReader(io.StringIO((tmp_path / "generations.csv").read_text())))
    assert [row["group of 3"] for row in by_group] == [str(number) for number in range(1, 16)]
    # 4 and 6 have 0.44 and 0.46, 5 failed.
    assert (by_group[1]["best"], by_group[1]["mean"], by_group[1]["failed"]) == ("0.4600", "0.3000", "1")
    individuals = list(csv.DictReader(io.StringIO((tmp_path / "individuals.csv").read_text())))
    assert {row["generation"] for row in individuals} == {""}
    assert [individuals[4][name] for name in ("id", "status", "parameters", "multiply_adds", "memory")] == [
        "5", "diverged", "1005", "2000005", "20000"]
    for figure in ("fitness", "genes", "parallel_coordinates"):
        assert "group of 3" in (tmp_path / f"{figure}.svg").read_text()
    # The templates are not here; what the nets cost is in the journal.
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO((tmp_path / "table_3.csv").read_text()))}
    assert rows["parameters"] == ["-", "1039-1044"] and rows["multiply-adds (millions)"] == ["-", "2"]
    best = list(csv.DictReader(io.StringIO((tmp_path / "best.csv").read_text())))
    assert [row["memory"] for row in best] == ["176000", "172000", "168000", "164000", "156000", ""]


def test_page(open_ended: Run, planned: Run) -> None:
    text = page([open_ended], now=1300.0)
    assert "45 individuals," in text and "None" not in text and "from its group of 3 over its genes" in text
    kept = columns(open_ended)
    assert (kept["stage"], kept["generation"][:5], kept["generation"][-1]) == ("group of 3", [None, 1, 1, 1, 2], 15)
    assert kept["measures"] == {"parameters": [None, *range(1001, 1046)],
                                "multiply_adds": [None] + 45 * [2_000_000]}  # three digits, as they are shown
    assert columns(planned)["measures"] == {}
    both = page([open_ended, planned], now=1300.0)
    assert "<td>45</td>" in both and "<td>30</td>" in both


# watch

def screen(run: Run, columns: int = 100) -> Dict[str, str]:
    """What stands beside each name on a screen."""
    watched = Watched(run.folder)
    console = Console(file=io.StringIO(), record=True, width=columns, height=30)
    console.print(Group(*Screen(columns, 30).show(watched.folder, watched.picture, 1200.0)))
    return {line[:13].strip(): line[13:].strip() for line in console.export_text().splitlines()}


def test_the_screen(open_ended: Run, planned: Run) -> None:
    rows, whole = screen(open_ended), screen(planned)
    assert "generation" not in {**rows, **whole}
    assert rows["individuals"] == "45" and rows["speed"] == "890 trials/h   stopped, last result 0:14 ago"
    assert whole["individuals"].startswith("30 of 30 (100%)  ━━━━") and whole["speed"].endswith("complete")
    assert rows["best"].endswith("(+0.3400)  trial 44") and rows["best so far"].endswith("0.4300 to 0.8400")


def test_plain_lines(open_ended: Run, planned: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for run in (open_ended, planned):
        plain.follow(Watched(run.folder), 1, once=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("individuals")]
    assert lines[0] == "individuals 45  best 0.8400  default 0.5000  failed 9  890 trials/h  stopped"
    assert lines[1].startswith("individuals 30/30  best 0.7000  default 0.5000  ") and lines[1].endswith("  complete")


def test_the_line_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Once the last of a known number has come, and before the time for the next line."""
    for total in (2, None):
        progress = Progress(total, None, None)
        for id, fitness in ((0, 0.5), (1, 0.25), (2, 0.75)):
            role = INDIVIDUAL if id else DEFAULT
            progress(Trial(id, Genome(("a",), (id,)), 7, 10, None, role), Result(id, "ok", fitness), True)
        assert progress.line() == f"individuals 2{'/2' if total else ''}  best 0.7500  default 0.5000"
    assert capsys.readouterr().err.splitlines()[-1].startswith("individuals")


# exports

def exported(run: Run, to: str, out: Path) -> Path:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.main(parser.parse_args([str(run.folder), "--to", to, "--out", str(out)]))
    return out


def test_csv(open_ended: Run, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((exported(open_ended, "csv", tmp_path) / "trials.csv").read_text())))
    assert [row["id"] for row in rows] == list(map(str, range(47))) and {row["generation"] for row in rows} == {""}
    assert [rows[i]["multiply_adds"] for i in (0, 5, 46)] == ["", "2000005", ""]


def test_optuna(open_ended: Run, tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(exported(open_ended, "optuna", tmp_path) / "optuna.log")))
    study = optuna.load_study(storage=storage, study_name="run")
    assert len(study.trials) == 47 and "generation" not in study.trials[1].user_attrs
    assert study.trials[5].user_attrs["memory"] == 20_000 and "total" not in study.user_attrs


def test_tensorboard(open_ended: Run, planned: Run, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = exported(open_ended, "tensorboard", tmp_path / "open") / "tensorboard"
    assert {path.name for path in folder.iterdir()} == {"groups of 3", "trials"}
    accumulator = events.EventAccumulator(str(folder / "groups of 3" / "best_so_far"), {"tensors": 0})
    accumulator.Reload()
    steps: List[Any] = accumulator.Tensors("fitness")
    # The 15 groups with a result; the last result of the first, 3, came at 1022, of the second, 6, at 1034.
    assert [(event.step, event.wall_time) for event in steps][:2] == [(1, 1022.0), (2, 1034.0)] and len(steps) == 15
    whole = exported(planned, "tensorboard", tmp_path / "planned") / "tensorboard"
    assert (whole / "groups of 2").is_dir()
