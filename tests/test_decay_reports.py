"""Every reader of a run whose trainings learned decays: what they were, the way there, what a hypernet predicted."""
from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.export import csv_files
from menndl_caffe.files import sha256_of
from menndl_caffe.report.best import best_dict, best_text
from menndl_caffe.report.decays import Decays, best_decays
from menndl_caffe.report.files import write_comparison, write_report
from menndl_caffe.report.nets import Nets
from menndl_caffe.report.status import status_dict, status_text
from menndl_caffe.report.summary import learned_text
from tests.support import decay_run, gradient_run, mixed_run
from tests.support.browser import WIDTHS, Tab
from tests.support.decay_run import CURVE, LAYER, WAY, WEIGHTS
from tests.support.page_tools import painted, written
from tests.test_export import library, scalars
from tests.test_figures import check_texts, texts

KINDS = {"named": LAYER, "histogram": WEIGHTS, "way": WAY, "curve": CURVE}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    return {name: decay_run.write(tmp_path_factory.mktemp(name), learned) for name, learned in KINDS.items()}


@pytest.fixture(scope="module")
def runs(folders: Dict[str, Path]) -> Dict[str, Run]:
    return {name: recorded.read(folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search whose trainings learn no decays."""
    return recorded.read(mixed_run.write(tmp_path_factory.mktemp("plain")))


def table(file: Path) -> List[Dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def first(run: Run) -> Decays:
    """What the best individual learned."""
    return best_decays(run, Nets(run))[0]


# ---- status and best ----

def test_what_was_learned_is_said_in_a_line(runs: Dict[str, Run]) -> None:
    several = "2 (PER_BLOB), geometric mean 0.001, from 0.0005 to 0.002"
    assert f"\ndecays      {several}\n" in status_text(runs["named"], 2000.0)
    assert f"\ndecays: the best individual learned {several}.\n" in best_text(runs["named"])
    assert "\ndecays      1 (PER_NET), 0.003\n" in status_text(runs["way"], 2000.0)
    status, best = status_dict(runs["named"], 2000.0), best_dict(runs["named"])
    assert status["best"]["learned"]["values"] == LAYER["values"] == best["best"][0]["learned"]["values"]
    assert "learned" not in best["test"] and "learned" not in best["default"]


def test_other_searches_know_nothing_of_it(plain: Run, tmp_path: Path) -> None:
    said = json.dumps([status_dict(plain, 2000.0), best_dict(plain)]) + status_text(plain, 1.0) + best_text(plain)
    assert "decays" not in said and "learned" not in said
    csv_files.write(plain, tmp_path)
    assert "learned_mean" not in table(tmp_path / "trials.csv")[0]
    write_report(plain, note=lambda text: None, folder=tmp_path / "report")
    assert not [path for path in (tmp_path / "report").iterdir() if path.stem == "decays"]


def test_a_descent_that_ended_early_says_so(chromium: Any, tmp_path: Path) -> None:
    by = {"method": "HOAG", "steps": 2, "gradients": 90, "distrust": ""}
    assert learned_text({**LAYER, "by": by}).endswith("to 0.002, by HOAG in 2 steps")
    folder = decay_run.write(tmp_path, {**LAYER, "by": {**by, "distrust": "negative curvature <-0.31>"}})
    said = "a gradient was not trusted: negative curvature <-0.31>"
    run = recorded.read(folder)
    assert f"by HOAG in 2 steps, then {said}\n" in status_text(run, 2000.0) and first(run).unit == "step of the decays"
    tab = Tab(chromium, written(folder))
    assert f"The decays of individual 2 went no further, as {said}." in tab.text("#decays") and tab.faults() == []
    tab.close()


# ---- the decay of each weight ----

def test_the_histogram(runs: Dict[str, Run]) -> None:
    found = first(runs["histogram"])
    assert found.trial.id == 2 and found.missing == "" and found.histogram is not None
    # From 1e-4 to e times as much, ten bins over that and half of a bin's least width to either side.
    edges, weights, without = found.histogram
    assert np.log(edges) == pytest.approx(math.log(1e-4) + np.linspace(-0.05, 1.05, 11))
    assert weights == [320, 0, 0, 0, 0, 0, 0, 0, 0, 320] and without == 10
    assert found.stated == pytest.approx([0.001, 0.002])
    assert found.named == {} and first(runs["named"]).named == LAYER["values"]


def test_decays_that_are_all_the_same_have_one_bin(tmp_path: Path) -> None:
    run = recorded.read(decay_run.write(tmp_path, WEIGHTS, {"ip[0]": np.full((10, 64), 0.01), "ip[1]": np.zeros(10)}))
    histogram = first(run).histogram
    assert histogram is not None and histogram.weights == [640] and len(histogram.edges) == 2


def test_only_files_of_the_run_that_are_what_was_learned_are_read(tmp_path: Path) -> None:
    folder = decay_run.write(tmp_path, WEIGHTS)
    file = folder / "trials" / "2" / "learned.npz"
    elsewhere = tmp_path / "elsewhere.npz"

    def missing() -> str:
        found = first(recorded.read(folder))
        assert (found.histogram is None) == bool(found.missing)
        return found.missing

    assert missing() == ""
    file.rename(elsewhere)
    assert missing() == "trials/2/learned.npz is not there"
    file.symlink_to(elsewhere)
    assert missing() == "trials/2/learned.npz is no file of this run"
    file.unlink()
    file.mkdir()
    assert missing() == "trials/2/learned.npz is no file of this run"
    file.rmdir()
    file.write_bytes(elsewhere.read_bytes() + b" ")
    assert missing() == "trials/2/learned.npz is not what was learned: its SHA-256 is another one"
    (folder / "trials" / "2").rename(tmp_path / "2")
    elsewhere.rename(tmp_path / "2" / "learned.npz")
    (folder / "trials" / "2").symlink_to(tmp_path / "2")
    assert missing() == "trials/2/learned.npz is no file of this run"


@pytest.mark.parametrize("arrays", [
    {"ip[0]": np.zeros(650)}, {"ip[0]": np.linspace(-1, 1, 650)}, {"ip[0]": np.full(650, np.nan)},
    {"ip[0]": np.ones(650, dtype=np.float32)}, {"ip[0]": np.array([{}] * 650)}, {}])
def test_a_file_of_anything_else_is_none(tmp_path: Path, arrays: Dict[str, np.ndarray]) -> None:
    folder = decay_run.write(tmp_path, WEIGHTS)
    of_run = recorded.read(folder)
    np.savez(folder / "trials" / "2" / "learned.npz", **arrays)  # type: ignore[arg-type,unused-ignore]
    told(of_run, 2)
    assert first(of_run).missing == "trials/2/learned.npz holds no decays"
    (folder / "trials" / "2" / "learned.npz").write_text("no arrays at all")
    told(of_run, 2)
    assert first(of_run).missing == "trials/2/learned.npz holds no decays"


def told(run: Run, id: int) -> None:
    """The journal has the hash of the file that lies there."""
    file = run.folder / "trials" / str(id) / "learned.npz"
    result = run.record.results[id]
    run.record.results[id] = replace(result, learned={**result.learned, "sha256": sha256_of(file)})


def test_an_individual_met_again_has_the_file_of_the_first(tmp_path: Path) -> None:
    run = recorded.read(decay_run.write(tmp_path, WEIGHTS))
    del run.record.results[2]
    found = first(run)
    assert (found.trial.id, found.result.same_as) == (4, 2) and found.histogram is not None


def test_without_the_templates_it_is_not_known_what_was_stated(tmp_path: Path) -> None:
    folder = decay_run.write(tmp_path, LAYER)
    (tmp_path / "solver.j2").write_text(decay_run.SOLVER + "# another\n")
    assert first(recorded.read(folder)).stated == []


def test_predictions_on_the_way_are_no_curve(runs: Dict[str, Run]) -> None:
    assert not first(runs["way"]).is_curve and first(runs["curve"]).is_curve
    assert first(runs["way"]).unit == "step of the decays" and first(runs["named"]).unit == "iteration"
    assert first(runs["named"]).predicted == []


def test_a_curve_of_as_many_points_as_the_way_is_a_curve(tmp_path: Path) -> None:
    curve = {"loss": 0.6, "points": [[0.001, 0.7], [0.003, 0.6], [0.01, 0.8]]}
    assert first(recorded.read(decay_run.write(tmp_path, {**WAY, "predicted": curve}))).is_curve


def test_what_has_no_logarithm_is_not_drawn(tmp_path: Path) -> None:
    run = recorded.read(decay_run.write(tmp_path, {**LAYER, "quantiles": [0.0, 1.0]}))
    assert best_decays(run, Nets(run)) == []
    write_report(run, note=lambda text: None, folder=tmp_path / "report")
    assert not (tmp_path / "report" / "decays.svg").exists() and (tmp_path / "report" / "decays.csv").exists()


# ---- the report's files ----

def test_the_table(runs: Dict[str, Run], tmp_path: Path) -> None:
    write_report(runs["way"], note=lambda text: None, folder=tmp_path)
    rows = table(tmp_path / "decays.csv")
    assert [row["id"] for row in rows] == ["1", "2", "4"]
    assert rows[1] == {"id": "2", "status": "ok", "groups": "PER_NET", "decays": "1", "mean": "0.003",
                       **dict.fromkeys(("lowest", "lower_quartile", "median", "upper_quartile", "highest"), "0.003"),
                       "predicted_loss": "0.600000", "loss": "0.650000"}
    assert {path.suffix for path in tmp_path.glob("decays.*")} == {".csv", ".png", ".svg", ".pdf"}
    shown = texts(tmp_path / "decays.svg")
    for text in ("stated", "geometric mean", "predicted, of one batch each", "predicted in the end", "measured",
                 "individual 2: accuracy 0.7500", "1 decay, PER_NET", "step of the decays", "validation loss", "net"):
        assert text in shown
    assert "range" not in shown, "of one decay there is none"


def axes_of(run: Run) -> Any:
    """Of the best individual, the panels of the figure; the first is the legend's."""
    figures = pytest.importorskip("menndl_caffe.report.figures")
    found = best_decays(run, Nets(run))
    columns = 3 if found[0].predicted else 2
    return figures.decays_figure(run, found).axes[1:1 + columns]


def points(axes: Any, line: str = "None", marker: str = "None") -> List[List[Tuple[float, float]]]:
    """Of the lines that look so."""
    return [list(zip(one.get_xdata(), one.get_ydata())) for one in axes.lines
            if str(one.get_linestyle()) in (line, "") and str(one.get_marker() or "None") == marker]


def test_the_figure_of_few_decays(runs: Dict[str, Run]) -> None:
    which, way = axes_of(runs["named"])
    assert points(which, marker="o") == [[(0.0005, 0), (0.002, 1)]]
    assert [label.get_text() for label in which.get_yticklabels()] == ["ip[0]", "ip[1]"]
    assert [line.get_xdata()[0] for line in which.lines[1:]] == pytest.approx([0.001, 0.002])
    assert points(way, line="-") == [[(10, 0.0012), (20, 0.001)]]
    band = way.collections[0].get_paths()[0].vertices.tolist()
    assert [10, 0.00144] in band and [20, 0.0005] in band and [20, 0.002] in band
    assert (which.get_xscale(), way.get_yscale(), way.get_xlabel()) == ("log", "log", "")
    assert which.get_xlim() == way.get_ylim() == pytest.approx((1e-4, 1e-2), rel=1e-9)


def test_the_figure_of_many_decays(runs: Dict[str, Run], tmp_path: Path) -> None:
    which, _ = axes_of(runs["histogram"])
    values, edges, _ = which.patches[0].get_data()
    assert list(values) == [320, *[0] * 8, 320] and edges[0] == pytest.approx(1e-4 * math.exp(-0.05))
    assert which.get_ylabel() == "weights"
    folder = decay_run.write(tmp_path, WEIGHTS)
    (folder / "trials" / "2" / "learned.npz").unlink()
    which, _ = axes_of(recorded.read(folder))
    assert which.get_ylabel() == "quantiles"
    whole, middle, median = (line.get_xdata().tolist() if hasattr(line.get_xdata(), "tolist") else line.get_xdata()
                             for line in which.lines[:3])
    assert (list(whole), list(middle), list(median)) == ([1e-4, 1e-3], [1.5e-4, 4e-4], [2e-4])


def test_the_figure_of_predictions(runs: Dict[str, Run]) -> None:
    of_way, of_curve = (axes_of(runs[name])[2] for name in ("way", "curve"))
    assert points(of_way, marker=".") == [[(0.01, 0.9), (0.005, 0.5)]]
    assert points(of_curve, line="-") == [[(0.001, 0.7), (0.003, 0.6), (0.01, 0.8), (0.1, 1.9)]]
    for axes in (of_way, of_curve):
        assert points(axes, marker="D") == [[(0.003, 0.6)]] and points(axes, marker="s") == [[(0.003, 0.65)]]


@pytest.mark.parametrize("name", KINDS)
def test_no_text_of_the_figure_lies_on_another(runs: Dict[str, Run], name: str, monkeypatch: pytest.MonkeyPatch
                                               ) -> None:
    figures = pytest.importorskip("menndl_caffe.report.figures")
    run = runs[name]
    check_texts(lambda: figures.decays_figure(run, best_decays(run, Nets(run))), monkeypatch)


def test_names_may_be_many_and_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = pytest.importorskip("menndl_caffe.report.figures")
    values = {f"a_convolution_of_the_net_{place}[0]": 1e-6 * 3 ** place for place in range(12)}
    run = recorded.read(decay_run.write(tmp_path, {**LAYER, "count": 12, "values": values}))
    assert first(run).named == values
    named = [label.get_text() for label in axes_of(run)[0].get_yticklabels()]
    assert len(set(named)) == 12 and all(text.startswith("…") and text.endswith("[0]") for text in named)
    check_texts(lambda: figures.decays_figure(run, best_decays(run, Nets(run))), monkeypatch)


# ---- exports ----

def test_trials_csv_has_the_mean(runs: Dict[str, Run], tmp_path: Path) -> None:
    csv_files.write(runs["named"], tmp_path)
    means = {row["id"]: row["learned_mean"] for row in table(tmp_path / "trials.csv")}
    assert means == {"0": "", "1": "0.001", "2": "0.001", "3": "", "4": "0.001", "5": "", "6": ""}


def test_tensorboard_reads_the_way_of_the_decays(runs: Dict[str, Run], tmp_path: Path) -> None:
    library("tensorboard")
    from menndl_caffe.export import event_files

    logs = event_files.write(runs["named"], tmp_path)[0]
    for place, name in enumerate(("mean", "lowest", "highest"), 1):
        found = scalars(logs / "trials" / "2", f"learned_decay/{name}")
        assert [(step, value) for _, step, value in found] == [(row[0], row[place]) for row in LAYER["curve"]]
    assert not (logs / "descents").exists()


def test_tensorboard_reads_the_descents(tmp_path: Path) -> None:
    library("tensorboard")
    from menndl_caffe.export import event_files

    logs = event_files.write(recorded.read(gradient_run.write(tmp_path)), tmp_path)[0]
    assert {folder.name for folder in (logs / "descents").iterdir()} == {"1", "2"}

    def steps(descent: str, tag: str) -> List[Tuple[int, float]]:
        return [(step, value) for _, step, value in scalars(logs / "descents" / descent, tag)]

    # The gradient of the fourth step is not trusted; the second step of the second descent failed.
    assert steps("1", "gradient/decay") == [(1, 0.02), (2, 0.01), (3, 0.002)]
    assert steps("1", "genes/of_biases") == [(1, 1.0), (2, 1.2), (3, 1.44), (4, 1.73)]
    assert steps("2", "loss") == [(1, 1.4), (3, 1.1), (4, 0.95)]


def test_tensorboard_is_not_given_more_descents_than_it_shows_at_first(tmp_path: Path) -> None:
    library("tensorboard")
    from menndl_caffe.export import event_files
    from tests.test_gradient_reports import many

    steps = [row._replace(genes=(0.05 / (place + 1), 1.0)) for place, row in enumerate(many(40))]
    logs = event_files.write(recorded.read(gradient_run.write(tmp_path, steps)), tmp_path)[0]
    assert {int(path.name) for path in (logs / "descents").iterdir()} == set(range(31, 41))
    assert len(list((logs / "trials").iterdir())) == 21
    assert len({path.parent for path in logs.rglob("events*")}) <= 40


# ---- the page and the comparison ----

@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name, shown, legend", [
    ("named", "named", "stated geometric mean range"), ("histogram", "histogram", "stated geometric mean range"),
    ("way", "named", "stated geometric mean predicted, of one batch each predicted in the end measured"),
    ("curve", "named", "stated geometric mean predicted predicted in the end measured")])
