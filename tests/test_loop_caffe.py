"""The whole loop with real Caffe on real images: search, MPI, training, record, reports; interrupted and resumed.

And held against Caffe itself: what is recorded is what `caffe train` prints for the same files.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

import pytest

from menndl_caffe import journal
from menndl_caffe.record import Record
from menndl_caffe.trial import DEFAULT, INDIVIDUAL, OK, TEST
from tests.conftest import Runner
from tests.support import caffe_runs, runs

RANKS = 3
TRIAL_FILES = {"train_test.prototxt", "solver.prototxt", "caffe.log"}


def finish(caffe_root: Path, search: Path, run: Path, ranks: int = RANKS) -> str:
    """`menndl run` to its end, which is a good one; what it printed."""
    log = run.with_suffix(".log")
    with open(log, "wb") as file:
        code = runs.start(["run", search, "--out", run], ranks, caffe_runs.environment(caffe_root), file).wait(600)
    assert code == 0, log.read_text()
    return log.read_text()


def kept(run: Path) -> Dict[int, Path]:
    """The trials whose files were kept."""
    folders = {int(folder.name): folder for folder in (run / "trials").iterdir()}
    assert all({file.name for file in folder.iterdir()} == TRIAL_FILES for folder in folders.values())
    return folders


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory, cifar10_data: Path) -> Path:
    path = tmp_path_factory.mktemp("search") / "narrow.search.prototxt"
    return caffe_runs.write_narrow_search(path, cifar10_data, population=4, generations=2, max_iter=6, test_interval=3)


@pytest.fixture(scope="module")
def run(caffe_root: Path, search: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that nothing interrupted."""
    folder = tmp_path_factory.mktemp("loop") / "run"
    said = finish(caffe_root, search, folder)
    assert "generation 2/2  8/8  best 0." in said and "Best 5 of 8 individuals" in said
    return folder


@pytest.fixture(scope="module")
def record(run: Path) -> Record:
    return journal.read(run)


def test_every_trial_was_recorded_and_trained_well(record: Record) -> None:
    roles = {id: trial.role for id, trial in record.trials.items()}
    assert roles == {0: DEFAULT, **dict.fromkeys(range(1, 9), INDIVIDUAL)}
    assert set(record.results) == set(record.trials)
    assert {result.status for result in record.results.values()} == {OK}
    assert {trial.generation for trial, _ in record.individuals()} == {0, 1}


def test_every_training_rank_trained(record: Record) -> None:
    first = RANKS - runs.training_ranks(RANKS)
    assert record.run["ranks"] == RANKS
    assert {result.rank for result in record.results.values()} == set(range(first, RANKS))


def test_the_curve_has_every_test_pass(record: Record) -> None:
    for result in record.results.values():
        assert [iteration for iteration, _, _ in result.curve] == [3, 6]
        assert (result.curve[-1][1], result.curve[-1][2]) == (result.fitness, result.loss)
        assert 0 < result.fitness < 1 and 2 < (result.loss or 0) < 3


def test_files_are_kept_of_the_best_and_the_default_alone(run: Path, record: Record) -> None:
    best, result = record.best(1)[0]
    assert set(kept(run)) == {0, best.id if result.same_as is None else result.same_as}
    net = (kept(run)[best.id] / "train_test.prototxt").read_text()
    assert f"num_output: {best.genome.as_dict()['output2']}\n" in net
    assert "] Solver scaffolding done." in (kept(run)[best.id] / "caffe.log").read_text()


def test_a_recorded_fitness_is_what_caffe_itself_measures(caffe_root: Path, run: Path, record: Record) -> None:
    best, result = record.best(1)[0]
    measured = caffe_runs.caffe_train(caffe_root, kept(run)[best.id] / "solver.prototxt")
    assert measured == caffe_runs.as_printed(result.curve)


def test_status_best_and_report_tell_of_it(run: Path, record: Record, menndl: Runner) -> None:
    status = menndl("status", run, "--json")
    assert (status.returncode, status.stderr) == (0, "")
    said = json.loads(status.stdout)
    assert (said["complete"], said["done"], said["total"]) == (True, 8, 8)
    best = json.loads(menndl("best", run, "-n", 3, "--json").stdout)
    assert [row["accuracy"] for row in best["best"]] == [result.fitness for _, result in record.best(3)]
    assert best["default"]["accuracy"] == record.results[0].fitness
    report = menndl("report", run)
    assert report.returncode == 0, report.stderr
    assert report.stdout == f"{run / 'report' / 'report.html'}\n{run / 'report'}: 10 tables, 5 figures in 3 formats\n"
    assert all(path.stat().st_size for path in (run / "report").iterdir())


