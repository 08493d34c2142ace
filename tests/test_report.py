"""What a run's journal is said to hold: one journal made by hand, every number of it worked out here by hand."""
from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_caffe import journal, report
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded as recorded_run
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.files import sha256_of
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.record import Record
from menndl_caffe.report.best import best_dict, best_text
from menndl_caffe.report.busy import BusyTime
from menndl_caffe.report.files import write_report
from menndl_caffe.report.nets import Nets
from menndl_caffe.report.status import status_dict, status_text
from menndl_caffe.report.summary import generations
from menndl_caffe.text import interval
from menndl_caffe.trial import DEFAULT, INDIVIDUAL, TEST, Result, Trial

SEARCH = """\
net: "net.j2"
solver: "solver.j2"
ga_param { population: 4 generations: 3 }
gene { name: "kernel1" int_range { min: 1 max: 8 } default: 5 }
gene { name: "base_lr" real_range { min: 0.00001 max: 0.1 scale: LOG } default: 0.001 }
gene { name: "pool" choice { value: "MAX" value: "AVE" value: "STOCHASTIC" default: "MAX" } }
max_iter: 500
random_seed: 9
"""
RUN = {"search": SEARCH, "engine": "caffe", "versions": {}, "seed": 9, "host": "node1", "command": "menndl run x",
       "test_images": 1000, "total": 12, "generations": 3,
       "started": 990.0, "data": "50000 images", "data_folder": "data/cifar10"}

# Two ranks; the run stood still from 1030 to 2000. Individual 4 is 2 met again, 8 is being trained.
#        id generation genes                     status      fitness loss  started seconds
TRIALS: List[Tuple[Any, ...]] = [
    (0, None, (5, 0.001, "MAX"), "ok", 0.70, 0.90, 1000, 10),
    (1, 0, (8, 0.0123456, "AVE"), "ok", 0.60, 1.20, 1010, 10),
    (2, 0, (3, 0.001, "MAX"), "ok", 0.72, 0.85, 1010, 20),
    (3, 0, (1, 0.1, "MAX"), "diverged", 0.0, None, 1020, 10),
    (4, 0, (3, 0.001, "MAX"), "ok", 0.72, 0.85, 1010, 0),
    (5, 1, (4, 0.002, "AVE"), "ok", 0.74, 0.80, 2000, 10),
    (6, 1, (2, 0.05, "AVE"), "crashed", 0.0, None, 2000, 4),
    (7, 1, (3, 0.00001, "MAX"), "ok", 0.71, 0.88, 2005, 10),
    (8, 1, (6, 0.002, "MAX"), None, None, None, None, None),
]
REASONS = {"diverged": "loss is nan", "crashed": "killed by signal 9, \"oom\""}


def record(folder: Path, trials: List[Tuple[Any, ...]], **run: Any) -> Run:
    """Write these trials into the journal of `folder`, and read it back."""
    with Journal(folder, fsync=False) as writer:
        writer.begin({**RUN, **run})
        for id, generation, genes, status, fitness, loss, started, seconds in trials:
            role = INDIVIDUAL if generation is not None else DEFAULT if id == 0 else TEST
            writer.add_trial(Trial(id, Genome(("kernel1", "base_lr", "pool"), genes), 7, 500, generation, role))
            if status:
                writer.add_result(Result(id, status, fitness, loss, REASONS.get(status, ""), (), started, seconds,
                                         rank=id % 2, host="node1", same_as=2 if id == 4 else None))
    return recorded_run.read(folder)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    record(tmp_path, TRIALS)
    return tmp_path


