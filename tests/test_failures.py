"""Individuals that cannot work, each in its own way, with real Caffe: every one has its status and its reason, and no
fitness. And no fitness that lies: where real Caffe itself reports accuracy 1.0 for a net of NaN, the result is 0."""
from __future__ import annotations

import json
import math
import re
import subprocess
import time
from pathlib import Path
from typing import Any, Dict

import pytest

from menndl_caffe import journal
from menndl_caffe.record import Record
from menndl_caffe.trial import CRASHED, DIVERGED, INVALID, OK, TIMEOUT, Result, judged
from tests.support import caffe_runs, runs

TRAPS = runs.REPOSITORY / "tests" / "templates" / "traps"
LINE = re.escape("tests/templates/traps/train_test.prototxt.j2") + r" \(rendered\):\d+: "

# The value of the gene `trap` -> status and reason.
HEALTHY = ("none", "hinge")
FAILURES = {
    "kernel": (INVALID, LINE + "layer conv: kernel_size 40x40 is larger than its padded input 32x32 .*"),
    "no_output": (INVALID, LINE + "layer ip: num_output must be at least 1 .*"),
    "base_lr": (DIVERGED, "training loss is (nan|inf) at iteration 1"),
    "hinge_base_lr": (DIVERGED, "weights of layer (conv|ip) are not finite at iteration 20"),
    "missing_file": (CRASHED, r"trainer ended by SIGABRT: Check failed: fd != -1 \(-1 vs. -1\) "
                              "File not found: nowhere.binaryproto"),
    "unknown_shape": (CRASHED, r"trainer ended by SIGABRT: Check failed: shape\[i\] >= 0 \(-3 vs. 0\) ?"),
    "raises": (CRASHED, "ValueError: the images are not to my liking"),
    "crashes": (CRASHED, "trainer ended by SIGSEGV: .*"),
    "is_killed": (CRASHED, r"trainer ended by SIGKILL: .* \(3 times\)"),
    "exits": (CRASHED, "trainer ended by exit code 7: .*"),
    "hangs": (TIMEOUT, r"not finished after trial_timeout of \d+ seconds"),
}
RENDERED = set(FAILURES) - {"kernel", "no_output"}  # those that get as far as Caffe
SEARCH = """\
net: "tests/templates/traps/train_test.prototxt.j2"
solver: "tests/templates/traps/solver.prototxt.j2"
ga_param {{ population: 60 generations: 2 mutation: 0.5 }}
gene {{ name: "trap" choice {{ {values} default: "none" }} }}
data: "{data}"
max_iter: 20
trial_timeout: {patience}
random_seed: 1
"""


@pytest.fixture(scope="module")
def patience(caffe_root: Path) -> int:
    """Seconds in which a trial can start Caffe three times, and train a moment, on this machine."""
    before = time.monotonic()
    subprocess.run([caffe_root / "bin" / "python3", "-c", "import caffe"], check=True, capture_output=True)
    return max(15, round(20 * (time.monotonic() - before)))


