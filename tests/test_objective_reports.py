"""Every reader of a run on runs of other objectives than the accuracy, and of several."""
from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.objective import Objective
from menndl_caffe.report.best import best_dict, best_text
from menndl_caffe.report.files import write_comparison, write_report
from menndl_caffe.report.importance import importance
from menndl_caffe.report.page.comparison import progress
from menndl_caffe.report.slowness import ranks, slowness
from menndl_caffe.report.status import status_dict, status_text
from menndl_caffe.report.summary import generations
from menndl_caffe.run.progress import Progress
from menndl_caffe.run.trial_files import TrialFiles
from menndl_caffe.trial import DEFAULT, OK, Result
from menndl_caffe.watch import plain
from menndl_caffe.watch.picture import Watched
from tests.conftest import Runner
from tests.support import objective_run
from tests.support.browser import Tab
from tests.support.objective_run import INDIVIDUALS, measured

FAILED = [id for id in range(1, INDIVIDUALS + 1) if measured(id) is None]


def known() -> Dict[int, Dict[str, float]]:
    """The individuals that did not fail, by id, with all that could be measured of them."""
    every = {id: measured(id) for id in range(1, INDIVIDUALS + 1)}
    return {id: found for id, found in every.items() if found}


def ranked(measure: str, sign: int) -> List[int]:
    """The ids by a measure: the least first for sign 1, the largest for -1."""
    return sorted(known(), key=lambda id: (sign * known()[id][measure], id))


def two_front() -> List[int]:
    """Who of two objectives is dominated by nobody: most accuracy, least multiply-adds."""
    points = {id: (-of["accuracy"], of["multiply_adds"]) for id, of in known().items()}
    best = [id for id, (a, b) in points.items()
            if not any(x <= a and y <= b and (x, y) != (a, b) for x, y in points.values())]
    return sorted(best, key=lambda id: (points[id][0], id))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    """Runs by what they optimize."""
    kinds = {"loss": objective_run.LOSS, "two": objective_run.TWO, "three": objective_run.THREE,
             "size": objective_run.SIZE, "error": objective_run.ERROR}
    return {name: objective_run.write(tmp_path_factory.mktemp(name), text) for name, text in kinds.items()}


@pytest.fixture(scope="module")
def loss(folders: Dict[str, Path]) -> Run:
    return recorded.read(folders["loss"])


@pytest.fixture(scope="module")
def two(folders: Dict[str, Path]) -> Run:
    return recorded.read(folders["two"])


