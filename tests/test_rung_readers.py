"""All that reads a journal of a search whose trainings go from rung to rung: an individual is its last trial, one that
was stopped early is neither a failure nor ever the best, and all readers count the same."""
from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict

import pytest

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded
from menndl_caffe.export import tables
from menndl_caffe.record import Record
from menndl_caffe.report.best import best_dict, best_text
from menndl_caffe.report.boxes import spreads
from menndl_caffe.report.confirmation import candidates
from menndl_caffe.report.page import page, single
from menndl_caffe.report.page.columns import columns
from menndl_caffe.report.rungs import stopped_text
from menndl_caffe.report.status import status_dict, status_text
from menndl_caffe.report.summary import generations
from menndl_caffe.run.warm_start import taken_over
from menndl_caffe.trial import CRASHED, INDIVIDUAL, OK, STOPPED
from tests.conftest import REPOSITORY
from tests.support import rung_run
from tests.support.browser import WIDTHS, Tab
from tests.support.page_tools import drawn, painted, written
from tests.support.rung_run import ENDS, MAX_ITER, RUNNING

EXAMPLE = REPOSITORY / "tests" / "journals" / "rungs.jsonl"


class Case:
    """A run made by chance, and what is so of it by the way it was made."""

    def __init__(self, folder: Path, seed: int = 1, individuals: int = 30):
        self.folder, self.made, self.ids = rung_run.write(folder, seed, individuals)
        self.run = recorded.read(self.folder)
        self.last = {ids[-1]: one for ids, one in zip(self.ids, self.made) if one.status != RUNNING}
        self.by = Counter(one.status for one in self.made)
        self.finished = sorted((id for id, one in self.last.items() if one.status == OK),
                               key=lambda id: -self.last[id].accuracy)
        self.stopped = {id: ENDS[one.last] for id, one in self.last.items() if one.status == STOPPED}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    found = Case(tmp_path_factory.mktemp("rungs"))
    assert min(found.by[status] for status in (OK, STOPPED, CRASHED, RUNNING)) > 1
    return found


@pytest.mark.parametrize("seed", range(2, 14))
def test_every_reader_counts_the_same(tmp_path: Path, seed: int) -> None:
    """Individuals are those that finished, that were stopped, that failed, and that are being trained."""
    case = Case(tmp_path, seed, 5 + 3 * seed)
    run, by = case.run, case.by
    ended = len(case.made) - by[RUNNING]
    pairs = dict((trial.id, result) for trial, result in run.record.individuals())
    assert {id: result.status for id, result in pairs.items()} == {id: one.status for id, one in case.last.items()}
    assert run.record.begun == len(case.made)

    status = status_dict(run, 0.0)
    assert (status["done"], status["unfinished"], status["failed"].get(CRASHED, 0)) == (ended, by[RUNNING], by[CRASHED])
    assert status["stopped"]["at"] == dict(sorted(Counter(case.stopped.values()).items()))
    assert status["stopped"]["count"] == len(case.stopped)
    assert status["complete"] == (by[RUNNING] == 0)

    stages = generations(run)
    assert [sum(getattr(row, name) for row in stages) for name in ("evaluated", "failed", "stopped")] \
        == [ended, by[CRASHED], by[STOPPED]]
    for of_gene in spreads(run).values():
        assert sum(one.individuals for one in of_gene) == ended

    best = best_dict(run, 1000)
    assert [row["id"] for row in best["best"]] == case.finished and best["evaluated"] == ended
    assert [trial.id for trial, _ in candidates(run, 1000)] == case.finished

    data = columns(run)
    shown = [row for row, individual in enumerate(data["individual"]) if individual]
    kinds = Counter(data["statuses"][data["status"][row]] for row in shown)
    assert kinds == +Counter({status: by[status] for status in (OK, STOPPED, CRASHED)})
    assert {data["id"][row] for row in shown if data["fitness"][row] is not None} == {*case.finished}
    assert sum(row["count"] for row in single.failures(run)) == by[CRASHED]

    exported = [dict(zip(tables.trials(run).columns, row)) for row in tables.trials(run).rows]
    continued = {row["continues"] for row in exported}
    ends = Counter(row["status"] for row in exported if row["role"] == INDIVIDUAL and row["id"] not in continued)
    assert ends == +Counter({status: by[status] for status in (OK, STOPPED, CRASHED)}) + +Counter({None: by[RUNNING]})


