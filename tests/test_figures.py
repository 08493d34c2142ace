"""The paper's figures and Table 3, read back from the files that a report leaves, against numbers worked by hand."""
from __future__ import annotations

import csv
import io
import itertools
import math
import random
import re
import resource
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from menndl_caffe.experiment import recorded
from menndl_caffe.genome import ChoiceGene, Genome, IntGene, RealGene
from menndl_caffe.journal import Journal
from menndl_caffe.report.boxes import Box, Shares, spread
from menndl_caffe.report.files import write_report
from menndl_caffe.trial import Result, Trial
from tests.conftest import REPOSITORY
from tests.support import big_journal, mixed_run

SVG = "{http://www.w3.org/2000/svg}"
FIGURES = ("fitness", "genes", "parallel_coordinates", "network", "network_best")


def report(run: Path) -> Tuple[Path, List[str]]:
    """The folder of a run's report and what was said of what it lacks."""
    notes: List[str] = []
    write_report(recorded.read(run), notes.append)
    return run / "report", notes


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the small run with every kind of gene."""
    folder, notes = report(mixed_run.write(tmp_path_factory.mktemp("mixed")))
    assert notes == []
    return folder


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run of the paper's search, but of few individuals."""
    folder, notes = report(big_journal.write(tmp_path_factory.mktemp("paper"), 40, 6, failures=0.05))
    assert notes == []
    return folder


