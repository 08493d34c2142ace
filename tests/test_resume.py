"""kill -9 at random moments, then the same command: what was recorded is there once, the search ends the same."""
from __future__ import annotations

import random
import time
from pathlib import Path
from typing import List

import pytest

from tests import runs

TARGETS = ("master", "trainer", "everything")


def finish(search: Path, run: Path, ranks: int) -> None:
    log = run.parent / "log"
    with open(log, "wb") as file:
        code = runs.start(["run", search, "--out", run], ranks, log=file).wait(90)
    assert code == 0, log.read_text()


def kill_once(search: Path, run: Path, ranks: int, target: str, moment: float) -> List[str]:
    """Start the search, kill `target` after so many seconds, see all end; the result lines on disk at the kill."""
    process = runs.start(["run", search, "--out", run], ranks)
    time.sleep(moment)
    runs.kill(process, target)
    recorded = runs.result_lines(run)
    if target != "trainer":
        assert runs.wait_until(lambda: process.poll() is not None, 30), "the job goes on without its master"
    process.wait(60)
    return recorded


def check(search: Path, run: Path, ranks: int, target: str, moment: float, undisturbed: List) -> int:
    """One kill and one restart; the number of results that were recorded between them."""
    recorded = kill_once(search, run, ranks, target, moment)
    finish(search, run, ranks)
    assert runs.result_lines(run)[:len(recorded)] == recorded, "a recorded result was lost or changed"
    assert runs.individuals(run) == undisturbed  # reading refuses a second result of the same trial
    return len(recorded)


def kills(search: Path, folder: Path, ranks: int, target: str, times: int, longest: float, undisturbed: List) -> None:
    moments = random.Random(f"{target}{ranks}")
    counts = []
    for i in range(times):
        run = folder / str(i) / "run"
        run.parent.mkdir()
        counts.append(check(search, run, ranks, target, moments.uniform(0, longest), undisturbed))
    if times >= 20:
        assert any(0 < count < 19 for count in counts), f"no kill came in the middle of the search: {counts}"


@pytest.mark.parametrize("target", TARGETS)
def test_20_kills_alone(search: Path, undisturbed: List, tmp_path: Path, target: str) -> None:
    kills(search, tmp_path, 0, target, 20, 1.6, undisturbed)


@pytest.mark.parametrize("target", TARGETS)
def test_kills_under_mpi(search: Path, undisturbed: List, tmp_path: Path, target: str) -> None:
    kills(search, tmp_path, 3, target, 2, 4.0, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_20_kills_under_mpi(search: Path, undisturbed: List, tmp_path: Path, target: str) -> None:
    kills(search, tmp_path, 3, target, 20, 4.0, undisturbed)