def test_the_seconds_of_an_individual_are_those_of_its_rungs(case: Case) -> None:
    """A tenth of a second an iteration."""
    for row in best_dict(case.run, 100)["best"]:
        assert row["seconds"] == pytest.approx(0.1 * MAX_ITER)
    data = columns(case.run)
    for id, end in case.stopped.items():
        assert data["seconds"][data["id"].index(id)] == pytest.approx(0.1 * (end or 0))
        assert data["until"][data["id"].index(id)] == end


def test_what_rungs_have_spared_is_said(case: Case) -> None:
    ends = [ENDS[one.last] or MAX_ITER for one in case.made if one.status in (OK, STOPPED)]
    share = sum(ends) / (MAX_ITER * len(ends))
    status = status_dict(case.run, 0.0)
    assert status["stopped"]["share"] == pytest.approx(share, abs=1e-4)
    budget = f"{len(case.made)} individuals, rungs at 50, 150 and 450 of 500 iterations\n"
    whole = f"{MAX_ITER * len(ends):,} that whole trainings would have taken"
    given = f"{sum(ends):,} iterations given so far of the {whole}"
    assert f"\nbudget      {budget}            {given}\n" in status_text(case.run, 0.0)
    at = ", ".join(f"{count} at {rung}" for rung, count in sorted(Counter(case.stopped.values()).items()))
    text = f"{at} iterations; {100 * share:.0f}% of the iterations that full trainings would have taken"
    assert f"\nstopped     {text}\n" in status_text(case.run, 0.0) and stopped_text(status["stopped"]) == text
    assert stopped_text({"count": 0, "at": {}, "iterations": 0, "whole": 0, "share": None}) == "none"


