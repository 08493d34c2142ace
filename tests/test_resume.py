"""kill -9 at random moments, then the same command: what was recorded is there once, the search ends the same."""
from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, List

import pytest

from menndl_caffe.nets.proto import caffe_pb2
from tests.support import runs

TARGETS = ("master", "trainer", "everything")
BEGINNING = (1.0, 3.0)  # seconds in which a run begins, alone and under MPI
Judge = Callable[[Path], None]  # asserts what must hold of a run that has ended


def finish(search: Path, run: Path, ranks: int) -> None:
    log = run.parent / "log"
    with open(log, "wb") as file:
        code = runs.start(["run", search, "--out", run], ranks, log=file).wait(runs.PATIENCE)
    assert code == 0, log.read_text()


def kill_once(search: Path, run: Path, ranks: int, target: str, results: int, moment: float) -> List[str]:
    """Start the search, kill `target` so many results and seconds later, see all end; the result lines on disk."""
    process = runs.start(["run", search, "--out", run], ranks)
    assert runs.wait_until(lambda: len(runs.result_lines(run)) >= results or process.poll() is not None)
    time.sleep(moment)
    family = runs.descendants(process.pid)
    runs.kill(process, target)
    recorded = runs.result_lines(run)
    assert runs.wait_until(lambda: process.poll() is not None), "the job goes on without its master"
    assert runs.wait_until(lambda: all(map(runs.has_ended, family))), "somebody lives on"
    runs.sweep([process.pid, *family])
    return recorded


def check(search: Path, run: Path, ranks: int, target: str, results: int, moment: float, judge: Judge) -> int:
    """One kill and one restart; the number of results that were recorded between them."""
    recorded = kill_once(search, run, ranks, target, results, moment)
    finish(search, run, ranks)
    assert runs.result_lines(run)[:len(recorded)] == recorded, "a recorded result was lost or changed"
    judge(run)
    return len(recorded)


def as_undisturbed(undisturbed: List) -> Judge:
    """Asserts that a run has these individuals."""
    def judge(run: Path) -> None:
        assert runs.individuals(run) == undisturbed  # reading refuses a second result of the same trial

    return judge


def kills(search: Path, folder: Path, ranks: int, target: str, times: int, judge: Judge) -> None:
    """One in four while the run begins, for which it has some seconds; the others soon after a result."""
    draw = random.Random(f"{search.name}{target}{ranks}")
    counts = []
    for i in range(times):
        run = folder / str(i) / "run"
        run.parent.mkdir()
        results = max(0, draw.randint(-5, 18))
        moment = draw.uniform(0, 0.05 if results else BEGINNING[ranks > 0])
        counts.append(check(search, run, ranks, target, results, moment, judge))
    if times >= 20:
        assert any(0 < count < 19 for count in counts), f"no kill came in the middle of the search: {counts}"


@pytest.mark.parametrize("times", [4, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("target", TARGETS)
def test_kills_alone(search: Path, undisturbed: List, tmp_path: Path, target: str, times: int) -> None:
    kills(search, tmp_path, 0, target, times, as_undisturbed(undisturbed))


@pytest.mark.parametrize("target", TARGETS)
def test_kills_under_mpi(search: Path, undisturbed: List, tmp_path: Path, target: str) -> None:
    kills(search, tmp_path, 3, target, 2, as_undisturbed(undisturbed))


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_20_kills_under_mpi(search: Path, undisturbed: List, tmp_path: Path, target: str) -> None:
    kills(search, tmp_path, 3, target, 20, as_undisturbed(undisturbed))


@pytest.mark.parametrize("ranks, target", [*((0, target) for target in TARGETS), (3, "everything")])
def test_kills_of_a_random_search(random_search: Path, random_undisturbed: List, tmp_path: Path, target: str,
                                  ranks: int) -> None:
    kills(random_search, tmp_path, ranks, target, 2, as_undisturbed(random_undisturbed))


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("ranks", [0, 3])
def test_20_kills_of_a_random_search(random_search: Path, random_undisturbed: List, tmp_path: Path, target: str,
                                     ranks: int) -> None:
    kills(random_search, tmp_path, ranks, target, 20, as_undisturbed(random_undisturbed))


@pytest.mark.parametrize("size", [1000, 4000, 7001])
def test_a_disk_that_is_full_in_the_middle_of_a_line(search: Path, undisturbed: List, tmp_path: Path,
                                                     size: int) -> None:
    """As a limit on the size of files: what does not fit into the journal is refused, be it its first line. Into 1,000
    bytes the copy of the search file does not fit, which comes before that."""
    run = tmp_path / "run"
    limited = ["prlimit", f"--fsize={size}", sys.executable, "-m", "menndl_caffe.cli", "run", search, "--out", run]
    done = subprocess.run(list(map(str, limited)), cwd=runs.REPOSITORY, env=runs.environment(), text=True,
                          capture_output=True, timeout=runs.PATIENCE)
    recorded = runs.result_lines(run)
    assert done.returncode == 1 and (run / "journal.jsonl").stat().st_size == size * (size > 1000)
    assert len(recorded) < 19
    last = done.stderr.splitlines()[-1]
    assert last == (f"menndl run: File too large ({run}); every recorded result is safe: "
                    "mend it and start the same command again")
    finish(search, run, 0)
    assert runs.result_lines(run)[:len(recorded)] == recorded and runs.individuals(run) == undisturbed


def test_a_terminal_that_is_gone_does_not_end_the_search(search: Path, undisturbed: List, tmp_path: Path) -> None:
    reader, terminal = os.pipe()
    os.close(reader)
    process = runs.start(["run", search, "--out", tmp_path / "run"], log=terminal)
    os.close(terminal)
    assert process.wait(runs.PATIENCE) == 0 and runs.individuals(tmp_path / "run") == undisturbed


def test_another_mean_is_another_run_but_for_old_journals_that_know_none(tmp_path: Path) -> None:
    data, run, log = runs.small_data(tmp_path / "data"), tmp_path / "run", tmp_path / "log"
    search = runs.write_search(tmp_path / "s.search.prototxt", data, population=1, generations=1)
    finish(search, run, 0)
    mean = data / "mean.binaryproto"
    image = caffe_pb2.BlobProto.FromString(mean.read_bytes())
    image.data[0] += 1
    mean.write_bytes(image.SerializeToString())
    with open(log, "wb") as file:
        assert runs.start(["run", search, "--out", run], log=file).wait(runs.PATIENCE) == 2
    assert re.search(f"{run} is a run of another search: its mean is [0-9a-f]{{12}}, this one's is ", log.read_text())
    journal = run / "journal.jsonl"
    journal.write_text(re.sub(r'"mean": "\w+", ', "", journal.read_text()))
    finish(search, run, 0)
