"""The whole loop with the torch engine: the same search files, the same record, results that real Caffe confirms."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest

from menndl_caffe import journal
from menndl_caffe.rank import engine
from menndl_caffe.trial import OK
from tests.conftest import REPOSITORY, Runner
from tests.support import caffe_runs, runs

pytest.importorskip("torch")
RANKS = 3


def environment() -> Dict[str, str]:
    return {name: value for name, value in runs.environment().items() if name != "MENNDL_TRAINER"}


def finish(search: Path, run: Path, ranks: int = RANKS, *more: str) -> str:
    """`menndl run --engine torch` to its end, which is a good one; what it printed."""
    log = run.with_suffix(".log")
    with open(log, "wb") as file:
        command = ["run", search, "--out", run, "--engine", "torch", *more]
        code = runs.start(command, ranks, environment(), file).wait(600)
    assert code == 0, log.read_text()
    return log.read_text()


# How often the kernel must give a page while 40 MB are allocated again and again.
FAULTS = """
import resource, torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_a_trainer_keeps_the_memory_that_it_frees() -> None:
    faults = [int(subprocess.run([sys.executable, "-c", FAULTS], env=variables, text=True, check=True,
                                 stdout=subprocess.PIPE).stdout)
              for variables in (dict(os.environ), engine.find("torch").environment(1))]
    assert 4 * faults[1] < faults[0]


def test_what_the_user_tells_the_c_library_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    assert engine.find("torch").environment(1)["GLIBC_TUNABLES"] == "glibc.malloc.arena_max=1"


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory, cifar10_data: Path) -> Path:
    path = tmp_path_factory.mktemp("search") / "narrow.search.prototxt"
    return caffe_runs.write_narrow_search(path, cifar10_data, population=4, generations=2, max_iter=6, test_interval=3)


@pytest.fixture(scope="module")
def run(search: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch") / "run"
    assert "generation 2/2  8/8  best 0." in finish(search, folder)
    return folder


def test_the_record_says_what_trained(run: Path) -> None:
    record = journal.read(run)
    assert {result.status for result in record.results.values()} == {OK}
    assert (record.run["engine"], record.run["math"]) == ("torch", "float32")
    assert record.run["versions"]["version"].startswith("2.")


def test_a_killed_search_ends_as_an_uninterrupted_one(search: Path, run: Path, tmp_path: Path) -> None:
    again = tmp_path / "run"
    process = runs.start(["run", search, "--out", again, "--engine", "torch"], RANKS, environment())
    assert runs.wait_until(lambda: len(runs.result_lines(again)) >= 2), "no two results"
    family = runs.descendants(process.pid)
    runs.kill(process, "everything")
    process.wait(runs.PATIENCE)
    assert runs.wait_until(lambda: all(map(runs.has_ended, family))), "somebody lives on"
    assert len(runs.result_lines(again)) < 9
    finish(search, again)
    assert runs.individuals(again) == runs.individuals(run)


def test_another_engine_or_arithmetic_does_not_go_on_with_a_run(search: Path, run: Path, menndl: Runner,
                                                                caffe_root: Path) -> None:
    for more, said in ((["--engine", "caffe"], "engine"), (["--engine", "torch", "--math", "bf16"], "math")):
        done = menndl("run", search, "--out", run, *more, env=caffe_runs.environment(caffe_root))
        assert done.returncode == 2 and f"its {said} is" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def evaluated(menndl: Runner, caffe_root: Path, search: Path, *more: object) -> Dict[str, Any]:
    done = menndl("evaluate", search, *more, env=caffe_runs.environment(caffe_root))
    assert done.returncode == 0, done.stderr
    result: Dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, cifar10_data: Path) -> Path:
    """The full cifar10_quick on small batches."""
    path = tmp_path_factory.mktemp("quick") / "quick.search.prototxt"
    runs.write_search(path, cifar10_data, batch_size=25, test_iter=4, test_interval=3)
    return path


def test_both_engines_measure_the_same(quick: Path, menndl: Runner, caffe_root: Path) -> None:
    """For 6 iterations: then rounding begins to grow, as in Caffe with another BLAS (torchcaffe/test_curves.py)."""
    caffe, torch = (evaluated(menndl, caffe_root, quick, "--iterations", 6, "--engine", engine)
                    for engine in ("caffe", "torch"))
    assert len(caffe["curve"]) == 2
    for ours, theirs in zip(torch["curve"], caffe["curve"]):
        assert ours[0] == theirs[0]
        assert ours[1] == pytest.approx(theirs[1], abs=0.011)  # of 400 images, a few may lie on the edge
        assert ours[2] == pytest.approx(theirs[2], rel=5e-5)


def test_evaluate_measures_what_the_engines_own_command_measures(quick: Path, menndl: Runner, caffe_root: Path,
                                                                 tmp_path: Path) -> None:
    result = evaluated(menndl, caffe_root, quick, "--iterations", 21, "--engine", "torch", "--out", tmp_path / "out")
    command = [sys.executable, "-m", "menndl_caffe.torchcaffe", "train", f"--solver={tmp_path}/out/solver.prototxt"]
    done = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True,
                          text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    accuracies = re.findall(r"Test net output #0: accuracy = (\S+)", done.stderr)
    assert accuracies[-2:] == [f"{accuracy:g}" for _, accuracy, _ in result["curve"][-2:]]


def test_a_trainer_of_another_engine_is_refused(quick: Path, menndl: Runner) -> None:
    trainer = f"{sys.executable} -m menndl_caffe.trainer torch"
    done = menndl("evaluate", quick, "--engine", "caffe", env={**environment(), "MENNDL_TRAINER": trainer})
    assert done.returncode == 2
    assert "MENNDL_TRAINER starts a trainer with engine torch" in done.stderr and len(done.stderr.splitlines()) == 2
