"""A run gone on with further: a search made larger is the larger search from the start, and every reader shows it."""
from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Dict, List

import pytest

from menndl_caffe import journal
from menndl_caffe.experiment import recorded
from menndl_caffe.report.page import page
from menndl_caffe.report.page.columns import columns
from menndl_caffe.report.page.facts import facts
from menndl_caffe.report.status import status_dict
from menndl_caffe.report.summary import generations
from menndl_caffe.trial import INDIVIDUAL, TEST
from menndl_caffe.watch import picture
from menndl_caffe.watch.picture import Watched
from tests.support import runs
from tests.support.in_process import Menndl, calls, cut, lines_of
from tests.support.searches import EVERY, PlayedFarm, play

VALIDATION = "fitness_set: VALIDATION\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few images, some of them held out."""
    from menndl_caffe.data import write_synthetic

    folder = tmp_path_factory.mktemp("data") / "data"
    write_synthetic(folder, images_train=200, images_test=50, validation=50, report=lambda text: None)
    return folder


@pytest.fixture
def menndl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Menndl:
    return Menndl(monkeypatch, capsys)


class Case:
    """A search whose size changes; each size has a search file of its own."""

    def __init__(self, folder: Path, data: Path, menndl: Menndl, more: str = "", kind: str = runs.GA):
        self.folder, self.data, self.menndl, self.more, self.kind = folder, data, menndl, more, kind

    def search(self, size: int) -> Path:
        """Of so many generations of six, or so many individuals."""
        path = self.folder / f"{size}.search.prototxt"
        return runs.write_search(path, self.data, self.more, self.kind, generations=size, trials=size)

    def run(self, name: str, *sizes: int) -> Path:
        """A run that was started once with each size."""
        for size in sizes:
            self.menndl.run(self.search(size), self.folder / name)
        return self.folder / name


@pytest.fixture
def case(tmp_path: Path, data: Path, menndl: Menndl) -> Case:
    return Case(tmp_path, data, menndl)


def outcomes(run: Path) -> List[Any]:
    """All that matters of the individuals but their ids, in their order."""
    return [rest for _, *rest in runs.individuals(run)]


def finals_of(run: Path) -> List[int]:
    return [id for id, trial in journal.read(run).trials.items() if trial.role == TEST]


# ---- it is the larger search ----

@pytest.mark.parametrize("kind, sizes", [(runs.GA, (2, 4)), (runs.GA, (1, 2, 2, 4)), (runs.RANDOM, (5, 6, 18))])
def test_an_extended_run_is_the_larger_one(case: Case, kind: str, sizes: Any) -> None:
    """The same lines of trials and results, in the same order."""
    case.kind = kind
    assert calls(case.run("extended", *sizes)) == calls(case.run("whole", sizes[-1]))


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind != "GA"])
@pytest.mark.parametrize("limits", [(1, 14), (6, 7, 14), (14, 14)])
def test_whatever_the_type(tmp_path: Path, kind: str, limits: Any) -> None:
    for limit in limits:
        extended = play(tmp_path / "extended", kind, 3, PlayedFarm(1, [], random.Random(0), 3), limit=limit)
    assert extended == play(tmp_path / "whole", kind, 3, PlayedFarm(1, [], random.Random(0), 3), limit=14)


@pytest.mark.parametrize("kind, sizes", [(runs.GA, (2, 3, 4)), (runs.RANDOM, (1, 2, 18))])
def test_a_test_of_the_best_in_the_middle(case: Case, kind: str, sizes: Any) -> None:
    """Takes an id of its own; all else of the individuals is as in the larger search."""
    case.kind, case.more = kind, VALIDATION
    extended, whole = case.run("extended", *sizes), case.run("whole", sizes[-1])
    assert outcomes(extended) == outcomes(whole)
    best = journal.read(whole).best(1)[0][0].genome
    tests = [journal.read(extended).trials[id].genome for id in finals_of(extended)]
    assert len(set(tests)) == len(tests), "who is still the best is not tested again"
    assert tests[-1] == best and len(tests) > 1, "this case is to have another best later"
    ids = [trial.id for trial, _ in journal.read(extended).individuals()]
    assert sorted([0, *ids, *finals_of(extended)]) == list(range(1 + len(ids) + len(tests)))