def rows(text: str) -> Dict[str, List[str]]:
    """Lines by their first word."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}


def table(file: Path) -> List[Dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def test_what_the_runs_are_like() -> None:
    assert len(FAILED) > 4 and len(known()) > 15 and len(two_front()) > 2
    assert ranked("loss", 1)[:5] != ranked("accuracy", -1)[:5]


# ---- one objective, of which less is better ----

def test_best_of_a_loss(loss: Run) -> None:
    best, order = best_dict(loss, 4), ranked("loss", 1)
    assert [row["id"] for row in best["best"]] == order[:4]
    assert [row["objectives"] for row in best["best"]] == [{"loss": known()[id]["loss"]} for id in order[:4]]
    assert best["objectives"] == [{"measure": "loss", "minimize": True}] and "accuracy" not in best["best"][0]
    default = measured(0) or {}
    gain = known()[order[0]]["loss"] - default["loss"]
    assert best["difference"] == {"loss": pytest.approx(gain), "candidates": len(order)}
    text = best_text(loss, 4)
    assert "engine caffe, least loss on the test set." in text and "accuracy" not in text
    assert rows(text.split("\n\n")[1])["loss"][0] == f"{default['loss']:.4f}"
    head, *lines = text.split("\n\n")[2].splitlines()
    assert head.split()[-2:] == ["loss", "seconds"] and head.split().count("loss") == 1
    assert [float(line.split()[-2]) for line in lines[:4]] == [known()[id]["loss"] for id in order[:4]]


def test_status_of_a_loss(loss: Run) -> None:
    status = status_dict(loss, 2000.0)
    assert status["best"]["id"] == ranked("loss", 1)[0] and status["failed"] == {"diverged": len(FAILED)}
    assert status["search"]["objectives"] == [{"measure": "loss", "minimize": True}] and "front" not in status
    said = rows(status_text(loss, 2000.0))
    assert said["fitness"][:3] == ["least", "loss", "on"]
    assert float(said["best"][0]) == known()[ranked("loss", 1)[0]]["loss"]


def test_stages_leave_the_failed_out(loss: Run) -> None:
    so_far = float("inf")
    for stage in generations(loss):
        ids = (2 * stage.number - 1, 2 * stage.number)
        losses = [known()[id]["loss"] for id in ids if id in known()]
        assert (stage.evaluated, stage.failed) == (2, 2 - len(losses))
        so_far = min(so_far, *losses, float("inf"))
        assert stage.best_so_far == so_far
        if losses:
            assert (stage.best, stage.mean) == (min(losses), pytest.approx(np.mean(losses)))
            assert stage.quartiles == pytest.approx(tuple(np.percentile(losses, [25, 50, 75])))
        else:
            assert (stage.best, stage.mean, stage.quartiles) == (None, None, (None, None, None))
    assert any(stage.best is None for stage in generations(loss))


def test_report_files_of_a_loss(loss: Run, tmp_path: Path) -> None:
    write_report(loss, note=lambda text: None, folder=tmp_path)
    assert not list(tmp_path.glob("front*"))
    best = table(tmp_path / "best.csv")
    assert [int(row["id"]) for row in best[:5]] == ranked("loss", 1)[:5] and "accuracy" not in best[0]
    individuals = {int(row["id"]): row for row in table(tmp_path / "individuals.csv")}
    for id, row in individuals.items():
        assert row["fitness"] == ("" if id in FAILED else f"{known()[id]['loss']:.4f}")
    assert table(tmp_path / "table_3.csv")[5]["parameter"] == "loss"
    stages = table(tmp_path / "generations.csv")
    assert [row["best"] == "" for row in stages] == [stage.best is None for stage in generations(loss)]
    assert "loss on the test set" in (tmp_path / "fitness.svg").read_text()
    assert "failures are 0" not in (tmp_path / "fitness.svg").read_text()


def test_the_best_of_a_figure_is_above(loss: Run) -> None:
    figures = pytest.importorskip("menndl_caffe.report.figures")
    figure = figures.parallel_figure(loss)
    highlighted = [line.get_ydata() for line in figure.axes[0].lines if line.get_linewidth() == 1.1]
    assert len(highlighted) == 5 and max(heights[-1] for heights in highlighted) == pytest.approx(1.0)


def test_importance_is_of_the_losses(loss: Run) -> None:
    negative = [Result(**{**vars(result), "fitness": -result.fitness}) for result in loss.record.results.values()]
    other = Run(loss.folder, type(loss.record)(loss.record.run, loss.record.trials,
                                               {result.id: result for result in negative}))
    assert importance(loss) and [gene.share for gene in importance(loss)] == pytest.approx(
        [gene.share for gene in importance(other)])


def test_watching_a_loss(folders: Dict[str, Path]) -> None:
    watched = Watched(folders["loss"])
    assert watched.picture is not None
    least = known()[ranked("loss", 1)[0]]["loss"]
    default = (measured(0) or {})["loss"]
    assert f"  best {least:.4f}  default {default:.4f}  failed {len(FAILED)}" in plain.line(watched.picture)
    assert watched.picture.best_so_far[-1] == least
    screen = pytest.importorskip("menndl_caffe.watch.screen")
    shown = "\n".join(str(text) for text in screen.Screen(120, 40, True).show(folders["loss"], watched.picture, 2000.0))
    assert f"{least:.4f}  default" in shown and "accuracy" not in shown


def test_progress_and_kept_files_follow_the_loss(loss: Run, tmp_path: Path) -> None:
    progress = Progress(INDIVIDUALS, None, None, loss.fitness)
    files = TrialFiles(tmp_path, Renderer(loss.experiment), type(loss.record)())
    for id, result in loss.record.results.items():
        progress(loss.record.trials[id], result, True)
        if id:
            (tmp_path / "trials" / str(id)).mkdir(parents=True, exist_ok=True)
            files._write = lambda trial, result: None  # type: ignore[method-assign]  # the data are not here
            files.keep(loss.record.trials[id], result)
    best = ranked("loss", 1)[0]
    assert f"best {known()[best]['loss']:.4f}" in progress.line()
    assert files._best is not None and files._best.id == best
    again = TrialFiles(tmp_path, Renderer(loss.experiment), loss.record)
    assert again._best is not None and again._best.id == best


def test_exports_of_a_loss(loss: Run, tmp_path: Path) -> None:
    from menndl_caffe.export import csv_files

    csv_files.write(loss, tmp_path)
    trials = {int(row["id"]): row for row in table(tmp_path / "trials.csv")}
    for id in range(1, INDIVIDUALS + 1):
        assert trials[id]["fitness"] == ("" if id in FAILED else str(known()[id]["loss"]))
    assert list(table(tmp_path / "curves.csv")[0]) == ["id", "iteration", "loss"]
    optuna = pytest.importorskip("optuna")
    from menndl_caffe.export import optuna_study

    study = loaded(optuna, optuna_study.write(loss, tmp_path)[0])
    assert study.direction.name == "MINIMIZE" and study.metric_names == ["loss"]
    assert study.best_trial.user_attrs["id"] in (0, ranked("loss", 1)[0])
    assert study.best_value == min(of["loss"] for of in [measured(0) or {}, *known().values()])


def loaded(optuna: Any, path: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(path))))


@pytest.mark.parametrize("kind, measure, form", [("error", "error", "{:.4g}"), ("size", "parameters", "{:,.0f}")])
def test_measures_of_other_names(folders: Dict[str, Path], kind: str, measure: str, form: str) -> None:
    run = recorded.read(folders[kind])
    least = form.format(known()[ranked(measure, 1)[0]][measure])
    assert rows(status_text(run, 2000.0))["best"][0] == least
    lines = best_text(run).split("\n\n")[2].splitlines()
    assert lines[0].split()[-3:] == [measure, "loss", "seconds"] and lines[1].split()[-3] == least
    write_report(run, note=lambda text: None, folder=folders[kind] / "report")


# ---- several ----

def test_the_front_in_best_and_status(two: Run, folders: Dict[str, Path]) -> None:
    front = two_front()
    assert [trial.id for trial, _ in two.front()] == front and not set(front) & set(FAILED)
    best, status = best_dict(two), status_dict(two, 2000.0)
    assert [row["id"] for row in best["best"]] == [row["id"] for row in status["front"]] == front
    assert [row["id"] for row in best_dict(two, 2)["best"]] == front[:2]
    for row in best["best"]:
        assert row["objectives"] == {name: known()[row["id"]][name] for name in ("accuracy", "multiply_adds")}
    text = best_text(two)
    assert text.startswith(f"Front: {len(front)} of {INDIVIDUALS} individuals,")
    assert "most accuracy on the test set and least multiply_adds." in text
    head, *lines = text.split("\n\n")[2].splitlines()
    assert head.split()[-4:] == ["accuracy", "multiply_adds", "loss", "seconds"]
    assert [line.split()[-3] for line in lines[:-1]] == [f"{known()[id]['multiply_adds']:,}" for id in front]
    assert rows(status_text(two, 2000.0))["front"] == [str(len(front)), "individuals"]
    three = recorded.read(folders["three"])
    assert best_text(three).split("\n\n")[2].splitlines()[0].split()[-4:] == ["loss", "error", "accuracy", "seconds"]


def test_the_command_lists_the_whole_front(tmp_path: Path, menndl: Runner) -> None:
    folder = objective_run.write(tmp_path, objective_run.TWO + objective_run.SIZE + objective_run.LOSS)
    front = [trial.id for trial, _ in recorded.read(folder).front()]
    assert len(front) > 5
    for options, expected in (((), front), (("-n", 2), front[:2])):
        said = menndl("best", folder, "--json", *options)
        assert [row["id"] for row in json.loads(said.stdout)["best"]] == expected
    assert menndl("best", folder).stdout.startswith(f"Front: {len(front)} of {INDIVIDUALS} individuals,")
    refused = menndl("best", folder, "-n", len(front) + 1, "--save", tmp_path / "saved")
    assert refused.returncode == 2 and f"the front has {len(front)} individuals" in refused.stderr


def test_report_files_of_a_front(two: Run, folders: Dict[str, Path], tmp_path: Path) -> None:
    write_report(two, note=lambda text: None, folder=tmp_path)
    assert [int(row["id"]) for row in table(tmp_path / "best.csv")[:-1]] == two_front()
    individuals = table(tmp_path / "individuals.csv")
    assert [int(row["id"]) for row in individuals if row["front"] == "1"] == sorted(two_front())
    assert table(tmp_path / "table_3.csv")[0][f"front of {len(two_front())} sets"]
    assert {path.name for path in tmp_path.glob("front*")} == {"front.png", "front.svg", "front.pdf"}
    three = recorded.read(folders["three"])
    write_report(three, note=lambda text: None, folder=tmp_path / "three")
    assert float(table(tmp_path / "three" / "individuals.csv")[0]["accuracy"]) == (measured(1) or {})["accuracy"]


def test_the_figure_of_a_front(two: Run, folders: Dict[str, Path], tmp_path: Path) -> None:
    figures = pytest.importorskip("menndl_caffe.report.figures")
    everyone, front, default, border = figures.front_figure(two).axes[0].lines
    points = [[known()[id][name] for name in ("accuracy", "multiply_adds")] for id in two_front()]
    assert np.transpose(front.get_data()).tolist() == points
    assert len(everyone.get_xdata()) == len(known()) and len(default.get_xdata()) == 1
    assert np.transpose(border.get_data()).tolist() == sorted(points)
    assert border.get_drawstyle() == "steps-pre"  # to the left of each point lies what it dominates
    less = recorded.read(objective_run.write(tmp_path, objective_run.LOSS + objective_run.SIZE))
    assert figures.front_figure(less).axes[0].lines[-1].get_drawstyle() == "steps-post"
    assert len(figures.front_figure(recorded.read(folders["three"])).axes) == 3


def test_exports_of_several(two: Run, folders: Dict[str, Path], tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    from menndl_caffe.export import csv_files, optuna_study

    study = loaded(optuna, optuna_study.write(two, tmp_path)[0])
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    individuals = [trial for trial in study.trials if trial.user_attrs["role"] != DEFAULT]
    assert {trial.user_attrs["id"]: trial.values for trial in individuals if trial.values} == {
        id: [of["accuracy"], of["multiply_adds"]] for id, of in known().items()}
    found = {trial.user_attrs["id"] for trial in study.best_trials}
    assert found - {0} == set(two_front())
    csv_files.write(recorded.read(folders["three"]), tmp_path)
    for row in table(tmp_path / "trials.csv")[1:]:
        of = known().get(int(row["id"]))
        assert [row["measured_error"], row["measured_accuracy"]] == (
            [str(of["error"]), str(of["accuracy"])] if of else ["", ""])


def test_event_files_of_several(folders: Dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from menndl_caffe.export import event_files

    for kind in ("loss", "three"):
        (folder,) = event_files.write(recorded.read(folders[kind]), tmp_path / kind)
        assert (folder / "trials" / str(ranked("loss", 1)[0])).is_dir()


# ---- the page ----

@pytest.mark.parametrize("kind", ["loss", "two", "three", "size"])
def test_the_page(kind: str, folders: Dict[str, Path], chromium: Any, tmp_path: Path) -> None:
    run = recorded.read(folders[kind])
    write_report(run, note=lambda text: None, folder=tmp_path)
    tab = Tab(chromium, tmp_path / "report.html")
    assert tab.errors == [] and tab.faults() == []
    objective = run.fitness
    order = ranked(objective.measure, 1 if objective.minimize else -1)
    assert tab.page.evaluate("menndl.run.id[menndl.run.best]") == order[0]
    listed = tab.page.evaluate("menndl.parts.table.rows()")
    assert listed[:len(order)] == order and sorted(listed[len(order):]) == FAILED
    assert objective.text(known()[order[0]][objective.measure]) in tab.text(".tiles")
    if len(run.objectives) > 1:
        assert tab.page.evaluate("menndl.parts.front.ids()") == sorted(trial.id for trial, _ in run.front())
    else:
        assert tab.page.locator("#front").count() == 0
    tab.close()


def test_ranges_typed_where_less_is_better(folders: Dict[str, Path], chromium: Any, tmp_path: Path) -> None:
    write_report(recorded.read(folders["loss"]), note=lambda text: None, folder=tmp_path)
    tab = Tab(chromium, tmp_path / "report.html")
    tab.page.locator("#ranges summary").click()
    middle = known()[ranked("loss", 1)[len(known()) // 2]]["loss"]
    tab.page.get_by_label("loss to").fill(str(middle))
    tab.page.get_by_label("loss to").press("Enter")
    shown = set(tab.page.evaluate("menndl.chosen.rows.map((row) => menndl.run.id[row])"))
    assert shown == {id for id, of in known().items() if of["loss"] <= middle}
    assert tab.page.get_by_label("loss to").input_value() == str(middle) and tab.errors == []
    tab.close()


def test_a_comparison_of_losses(folders: Dict[str, Path], loss: Run, two: Run, tmp_path: Path) -> None:
    steps = [step["fitness"] for step in progress(loss)["steps"]]
    assert steps == sorted(steps, reverse=True) and steps[-1] == known()[ranked("loss", 1)[0]]["loss"]
    write_comparison([loss, recorded.read(folders["loss"])], tmp_path)
    with pytest.raises(UserError, match="is of least loss on the test set, .* of most accuracy .* nothing to"):
        write_comparison([loss, two], tmp_path)


# ---- slow or fast ----

@pytest.mark.parametrize("values, expected", [([3.0, 1.0, 2.0], [3, 1, 2]), ([5.0, 5.0, 1.0, 5.0], [3, 3, 1, 3])])
def test_ranks_of_equals_are_their_mean(values: List[float], expected: List[float]) -> None:
    assert ranks(np.array(values)).tolist() == expected


def slow(losses: List[Tuple[float, float]], minimize: bool) -> Any:
    """Of a run of these fitnesses and training times."""
    from tests.test_objective import run_of

    objective = f'objective {{ measure: "loss" minimize: {str(minimize).lower()} }}\n'
    run = run_of([(1, 1, False, 0)] * len(losses), objective)
    for id, (value, seconds) in enumerate(losses):
        run.record.results[id] = Result(id, OK, value, value, engine_seconds=seconds)
    return run


def test_whether_slow_is_good() -> None:
    rising = [(0.1 * i, 2.0 ** i) for i in range(12)]
    found = slowness(slow(rising, minimize=False))
    assert found is not None and (found.rho, found.individuals) == (pytest.approx(1.0), 12)
    assert found.is_clear and found.better
    less = slowness(slow(rising, minimize=True))
    assert less is not None and less.is_clear and not less.better
    shuffled = slowness(slow([(value, (7.0 * i) % 12) for i, (value, _) in enumerate(rising)], minimize=True))
    # Spearman's formula for ranks without equals: 1 - 6 sum d^2 / (n (n^2 - 1))
    d = sum((i - 7 * i % 12) ** 2 for i in range(12))
    assert shuffled is not None and shuffled.rho == pytest.approx(1 - 6 * d / (12 * 143)) and not shuffled.is_clear
    assert slowness(slow(rising[:9], minimize=True)) is None
    assert slowness(slow([(1.0, seconds) for _, seconds in rising], minimize=True)) is None


def test_the_failed_and_the_copied_do_not_count(loss: Run) -> None:
    found = slowness(loss)
    assert found is not None and found.individuals == len(known())
    assert json.dumps(found.rho) and Objective("loss", True) == loss.fitness