@pytest.fixture(scope="module")
def run(caffe_root: Path, patience: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of the genetic algorithm among healthy individuals and all others."""
    folder = tmp_path_factory.mktemp("failures")
    values = " ".join(f'value: "{trap}"' for trap in (*HEALTHY, *FAILURES))
    search, log = folder / "traps.search.prototxt", folder / "log"
    search.write_text(SEARCH.format(values=values, data=runs.small_data(folder / "data"), patience=patience))
    environment = caffe_runs.environment(caffe_root, PYTHONPATH=f"{runs.REPOSITORY}:{TRAPS}")
    with open(log, "wb") as file:
        code = runs.start(["run", search, "--out", folder / "run"], ranks=3, env=environment, log=file).wait(600)
    assert code == 0, log.read_text()
    assert "120/120" in log.read_text()
    return folder / "run"


@pytest.fixture(scope="module")
def record(run: Path) -> Record:
    return journal.read(run)


@pytest.fixture(scope="module")
def trained(record: Record) -> Dict[Any, Result]:
    """Trap -> the result of its training, which all further individuals with that trap take."""
    found: Dict[Any, Result] = {}
    for id, result in record.results.items():
        if result.same_as is None:
            assert found.setdefault(record.trials[id].genome.values[0], result) is result, "trained twice"
    return found


def test_all_of_them_were_met_and_the_search_came_to_its_end(record: Record, trained: Dict[Any, Result]) -> None:
    assert set(trained) == {*HEALTHY, *FAILURES}
    assert len(list(record.individuals())) == 120


def test_the_second_generation_descends_from_the_healthy(record: Record) -> None:
    """Failures have no children: what did not mutate (half of them) is healthy, and mutants are so 2 times in 13."""
    second = [result.status for trial, result in record.individuals() if trial.generation == 1]
    assert second.count(OK) > 60 * 0.4 > [r.status for t, r in record.individuals() if t.generation == 0].count(OK)


@pytest.mark.parametrize("trap", HEALTHY)
def test_the_healthy_have_a_fitness(trained: Dict[Any, Result], trap: str) -> None:
    assert trained[trap].status == OK
    assert 0 < trained[trap].fitness < 1


@pytest.mark.parametrize("trap", FAILURES)
def test_every_failure_has_its_own_status_and_reason(trained: Dict[Any, Result], trap: str) -> None:
    status, reason = FAILURES[trap]
    result = trained[trap]
    assert (result.status, result.fitness) == (status, 0.0)
    assert re.fullmatch(reason, result.reason)


def test_the_hang_cost_its_time_and_no_more(trained: Dict[Any, Result], patience: int) -> None:
    assert patience < trained["hangs"].seconds < 2 * patience


@pytest.mark.parametrize("trap", FAILURES)
def test_the_files_and_the_log_of_a_failure_are_kept(run: Path, trained: Dict[Any, Result], trap: str) -> None:
    folder = run / "trials" / str(trained[trap].id)
    assert "Convolution" in (folder / "train_test.prototxt").read_text()
    assert f'net: "{folder}/train_test.prototxt"\n' in (folder / "solver.prototxt").read_text()
    log = (folder / "caffe.log").read_text()
    assert ("] Initializing solver from parameters:" in log) == (trap in RENDERED)
    words = {"missing_file": "*** Check failure stack trace: ***", "crashes": "*** SIGSEGV"}
    assert words.get(trap, "") in log


@pytest.mark.parametrize(("trap", "loss"), [("base_lr", "nan"), ("hinge_base_lr", "0")])
def test_caffe_itself_finds_nan_perfect(caffe_root: Path, run: Path, trained: Dict[Any, Result], trap: str,
                                        loss: str) -> None:
    """The very files that have fitness 0 here, given to `caffe train`."""
    solver = run / "trials" / str(trained[trap].id) / "solver.prototxt"
    (iteration, outputs), = caffe_runs.caffe_train(caffe_root, solver)
    assert (iteration, outputs["accuracy"], outputs["loss"].lstrip("-")) == (20, "1", loss)


@pytest.mark.parametrize("accuracy", [1.0, 0.25])
@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_an_accuracy_counts_only_with_a_finite_loss(accuracy: float, loss: float) -> None:
    result = judged(7, accuracy, loss, rank=2)
    assert (result.id, result.status, result.fitness, result.loss, result.rank) == (7, DIVERGED, 0.0, None, 2)
    assert str(loss) in result.reason
    json.dumps(result.as_dict(), allow_nan=False)


@pytest.mark.parametrize("accuracy", [math.nan, math.inf, -math.inf])
def test_an_accuracy_that_is_no_number_does_not_count(accuracy: float) -> None:
    assert (judged(0, accuracy, 1.5).status, judged(0, accuracy, 1.5).fitness) == (DIVERGED, 0.0)


def test_a_believable_accuracy_is_the_fitness() -> None:
    assert judged(3, 0.75, 1.5) == Result(3, OK, fitness=0.75, loss=1.5)


@pytest.mark.parametrize("engine, code", [("caffe", 2), ("torch", 0)])
def test_databases_that_caffe_may_not_lock_are_no_failures_of_individuals(tmp_path: Path, menndl: Any, engine: str,
                                                                          code: int) -> None:
    """As those of somebody else, which can be read: each of the individuals would crash. PyTorch needs no lock."""
    data = runs.small_data(tmp_path / "data")
    lock, = (path / "lock.mdb" for path in data.glob("*_test_lmdb"))
    lock.mkdir()
    search = runs.write_search(tmp_path / "s.search.prototxt", data, population=1, generations=1)
    done = menndl("run", search, "--out", tmp_path / "run", "--engine", engine, env=runs.environment())
    assert done.returncode == code
    if code:
        assert f"menndl run: {lock} cannot be opened for writing: Is a directory, and real Caffe opens" in done.stderr
        assert done.stderr.count("\n") == 1 and not (tmp_path / "run").exists()