def test_the_page(chromium: Any, folders: Dict[str, Path], name: str, shown: str, legend: str, width: int) -> None:
    tab = Tab(chromium, written(folders[name]), width)
    assert tab.faults() == []
    assert tab.page.evaluate("menndl.parts.decays.shown()") == [[2, shown], [1, shown]]
    assert tab.text("#decays-legend") == legend
    assert tab.page.locator("#decays-plots figure").count() == 2 * (2 if name in ("named", "histogram") else 3)
    assert ("of one validation batch each" in tab.text("#decays p")) == (name == "way")
    assert "The yardstick is better than the best individual" in tab.text("#test-set .notice")
    assert "plainly, with the decays that it learned" in tab.text("#test-set > p:last-of-type")
    tab.page.locator("#decays [data-show='1']").click()
    assert "decays" in tab.text("#panel") and f"({KINDS[name]['groups']})" in tab.text("#panel")
    tab.close()


def test_the_plots_show_what_was_learned(chromium: Any, folders: Dict[str, Path]) -> None:
    blue, black, orange, purple = (0, 114, 178), (27, 31, 36), (194, 65, 12), (204, 121, 167)
    tab = Tab(chromium, written(folders["histogram"]))
    bars = {x for x, _ in painted(tab, "decays-of-2", blue)}
    gap = [x for x in range(min(bars), max(bars)) if x not in bars]
    assert len(gap) > 5 * min(gap[0] - min(bars), max(bars) - gap[-1]), "half of the weights at either end"
    stated = sorted({x for x, _ in painted(tab, "decays-of-2", black)})
    assert stated and stated[0] > max(bars) and len(stated) <= 6, "two lines, above all that was learned"
    tab.close()
    tab = Tab(chromium, written(folders["way"]))
    measured, predicted = (middle(painted(tab, "predictions-of-2", colour)) for colour in (orange, purple))
    assert abs(measured[0] - predicted[0]) < 2 and measured[1] < predicted[1] - 3, "0.65 is more than 0.6"
    tab.close()