def test_the_same_command_again_trains_nothing(caffe_root: Path, search: Path, run: Path) -> None:
    before, files = runs.result_lines(run), sorted(run.glob("trials/*/*"))
    finish(caffe_root, search, run)
    assert runs.result_lines(run) == before
    assert sorted(run.glob("trials/*/*")) == files
    assert json.loads((run / "journal.jsonl").read_text().splitlines()[-1])["event"] == "resume"


def test_a_killed_search_ends_as_an_uninterrupted_one(caffe_root: Path, search: Path, run: Path,
                                                      tmp_path: Path) -> None:
    again = tmp_path / "run"
    process = runs.start(["run", search, "--out", again], RANKS, caffe_runs.environment(caffe_root))
    assert runs.wait_until(lambda: len(runs.result_lines(again)) >= 2), "no two results"
    family = runs.descendants(process.pid)
    assert sum("menndl_caffe/trainer caffe" in command for command in family.values()) >= 2
    runs.kill(process, "everything")
    process.wait(runs.PATIENCE)
    recorded = runs.result_lines(again)
    assert runs.wait_until(lambda: all(map(runs.has_ended, family))), "somebody lives on"
    finish(caffe_root, search, again)
    assert len(recorded) < 9 and runs.result_lines(again)[:len(recorded)] == recorded
    assert runs.individuals(again) == runs.individuals(run)
    assert set(kept(again)) == set(kept(run))


@pytest.fixture(scope="module")
def held_out(caffe_root: Path, cifar10_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that takes the validation images for its fitness, alone, without MPI."""
    folder = tmp_path_factory.mktemp("held_out")
    search = folder / "held_out.search.prototxt"
    caffe_runs.write_narrow_search(search, cifar10_data, "fitness_set: VALIDATION", population=3, generations=1,
                                   max_iter=3, test_interval=3)
    finish(caffe_root, search, folder / "run", ranks=0)
    finish(caffe_root, search, folder / "run", ranks=0)
    return folder / "run"


def databases(folder: Path) -> List[str]:
    """Names of the databases and means that a trial's net reads."""
    lines = (folder / "train_test.prototxt").read_text().splitlines()
    return [line.split("/")[-1].rstrip('"') for line in lines if "source:" in line or "mean_file:" in line]


def test_validation_decides_the_fitness_and_the_test_set_is_seen_once(caffe_root: Path, held_out: Path) -> None:
    record = journal.read(held_out)
    best, result = record.best(1)[0]
    tested = [trial for trial in record.trials.values() if trial.role == TEST]
    assert [(trial.id, trial.genome, trial.seed) for trial in tested] == [(4, best.genome, best.seed)]
    folders = kept(held_out)
    fit = ["mean_fit.binaryproto", "cifar10_fit_lmdb", "mean_fit.binaryproto"]
    assert databases(folders[best.id]) == [*fit, "cifar10_validation_lmdb"]
    assert databases(folders[4]) == [*fit, "cifar10_test_lmdb"]
    for id, expected in ((best.id, result), (4, record.results[4])):
        measured = caffe_runs.caffe_train(caffe_root, folders[id] / "solver.prototxt")
        assert measured == caffe_runs.as_printed(expected.curve) and len(measured) == 1


def test_validation_is_reported_with_the_unbiased_figure(held_out: Path, menndl: Runner) -> None:
    test = journal.read(held_out).results[4]
    best = json.loads(menndl("best", held_out, "--json").stdout)
    assert (best["fitness_set"], best["evaluated"], best["test"]["accuracy"]) == ("validation", 3, test.fitness)
    assert f"test set: the best individual has accuracy {test.fitness:.4f}" in menndl("best", held_out).stdout


def evaluated(menndl: Runner, caffe_root: Path, search: Path, out: Path, *more: object) -> Dict[str, Any]:
    done = menndl("evaluate", search, "--out", out, *more, env=caffe_runs.environment(caffe_root))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_evaluate_measures_what_caffe_train_measures(caffe_root: Path, cifar10_data: Path, menndl: Runner,
                                                     tmp_path: Path) -> None:
    """To every digit that Caffe prints, at every test pass, of the full cifar10_quick."""
    search, out = tmp_path / "quick.search.prototxt", tmp_path / "out"
    runs.write_search(search, cifar10_data, batch_size=25, test_iter=3, test_interval=5)
    never = '"test_initialization" value: "false"'
    search.write_text(search.read_text().replace(never, never.replace("false", "true")))
    result = evaluated(menndl, caffe_root, search, out, "--iterations", 20)
    assert [iteration for iteration, _, _ in result["curve"]] == [0, 5, 10, 15, 20]
    assert caffe_runs.caffe_train(caffe_root, out / "solver.prototxt") == caffe_runs.as_printed(result["curve"])
    log = (out / "caffe.log").read_text()
    for line in ("Creating layer conv1", "Network initialization done.", "Iteration 0, lr = 0.001",
                 "Iteration 20, Testing net (#0)"):
        assert f"] {line}\n" in log