@pytest.fixture
def recorded(run: Path) -> Run:
    return recorded_run.read(run)


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same run with its report."""
    run = tmp_path_factory.mktemp("reported")
    write_report(record(run, TRIALS))
    return run


def table(path: Path) -> List[Dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_status_counts(recorded: Run) -> None:
    status = status_dict(recorded, now=2100.0)
    assert (status["generation"], status["generations"]) == (2, 3)
    assert (status["done"], status["total"], status["reused"], status["unfinished"]) == (7, 12, 1, 1)
    assert status["failed"] == {"diverged": 1, "crashed": 1}
    assert (status["last_failure"]["id"], status["last_failure"]["status"]) == (6, "crashed")
    assert (status["best"]["id"], status["best"]["accuracy"], status["default"]["accuracy"]) == (5, 0.74, 0.70)
    assert status["complete"] is False
    assert status["search"]["settings"] == {"population": 4, "generations": 3, "crossover": 0.6, "mutation": 0.05}


def test_speed_leaves_out_the_pause(recorded: Run) -> None:
    status = status_dict(recorded, now=2100.0)
    # Training went on from 1000 to 1030 and from 2000 to 2015; the seven trials but 4 and 8 were trained in these 45 s.
    assert status["busy_seconds"] == 45 and status["trained"] == 7
    assert status["trials_per_hour"] == 560
    # Of 7 individuals 6 were new, 5 are left: 30/7 trainings of 45/7 s.
    assert status["seconds_left"] == pytest.approx(30 / 7 * 45 / 7, abs=0.1)
    assert status["last_result_seconds_ago"] == 85


def test_status_text(recorded: Run) -> None:
    text = status_text(recorded, now=2100.0)
    assert line(text, "generation").split(maxsplit=1)[1] == "2 of 3"
    assert "7 of 12" in line(text, "individuals")
    assert line(text, "failed").endswith("2 (1 crashed, 1 diverged)")
    assert "0.7400  kernel1=4 base_lr=0.002 pool=AVE" in line(text, "best")
    assert "0.7000  kernel1=5 base_lr=0.001 pool=MAX" in line(text, "default")
    assert "560 trials an hour" in line(text, "speed")
    assert "0:27" in line(text, "time left")
    assert line(text, "state").split(maxsplit=1)[1] == f"stopped; `menndl run {recorded.folder}` resumes it"


intervals = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=12)


@given(intervals)
def test_busy_time_is_the_seconds_in_which_anyone_trained(intervals: List[Tuple[int, int]]) -> None:
    seconds = {s for start, length in intervals for s in range(start, start + length)}
    results = [Result(0, "ok", started=start, seconds=length) for start, length in intervals]
    clock = BusyTime([*results, Result(1, "ok", started=-100.0, same_as=0)])
    assert clock.seconds == len(seconds)
    assert list(clock.at(range(81))) == [sum(second < moment for second in seconds) for moment in range(81)]


def test_table_3(recorded: Run) -> None:
    rows = {row.split()[0]: row.split(maxsplit=2)[1:] for row in best_text(recorded, 3).split("\n\n")[1].splitlines()}
    assert rows["gene"] == ["default", "best 3 sets"]
    assert rows["kernel1"] == ["5", "3-4"]  # of 4, 3 and 3
    assert rows["base_lr"] == ["0.001", "1e-05 to 0.002"]
    assert rows["pool"] == ["MAX", "MAX, AVE"]
    assert rows["accuracy"] == ["0.7000", "0.7100-0.7400"]
    assert rows["loss"] == ["0.9000", "0.8000-0.8800"]


@pytest.mark.parametrize("low, high, expected", [
    ("3", "4", "3-4"), ("4", "4", "4"), ("-2", "3", "-2 to 3"), ("1e-05", "1e-05", "1e-05")])
def test_intervals(low: str, high: str, expected: str) -> None:
    assert interval(low, high) == expected


def test_best_individuals_differ_and_did_not_fail(recorded: Run) -> None:
    best = best_dict(recorded, 10)
    assert [row["id"] for row in best["best"]] == [5, 2, 7, 1]
    assert [row["generation"] for row in best["best"]] == [2, 1, 2, 1]
    assert (best["evaluated"], best["different"], best["asked"]) == (7, 6, 10)
    text = best_text(recorded, 10)
    assert "Only 4 different ones succeeded" in text and "(12 when complete)" in text
    assert line(text, "1 ").split() == ["1", "5", "2", "4", "0.002", "AVE", "0.7400", "0.8000", "10.0"]
    assert line(text, "4 ").split() == ["4", "1", "1", "8", "0.01235", "AVE", "0.6000", "1.2000", "10.0"]
    assert line(text, "default   0").split() == ["default", "0", "-", "5", "0.001", "MAX", "0.7000", "0.9000", "10.0"]


def test_an_individual_met_again_shows_the_time_of_its_training(tmp_path: Path) -> None:
    trials = [TRIALS[0], (1, 0, (5, 0.001, "MAX"), "ok", 0.70, 0.90, 1000, 0)]
    both = record(tmp_path, trials)
    both.record.results[1] = both.record.results[0].copied_to(both.record.trials[1])
    assert best_dict(both, 1)["best"][0]["seconds"] == 10


def test_what_the_difference_means(recorded: Run, tmp_path: Path) -> None:
    difference = best_dict(recorded, 1)["difference"]
    assert difference == {"accuracy": pytest.approx(0.04), "candidates": 4}
    text = " ".join(best_text(recorded).split())
    assert "the best is +0.0400 from the default; it was picked out of 4" in text
    assert "It is one training each; `menndl confirm RUN` tells whether the difference holds." in text
    worse = record(tmp_path / "worse", [TRIALS[0], TRIALS[1]])
    assert "-0.1000 from the default" in best_text(worse)


def test_nothing_is_made_up(tmp_path: Path) -> None:
    failed = record(tmp_path / "failed", [TRIALS[0], TRIALS[3]])
    assert best_dict(failed, 5)["best"] == [] and best_dict(failed, 5)["difference"] is None
    assert "All of them failed" in best_text(failed)
    alone = record(tmp_path / "alone", TRIALS[2:3])
    assert "default: no result yet" in best_text(alone) and "0.7200" in best_text(alone)
    lost = record(tmp_path / "lost", [(0, None, (5, 0.001, "MAX"), "diverged", 0.0, None, 1000, 10), TRIALS[2]])
    assert "default: diverged: loss is nan" in best_text(lost)
    assert line(best_text(lost), "default   0").split()[6] == "diverged"
    empty = record(tmp_path / "empty", [])
    assert best_text(empty).startswith("No individual has a result yet")
    assert status_dict(empty, 1.0)["trials_per_hour"] is None
    assert "unknown" in line(status_text(empty, 1.0), "time left")
    with pytest.raises(UserError, match="no individual has a result yet"):
        write_report(empty)


def test_a_run_that_has_not_begun(tmp_path: Path) -> None:
    (tmp_path / journal.NAME).write_text('{"event": "run", "sea')
    with pytest.raises(UserError, match=f"{tmp_path}: the journal has no first line: the run has not begun"):
        recorded_run.read(tmp_path)


def validation(folder: Path, *more: Tuple[Any, ...]) -> Run:
    last = [(id, 0, genes, *rest) for id, _, genes, *rest in TRIALS[1:5]]
    search = SEARCH + "fitness_set: VALIDATION\n"
    return record(folder, [TRIALS[0], *last, *more], total=4, generations=1, search=search)


def test_the_unbiased_figure(tmp_path: Path) -> None:
    before = validation(tmp_path / "before")
    assert "follows when that is finished" in best_text(before)
    assert status_dict(before, 2100.0)["complete"] is False
    after = validation(tmp_path / "after", (5, None, (3, 0.001, "MAX"), "ok", 0.69, 0.95, 1040, 10))
    assert best_dict(after, 1)["test"]["accuracy"] == 0.69
    figure = line(best_text(after), "test set")
    assert "accuracy 0.6900 (standard error 0.0146)" in figure and "unbiased" in figure  # sqrt(0.69 x 0.31 / 1000)
    assert status_dict(after, 2100.0)["complete"] is True
    assert "state       complete" in status_text(after, 2100.0)
    failed = validation(tmp_path / "failed", (5, None, (3, 0.001, "MAX"), "crashed", 0.0, None, 1040, 10))
    assert "no figure: crashed" in line(best_text(failed), "test set")


def test_every_moment_of_a_journal_can_be_read(run: Path) -> None:
    lines = (run / journal.NAME).read_bytes().splitlines(keepends=True)
    for n in range(1, len(lines) + 1):
        (run / journal.NAME).write_bytes(b"".join(lines[:n]) + b'{"event": "res')
        now = recorded_run.read(run)
        assert status_text(now, 2100.0) and best_text(now)
        json.dumps([status_dict(now, 2100.0), best_dict(now, 5)], allow_nan=False)


def test_generations(recorded: Run) -> None:
    first, second = generations(recorded)
    # 0, 0.60, 0.72, 0.72; the lower quartile lies at three quarters of the way from the first to the second.
    assert (first.number, first.evaluated, first.complete, first.failed) == (1, 4, True, 1)
    assert (first.best, first.mean, *first.quartiles) == pytest.approx((0.72, 0.51, 0.45, 0.66, 0.72))
    # 0, 0.71, 0.74
    assert (second.number, second.evaluated, second.complete, second.failed) == (2, 3, False, 1)
    assert (second.best, second.mean, *second.quartiles) == pytest.approx((0.74, 1.45 / 3, 0.355, 0.71, 0.725))


def test_best_so_far_never_falls(tmp_path: Path) -> None:
    falling = record(tmp_path, [(1, 0, (1, 0.1, "MAX"), "ok", 0.8, 1.0, 0, 1),
                                (2, 1, (2, 0.1, "MAX"), "ok", 0.6, 1.0, 1, 1)])
    assert [(g.best, g.best_so_far) for g in generations(falling)] == [(0.8, 0.8), (0.6, 0.8)]


def test_report_files(reported: Path, recorded: Run) -> None:
    tables = ["best.txt", "best.csv", "table_3.csv", "table_3.md", "table_3.tex", "individuals.csv", "generations.csv",
              "genes.csv", "report.html"]
    names = tables + [f"{figure}.{kind}" for figure in ("fitness", "genes", "parallel_coordinates")
                      for kind in ("png", "svg", "pdf")]
    assert sorted(path.name for path in (reported / "report").iterdir()) == sorted(names)  # nothing is left beside them
    assert (reported / "report" / "best.txt").read_text() == best_text(recorded) + "\n"

    individuals = table(reported / "report" / "individuals.csv")
    assert [row["id"] for row in individuals] == ["1", "2", "3", "4", "5", "6", "7"]
    assert individuals[0] == {
        "id": "1", "generation": "1", "status": "ok", "fitness": "0.6000", "loss": "1.2000",
        "kernel1": "8", "base_lr": "0.0123456", "pool": "AVE", "parameters": "", "multiply_adds": "", "memory": "",
        "seconds": "10.000", "started": "1010.000", "rank": "1", "host": "node1", "same_as": "", "reason": ""}
    assert individuals[3]["same_as"] == "2"
    failed = individuals[5]
    assert (failed["status"], failed["loss"], failed["reason"]) == ("crashed", "", 'killed by signal 9, "oom"')

    assert table(reported / "report" / "generations.csv") == [
        {"generation": "1", "evaluated": "4", "best": "0.7200", "mean": "0.5100", "lower_quartile": "0.4500",
         "median": "0.6600", "upper_quartile": "0.7200", "failed": "1", "best_so_far": "0.7200"},
        {"generation": "2", "evaluated": "3", "best": "0.7400", "mean": "0.4833", "lower_quartile": "0.3550",
         "median": "0.7100", "upper_quartile": "0.7250", "failed": "1", "best_so_far": "0.7400"}]

    best = table(reported / "report" / "best.csv")
    assert [(row["place"], row["id"], row["accuracy"]) for row in best] == [
        ("1", "5", "0.7400"), ("2", "2", "0.7200"), ("3", "7", "0.7100"), ("4", "1", "0.6000"),
        ("default", "0", "0.7000")]


def texts(svg: Path) -> List[str]:
    return ["".join(element.itertext()) for element in ET.parse(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_figure_shows_what_it_should(recorded: Run) -> None:
    from menndl_caffe.report import figures

    axes = figures.fitness_figure(recorded, generations(recorded), recorded.stages, recorded.record.default()).axes[0]
    lines = {str(line.get_label()): [list(map(float, values)) for values in line.get_data()] for line in axes.lines}
    assert lines["best so far"] == [[1, 2], [0.72, 0.74]]
    assert lines["best of generation"] == [[1, 2], [0.72, 0.74]]
    assert lines["mean (failures are 0)"] == [[1, 2], pytest.approx([0.51, 1.45 / 3])]
    assert lines["default 0.7000"][1] == [0.7, 0.7]
    (quartiles,) = axes.collections
    assert [segment.tolist() for segment in quartiles.get_segments()] == [
        [[1, pytest.approx(0.45)], [1, pytest.approx(0.72)]],
        [[2, pytest.approx(0.355)], [2, pytest.approx(0.725)]]]
    assert axes.get_xlim() == (0.5, 3.5)


def test_figure_files(reported: Path, recorded: Run) -> None:
    svg, png = reported / "report" / "fitness.svg", reported / "report" / "fitness.png"
    written = texts(svg)
    for text in ("generation (2 is incomplete: 3 evaluated)", "accuracy on the test set", "best so far",
                 "default 0.7000", "1", "2", "3"):
        assert text in written
    assert png.read_bytes().startswith(b"\x89PNG\r\n")
    assert svg.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    before = {path: path.read_bytes() for path in (reported / "report").iterdir()}
    assert set(write_report(recorded, folder=reported / "report")) == set(before)
    del before[reported / "report" / "report.html"]  # it says when it was made
    assert {path: path.read_bytes() for path in before} == before  # the same run, the same bytes


def test_figure_tells_best_so_far_from_best(tmp_path: Path) -> None:
    from menndl_caffe.report import figures

    falling = record(tmp_path, [(1, 0, (1, 0.1, "MAX"), "ok", 0.8, 1.0, 0, 1),
                                (2, 1, (2, 0.1, "MAX"), "ok", 0.6, 1.0, 1, 1)])
    so_far, best, *_ = figures.fitness_figure(falling, generations(falling), falling.stages, None).axes[0].lines
    assert (so_far.get_label(), list(so_far.get_ydata())) == ("best so far", [0.8, 0.8])
    assert (best.get_label(), list(best.get_ydata())) == ("best of generation", [0.8, 0.6])


@pytest.mark.parametrize("trials", [TRIALS[2:3], TRIALS[3:4]], ids=["one", "all failed"])
def test_figure_of_one_individual_without_a_default(tmp_path: Path, trials: List[Tuple[Any, ...]]) -> None:
    write_report(record(tmp_path, trials, total=1, generations=1))
    written = texts(tmp_path / "report" / "fitness.svg")
    assert "generation" in written and not any(text.startswith("default") for text in written)


def test_without_matplotlib_the_tables_are_written(run: Path, recorded: Run,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in [name for name in sys.modules if name.startswith(("menndl_caffe.report.figures", "matplotlib."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(report, "figures", raising=False)
    with pytest.raises(UserError, match=r"menndl_caffe\[report\]"):
        write_report(recorded)
    written = sorted(path.name for path in (run / "report").iterdir())
    assert written == ["best.csv", "best.txt", "generations.csv", "genes.csv", "individuals.csv",
                       "report.html", "table_3.csv", "table_3.md", "table_3.tex"]


def test_a_full_disk_leaves_the_old_tables(reported: Path, recorded: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in (reported / "report").iterdir()}

    def full(path: Path, content: bytes) -> None:
        path.write_text(content[:20].decode())
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        write_report(recorded, folder=reported / "report")
    assert {path: path.read_bytes() for path in (reported / "report").iterdir()} == before  # and nothing beside them


def test_matplotlib_is_loaded_for_figures_alone() -> None:
    code = "import sys, menndl_caffe.report; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_best_on_the_test_set_is_shown_as_it_was_trained(tmp_path: Path) -> None:
    """With held-out images: the others were tested on those, and all were trained without them."""
    experiment = search_file.load("solvers/paper.search.prototxt")
    experiment.message.fitness_set = menndl_pb2.SearchParameter.VALIDATION
    hashes = {kind: sha256_of(Path(getattr(experiment.message, kind))) for kind in ("net", "solver")}
    run = {"search": prototxt.dumps(experiment.message), "templates": hashes, "data_folder": str(tmp_path),
           "image_shape": [3, 32, 32]}
    nets = Nets(Run(tmp_path, Record(run)))
    for role, tested in ((INDIVIDUAL, "validation"), (DEFAULT, "validation"), (TEST, "test")):
        net, _ = nets.rendered(experiment.trial(1, experiment.space.default, role=role)) or ("", "")
        assert re.findall(r'source: "(.*)"', net) == [f"{tmp_path}/fit_lmdb", f"{tmp_path}/{tested}_lmdb"]
        assert set(re.findall(r'mean_file: "(.*)"', net)) == {f"{tmp_path}/mean_fit.binaryproto"}