def test_who_is_still_the_best_is_not_trained_again(case: Case) -> None:
    """A larger limit without a better one: the second half is of the same genomes, as there is but one."""
    case.kind, case.more = runs.RANDOM, VALIDATION
    for size in (2, 4):
        text = case.search(size).read_text()
        for low, high in (("1", "8"), ("16", "126"), ("4", "5")):
            text = text.replace(f"min: {low} max: {high}", "min: 5 max: 5").replace(" step: 2", "")
        path = case.folder / f"one-{size}.search.prototxt"
        path.write_text(text.replace("default: 32", "default: 5").replace("default: 64", "default: 5"))
        case.menndl.run(path, case.folder / "run")
    assert finals_of(case.folder / "run") == [3]
    assert [trial.id for trial, _ in journal.read(case.folder / "run").individuals()] == [1, 2, 4, 5]
    status = case.menndl.json("status", case.folder / "run")
    assert status["complete"] and status["test"]["id"] == 3 and status["done"] == 4


@pytest.mark.parametrize("kind, sizes", [(runs.GA, (2, 3, 4)), (runs.RANDOM, (1, 2, 18))])
def test_stopped_after_any_line(case: Case, kind: str, sizes: Any) -> None:
    """Twice extended, with tests between: the journal cut after any line goes on to the same end."""
    case.kind, case.more = kind, VALIDATION
    whole = case.run("whole", *sizes)
    lines = lines_of(whole)
    begun = [0, *(i for i, line in enumerate(lines) if '"event": "resume"' in line)]
    for kept in range(1, len(lines), 7):
        size = max(size for size, line in zip(sizes, begun) if line < kept)
        run = cut(lines[:kept], case.folder / f"cut-{kept}")
        for later in sizes[sizes.index(size):]:
            case.menndl.run(case.search(later), run)
        assert calls(run)[:kept - 3] == calls(whole)[:kept - 3], "only added to"
        assert runs.individuals(run) == runs.individuals(whole)
        assert finals_of(run) == finals_of(whole)


@pytest.mark.parametrize("kept", [14, 17, 26, 30, 31, 33])
def test_extended_before_it_was_finished(case: Case, kept: int) -> None:
    """Also in the middle of the test of the then best, which is then trained, though it may tell nothing any more."""
    case.more = VALIDATION
    lines = lines_of(case.run("small", 2))
    run = cut(lines[:kept], case.folder / "cut")
    case.menndl.run(case.search(4), run)
    assert outcomes(run) == outcomes(case.run("whole", 4))
    assert journal.read(run).trials.keys() == journal.read(run).results.keys()


@pytest.mark.parametrize("target", ["master", "everything"])
def test_killed_while_extended(case: Case, target: str) -> None:
    run, whole = case.run("run", 2), case.run("whole", 4)
    process = runs.start(["run", case.search(4), "--out", run])
    assert runs.wait_until(lambda: len(runs.result_lines(run)) >= 16 or process.poll() is not None)
    family = runs.descendants(process.pid)
    runs.kill(process, target)
    assert runs.wait_until(lambda: process.poll() is not None and all(map(runs.has_ended, family)))
    case.menndl.run(case.search(4), run)
    assert runs.individuals(run) == runs.individuals(whole)


# ---- smaller ----

@pytest.mark.parametrize("kind, sizes, has, ends", [(runs.GA, (3, 2), 18, 12), (runs.RANDOM, (7, 6), 7, 6)])
def test_fewer_than_there_are_is_refused(case: Case, kind: str, sizes: Any, has: int, ends: int) -> None:
    case.kind = kind
    run = case.run("run", sizes[0])
    before = lines_of(run)
    assert case.menndl("run", case.search(sizes[1]), "--out", run) == 2
    assert case.menndl.said.strip().endswith(
        f"{run} has {has} individuals already, this search ends after {ends}; expected ga_param.generations, "
        "limit.trials, limit.iterations for as many or more, or another --out")
    assert lines_of(run) == before


def test_fewer_than_were_planned_are_enough(case: Case) -> None:
    """Where no more than these were begun."""
    run = cut(lines_of(case.run("whole", 4))[:20], case.folder / "cut")
    case.menndl.run(case.search(2), run)
    assert runs.individuals(run) == runs.individuals(case.run("small", 2))
    assert case.menndl.json("status", run)["complete"]


def test_only_the_size_may_change(case: Case) -> None:
    run = case.run("run", 2)
    for more in ("reuse_results: false", 'enqueue { gene { name: "kernel1" value: "3" } }', "random_seed: 2"):
        case.more = more
        assert case.menndl("run", case.search(3), "--out", run) == 2
        assert f"its {more.split(' ')[0].strip(':')}" in case.menndl.said


# ---- what the readers say ----

