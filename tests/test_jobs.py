"""The job scripts of containers/jobs, each run to its end on a cluster of stand-ins; job.sh also with real MPI
and the real menndl."""
from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import List

import pytest

from tests.conftest import REPOSITORY, missing
from tests.support import runs
from tests.support.cluster import JOBS, SCHEDULERS, TIME_IS_UP, Cluster, write_program

all_scripts = pytest.mark.parametrize("script", SCHEDULERS)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def behaving(**how: int) -> str:
    return json.dumps(how)


@all_scripts
def test_a_search_from_staging_to_clean_up(cluster: Cluster, script: str) -> None:
    scheduler = SCHEDULERS[script]
    before = {path: path.stat().st_mtime for path in cluster.data.rglob("*")}
    job = cluster.job(script)
    assert job.returncode == 0, job.stdout
    a_node, a_rank = ({name: value.format(submit=cluster.submit) for name, value in options.items()}
                      for options in (scheduler.a_node, scheduler.a_rank))
    assert [line["options"] for line in cluster.launches] == [a_node, a_rank, a_rank, a_node]
    assert job.stdout.count("the doctor's table") == 4
    for command in ("doctor", "run"):
        ranks = sorted(cluster.log("menndl", command), key=lambda line: line["rank"])
        assert [(line["rank"], line["node"]) for line in ranks] == [(0, "0"), (1, "0"), (2, "1"), (3, "1")]
        for line in ranks:  # only what a training reads, and a lock file of the job's own
            lock = {"lock.mdb": 0} if command == "run" or "lock.mdb" in line["data"] else {}
            assert line["data"] == {"data.mdb": 1000, "mean.binaryproto": 10, **lock}
            data = line["arguments"][line["arguments"].index("--data") + 1]
            assert Path(data).is_relative_to(cluster.home / "nodes" / line["node"])
    assert cluster.left_behind == [] and cluster.next_jobs == []
    assert {path: path.stat().st_mtime for path in cluster.data.rglob("*")} == before


@all_scripts
def test_what_menndl_is_asked(cluster: Cluster, script: str) -> None:
    cluster.job(script, ENGINE="torch", GPUS="1")
    scheduler = SCHEDULERS[script]
    threads = scheduler.a_rank.get("--cpus-per-task") or scheduler.a_rank.get("-d") or scheduler.a_rank.get("-c", "1")
    doctor, run = (cluster.log("menndl", command)[0]["arguments"] for command in ("doctor", "run"))
    asked = dict(zip(run[2::2], run[3::2]))
    local, limit = asked.pop("--data"), int(asked.pop("--time-limit"))
    assert run[:2] == ["run", "my.search.prototxt"]
    assert asked == {"--out": str(cluster.run), "--engine": "torch", "--threads": threads, "--expect-ranks": "4"}
    assert scheduler.seconds - 200 - 150 <= limit <= scheduler.seconds - 200  # 150: the test machine may be slow
    assert Path(local).name == "data" and Path(local).parent.name.startswith(f"menndl-{os.getuid()}-")
    assert doctor[:2] == ["doctor", "--mpi"] and doctor[2:6] == ["--expect-ranks", "4", "--engine", "torch"]
    seen = [(line["node"], line["gpu"]) for line in cluster.log("menndl", "run")]
    assert len(set(seen)) == 4 and all("," not in gpu for _, gpu in seen), seen  # a GPU of its own for every rank


@all_scripts
def test_time_is_up_and_the_next_job_goes_on(cluster: Cluster, script: str) -> None:
    job = cluster.job(script, FAKE_MENNDL=behaving(run=TIME_IS_UP))
    wanted = SCHEDULERS[script].next_job
    assert job.returncode == SCHEDULERS[script].code, job.stdout
    assert cluster.next_jobs == ([[word.format(submit=cluster.submit) for word in wanted]] if wanted else [])
    assert cluster.left_behind == []
    assert "exit code 75, 3 results are recorded" in job.stdout


@pytest.mark.parametrize("script, failing, code", [
    *((script, "run", 1) for script in SCHEDULERS), ("job.lsf", "run", 2), ("job.slurm", "run", 137),
    ("job.pbs", "doctor", 1), ("job.slurm", "doctor", 2)])