@pytest.fixture
def svg_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures in one of their kinds, to save time."""
    from menndl_caffe.report.figures import style

    monkeypatch.setattr(style, "METADATA", {"svg": style.METADATA["svg"]})


def table(path: Path) -> List[Dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def texts(svg: Path) -> List[str]:
    return ["".join(element.itertext()) for element in ET.parse(svg).iter(f"{SVG}text")]


def strokes(svg: Path, color: str) -> Iterator[List[Tuple[float, float]]]:
    """The points of every open line of this colour."""
    for path in ET.parse(svg).iter(f"{SVG}path"):
        if f"stroke:{color}" in path.get("style", "").replace(" ", "") and "z" not in path.get("d", "z"):
            numbers = list(map(float, re.findall(r"-?\d+(?:\.\d+)?", path.get("d", ""))))
            yield list(zip(numbers[::2], numbers[1::2]))


def test_box_by_hand() -> None:
    # Sorted: 1 2 3 4 8; quartiles 2, 3, 4, so whiskers reach from -1 to 7.
    box = spread(IntGene("n", 1, 30, 1, 5), 3, [8, 1, 3, 2, 4])
    assert box == Box(3, 5, (2, 3, 4), (1, 4), (8,), 1)
    assert spread(IntGene("n", 1, 30, 1, 5), 3, [7, 1, 3, 2, 4]) == Box(3, 5, (2, 3, 4), (1, 7), (), 0)
    assert spread(IntGene("n", 1, 30, 1, 5), 1, [7]) == Box(1, 1, (7, 7, 7), (7, 7), (), 0)
    twice = spread(IntGene("n", 1, 30, 1, 5), 1, [5] * 8 + [9, 9])
    assert twice == Box(1, 10, (5, 5, 5), (5, 5), (9,), 2)


def test_whiskers_are_matplotlibs() -> None:
    from matplotlib.cbook import boxplot_stats

    chance = random.Random(14)
    by_chance = [[chance.randint(1, 30) for _ in range(size)] for size in range(2, 40)]
    for values in ([1, 1, 1, 10], [1, 10, 10, 10], [7], *by_chance):
        box, known = spread(IntGene("n", 1, 30, 1, 5), 1, values), boxplot_stats(values)[0]
        assert isinstance(box, Box)
        assert (*box.whiskers, *box.quartiles) == pytest.approx(
            [known[name] for name in ("whislo", "whishi", "q1", "med", "q3")])
        assert box.outliers == tuple(sorted(set(known["fliers"]))) and box.outlying == len(known["fliers"])


def test_box_of_a_logarithmic_range() -> None:
    # Exponents -5 -4 -3 -2 -1: quartiles -4, -3, -2 and no outlier, where on a linear scale 0.1 would be one.
    values = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    box = spread(RealGene("lr", 1e-5, 0.1, True, 1e-3), 1, values)
    assert isinstance(box, Box) and box.quartiles == pytest.approx((1e-4, 1e-3, 1e-2)) and box.outliers == ()
    assert box.whiskers == (1e-5, 1e-1)
    linear = spread(RealGene("lr", 1e-5, 0.1, False, 1e-3), 1, values)
    assert isinstance(linear, Box) and linear.outliers == (0.1,)


def test_shares_of_choices() -> None:
    found = spread(ChoiceGene("pool", ("MAX", "AVE", "X"), "MAX"), 2, ["AVE", "MAX", "AVE"])
    assert found == Shares(2, 3, {"MAX": 1, "AVE": 2})


def test_spreads_table(mixed: Path) -> None:
    rows = table(mixed / "genes.csv")
    filters = [row for row in rows if row["gene"] == "filters"]
    # 2 14 22 50 and 14 14 18
    assert [tuple(row[name] for name in ("generation", "individuals", "lower_quartile", "median", "upper_quartile"))
            for row in filters] == [("1", "4", "11", "18", "29"), ("2", "3", "14", "14", "16")]
    assert [(row["generation"], row["choice"], row["count"]) for row in rows if row["gene"] == "pool"] == [
        ("1", "MAX", "1"), ("1", "AVE", "2"), ("1", "STOCHASTIC", "1"), ("2", "MAX", "2"), ("2", "AVE", "1")]


def test_table_3_with_costs(mixed: Path) -> None:
    rows = {row["parameter"]: (row["default"], row["best 5 sets"]) for row in table(mixed / "table_3.csv")}
    # The fittest are 5, 6, 3, 7 and 4. Images of 8x8 become 6x6 by the convolution, 3x3 by pooling.
    # Default, 10 filters, one convolution: 10*9+10 and 9*10*10+10 parameters; 36*9*10 and 9*10*10 multiply-adds.
    # Individual 4, 22 filters, one convolution: 220+1990; individual 6, 18 filters, two: 180+(18*18*9+18)+1630.
    assert rows["parameters"] == ("1010", "2210-4744")
    # Individual 4: 36*9*22+9*22*10 = 9108; individual 6: 36*9*18+36*9*18*18+9*18*10 = 112428.
    assert rows["multiply-adds (millions)"] == ("0.00414", "0.00911-0.112")
    assert rows["filters"] == ("10", "14-22")
    assert rows["base_lr"] == ("0.001", "1e-05 to 0.004")
    assert rows["pool"] == ("MAX", "MAX, AVE")
    assert rows["accuracy"] == ("0.6000", "0.4500-0.7000")
    assert rows["training time (s)"] == ("10", "13-17")
    best = table(mixed / "best.csv")
    assert (best[-1]["place"], best[-1]["parameters"], best[-1]["multiply_adds"]) == ("default", "1010", "4140")


def test_table_3_for_papers(paper: Path) -> None:
    rows = {row["parameter"]: row for row in table(paper / "table_3.csv")}
    # Caffe's cifar10_quick: 2,432 + 25,632 + 51,264 + 65,600 + 650 parameters.
    assert rows["parameters"]["default"] == "145578"
    latex, markdown = (paper / "table_3.tex").read_text(), (paper / "table_3.md").read_text()
    assert r"parameters & 145,578 & " in latex and "| parameters | 145,578 | " in markdown
    low, high = rows["output3"]["best 5 sets"].split("-")
    assert rf"output3 & 64 & {low}--{high} \\" in latex and f"| output3 | 64 | {low}-{high} |" in markdown


def test_network_marks_what_genes_set(mixed: Path) -> None:
    default, best = ({row["layer"]: row for row in table(mixed / name)} for name in ("network.csv", "network_best.csv"))
    assert {name: row["searched"] for name, row in default.items() if row["searched"]} == {
        "conv": "num_output=filters", "pool": "pool=pool", "drop": "dropout_ratio=dropout", "solver": "base_lr=base_lr"}
    assert best["conv_b"]["searched"] == "layer=second num_output=filters" and "conv_b" not in default
    assert (default["conv"]["output"], default["conv"]["parameters"]) == ("10 x 6 x 6", "100")
    assert best["solver"]["settings"] == "base_lr=0.004"


def red_texts(svg: Path) -> List[str]:
    """Those in the colour of what the search sets, from the top down."""
    return ["".join(element.itertext()) for element in ET.parse(svg).iter(f"{SVG}text")
            if "#d55e00" in element.get("style", "")]


def test_network_figure(paper: Path, mixed: Path) -> None:
    # The paper's Figure 1: its red values are the defaults of what is searched.
    assert sorted(red_texts(paper / "network.svg")) == sorted(["32", "5", "32", "5", "64", "5", "set by the search"])
    assert red_texts(mixed / "network_best.svg") == ["14", "Convolution", "14", "MAX", "0.3", "0.004",
                                                     "set by the search"]
    assert {"conv1", "pool1", "relu1", "SoftmaxWithLoss", "32 × 16 × 16"} <= set(texts(paper / "network.svg"))


@pytest.mark.usefixtures("svg_alone")
def test_without_templates_the_kept_nets_are_compared(tmp_path: Path) -> None:
    run = big_journal.write(tmp_path, 6, 2)
    first, rest = (run / "journal.jsonl").read_text().split("\n", 1)
    changed = first.replace('"templates": {"net": "', '"templates": {"net": "0')
    (run / "journal.jsonl").write_text(f"{changed}\n{rest}")
    folder, notes = report(run)
    assert len(notes) == 1 and "has changed since the run" in notes[0] and "trials/" in notes[0]
    default, best = (table(folder / f"{name}.csv") for name in ("network", "network_best"))
    for before, after in zip(default, best):
        differs = before["settings"] != after["settings"]
        assert bool(before["searched"]) == bool(after["searched"]) == differs
    assert "not the same in the default and the best" in texts(folder / "network.svg")
    assert table(folder / "best.csv")[-1]["parameters"] == "145578"


@pytest.mark.usefixtures("svg_alone")
def test_without_any_net_there_is_no_figure_1(tmp_path: Path) -> None:
    run = mixed_run.write(tmp_path)
    (tmp_path / "net.j2").unlink()
    folder, notes = report(run)
    assert len(notes) == 1 and re.match(r"network: not drawn: .*net\.j2 is not here", notes[0])
    assert sorted(path.stem for path in folder.glob("*.svg")) == ["fitness", "genes", "parallel_coordinates"]
    assert {row["parameter"]: row["default"] for row in table(folder / "table_3.csv")}["parameters"] == "-"


@pytest.mark.usefixtures("svg_alone")
def test_images_of_unknown_shape_are_said_to_be_so(tmp_path: Path) -> None:
    run = mixed_run.write(tmp_path)
    path = run / "journal.jsonl"
    path.write_text(path.read_text().replace('"image_shape": [1, 8, 8], ', ""))
    folder, notes = report(run)
    assert len(notes) == 1 and "does not tell the shape of the images" in notes[0]
    assert table(folder / "network.csv")[1]["output"] == ""


def test_parallel_coordinates(mixed: Path) -> None:
    axes = sorted((line for line in strokes(mixed / "parallel_coordinates.svg", "#000000")
                   if len(line) == 2 and line[0][0] == line[1][0]), key=lambda line: line[0])
    assert len(axes) == 7  # generation, five genes, accuracy
    (_, bottom), (_, top) = axes[0]
    best = list(strokes(mixed / "parallel_coordinates.svg", "#8e2a7b"))
    assert len(best) == 5 + 1  # and the legend's
    fittest = [(bottom - y) / (bottom - top) for _, y in best[4]]
    # Individual 5: generation 2 of 2; 14 is the fourth of 13 numbers of filters; 0.004 on a scale of 4 decades; 0.3 of
    # 0.9; the first of three and of two choices; the highest accuracy.
    assert fittest == pytest.approx([3 / 4, 3.5 / 13, math.log10(0.004 / 1e-5) / 4, 1 / 3, 1 / 6, 1 / 4, 1], abs=0.002)
    written = texts(mixed / "parallel_coordinates.svg")
    for text in ("generation", "filters", "accuracy", "0.3", "0.7", "failed", "best 5 sets", "default",
                 "all 7 individuals"):
        assert text in written


@pytest.mark.usefixtures("svg_alone")
def test_a_search_without_generations(tmp_path: Path) -> None:
    run = mixed_run.write(tmp_path)
    path = run / "journal.jsonl"
    path.write_text(re.sub(r'"generation": \d', '"generation": null', path.read_text()).replace(
        '"total": 8, "generations": 2', '"total": 50'))
    read = recorded.read(run)
    stages = read.stages
    assert (stages.name, stages.plural) == ("group of 3", "groups of 3")
    assert (stages.planned, stages.begun, stages.until) == (17, 3, 17)  # 50 in at most 20 groups
    assert [stages.of(trial) for trial, _ in read.record.individuals()] == [1, 1, 1, 2, 2, 2, 3]
    assert [stages.size(number) for number in (1, 16, 17)] == [3, 3, 2] and stages.of(read.record.trials[0]) is None
    folder, _ = report(run)
    assert [row["group of 3"] for row in table(folder / "generations.csv")] == ["1", "2", "3"]
    assert "group of 3" in texts(folder / "parallel_coordinates.svg")


@pytest.mark.usefixtures("svg_alone")
@pytest.mark.parametrize("trials", [[1], [0, 1], [2]], ids=["failed", "failed and default", "one"])
def test_runs_that_have_just_begun(tmp_path: Path, trials: List[int]) -> None:
    folder, notes = report(mixed_run.write(tmp_path, [mixed_run.TRIALS[i] for i in trials], generations=1))
    assert notes == []
    assert (folder / "network_best.svg").exists() == (2 in trials)
    written = texts(folder / "parallel_coordinates.svg")
    assert ("failed" in written) == (1 in trials) and ("default" in written) == (0 in trials)


@pytest.mark.parametrize("which", ["mixed", "paper"])
def test_files_fit_for_a_paper(which: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(which)
    for name in FIGURES:
        root = ET.parse(folder / f"{name}.svg").getroot()
        assert root.get("width") == "237.6pt" == f"{72 * 3.3:g}pt"  # one column
        sizes = [float(size) for element in root.iter(f"{SVG}text")
                 for size in re.findall(r"font(?:-size)?:[^;]*?([\d.]+)px", element.get("style", ""))]
        assert sizes and min(sizes) >= 7
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (folder / f"{name}.svg").stat().st_size < 1_500_000


def draws(run: Path) -> Dict[str, Callable[[], Any]]:
    """What draws each figure of a run, by its name."""
    from menndl_caffe.report import figures
    from menndl_caffe.report.boxes import spreads
    from menndl_caffe.report.nets import Nets
    from menndl_caffe.report.network import network
    from menndl_caffe.report.summary import generations

    read = recorded.read(run)
    stages, default = read.stages, read.record.trials[0]
    return {
        "fitness": lambda: figures.fitness_figure(read, generations(read), stages, read.record.default()),
        "genes": lambda: figures.genes_figure(spreads(read), read.space, stages),
        "parallel": lambda: figures.parallel_figure(read),
        "network": lambda: figures.network_figure(network(Nets(read), default, None))}


@pytest.mark.parametrize("name", ["fitness", "genes", "parallel", "network"])
@pytest.mark.parametrize("which", ["mixed", "paper"])
def test_no_text_lies_on_another_or_outside(which: str, name: str, request: pytest.FixtureRequest,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    check_texts(draws(request.getfixturevalue(which).parent)[name], monkeypatch)


def test_no_text_of_many_genes_lies_on_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """19 genes with names and ranges as nets of Caffe have them: Figure 2 takes two rows, each with the fitness."""
    kinds = [("kernel_size", "int_range { min: 1 max: 11 step: 2 } default: 1", 1),
             ("num_output", "int_range { min: 8 max: 256 step: 8 } default: 8", 8),
             ("rate", "real_range { min: 0.000001 max: 0.1 scale: LOG } default: 0.001", 0.001),
             ("pool", 'choice { value: "MAX" value: "STOCHASTIC" default: "MAX" }', "MAX")]
    genes = [(f"conv{i}_{name}", kind, default) for i in range(5) for name, kind, default in kinds][:19]
    declared = "".join(f'gene {{ name: "{name}" {kind} }}\n' for name, kind, _ in genes)
    net, solver = tmp_path / "net.j2", tmp_path / "solver.j2"
    net.write_text(mixed_run.NET)
    solver.write_text(mixed_run.SOLVER)
    search = (f'net: "{net}"\nsolver: "{solver}"\nga_param {{ population: 4 generations: 1 }}\n{declared}'
              "max_iter: 500\nrandom_seed: 9\n")
    with Journal(tmp_path / "run", fsync=False) as journal:
        journal.begin({"search": search, "engine": "caffe", "seed": 9, "total": 4, "generations": 1, "started": 1.0})
        for id in range(4):
            values = [default for *_, default in genes]
            journal.add_trial(Trial(id, Genome(tuple(name for name, *_ in genes), tuple(values)), id, 500, 0))
            journal.add_result(Result(id, "ok", 0.5 + id / 10, 1.0, seconds=1.0))
    figure = draws_parallel(tmp_path / "run")
    check_texts(figure, monkeypatch)
    names = [text.get_text() for axes in figure().axes for text in axes.texts]
    assert names.count("accuracy") == 2 and all(name in names for name, *_ in genes)


def draws_parallel(run: Path) -> Callable[[], Any]:
    """What draws Figure 2 of a run."""
    from menndl_caffe.report import figures

    return lambda: figures.parallel_figure(recorded.read(run))


def test_the_best_so_far_is_a_step(mixed: Path) -> None:
    steps = [line for line in strokes(mixed / "fitness.svg", "#0072b2") if len(line) == 3]
    (x0, y0), (x1, y1), (x2, y2) = steps[0]  # two generations
    assert x0 < x1 == x2 and y0 == y1 > y2


def check_texts(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """That no text of the figure lies on another one, or outside of it."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    from menndl_caffe.report.figures.style import STYLE

    shown: Dict[Text, Any] = {}
    draw = Text.draw

    def drawn(self: Text, renderer: Any) -> None:
        draw(self, renderer)
        if self.get_text() and self.get_visible():
            shown[self] = self.get_window_extent(renderer)

    with matplotlib.rc_context(STYLE):
        figure = make()
        monkeypatch.setattr(Text, "draw", drawn)
        FigureCanvasAgg(figure).draw()
    assert len(shown) > 10
    for text, box in shown.items():
        assert figure.bbox.padded(1).contains(box.x0, box.y0) and figure.bbox.padded(1).contains(box.x1, box.y1), text
    upright = [text for text in shown if text.get_rotation() in (0, 90)]  # the boxes around slanted ones are too large
    for one, other in itertools.combinations(upright, 2):
        assert not shown[one].padded(-1).overlaps(shown[other].padded(-1)), (one, other)


@pytest.mark.slow
def test_the_whole_experiment_of_the_paper(tmp_path: Path) -> None:
    start = time.process_time()
    run = big_journal.write(tmp_path)
    playing = time.process_time() - start
    code = ("import sys, pathlib; from menndl_caffe.experiment import recorded; "
            "from menndl_caffe.report.files import write_report; "
            "write_report(recorded.read(pathlib.Path(sys.argv[1]))); "
            "print(pathlib.Path('/proc/self/status').read_text())")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    status = subprocess.run([sys.executable, "-c", code, str(run)], check=True, cwd=REPOSITORY, text=True,
                            stdout=subprocess.PIPE).stdout
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    assert used < 10 * playing  # 20 s for tables, figures and page where the search is played in 2
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", status, flags=re.MULTILINE)  # its own; ru_maxrss is of any child so far
    assert peak and int(peak[1]) < 1_000_000
    assert all((run / "report" / f"{name}.svg").stat().st_size < 1_500_000 for name in FIGURES)
