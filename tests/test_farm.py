"""Farms: slots, roles, and what becomes of a job when a rank fails or is killed."""
from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Dict, List, Tuple

import lmdb
import pytest

from menndl_caffe.farm import whose
from menndl_caffe.farm.local import LocalFarm
from menndl_caffe.run.launch import Options, Parts
from tests.support import farm_world, runs

CORES = sorted(os.sched_getaffinity(0))
PINNED = """
import os, sys
os.sched_setaffinity(0, map(int, sys.argv[1].split(",")))
os.execv(sys.argv[2], sys.argv[2:])
"""


def world(search: Path, ranks: int, case: str = "contract", cores: int = len(CORES),
          **variables: str) -> subprocess.CompletedProcess[str]:
    """The program farm_world under mpirun, on so many cores."""
    if cores > len(CORES):
        pytest.skip(f"needs {cores} cores")
    pin = [sys.executable, "-c", PINNED, ",".join(map(str, CORES[:cores]))]
    command = [*pin, *runs.launcher(ranks), sys.executable, "-m", "tests.support.farm_world", str(search), case]
    return ended(command, **variables)


def ended(command: List[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """A command of a run, once it has ended. Open MPI ends its own messages with a NUL, which may begin our line."""
    done = subprocess.run(command, cwd=runs.REPOSITORY, env=runs.environment(**variables), text=True,
                          capture_output=True, timeout=runs.PATIENCE)
    done.stderr = done.stderr.replace("\0", "")
    return done


def test_the_local_farm(search: Path, in_repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MENNDL_TRAINER", runs.FAKE_TRAINER)
    parts = Parts.of(Options(str(search), Path(".")))
    farm = LocalFarm(parts.evaluator(7))
    try:
        default = parts.experiment.space.default
        summary = farm_world.contract(farm, lambda id: parts.experiment.trial(id, default))
        assert summary == {"slots": 1, "ranks": [7]}
        assert runs.descendants(os.getpid())
    finally:
        farm.close()
    assert not any("fake_trainer" in command for command in runs.descendants(os.getpid()).values())


@pytest.mark.parametrize(("ranks", "cores", "training"), [
    (1, 1, [0]),
    (2, 2, [0, 1]),  # a core for each, so the master trains too
    (2, 1, [1]),
    (3, 2, [1, 2]),
])
def test_the_mpi_farm(search: Path, ranks: int, cores: int, training: List[int]) -> None:
    done = world(search, ranks, cores=cores)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"slots": len(training), "ranks": training, "world": ranks}


def test_who_has_a_training_goes_on_with_it(search: Path) -> None:
    """The master's own trainer as well as the other rank; whoever is idle where that rank is not."""
    done = world(search, 2, "goes on", cores=2)
    assert done.returncode == 0, done.stderr
    first, second, third, last = json.loads(done.stdout)["rounds"]
    assert set(first) == {0, 1}
    assert second == first[::-1] and third == second
    assert last[0] == third[0] and set(last) == {0, 1}


def test_whose_a_training_is() -> None:
    trial = SimpleNamespace(continues=7)
    assert whose(trial, [3, 1, 2], {1: 7, 2: 8}) == 1  # type: ignore[arg-type]
    assert whose(trial, [3, 2], {1: 7, 2: 8}) is None  # type: ignore[arg-type]
    assert whose(SimpleNamespace(continues=None), [1, 2], {1: 7}) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("case", ["fail_idle", "fail_busy", "fail_unclosed"])
def test_a_master_that_fails_sends_the_others_home(search: Path, case: str) -> None:
    """And that at once, also in the middle of their trials, which take an hour."""
    done = world(search, 3, case, FAKE_SECONDS="3600")
    assert done.returncode == 2
    assert done.stdout.strip() == "the program's end: the master does not like it"
    assert "MPI_ABORT" not in done.stderr


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_breaks_ends_the_job_and_says_where(search: Path, rank: int) -> None:
    """Rank 0 trains here, so it can break as others do: when they wait for it already."""
    done = world(search, 2, f"rank {rank} breaks", cores=2)
    assert done.returncode == 1
    assert f"menndl: rank {rank} on {socket.gethostname()}: Traceback (most recent call last):\n" in done.stderr
    assert "RuntimeError: a rank that breaks\n" in done.stderr


def test_a_rank_without_data_ends_the_job_and_says_where(search: Path, tmp_path: Path) -> None:
    """As on a cluster where the data have been copied to some nodes only."""
    run = [sys.executable, "-m", "menndl_caffe.cli", "run", str(search), "--out", str(tmp_path / "run")]
    command = [*runs.launcher(1), *run, ":", "-n", "1", *run, "--data", str(tmp_path / "nowhere")]
    done = ended(command)
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if line.startswith("menndl")]
    assert len(said) == 1, done.stderr
    assert said[0].startswith(f"menndl: rank 1 on {socket.gethostname()}: data {tmp_path / 'nowhere'}: ")
    assert "Traceback" not in done.stderr


def others(search: Path, folder: Path) -> Dict[str, Tuple[str, List[str]]]:
    """What a rank may have that rank 0 has not -> what is said of it, and the command line of that rank's menndl."""
    data = Path(re.findall('^data: "(.*)"', search.read_text(), re.MULTILINE)[0])
    stale = Path(shutil.copytree(data, folder / "stale"))
    with contextlib.closing(lmdb.open(str(stale / "cifar10_train_lmdb"), map_size=2**24)) as database:
        with database.begin(write=True) as transaction:
            assert transaction.replace(b"00150", transaction.get(b"00151")) is not None  # not among the first 100
    own = folder / "own"
    (own / "templates" / "cifar10_quick").mkdir(parents=True)
    net = (runs.REPOSITORY / "templates/cifar10_quick/train_test.prototxt.j2").read_text()
    (own / "templates" / "cifar10_quick" / "train_test.prototxt.j2").write_text(net + "# stale\n")
    menndl = [sys.executable, "-m", "menndl_caffe.cli", "run", str(search), "--out", str(folder / "run")]
    newer = ["env", f"MENNDL_TRAINER={sys.executable} -c \"from tests.support import fake_trainer; "
             "say = fake_trainer.say; "
             "fake_trainer.say = lambda **m: say(**{**m, **({'version': '1'} if 'pid' in m else {})}); "
             "fake_trainer.main()\"", *menndl]
    return {"data": ("its records of train is ", [*menndl, "--data", str(stale)]),
            "template": ("its net template is the one of SHA-256 ", ["env", "-C", str(own), *menndl]),
            "seed": ("its random_seed is 7, rank 0's is 1; ", [*menndl, "--seed", "7"]),
            "engine": ("MENNDL_TRAINER starts a trainer of version 1 on unknown on ", newer)}


@pytest.mark.parametrize("what", ["data", "template", "seed", "engine"])
def test_a_rank_that_has_another_ends_the_job_before_its_first_result(search: Path, tmp_path: Path, what: str) -> None:
    """As with a stale copy on one node."""
    said, other = others(search, tmp_path)[what]
    run = [sys.executable, "-m", "menndl_caffe.cli", "run", str(search), "--out", str(tmp_path / "run")]
    done = ended([*runs.launcher(1), *run, ":", "-n", "1", *other])
    assert done.returncode == 2, done.stderr
    assert f"menndl: rank 1 on {socket.gethostname()}: {said}" in done.stderr and "Traceback" not in done.stderr
    assert not [line for line in runs.result_lines(tmp_path / "run") if '"rank": 1' in line]


@pytest.mark.parametrize(("ranks", "expected", "variables", "said"), [
    (2, ["--expect-ranks", "3"], {}, "has 2 ranks, --expect-ranks wants 3"),
    (0, ["--expect-ranks", "2"], {}, "has 1 rank, --expect-ranks wants 2"),
    (0, [], {"SLURM_STEP_NUM_TASKS": "4"}, "has 1 rank, the launcher started 4"),  # srun and MPI library do not fit
    (0, [], {"FLUX_JOB_SIZE": "5"}, "has 1 rank, the launcher started 5"),
    (0, [], {"FLUX_JOB_SIZE": "5", "SLURM_STEP_NUM_TASKS": "2"}, "has 1 rank, the launcher started 5"),  # Flux in Slurm
])
def test_a_wrong_world_is_an_error_at_once(search: Path, tmp_path: Path, ranks: int, expected: List[str],
                                           variables: Dict[str, str], said: str) -> None:
    run = [sys.executable, "-m", "menndl_caffe.cli", "run", str(search), "--out", str(tmp_path / "run"), *expected]
    done = ended([*runs.launcher(ranks), *run], **variables)
    assert done.returncode == 2
    line, = (line for line in done.stderr.splitlines() if line.startswith("menndl"))
    assert line.startswith(f"menndl run: the MPI world {said}: ")
    assert not (tmp_path / "run").exists()


def ranks_of(process: subprocess.Popen[bytes]) -> Dict[int, int]:
    """Rank -> process id, as Open MPI or PMIx tell a rank its number."""
    found = {}
    for pid, command in runs.descendants(process.pid).items():
        if "menndl_caffe.cli" in command and "mpirun" not in command:
            text = Path(f"/proc/{pid}/environ").read_text(errors="replace")
            variables = dict(pair.split("=", 1) for pair in text.split("\0") if "=" in pair)
            rank = int(variables.get("OMPI_COMM_WORLD_RANK", variables.get("PMIX_RANK", "-1")))
            found.setdefault(rank, pid)  # what a rank is about to start looks like the rank itself
    return found


@pytest.mark.parametrize("victim", ["rank", "launcher"])
def test_a_kill_ends_the_job_and_nothing_is_lost(search: Path, tmp_path: Path, victim: str) -> None:
    run, alone = tmp_path / "run", tmp_path / "alone"
    process = runs.start_held(["run", search, "--out", run], tmp_path, 3)
    pids, family = ranks_of(process), runs.descendants(process.pid)
    assert sorted(pids) == [0, 1, 2]
    os.kill({"rank": pids[2], "launcher": process.pid}[victim], signal.SIGKILL)
    assert runs.wait_until(lambda: process.poll() is not None), "the job goes on"
    assert process.returncode != 0
    assert runs.wait_until(lambda: all(map(runs.has_ended, family))), "somebody lives on"
    recorded = runs.result_lines(run)
    assert 0 < len(recorded) < 19
    assert runs.start(["run", search, "--out", run], 3).wait(runs.PATIENCE) == 0
    assert runs.start(["run", search, "--out", alone]).wait(runs.PATIENCE) == 0
    assert runs.result_lines(run)[:len(recorded)] == recorded
    assert runs.individuals(run) == runs.individuals(alone)


def test_ctrl_c_for_all_ranks_is_one_line_of_each(search: Path, tmp_path: Path) -> None:
    """As srun passes it on, and LSF's bkill: the trainers are told as well, and that is no failure of theirs."""
    run = tmp_path / "run"
    with open(tmp_path / "log", "wb") as log:
        process = runs.start_held(["run", search, "--out", run], tmp_path, 3, log)
    trainers = [pid for pid, command in runs.descendants(process.pid).items() if "fake_trainer" in command]
    runs.tell([*trainers, *ranks_of(process).values()], signal.SIGINT)
    assert process.wait(runs.PATIENCE) != 0
    text = (tmp_path / "log").read_text()
    assert "interrupted; the same command goes on" in text and "Traceback" not in text
    assert not [line for line in runs.result_lines(run) if '"status": "ok"' not in line]


@pytest.mark.parametrize(("said", "name"), [
    ("Open MPI v4.1.0, package: Debian OpenMPI, ident: 4.1.0", "Open MPI v4.1.0"),
    ("MPICH Version:\t3.4.1\nMPICH Release date:\tTue\n", "MPICH Version: 3.4.1"),
])
def test_an_mpi_library_is_named_in_few_words(said: str, name: str) -> None:
    code = ("from menndl_caffe.farm import world; from types import SimpleNamespace as Fake; "
            f"world.MPI = Fake(Get_library_version=lambda: {said!r}); print(world.library())")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=runs.environment())
    assert done.stdout.strip() == name, done.stderr