def test_a_failure_ends_it_for_good(cluster: Cluster, script: str, failing: str, code: int) -> None:
    job = cluster.job(script, FAKE_MENNDL=behaving(**{failing: code}))
    assert job.returncode == code
    assert "the doctor's table" in job.stdout
    assert len(cluster.log("menndl", "run")) == (0 if failing == "doctor" else 4)
    assert cluster.next_jobs == [] and cluster.left_behind == []


@all_scripts
def test_a_launcher_that_says_0_is_not_believed(cluster: Cluster, script: str) -> None:
    """As mpirun --with-ft ulfm does when all ranks were killed one by one, the master last."""
    job = cluster.job(script, FAKE_MENNDL=behaving(complete=False))
    assert job.returncode == 1 and cluster.left_behind == [] and cluster.next_jobs == []
    assert "job: error: but the search is not complete; the same job script again goes on" in job.stdout
    asked, = cluster.log("menndl", "status")
    assert asked["arguments"] == ["status", "--json", str(cluster.run)]


@pytest.mark.parametrize("script", ["job.slurm", "job.lsf"])
def test_jobs_that_get_nowhere_do_not_go_on_for_ever(cluster: Cluster, script: str) -> None:
    stuck, works = behaving(run=TIME_IS_UP, results=0), behaving(run=TIME_IS_UP, results=1)
    jobs = [cluster.job(script, FAKE_MENNDL=how) for how in (stuck, stuck, works, stuck, stuck, stuck)]
    assert [job.returncode for job in jobs] == [SCHEDULERS[script].code] * 5 + [1]
    assert "error: 3 jobs in a row had no new result" in jobs[-1].stdout
    assert len(cluster.next_jobs) == (5 if SCHEDULERS[script].next_job else 0)


@pytest.mark.parametrize("script", ["job.slurm", "job.lsf"])
def test_too_little_time_is_an_error(cluster: Cluster, script: str) -> None:
    job = cluster.job(script, MARGIN="9000")
    assert job.returncode == 1 and "more than MARGIN=9000 are needed" in job.stdout
    assert cluster.log("menndl", "run") == [] and cluster.next_jobs == [] and cluster.left_behind == []


@pytest.mark.parametrize("script", ["job.slurm", "job.pbs", "job.flux"])
def test_a_next_job_that_cannot_be_queued_is_an_error(cluster: Cluster, script: str) -> None:
    job = cluster.job(script, FAKE_MENNDL=behaving(run=TIME_IS_UP), FAKE_SCHEDULER_CODE="1")
    assert job.returncode == 1 and "the next job could not be queued" in job.stdout


@all_scripts
def test_a_killed_job_leaves_nothing_behind(cluster: Cluster, script: str) -> None:
    job = cluster.start(script, FAKE_MENNDL=behaving(seconds=600))
    assert runs.wait_until(lambda: len(cluster.log("menndl", "run")) == 4)
    assert len(cluster.left_behind) == 2
    ranks = [pid for pid, command in runs.descendants(job.pid).items() if "bin/menndl" in command]
    job.terminate()
    output, _ = job.communicate(timeout=120)
    assert job.returncode == 143, output
    assert cluster.left_behind == [] and cluster.next_jobs == []
    assert runs.wait_until(lambda: all(runs.has_ended(pid) for pid in ranks))


@pytest.mark.parametrize("variable, value, message", [
    ("DATA", "no data", "DATA=no data: no such folder; menndl data cifar10 makes data/cifar10"),
    ("IMAGE", "no image.sif", "IMAGE=no image.sif: no such image; make container makes build/menndl-caffe.sif"),
])
@all_scripts
def test_a_mistake_is_told_before_anything_starts(cluster: Cluster, script: str, variable: str, value: str,
                                                  message: str) -> None:
    job = cluster.job(script, **{variable: value})
    assert (job.returncode, job.stdout) == (2, f"job: error: {message}\n")
    assert not (cluster.submit / "my run").exists()


def test_no_limit_means_no_limit(cluster: Cluster) -> None:
    for script, more in (("job.slurm", {"FAKE_END": "N/A"}), ("job.sh", {"TIME_LIMIT": ""})):
        assert cluster.job(script, **more).returncode == 0
    assert len(cluster.log("menndl", "run")) == 8
    assert not any("--time-limit" in line["arguments"] for line in cluster.log("menndl", "run"))


def test_slurm_says_the_end_itself_where_it_can(cluster: Cluster) -> None:
    cluster.job("job.slurm", SLURM_JOB_END_TIME=str(int(time.time()) + 1000))
    limit = cluster.log("menndl", "run")[0]["arguments"][-1]
    assert 650 <= int(limit) <= 800 and not cluster.log("squeue")


