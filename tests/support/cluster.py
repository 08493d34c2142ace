"""Two nodes of stand-ins (fake_cluster.py) for the job scripts of containers/jobs, with spaces in every path."""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

from tests.conftest import REPOSITORY

JOBS = REPOSITORY / "containers" / "jobs"
PROGRAMS = ("srun", "aprun", "jsrun", "flux", "mpirun", "squeue", "qstat", "bjobs", "scontrol", "qsub", "menndl",
            "apptainer")
TIME_IS_UP = 75
ID = "17"


class Scheduler(NamedTuple):
    """What a scheduler gives a job of two nodes with two ranks each, and how the documentation says to use it."""

    variables: Dict[str, str]
    launcher: str
    a_node: Dict[str, str]  # options that start one process on each of the two nodes
    a_rank: Dict[str, str]  # options that start the four ranks
    seconds: int  # of the job, when it begins
    next_job: Optional[List[str]]  # the program that queues the next job, and its arguments; None: the exit code does
    code: int = TIME_IS_UP  # of a job that is followed by another


SCHEDULERS = {
    "job.slurm": Scheduler(
        {"SLURM_JOB_ID": ID, "SLURM_NNODES": "2", "SLURM_NTASKS": "4", "SLURM_CPUS_PER_TASK": "3",
         "SLURM_SUBMIT_DIR": "{submit}", "SLURM_LOCALID": "0", "SLURM_JOB_GPUS": "0,1", "MARGIN": "200"},
        "srun", {"--mpi": "none", "--nodes": "2", "--ntasks": "2", "--ntasks-per-node": "1"},
        {"--mpi": "pmix", "--cpus-per-task": "3", "--kill-on-bad-exit": "0", "--wait": "30"},
        3600, ["scontrol", "requeue", ID], 143),
    "job.pbs": Scheduler(
        {"PBS_JOBID": f"{ID}.titan", "PBS_NUM_NODES": "2", "PBS_WALLTIME": "1800", "PBS_O_WORKDIR": "{submit}",
         "RANKS_PER_NODE": "2", "THREADS": "8", "MARGIN": "200"},
        "aprun", {"-n": "2", "-N": "1"}, {"-n": "4", "-N": "2", "-d": "8"}, 1800,
        ["qsub", "-V", "-l", "nodes=2", "-l", "walltime=01:30:00", "-A", "BIF101", "{submit}/containers/jobs/job.pbs"]),
    "job.lsf": Scheduler(
        {"LSB_JOBID": ID, "LSB_DJOB_HOSTFILE": "{submit}/hosts of lsf", "LS_SUBCWD": "{submit}", "USER": "me",
         "RANKS_PER_NODE": "2", "MARGIN": "200"},
        "jsrun", {"-n": "2", "-r": "1", "-a": "1", "-c": "1"}, {"-n": "4", "-r": "2", "-a": "1", "-c": "7", "-g": "1"},
        5400, None),
    "job.flux": Scheduler(
        {"RANKS_PER_NODE": "2", "THREADS": "3", "GPUS": "1", "MARGIN": "200"},
        "flux run", {"-N": "2", "-n": "2", "-c": "1"},
        {"-N": "2", "-n": "4", "-c": "3", "-g": "1", "-o": "pmi=simple"}, 5400,
        ["flux --parent", "batch", "-N", "2", "{submit}/containers/jobs/job.flux"]),
    "job.sh": Scheduler(
        {"HOSTS": "{submit}/my hosts", "RANKS": "4", "FAKE_HOSTS": "2", "TIME_LIMIT": "900", "MARGIN": "200"},
        "mpirun", {"--hostfile": "{submit}/my hosts", "-n": "2", "--map-by": "ppr:1:node"},
        {"--hostfile": "{submit}/my hosts", "-n": "4", "--with-ft": "ulfm"}, 900, None),
}
LAUNCHERS = [scheduler.launcher for scheduler in SCHEDULERS.values()]


