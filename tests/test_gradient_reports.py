"""Every reader of a run on a search along gradients: descents, gradients that are not trusted, the yardstick."""
from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest

from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.export import csv_files
from menndl_caffe.report.best import best_dict, best_text
from menndl_caffe.report.descents import descents, distrusted
from menndl_caffe.report.files import write_comparison, write_report
from menndl_caffe.report.status import status_dict, status_text
from menndl_caffe.report.yardstick import verdict
from menndl_caffe.trial import TEST, YARDSTICK
from menndl_caffe.watch.picture import Watched
from tests.conftest import missing
from tests.support import gradient_run, mixed_run
from tests.support.browser import WIDTHS, Tab
from tests.support.gradient_run import CURVATURE, STEPS, Row
from tests.support.page_tools import written
from tests.test_figures import check_texts, texts

FITS = "The validation loss is what such a search fits"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gradient_run.write(tmp_path_factory.mktemp("gradients"))


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return recorded.read(folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search without gradients."""
    return recorded.read(mixed_run.write(tmp_path_factory.mktemp("plain")))


def table(file: Path) -> List[Dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


# ---- status and best ----

def test_status(run: Run) -> None:
    status = status_dict(run, 2000.0)
    assert (status["best"]["id"], status["test"]["id"], status["yardstick"]["id"]) == (3, 9, 10)
    assert status["complete"] is True and status["failed"] == {"diverged": 1}
    assert status["descents"] == {"begun": 2, "gradients": 7, "distrusted": 1, "reason": CURVATURE, "count": 1}
    assert status["best"]["descent"] == 1 and status["best"]["gradient"] == {"decay": 0.01, "of_biases": -0.004}
    assert status["best"]["gradient_by"] == {"method": "HOAG", "iterations": 33, "residual": 0.004}
    assert "gradient" not in status["test"] and status["search"]["settings"]["method"] == "HOAG"
    text = status_text(run, 2000.0)
    assert line(text, "yardstick").split() == ["yardstick", "0.7300", "decay=0.001", "of_biases=1.0"]
    assert text.index("on test set 0.7000") < text.index("yardstick") < text.index("state       complete")
    assert line(text, "descents").split(maxsplit=1)[1] == f"2; 1 of 7 gradients not trusted: {CURVATURE}"


def test_it_is_complete_with_the_yardstick_alone(tmp_path: Path) -> None:
    before = recorded.read(gradient_run.write(tmp_path, last={TEST: (0.88, 0.70)}))
    assert status_dict(before, 2000.0)["complete"] is False and status_dict(before, 2000.0)["yardstick"] is None
    assert "yardstick   no result yet" in status_text(before, 2000.0)
    assert "the yardstick has no result on the test set yet" in best_text(before)


def test_best(run: Run) -> None:
    best = best_dict(run, 2)
    assert [row["id"] for row in best["best"]] == [3, 5] and best["yardstick"]["accuracy"] == 0.73
    assert list(best)[-6:] == ["default", "best", "test", "yardstick", "difference", "confirmed"]
    said = best_text(run)
    # The standard error is sqrt(.73 x .27 / 1000).
    assert "accuracy 0.7300 (standard error 0.0140) on the test set" in line(said, "yardstick: ")
    assert line(said, "The yardstick is better than the best individual: accuracy 0.7300 against 0.7000 on the test")
    assert said.splitlines()[-1].startswith(FITS) and said.endswith("Only the test set counts.")


def test_other_searches_know_nothing_of_it(plain: Run, tmp_path: Path) -> None:
    said = json.dumps([status_dict(plain, 2000.0), best_dict(plain)]) + status_text(plain, 1.0) + best_text(plain)
    assert not any(word in said for word in ("yardstick", "descent", "gradient"))
    csv_files.write(plain, tmp_path)
    assert list(table(tmp_path / "trials.csv")[0])[-1] == "memory"
    write_report(plain, note=lambda text: None, folder=tmp_path / "report")
    assert not [path for path in (tmp_path / "report").iterdir() if path.stem in ("paths", "descents")]


@pytest.mark.parametrize("test, yardstick, expected", [
    (0.70, 0.85, "The yardstick is better than the best individual: accuracy 0.8500 against 0.7000 on the test set. "
                 "Training the default on all images is worth more than what this search found."),
    # The standard error is sqrt((.7 x .3 + .73 x .27) / 1000) = 0.0202; 0.03 is less than two of them.
    (0.70, 0.73, "The yardstick is better than the best individual: accuracy 0.7300 against 0.7000 on the test set "
                 "(less apart than twice the standard error of the difference, 0.0202: it may be chance)."),
    (0.80, 0.70, "The best individual is better than the yardstick: accuracy 0.8000 against 0.7000 on the test set."),
    (0.70, 0.70, "The best individual is as good as the yardstick: accuracy 0.7000 against 0.7000 on the test set."),
])
def test_the_verdict(tmp_path: Path, test: float, yardstick: float, expected: str) -> None:
    of = recorded.read(gradient_run.write(tmp_path, last={TEST: (0.8, test), YARDSTICK: (0.8, yardstick)}))
    rows = best_dict(of)
    assert verdict(of, rows[TEST], rows[YARDSTICK]) == expected
    assert expected in best_text(of)


def test_the_verdict_of_a_loss_that_is_minimized(tmp_path: Path) -> None:
    search = 'objective { measure: "loss" minimize: true }\n'
    steps = [row._replace(accuracy=row.loss or 0.0) for row in STEPS]  # the fitness is the loss then
    of = recorded.read(gradient_run.write(tmp_path, steps, {TEST: (0.9, 0.9), YARDSTICK: (0.8, 0.8)}, more=search,
                                          best=lambda row: -(row.loss or 9.0)))
    rows = best_dict(of)
    assert (rows["best"][0]["id"], rows[TEST]["id"]) == (5, 9)
    assert verdict(of, rows[TEST], rows[YARDSTICK]).startswith(
        "The yardstick is better than the best individual: loss 0.8000 against 0.9000 on the test set. Training")


def test_no_verdict_over_what_failed(run: Run) -> None:
    best = best_dict(run)
    failed = {**best[TEST], "accuracy": None, "status": "crashed", "reason": "killed"}
    assert verdict(run, failed, best[YARDSTICK]) == (
        "The best individual is still to be compared with the yardstick: the best individual failed: crashed: killed.")


# ---- descents ----

def ends(folder: Path, steps: List[Row], trials: Optional[int] = None) -> List[str]:
    return [descent.end for descent in descents(recorded.read(gradient_run.write(folder, steps, {}, trials)))]


def test_descents(run: Run) -> None:
    first, second = descents(run)
    assert [trial.id for trial, _ in first.steps] == [1, 3, 5, 7]
    assert [trial.id for trial, _ in second.steps] == [2, 4, 6, 8]
    assert first.best is not None and second.best is not None
    assert (first.best[0].id, second.best[0].id) == (5, 8)
    assert first.end == "cut off by the limit of the search"
    assert second.end == "cut off by the limit of the search"


def test_how_descents_end(tmp_path: Path) -> None:
    assert ends(tmp_path, STEPS, trials=20)[1] == "goes on"
    failed = [STEPS[0], Row(1, (0.03, 0.4), None, 0.0, None)]
    assert ends(tmp_path / "failed", failed, 20)[1] == "it failed before it had a gradient: diverged: loss is nan"
    distrusted_at_once = [STEPS[0], Row(1, (0.03, 0.4), 0.5, 0.8, None, "it grew")]
    assert ends(tmp_path / "distrusted", distrusted_at_once, 20)[1] == "its first gradient was not trusted: it grew"
    # At the lower bound of decay and the upper one of of_biases there is nowhere to go.
    still = [Row(0, (1e-6, 2.0), 0.5, 0.8, (0.1, -0.1))]
    assert ends(tmp_path / "still", still, 20) == ["no gene moves any more"]
    assert ends(tmp_path / "moving", [still[0]._replace(gradient=(0.1, 0.1))], 20) == ["goes on"]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    for name in ("failed", "distrusted", "still", "moving"):
        (tmp_path / name).mkdir()


def test_reasons_that_differ_in_numbers_are_one(tmp_path: Path) -> None:
    reasons = ["growth 17 is above 10", "not finite", "growth 1.2e+06 is above 10"]
    steps = [Row(number, (0.01, 1.0), 0.9, 0.6, None, reason) for number, reason in enumerate(reasons)]
    found = distrusted(descents(recorded.read(gradient_run.write(tmp_path, steps))))
    assert found == {"gradients": 3, "distrusted": 3, "reason": reasons[0], "count": 2}
    assert distrusted([]) == {"gradients": 0, "distrusted": 0, "reason": "", "count": 0}


# ---- the report's files ----

@pytest.fixture(scope="module")
def report(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("report")
    write_report(run, note=lambda text: None, folder=target)
    return target


def test_the_tables(report: Path) -> None:
    rows = table(report / "descents.csv")
    assert [(row["descent"], row["step"], row["id"]) for row in rows] == [
        ("1", "1", "1"), ("1", "2", "3"), ("1", "3", "5"), ("1", "4", "7"),
        ("2", "1", "2"), ("2", "2", "4"), ("2", "3", "6"), ("2", "4", "8")]
    assert rows[2] == {"descent": "1", "step": "3", "id": "5", "status": "ok", "loss": "0.800000", "accuracy": "0.7200",
                       "decay": "8e-05", "of_biases": "1.44", "gradient.decay": "0.002", "gradient.of_biases": "-0.003",
                       "distrust": "", "reason": ""}
    assert (rows[3]["gradient.decay"], rows[3]["distrust"]) == ("", CURVATURE)
    assert (rows[5]["status"], rows[5]["loss"], rows[5]["distrust"], rows[5]["reason"]) == (
        "diverged", "", "", "loss is nan")
    best = table(report / "best.csv")
    assert [(row["place"], row["id"], row["accuracy"]) for row in best][-3:] == [
        ("default", "0", "0.7000"), ("test", "9", "0.7000"), ("yardstick", "10", "0.7300")]


def test_the_figure(run: Run, report: Path) -> None:
    figures = pytest.importorskip("menndl_caffe.report.figures")
    assert {path.suffix for path in report.glob("paths.*")} == {".png", ".svg", ".pdf"}
    shown = texts(report / "paths.svg")
    for text in ("descent 1", "descent 2", "gradient not trusted", "failed", "loss on the validation set", "decay",
                 "of_biases", "step of the descent"):
        assert text in shown
    loss, decay, of_biases = figures.paths_figure(run, descents(run)).axes
    assert (decay.get_yscale(), of_biases.get_yscale()) == ("log", "linear")
    assert lines(loss)[0] == [(1, 0.90), (2, 0.82), (3, 0.80), (4, 0.85)]
    assert lines(loss)[1] == [(1, 1.40), (3, 1.10), (4, 0.95)]
    assert lines(decay)[1] == [(step, STEPS[i].genes[0]) for step, i in enumerate((1, 3, 5, 7), 1)]
    assert marks(decay, "x") == [(2, 0.0095)] and hollow(decay) == [(4, 0.000015)]
    assert hollow(of_biases) == [(4, 1.73)] and hollow(loss) == [(4, 0.85)]
    assert [step for step, _ in marks(loss, "x")] == [2], "at the edge, as it has no loss"


def lines(axes: Any) -> List[List[Tuple[float, float]]]:
    return [points(line) for line in axes.lines if line.get_linestyle() not in ("None", "")]


def points(line: Any) -> List[Tuple[float, float]]:
    return list(zip(line.get_xdata(), line.get_ydata()))


def marks(axes: Any, marker: str) -> List[Tuple[float, float]]:
    return [point for line in axes.lines if line.get_marker() == marker for point in points(line)]


def hollow(axes: Any) -> List[Tuple[float, float]]:
    return [point for line in axes.lines if line.get_markerfacecolor() == "white" for point in points(line)]


def many(count: int) -> List[Row]:
    """So many descents of two steps, the later the better, over losses from 50 to 0.5."""
    losses = [50.0 / (1 + 99 * number / (count - 1)) for number in range(count)]
    rows = [Row(number, (0.02, 1.9), loss, 0.4, (0.1, 0.1)) for number, loss in enumerate(losses)]
    return [row for first in rows for row in (first, first._replace(genes=(0.01, 1.8)))]


@pytest.mark.parametrize("count", [2, 9])
def test_no_text_of_the_figure_lies_on_another(tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = pytest.importorskip("menndl_caffe.report.figures")
    of = recorded.read(gradient_run.write(tmp_path, STEPS if count == 2 else many(count)))
    check_texts(lambda: figures.paths_figure(of, descents(of)), monkeypatch)


def test_of_many_descents_the_best_are_named(tmp_path: Path) -> None:
    figures = pytest.importorskip("menndl_caffe.report.figures")
    of = recorded.read(gradient_run.write(tmp_path, many(9)))
    loss = figures.paths_figure(of, descents(of)).axes[0]
    named = [text.get_text() for text in loss.get_legend().get_texts()]
    assert named == [*(f"descent {number}" for number in range(5, 10)), "4 others"]
    assert loss.get_yscale() == "log"


# ---- exports ----

def test_trials_csv(run: Run, tmp_path: Path) -> None:
    csv_files.write(run, tmp_path)
    rows = {int(row["id"]): row for row in table(tmp_path / "trials.csv")}
    more = ["descent", "tolerance", "gradient.decay", "gradient.of_biases", "distrust"]
    assert list(rows[0])[-6:] == ["memory", *more]
    assert [[rows[id][name] for name in more] for id in (0, 5, 7, 4, 10)] == [
        ["", "", "", "", ""], ["1", "0.0025", "0.002", "-0.003", ""], ["1", "0.00125", "", "", CURVATURE],
        ["2", "0.005", "", "", ""], ["", "", "", "", ""]]
    assert [rows[id]["role"] for id in (8, 9, 10)] == ["individual", "test", "yardstick"]


def test_parquet_has_their_types(run: Run, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    parquet_files = pytest.importorskip("menndl_caffe.export.parquet_files")
    parquet_files.write(run, tmp_path)
    trials = pandas.read_parquet(tmp_path / "trials.parquet").set_index("id")
    assert trials["gradient.decay"].dropna().to_dict() == {1: 0.02, 2: 0.1, 3: 0.01, 5: 0.002, 6: 0.08, 8: 0.06}
    assert trials["distrust"].dropna().to_dict() == {7: CURVATURE}


def test_optuna(run: Run, tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    from menndl_caffe.export import optuna_study
    from tests.test_objective_reports import loaded

    study = loaded(optuna, optuna_study.write(run, tmp_path)[0])
    by_id = {trial.user_attrs["id"]: trial.user_attrs for trial in study.trials}
    assert sorted(by_id) == list(range(9)), "what is measured on the test set would pass for the best"
    assert by_id[5]["gradient.decay"] == 0.002 and by_id[5]["descent"] == 1 and "distrust" not in by_id[5]
    assert by_id[7]["distrust"] == CURVATURE and "gradient.decay" not in by_id[7]
    assert (study.user_attrs["test"]["fitness"], study.user_attrs["yardstick"]["fitness"]) == (0.70, 0.73)


# ---- the page, the comparison, the terminal ----

@pytest.mark.parametrize("width", WIDTHS)
def test_the_page(chromium: Any, folder: Path, width: int) -> None:
    tab = Tab(chromium, written(folder), width)
    assert tab.faults() == []
    states = {1: "trusted", 2: "trusted", 3: "trusted", 4: "failed", 5: "trusted", 6: "trusted", 7: "not trusted",
              8: "trusted"}
    assert tab.page.evaluate("menndl.parts.paths.lines()") == [
        [[id, states[id]] for id in ids] for ids in ((1, 3, 5, 7), (2, 4, 6, 8))]
    legend = tab.text("#paths-legend")
    assert legend == "descent 1 descent 2 gradient not trusted failed"
    assert tab.page.locator("#paths-genes figure").count() == 2
    assert "1 of 7 gradients was not trusted" in tab.text("#descents") and CURVATURE in tab.text("#descents p")
    assert tab.table("#descents table") == [
        ["1", "4", "0", "0.9000 → 0.8000", "0.7200", "5", "0.001 → 8e-05", "1 → 1.44",
         "cut off by the limit of the search"],
        ["2", "4", "1", "1.4000 → 0.9500", "0.6400", "8", "0.03 → 0.0128", "0.4 → 0.25",
         "cut off by the limit of the search"]]
    assert FITS in tab.text("#test-set p")
    assert "The yardstick is better than the best individual" in tab.text("#test-set .notice")
    assert tab.table("#test-set table") == [
        ["best individual", "0.8800", "0.7000", "0.8200", "0.7400", "training"],
        ["yardstick", "0.8400", "0.7300", "–", "–", "training and validation"],
        ["default", "–", "–", "0.9050", "0.7000", "training"]]
    assert [row[0] for row in tab.table("#best table.individuals")][-3:] == [
        "default", "best on the test set", "yardstick on the test set"]
    tab.page.locator("#descents [data-show='5']").click()
    shown = tab.text("#panel")
    assert "descent 1, step 3" in shown and "gradient decay 0.002, of_biases -0.003" in shown
    tab.close()


def test_a_page_before_the_end(chromium: Any, tmp_path: Path) -> None:
    failed = [Row(0, (0.001, 1.0), None, 0.0, None)]
    tab = Tab(chromium, written(gradient_run.write(tmp_path, failed, {}, trials=9)))
    assert tab.faults() == [] and "is still to be compared" in tab.text("#test-set .notice")
    assert tab.table("#descents table") == [
        ["1", "1", "1", "diverged → –", "–", "–", "0.001 → –", "1 → –",
         "it failed before it had a gradient: diverged: loss is nan"]]
    tab.close()


def test_a_page_of_many_descents(chromium: Any, tmp_path: Path) -> None:
    tab = Tab(chromium, written(gradient_run.write(tmp_path, many(9))))
    assert tab.faults() == [] and tab.text("#paths-legend").startswith("descent 3 descent 4")
    assert "No gradient gave reason for distrust." in tab.text("#descents p")
    assert tab.text("#paths-legend").endswith("2 others")
    tab.close()


def test_other_pages_have_no_such_section(chromium: Any, plain: Run) -> None:
    tab = Tab(chromium, written(plain.folder))
    assert tab.page.locator("#descents, #test-set").count() == 0 and tab.errors == []
    tab.close()


def test_the_comparison(chromium: Any, run: Run, plain: Run, tmp_path: Path) -> None:
    tab = Tab(chromium, write_comparison([run, plain], tmp_path))
    assert [row[6:8] for row in tab.table("#summary table")] == [["0.7000", "0.7300"], ["–", "–"]]
    assert tab.faults() == []
    tab.close()
    assert "yardstick" not in write_comparison([plain, plain], tmp_path).read_text().split("<script")[0]


def test_the_terminal(folder: Path) -> None:
    screen = pytest.importorskip("menndl_caffe.watch.screen")
    watched = Watched(folder)
    assert watched.picture is not None
    rows = [str(text) for text in screen.Screen(120, 40, True).show(folder, watched.picture, 2000.0)]
    assert any("yardstick" in row and "0.7300" in row for row in rows)


# ---- the best one saved ----

TRAINER = """
import json, sys
print(json.dumps({"event": "ready", "engine": "fake", "version": "0"}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    open(sys.argv[1], "a").write(line)
    open(request["weights"], "w").close()
    for event in ({"event": "test", "iteration": 4, "outputs": {"accuracy": 0.5, "loss": 1.5}},
                  {"event": "done", "engine_seconds": 0.1}):
        print(json.dumps({"id": request["id"], **event}), flush=True)
"""


def test_the_best_is_saved_as_it_trains_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                in_repository: Path) -> None:
    import sys

    from menndl_caffe.save.individual import save
    from tests.support import runs

    search = runs.write_gradients(tmp_path / "search.prototxt", runs.small_data(tmp_path / "data", validation=50),
                                  trials=3)
    if runs.start(["run", search, "--out", tmp_path / "run"]).wait(runs.PATIENCE):
        missing("the run with the fake trainer failed")
    (tmp_path / "trainer.py").write_text(TRAINER)
    monkeypatch.setenv("MENNDL_TRAINER", f"{sys.executable} {tmp_path}/trainer.py {tmp_path}/asked")
    said = save(tmp_path / "run", tmp_path / "best", 1, None, lambda text: None)
    (asked,) = [json.loads(line) for line in (tmp_path / "asked").read_text().splitlines()]
    assert "program" not in asked and "hypergradient" not in asked
    assert "accuracy 0.5, loss 1.5, trained as `caffe train` does it; not those of the search's step" in said
    readme = (tmp_path / "best" / "README.md").read_text()
    yardstick = recorded.read(tmp_path / "run").record.results
    value = next(yardstick[id].fitness for id, trial in recorded.read(tmp_path / "run").record.trials.items()
                 if trial.role == YARDSTICK)
    assert f"only the test set counts; the default, trained on those images too, has {value:g} there" in readme