def test_pbs_pro_says_the_walltime_and_the_nodes_otherwise(cluster: Cluster) -> None:
    hosts = cluster.submit / "nodefile"
    hosts.write_text("a\na\nb\nb\n")
    cluster.job("job.pbs", PBS_WALLTIME="", PBS_NUM_NODES="", PBS_NODEFILE=str(hosts))
    assert 5400 - 350 <= int(cluster.log("menndl", "run")[0]["arguments"][-1]) <= 5400 - 200


@pytest.mark.parametrize("gpus, nv", [("0", []), ("1", ["--nv"])])
def test_all_of_menndl_in_an_image(cluster: Cluster, gpus: str, nv: List[str]) -> None:
    (cluster.submit / "an image.sif").mkdir()  # an unpacked one, which any user can run
    (cluster.submit / "searches").mkdir()
    (cluster.submit / "searches" / "my.search.prototxt").touch()
    assert cluster.job("job.sh", IMAGE="an image.sif", GPUS=gpus, SEARCH="searches/my.search.prototxt").returncode == 0
    *calls, asked = [line["arguments"] for line in cluster.log("apptainer")]
    assert len(calls) == 8 and len(cluster.log("menndl")) == 9  # doctor, run, and status, by way of the image
    assert asked[-4:] == ["menndl", "status", "--json", str(cluster.run)]
    for call in calls:
        binds = [call[i + 1] for i, word in enumerate(call) if word == "--bind"]
        assert str(cluster.run) in binds and str(cluster.submit / "searches") in binds
        assert any(Path(bind).is_relative_to(cluster.home / "nodes") for bind in binds)
        assert [word for word in call if word == "--nv"] == nv
        image = call.index("an image.sif")
        assert call[image + 1] == "menndl"


def test_only_the_trainers_in_an_image(cluster: Cluster) -> None:
    (cluster.submit / "an image.sif").touch()
    assert cluster.job("job.sh", IMAGE="an image.sif", TRAINERS_ONLY="yes").returncode == 0
    assert cluster.log("apptainer") == []  # until a rank wants a trainer
    forwarded = [line["options"].get("-x") for line in cluster.launches]
    assert forwarded == [None, "MENNDL_TRAINER", "MENNDL_TRAINER", None]
    trainer = shlex.split(cluster.log("menndl", "run")[0]["trainer"])
    assert Path(trainer[0]).samefile(REPOSITORY / "containers" / "exec.sh")
    assert trainer[-5:] == ["an image.sif", "python3", "-m", "menndl_caffe.trainer", "caffe"]
    assert str(cluster.run) in trainer


def test_menndl_is_told_where_it_is_missing(cluster: Cluster, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "containers" / "jobs", tmp_path / "elsewhere" / "containers" / "jobs")
    (cluster.home / "bin" / "menndl").unlink()
    job = cluster.job("job.slurm", REPOSITORY=str(tmp_path / "elsewhere"))
    assert job.returncode == 2 and "no menndl in PATH or build/venv" in job.stdout


def test_launchers_other_than_open_mpi_5(cluster: Cluster) -> None:
    """job.sh asks mpirun what it is."""
    mpirun = cluster.home / "bin" / "mpirun"
    for version, a_node, a_rank in (("mpirun (Open MPI) 4.1.4", "--map-by ppr:1:node", ""),
                                    ("HYDRA build details: Version: 5.0.2", "-ppn 1", "")):
        write_program(mpirun, f'if [[ $1 == --version ]]; then echo "{version}"; else echo "GOT $*"; fi')
        job = cluster.job("job.sh", HOSTS="")
        launched = [line for line in job.stdout.splitlines() if line.startswith("GOT")]
        assert launched[0].startswith(f"GOT -n 1 {a_node} {JOBS}/stage-data.sh")
        assert launched[1].startswith(f"GOT -n 4 {a_rank}{JOBS}/stage-data.sh --hold")


def test_job_scripts_are_short_and_say_what_was_run() -> None:
    for script in SCHEDULERS:
        lines = (JOBS / script).read_text().splitlines()
        assert lines[0] == "#!/usr/bin/env bash" and len(lines) <= 60
        head = "\n".join(lines[:8])
        assert ("Run here" in head) == (script in ("job.slurm", "job.sh")) != ("NOT RUN HERE" in head)


