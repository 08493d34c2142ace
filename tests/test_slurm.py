"""The real job.slurm on a real Slurm of one node (tests/support/one-node-slurm.sh): through to its end, over a walltime
that is too short, after scancel, and with the real container image."""
from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator

import pytest

from tests.conftest import REPOSITORY, missing
from tests.support import runs
from tests.support.cluster import write_program

pytestmark = pytest.mark.slow

CONTROL = REPOSITORY / "tests" / "support" / "one-node-slurm.sh"
JOB_SCRIPT = REPOSITORY / "containers" / "jobs" / "job.slurm"
RANKS = 3


class Slurm:
    """The cluster's commands, from a folder with a small search in it."""

    def __init__(self, conf: Path, folder: Path):
        self.folder, self.own_disk = folder, folder / "node's own disk"
        for path in (folder / "bin", self.own_disk):
            path.mkdir(parents=True)
        write_program(folder / "bin" / "menndl", f'exec {shlex.quote(sys.executable)} -m menndl_caffe.cli "$@"')
        runs.small_data(folder / "my data")
        runs.write_search(folder / "my.search.prototxt", folder / "my data", population=8)
        self._environment = {**runs.environment(), "SLURM_CONF": str(conf), "REPOSITORY": str(REPOSITORY),
                             "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "LOCAL_ROOT": str(self.own_disk),
                             "SEARCH": "my.search.prototxt", "DATA": "my data", "RUN": "my run"}

    def __call__(self, *command: object, **variables: str) -> str:
        done = subprocess.run([str(word) for word in command], cwd=self.folder, text=True, timeout=600,
                              env={**self._environment, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout

    def submit(self, *options: str, **variables: str) -> str:
        """The id of a new job of the real job script."""
        return self("sbatch", "--parsable", f"--ntasks={RANKS}", "--output=log", *options, JOB_SCRIPT,
                    **variables).strip().splitlines()[0]

    def job(self, id: str) -> Dict[str, str]:
        """What Slurm says of a job: JobState, Restarts, ExitCode ..."""
        return dict(re.findall(r"(\w+)=(\S+)", self("scontrol", "show", "job", id)))

    def ended(self, id: str) -> Dict[str, str]:
        """The job, when it has come to its end.

        One that was queued again need not wait for two minutes here; a little it must, until its node has forgotten
        that it ended the job.
        """
        hurried = set()

        def has_ended() -> bool:
            job = self.job(id)
            if job["JobState"] == "PENDING" and job["Restarts"] not in hurried:
                hurried.add(job["Restarts"])
                self("scontrol", "update", f"JobId={id}", "StartTime=now+4")
            return job["JobState"] in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")

        assert runs.wait_until(has_ended, 600), self.log
        return self.job(id)

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    @property
    def run(self) -> Path:
        return self.folder / "my run"

    def undisturbed(self) -> Path:
        """A run of the same search without Slurm, MPI or interruption."""
        out = self.folder / "undisturbed"
        command = ["menndl", "run", "my.search.prototxt", "--out", str(out), "--data", "my data"]
        subprocess.run(command, cwd=self.folder, env=self._environment, check=True, capture_output=True, timeout=300)
        return out


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The configuration of a Slurm that runs."""
    if os.geteuid() != 0:
        missing("a Slurm of one node needs root")
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([str(CONTROL), "start", str(folder)], text=True, capture_output=True, timeout=1200)
    try:
        if started.returncode:
            missing(f"no Slurm: {started.stderr}")
        yield folder / "slurm.conf"
    finally:
        subprocess.run([str(CONTROL), "stop", str(folder)], check=True, capture_output=True, timeout=120)


@pytest.fixture
def slurm(conf: Path, tmp_path: Path) -> Slurm:
    return Slurm(conf, tmp_path / "submit from")


def test_a_job_from_beginning_to_end(slurm: Slurm) -> None:
    """And in the doctor's table every rank has a GPU of its own."""
    job = slurm.job(slurm.submit("--wait", "--gpus-per-task=1", "--cpus-per-task=1"))
    assert (job["JobState"], job["ExitCode"]) == ("COMPLETED", "0:0"), slurm.log
    row = rf"^(\d) +{socket.gethostname().split('.')[0]} +\S+ +(\d) "
    assert re.findall(row, slurm.log, re.MULTILINE) == [("0", "0"), ("1", "1"), ("2", "2")]
    assert runs.individuals(slurm.run) == runs.individuals(slurm.undisturbed())
    assert list(slurm.own_disk.iterdir()) == []


def test_a_job_that_is_too_short_is_followed_by_itself(slurm: Slurm) -> None:
    """Slurm counts in minutes, so the search gets what is left of one after a margin of half of it."""
    id = slurm.submit("--time=1", MARGIN="30", FAKE_SECONDS="3")
    assert runs.wait_until(lambda: slurm.job(id).get("Restarts") == "1"), slurm.log
    between = len(runs.result_lines(slurm.run))
    assert 0 < between < 24 and list(slurm.own_disk.iterdir()) == []
    assert "exit code 75" in slurm.log
    assert slurm.ended(id)["JobState"] == "COMPLETED", slurm.log
    assert runs.individuals(slurm.run) == runs.individuals(slurm.undisturbed())
    assert list(slurm.own_disk.iterdir()) == []


def test_after_scancel_nothing_is_left_behind_and_the_next_job_goes_on(slurm: Slurm) -> None:
    id = slurm.submit(FAKE_SECONDS="1")
    assert runs.wait_until(lambda: len(runs.result_lines(slurm.run)) > 2), slurm.log
    assert len(list(slurm.own_disk.iterdir())) == 1
    slurm("scancel", id)
    assert slurm.ended(id)["JobState"] == "CANCELLED"
    assert runs.wait_until(lambda: list(slurm.own_disk.iterdir()) == [])
    assert 2 < len(runs.result_lines(slurm.run)) < 24
    assert slurm.ended(slurm.submit())["JobState"] == "COMPLETED", slurm.log
    assert runs.individuals(slurm.run) == runs.individuals(slurm.undisturbed())


def test_a_world_that_falls_apart_is_found_out(slurm: Slurm) -> None:
    """Without its PMI every rank believes to be alone; the job must end there, for good."""
    job = slurm.ended(slurm.submit(MPI="none"))
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", "2:0", "0"), slurm.log
    assert f"--expect-ranks wants {RANKS}" in slurm.log
    assert not (slurm.run / "journal.jsonl").exists()
    assert list(slurm.own_disk.iterdir()) == []


def test_the_real_image(slurm: Slurm, container_image: Path) -> None:
    """Real Caffe, MPI and menndl of the image under Slurm's own launcher."""
    job = slurm.ended(slurm.submit("--time=5", IMAGE=str(container_image)))
    assert job["JobState"] == "COMPLETED", slurm.log
    assert re.search(rf"^0-{RANKS - 1} .* {container_image.name} ", slurm.log, re.MULTILINE)  # the doctor's table
    assert len(runs.individuals(slurm.run)) == 24
    assert list(slurm.own_disk.iterdir()) == []


def test_the_real_image_for_the_trainers_alone(slurm: Slurm, container_image: Path) -> None:
    job = slurm.ended(slurm.submit("--time=5", IMAGE=str(container_image), TRAINERS_ONLY="yes"))
    assert job["JobState"] == "COMPLETED", slurm.log
    assert len(runs.individuals(slurm.run)) == 24