def write_program(path: Path, text: str) -> Path:
    """A program in bash."""
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


class Cluster:
    """Two nodes, their launchers and schedulers, a data folder, and a place from which jobs are submitted."""

    def __init__(self, folder: Path):
        self.home, self.submit = folder / "fake cluster", folder / "submit from"
        self.data, self.run = self.submit / "my data", self.submit / "my run"
        for path in (self.home / "bin", self.submit, self.data / "cifar10_train_lmdb", folder / "spool of jobs"):
            path.mkdir(parents=True)
        (self.submit / "containers").symlink_to(REPOSITORY / "containers")
        (self.submit / "my hosts").write_text("# two of them\nalpha slots=2\n\nbeta slots=2\n")
        (self.submit / "hosts of lsf").write_text("batch5\n" + "h41n04\n" * 42 + "h41n05\n" * 42)
        (self.data / "cifar10_train_lmdb" / "data.mdb").write_bytes(b"x" * 1000)
        (self.data / "cifar10_train_lmdb" / "data.mdb").chmod(0o444)
        (self.data / "cifar10_train_lmdb" / "lock.mdb").write_bytes(b"somebody else's")
        (self.data / "cifar-10-binary.tar.gz").write_bytes(b"y" * 500)
        (self.data / "mean.binaryproto").write_bytes(b"z" * 10)
        self.spool = folder / "spool of jobs"
        for name in PROGRAMS:
            program = self.home / "bin" / name
            program.write_text(f"#!{sys.executable} -S\nimport sys\n"
                               f"sys.path.insert(0, {str(REPOSITORY / 'tests' / 'support')!r})\n"
                               "import fake_cluster\nsys.exit(fake_cluster.main())\n")
            program.chmod(0o755)
        write_program(self.home / "bin" / "nvidia-smi", "printf '%s\\n' 0 1 2 3")

    def environment(self, script: str, **more: str) -> Dict[str, str]:
        end = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + SCHEDULERS[script].seconds))
        variables = {name: value.format(submit=self.submit) for name, value in SCHEDULERS[script].variables.items()}
        return {"PATH": f"{self.home / 'bin'}:/usr/bin:/bin", "HOME": str(self.home), "FAKE_CLUSTER": str(self.home),
                "FAKE_END": end + "\n", "TZ": "UTC", "LOCAL_ROOT": str(self.home / "node's own disk"),
                "SEARCH": "my.search.prototxt", "RUN": "my run", "DATA": "my data", **variables, **more}

    def start(self, script: str, **more: str) -> subprocess.Popen[str]:
        """The script as its scheduler starts it: a copy of it, somewhere else; job.sh is started by hand."""
        path = JOBS / script
        if script != "job.sh":
            path = Path(shutil.copy(JOBS / script, self.spool))
        return subprocess.Popen(["bash", str(path)], cwd=self.spool if script == "job.pbs" else self.submit, text=True,
                                env=self.environment(script, **more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                start_new_session=True)

    def job(self, script: str, **more: str) -> subprocess.CompletedProcess[str]:
        process = self.start(script, **more)
        output, _ = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, output)

    def log(self, program: str, command: str = "") -> List[Dict[str, Any]]:
        """What a program wrote down, in order; of a menndl command, only that one's. Its last line may be cut."""
        path = self.home / "log.jsonl"
        text = path.read_text() if path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if line["program"] == program and command in ("", line["arguments"][0])]

    @property
    def launches(self) -> List[Dict[str, Any]]:
        """What the launchers were asked to start."""
        return [line for name in LAUNCHERS for line in self.log(name) if "options" in line]

    @property
    def left_behind(self) -> List[Path]:
        """What is still on the nodes."""
        return sorted(self.home.glob("nodes/*/*"))

    @property
    def next_jobs(self) -> List[List[str]]:
        return [[line["program"], *line["arguments"]]
                for program in ("scontrol", "qsub", "flux --parent") for line in self.log(program)]