@all_scripts
def test_help_and_a_script_that_its_scheduler_does_not_start(cluster: Cluster, script: str) -> None:
    """Neither begins a search."""
    command = ["bash", str(JOBS / script)]
    said = subprocess.run([*command, "--help"], cwd=cluster.submit, text=True, capture_output=True, check=True).stdout
    assert said.startswith("# A search ") and "\nSEARCH=${SEARCH:-solvers/paper.search.prototxt}\n" in said
    assert "set -euo" not in said and "source" not in said
    if script in ("job.slurm", "job.pbs", "job.lsf"):
        done = subprocess.run(command, cwd=cluster.submit, text=True, capture_output=True)
        submit = {"job.slurm": "sbatch", "job.pbs": "qsub", "job.lsf": "bsub"}[script]
        assert done.returncode and f"this is for {submit}, see --help" in done.stderr
    assert not (cluster.submit / "my run").exists() and cluster.launches == []


class Host:
    """This machine with its real MPI, the real menndl, and a trainer of milliseconds."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "bin").mkdir()
        write_program(folder / "bin" / "menndl", f'exec {shlex.quote(sys.executable)} -m menndl_caffe.cli "$@"')
        runs.small_data(folder / "my data")
        runs.write_search(folder / "my.search.prototxt", folder / "my data", population=8)

    def start(self, run: str, **more: str) -> subprocess.Popen[str]:
        defaults = dict.fromkeys(("HOSTS", "IMAGE", "ENGINE", "THREADS", "GPUS", "TIME_LIMIT"), "")
        environment = runs.environment(**{
            **defaults, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "SEARCH": "my.search.prototxt",
            "DATA": "my data", "RUN": run, "RANKS": "3", "LOCAL_ROOT": str(self.folder / "own disk"),
            "MPIRUN": runs.launcher(1)[0], "MARGIN": "1", **more})
        return subprocess.Popen([str(JOBS / "job.sh")], cwd=self.folder, text=True, env=environment,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)

    def job(self, run: str, **more: str) -> subprocess.CompletedProcess[str]:
        process = self.start(run, **more)
        output, _ = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, output)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_search_with_real_mpi(host: Host) -> None:
    job = host.job("my run")
    assert job.returncode == 0, job.stdout
    assert "Best 5 of 24 individuals" in job.stdout
    assert len(runs.individuals(host.folder / "my run")) == 24
    assert list((host.folder / "own disk").iterdir()) == []


@pytest.mark.slow
def test_stopped_by_its_time_limit_it_goes_on_as_if_nothing_had_been(host: Host) -> None:
    """Its trainers are held in their second training; a slow machine needs a longer limit to come so far."""
    held, limit = host.folder / "held", 4
    held.mkdir()
    while not list(held.iterdir()):
        limit *= 2
        parts = f"in parts {limit}"
        first = host.job(parts, TIME_LIMIT=str(limit), FAKE_HELD=str(held))
        assert first.returncode == TIME_IS_UP, first.stdout
    assert 0 < len(runs.result_lines(host.folder / parts)) < 24
    assert host.job(parts).returncode == 0 and host.job("whole").returncode == 0
    assert runs.individuals(host.folder / parts) == runs.individuals(host.folder / "whole")


@pytest.mark.slow
def test_a_killed_rank_does_not_end_the_search(host: Host) -> None:
    version = subprocess.run([runs.launcher(1)[0], "--version"], capture_output=True, text=True).stdout
    if "(Open MPI) 5" not in version:
        missing(f"no Open MPI 5, whose searches go on when a rank dies: {version.splitlines()[:1]}")
    whole, run = host.folder / "whole", host.folder / "my run"
    assert host.job("whole").returncode == 0
    job = host.start("my run", FAKE_SECONDS="0.7")
    assert runs.wait_until(lambda: len(runs.result_lines(run)) > 2)
    ranks = [pid for pid, command in runs.descendants(job.pid).items()
             if command.startswith(f"{sys.executable} -m menndl_caffe.cli run")
             and b"OMPI_COMM_WORLD_RANK=2\0" in Path(f"/proc/{pid}/environ").read_bytes()]
    os.kill(ranks[0], signal.SIGKILL)
    output, _ = job.communicate(timeout=120)
    assert job.returncode == 0 and re.search("rank 2 on .* has died", output), output
    assert runs.individuals(run) == runs.individuals(whole)
    assert list((host.folder / "own disk").iterdir()) == []