def test_status_best_and_watch(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "COST_SHARE", 1e9)
    case.more = VALIDATION
    run = case.run("run", 2)
    watched = Watched(run)
    assert watched.complete and watched.picture is not None and watched.picture.status["total"] == 12
    first = case.menndl.json("best", run)["test"]
    case.run("run", 4)
    watched.look()
    assert watched.complete and watched.picture.status["total"] == 24 and len(watched.picture.mean) == 4
    assert watched.picture.status["search"]["settings"]["generations"] == 4
    status = case.menndl.json("status", run)
    assert (status["generation"], status["generations"], status["done"], status["total"]) == (4, 4, 24, 24)
    assert status["complete"] and status["search"]["settings"]["generations"] == 4
    best = case.menndl.json("best", run)
    assert best["test"]["genes"] == best["best"][0]["genes"] != first["genes"] and best["total"] == 24
    assert case.menndl("watch", run, "--once", "--plain") == 0
    assert case.menndl.out.startswith("generation 4/4  24/24  ") and "complete" in case.menndl.out


def test_the_old_test_says_nothing_of_a_new_best(case: Case) -> None:
    """After each line of the run: a test that is shown is the best individual's of that moment."""
    case.more = VALIDATION
    lines = lines_of(case.run("whole", 2, 4))
    seen = set()
    for kept in range(26, len(lines) + 1):
        run = recorded.read(cut(lines[:kept], case.folder / f"cut-{kept}"))
        status = status_dict(run, 0.0)
        whole = kept in (len(lines), next(i for i, line in enumerate(lines) if '"resume"' in line))
        assert status["complete"] == whole, kept
        tested = status["test"] and status["test"]["genes"]
        assert tested in (None, status["best"]["genes"])
        rows = columns(run)
        role = rows["role"].get("test")
        assert (role is None) == (tested is None)
        assert role is None or rows["id"][role] == status["test"]["id"]
        seen.add((tested is None, status["total"]))
    assert seen == {(True, 12), (False, 12), (False, 24), (True, 24)}


def test_the_report_and_the_exports_of_a_run_that_went_further(case: Case) -> None:
    run = case.run("run", 2)
    assert case.menndl("export", run, "--to", "csv", "--out", run / "export") == 0
    case.run("run", 4)
    read = recorded.read(run)
    text = page([read])
    assert "Complete: all 24 individuals are evaluated." in text and "generations: 4" in text
    assert [row.complete for row in generations(read)] == 4 * [True]
    assert case.menndl("export", run, "--to", "csv", "--out", run / "export") == 0, case.menndl.said
    about = json.loads((run / "export" / "run.json").read_text())
    assert (about["total"], about["generations"]) == (24, 4) and "generations: 4" in about["search"]
    resumed = dict(facts(read, status_dict(read, 0.0)))["resumed"]
    assert "total 24" in resumed and "generations 4" in resumed


def test_the_best_of_a_run_that_went_further_can_be_saved(case: Case) -> None:
    """It is trained again, for which the search must be the run's; the fake trainer writes no weights."""
    assert case.menndl("best", case.run("run", 2, 3), "--save", case.folder / "best") == 2
    assert "iteration 4 of 4: accuracy" in case.menndl.said and "wrote no weights" in case.menndl.said


def test_a_resume_line_that_says_nothing_of_the_size_changes_none(case: Case) -> None:
    """As those of other writers, and of tests."""
    run = case.run("run", 2)
    with open(run / journal.NAME, "a") as file:
        file.write('{"event": "resume", "host": "other"}\n')
    read = recorded.read(run)
    assert (read.total, read.generations) == (12, 2) and read.message.ga_param.generations == 2


def test_each_resume_line_says_the_size(case: Case) -> None:
    run = case.run("run", 1, 3, 2 + 1)
    events: List[Dict[str, Any]] = [json.loads(line) for line in lines_of(run)]
    sizes = [(line["total"], line["generations"]) for line in events if line["event"] in ("run", "resume")]
    assert sizes == [(6, 1), (18, 3), (18, 3)]
    assert sum(trial.role == INDIVIDUAL for trial in journal.read(run).trials.values()) == 18


def test_the_test_of_the_least_loss_is_that_of_the_best(menndl: Menndl, data: Path, tmp_path: Path) -> None:
    """Where less is better the best is not the largest."""
    more = VALIDATION + 'objective { measure: "loss" minimize: true }\n'
    run = Case(tmp_path, data, menndl, more, runs.RANDOM).run("run", 8)
    status = menndl.json("status", run)
    assert status["complete"] and status[TEST]["genes"] == status["best"]["genes"]