def middle(pixels: List[Tuple[int, int]]) -> Tuple[float, float]:
    return float(np.mean([x for x, _ in pixels])), float(np.mean([y for _, y in pixels]))


def test_the_table_of_the_page(chromium: Any, folders: Dict[str, Path]) -> None:
    tab = Tab(chromium, written(folders["way"]))
    assert tab.table("#decays table") == [
        ["2", "PER_NET", "1", "0.001, 0.002", "0.003", "0.003", "0.003", "10", "0.6000", "0.6500"],
        ["1", "PER_NET", "1", "0.001, 0.002", "0.003", "0.003", "0.003", "10", "0.6000", "0.8000"]]
    assert tab.table("#test-set table")[0] == ["best individual", "0.8800", "0.7000", "0.6500", "0.7500", "training"]
    tab.close()


def test_the_page_says_where_files_are_missing(chromium: Any, tmp_path: Path) -> None:
    folder = decay_run.write(tmp_path, WEIGHTS)
    (folder / "trials" / "2" / "learned.npz").unlink()
    tab = Tab(chromium, written(folder))
    assert tab.faults() == []
    assert tab.page.evaluate("menndl.parts.decays.shown()") == [[2, "quantiles"], [1, "histogram"]]
    assert "The journal's quantiles stand for the decay of each weight: trials/2/learned.npz is not there." in tab.text(
        "#decays > p:nth-of-type(2)")
    tab.close()


def test_names_on_the_page_may_be_many_and_odd(chromium: Any, tmp_path: Path) -> None:
    values = {f"<b>convolution</b> \u202e{place}": 1e-6 * 3 ** place for place in range(12)}
    tab = Tab(chromium, written(decay_run.write(tmp_path, {**LAYER, "count": 12, "values": values})), WIDTHS[1])
    assert tab.faults() == [] and tab.page.locator("#decays b").count() == 0
    tab.close()


def test_other_pages_have_no_such_section(chromium: Any, plain: Run) -> None:
    tab = Tab(chromium, written(plain.folder))
    assert tab.page.locator("#decays").count() == 0 and tab.errors == []
    tab.close()


@pytest.mark.parametrize("name", ["named", "way"])
def test_the_comparison_has_the_yardstick(chromium: Any, runs: Dict[str, Run], plain: Run, tmp_path: Path, name: str
                                          ) -> None:
    tab = Tab(chromium, write_comparison([runs[name], plain], tmp_path))
    assert [row[6:8] for row in tab.table("#summary table")] == [["0.7000", "0.7300"], ["–", "–"]]
    assert tab.faults() == []
    tab.close()