def test_who_was_stopped_is_never_the_best(tmp_path: Path) -> None:
    """Though better at its rung than all others at their ends, and of the default's seed."""
    case = Case(tmp_path)
    lines = [json.loads(line) for line in (case.folder / journal.NAME).read_text().splitlines()]
    best = next(iter(case.stopped))
    for line in lines:
        if line["event"] == "result" and line["id"] == best:
            line.update(fitness=0.99)
    (case.folder / journal.NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = recorded.read(case.folder)
    assert best_dict(run)["best"][0]["id"] == case.finished[0] != best
    assert [trial.id for trial, _ in run.front()] == case.finished[:1]
    assert max(row.best_so_far or 0 for row in generations(run)) == pytest.approx(case.last[case.finished[0]].accuracy)
    assert run.record.best(len(case.made))[case.by[OK]][0].id == best, "before other stopped ones, behind the finished"


def test_where_all_were_stopped_there_is_no_best(tmp_path: Path) -> None:
    case = Case(tmp_path)
    lines = (case.folder / journal.NAME).read_text().splitlines()
    kept = [line for line in lines if '"event": "run"' in line or '"id": 0,' in line or '"id": 1,' in line]
    (case.folder / journal.NAME).write_text("\n".join(kept) + "\n")
    run = recorded.read(case.folder)
    assert "None of 1 individuals so far (30 when complete)" in best_text(run)
    assert "1 were stopped early, and all others failed" in best_text(run)
    assert status_dict(run, 0.0)["best"] is None
    assert "None of 1 individuals came to its end" in page([run])


def test_an_earlier_runs_stopped_are_not_known(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *others = (case.folder / journal.NAME).read_text().splitlines()
    line = {**json.loads(first), "data": ""}
    (tmp_path / journal.NAME).write_text("\n".join([json.dumps(line), *others]) + "\n")
    experiment: Any = SimpleNamespace(message=SimpleNamespace(warm_start=[str(tmp_path)]))
    this: Any = SimpleNamespace(record=Record(), run_dir=tmp_path / "this")
    problem: Any = SimpleNamespace(space=case.run.space, objectives=case.run.objectives)
    known = taken_over(experiment, problem, this, line)
    assert Counter(one.result.status for one in known) == {OK: case.by[OK], CRASHED: case.by[CRASHED]}
    assert f", {case.by[STOPPED]} were stopped early and are not known" in capsys.readouterr().err


# Damage

@pytest.mark.parametrize("event, change, said", [
    ("trial", {"until": 60}, "ends at iteration 60; expected a rung of its search: 50, 150, 450"),
    ("trial", {"seed": 7}, "continues trial 1, which has other genes or another seed"),
    ("trial", {"until": 50}, "continues trial 1, which does not end before it"),
    ("trial", {"continues": 0}, "continues trial 0, which has other genes"),
    ("trial", {"continues": 999}, "continues trial 999, which has no result"),
    ("trial", {"until": 0}, "until"), ("trial", {"continues": -1}, "continues"),
    ("result", {"status": "ok"}, "its status is ok; expected stopped, or a failure, of one that ends at iteration 150"),
    ("end", {"status": "stopped"}, "its status is stopped; expected ok, or a failure, of one that goes to its end")])
def test_a_chain_that_is_none_is_damage(case: Case, tmp_path: Path, event: str, change: Dict[str, Any], said: str
                                        ) -> None:
    """The example journal with one field changed, of a trial that goes on with another, of its result, or of an end."""
    lines = [json.loads(line) for line in EXAMPLE.read_text().splitlines()]
    trial = next(line for line in lines if line.get("continues") == 1)
    wanted = {"trial": lambda line: line is trial,
              "result": lambda line: line["event"] == "result" and line["id"] == trial["id"],
              "end": lambda line: line["event"] == "result" and line["status"] == "ok" and line["id"]}[event]
    place = next(place for place, line in enumerate(lines) if wanted(line))
    lines[place].update(change)
    (tmp_path / journal.NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(UserError, match=f":{place + 1}: damaged: .*{said}"):
        recorded.read(tmp_path)


def test_one_goes_on_with_a_trial_alone(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in EXAMPLE.read_text().splitlines()]
    trial = next(line for line in lines if line.get("continues") == 1)
    (tmp_path / journal.NAME).write_text("".join(json.dumps(line) + "\n" for line in [*lines, {**trial, "id": 500}]))
    with pytest.raises(UserError, match=f"trial 500 continues trial 1, as {trial['id']} does already"):
        recorded.read(tmp_path)


def test_rungs_are_for_searches_that_have_them(tmp_path: Path) -> None:
    text = EXAMPLE.read_text().replace("stop { halving { first: 50 factor: 3 } }\\n", "")
    (tmp_path / journal.NAME).write_text(text)
    with pytest.raises(UserError, match="ends at iteration 50; expected a rung of its search, which has none"):
        recorded.read(tmp_path)


def test_the_example_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / journal.NAME).write_text(EXAMPLE.read_text())
    status = status_dict(recorded.read(tmp_path), 0.0)
    assert (status["done"], status["total"], status["unfinished"], status["failed"]) == (7, 10, 3, {CRASHED: 2})
    assert status["stopped"] == {"count": 3, "at": {50: 2, 150: 1}, "iterations": 1250, "whole": 2500, "share": 0.5}
    assert (status["best"]["id"], status["best"]["accuracy"]) == (24, 0.6811)


# Exports

def test_exported_curves_are_whole_and_there_once(case: Case) -> None:
    rows = tables.curves(case.run).rows
    kept = {ids[-1 if one.status in (OK, STOPPED) else max(0, len(ids) - 2)]: one
            for ids, one in zip(case.ids, case.made) if one.status in (OK, STOPPED) or len(ids) > 1}
    assert {row[0] for row in rows} == {0, *kept}
    for id, one in kept.items():
        until = case.run.record.trials[id].end
        assert [(at, value, loss) for other, at, value, loss in rows if other == id] == list(one.at(until))


def test_an_optuna_study_has_them_pruned(case: Case, tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    from optuna.storages.journal import JournalFileBackend

    from menndl_caffe.export import optuna_study

    path, = optuna_study.write(case.run, tmp_path)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    trials = optuna.load_study(study_name=case.run.name, storage=storage).trials[1:]
    assert Counter(trial.state.name for trial in trials) == {
        "COMPLETE": case.by[OK], "PRUNED": case.by[STOPPED], "FAIL": case.by[CRASHED], "RUNNING": case.by[RUNNING]}
    for trial in trials:
        if trial.state.name == "PRUNED":
            assert max(trial.intermediate_values) == case.stopped[trial.user_attrs["id"]] == trial.user_attrs["until"]


# The page

@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_tells_the_stopped_apart(chromium: Any, case: Case, width: int) -> None:
    tab = Tab(chromium, written(case.folder), width)
    assert tab.faults() == []
    head = [cell.strip(" ▲▼") for cell in tab.page.locator("#table thead th").all_inner_texts()]
    status = head.index("status")
    tab.page.locator("#table thead button", has_text="status").click()
    rows = tab.table("#table")
    told = {int(row[0]): row[status] for row in rows}
    ranks = [-1 if text == CRASHED else 1000 if text == OK else int(text.split(" at ")[1]) for text in told.values()]
    assert ranks == sorted(ranks)
    assert {id: f"stopped at {end}" for id, end in case.stopped.items()}.items() >= {
        (id, text) for id, text in told.items() if text.startswith("stopped")}
    assert drawn(tab, "table.rows().length") == len(case.last)
    lines = dict(drawn(tab, "parallel.lines()"))
    across = 1 if width == WIDTHS[0] else 0
    ends = {kind: {lines[id][-1][across] for id, one in case.last.items() if one.status == kind}
            for kind in (OK, STOPPED, CRASHED)}
    assert len(ends[STOPPED]) == len(ends[CRASHED]) == 1 and ends[STOPPED].isdisjoint(ends[CRASHED])
    assert ends[OK].isdisjoint(ends[STOPPED] | ends[CRASHED])
    tab.close()


def test_plots_show_the_stopped_where_they_were(chromium: Any, case: Case) -> None:
    """Hollow, and none of them is part of a front or of a median: those that were stopped at once cost least."""
    tab = Tab(chromium, written(case.folder))
    at = sorted(set(case.stopped.values()))
    said = f"stopped early, at {', '.join(map(str, at[:-1]))} or {at[-1]} iterations"
    for plot in ("history-plot", "values-plots figure", "costs-plots figure"):
        assert said in tab.text(f"#{plot.split('-')[0]}-legend")
        lowest = max(painted(tab, plot, (0x8c, 0x95, 0x9f)), key=lambda place: place[::-1])  # of the least accuracy
        tab.page.locator(f"#{plot}").first.hover(position=dict(zip("xy", lowest)))
        told = tab.text("#hint")
        id = int(told.split()[1])
        fitness = case.run.record.results[id].fitness
        assert f"stopped at {case.stopped[id]} iterations: accuracy {fitness:.4f}" in told
    middle = drawn(tab, "values.medians()")
    assert sum(one["count"] for _, found in middle for one in found) <= len(case.finished) * len(middle)
    assert {id for _, ids in drawn(tab, "costs.fronts()") for id in ids} <= {*case.finished}
    tab.close()


def test_the_page_of_runs_side_by_side(chromium: Any, case: Case, tmp_path: Path) -> None:
    tab = Tab(chromium, written(case.folder, Case(tmp_path / "b", 4).folder))
    assert tab.faults() == []
    assert tab.table("#summary table")[0][3] == str(case.by[STOPPED])
    tab.close()
