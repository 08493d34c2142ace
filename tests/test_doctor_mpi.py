"""`menndl doctor --mpi` under a launcher, with ranks that see different places."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Set

import pytest

from tests.support import runs
from tests.test_doctor import A, B, rows, write_nvidia_smi

DOCTOR = [sys.executable, "-m", "menndl_caffe.cli", "doctor", "--mpi"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("doctor") / "data")


def ended(command: List[object], cores: Optional[Set[int]] = None,
          **variables: str) -> subprocess.CompletedProcess[str]:
    """A command with the fake trainer, once it has ended, on all cores or on these."""
    pinned = ["taskset", "-c", ",".join(map(str, cores))] if cores else []
    return subprocess.run([*pinned, *map(str, command)], cwd=runs.REPOSITORY, env=runs.environment(**variables),
                          text=True, capture_output=True, timeout=300)


def doctor(ranks: int, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return ended([*runs.launcher(ranks), *DOCTOR, *arguments], **variables)


def each(*ranks: List[object]) -> List[object]:
    """A command in which every rank has arguments of its own, with an environment before them (NAME=VALUE)."""
    command: List[object] = runs.launcher(1)[:1]
    for words in ranks:
        variables = [word for word in words if "=" in str(word)]
        command += [":"] * (len(command) > 1) + ["-n", "1", "env", *variables, *DOCTOR]
        command += [word for word in words if word not in variables]
    return command


def test_a_sound_job(data: Path) -> None:
    done = doctor(3, "--expect-ranks", 3, "--data", data)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row[0] for row in rows(done.stdout)] == ["0-2"]
    assert "train 200, test 50" in done.stdout and "problem:" not in done.stdout
    assert done.stdout.startswith("3 ranks on 1 host, rank 0 ")
    assert "menndl" not in done.stderr and "Traceback" not in done.stderr  # an MPI may have its own to say


def test_a_sound_job_as_json(data: Path) -> None:
    before = time.time()
    seen = json.loads(doctor(2, "--json", "--data", data).stdout)
    assert [place["rank"] for place in seen["ranks"]] == [0, 1] and seen["works"] is True
    for place in seen["ranks"]:
        assert place["images"] == {"cifar10_train_lmdb": 200, "cifar10_test_lmdb": 50}
        assert place["engine"] == runs.FAKE_TRAINER and place["mpi"]
    assert all(before <= place["clock"] <= time.time() for place in seen["ranks"])


def test_a_rank_without_data_is_a_problem(data: Path, tmp_path: Path) -> None:
    done = ended(each(["--data", data], ["--data", data], ["--data", tmp_path / "no"]))
    assert done.returncode == 1
    problem, = (line for line in done.stdout.splitlines() if line.startswith("problem:"))
    assert problem.startswith("problem: rank 2 on ") and f"{tmp_path / 'no'}: no database *_train_lmdb" in problem
    assert "Traceback" not in done.stderr


def test_a_rank_with_other_data_is_a_problem(data: Path, tmp_path: Path) -> None:
    from menndl_caffe.data import write_synthetic

    write_synthetic(tmp_path / "other", 200, 50, seed=2, report=lambda text: None)
    done = ended(each(["--data", data], ["--data", tmp_path / "other"]))
    assert done.returncode == 1 and "problem: rank 1 on " in done.stdout and "not those of the other" in done.stdout


def test_a_rank_with_other_templates_is_a_problem(data: Path, tmp_path: Path) -> None:
    search = runs.write_search(tmp_path / "s.search.prototxt", data)
    own = tmp_path / "own" / "solvers"
    own.mkdir(parents=True)
    (own / "quick.solver.prototxt.j2").write_text("# stale\n")
    asked = ["--search", search]
    sound = ended(each(asked, asked))
    assert sound.returncode == 0 and "problem:" not in sound.stdout
    for there, said in ((asked, "not the same solver as the other ranks have"),
                        (["--search", tmp_path / "none"], f"the search: search file {tmp_path}/none: no such file")):
        moved = [f"--chdir={own.parent}" if word == "MOVE=1" else word for word in each(asked, [*there, "MOVE=1"])]
        done = ended(moved)
        assert done.returncode == 1
        problem, = (line for line in done.stdout.splitlines() if line.startswith("problem:"))
        assert problem.startswith("problem: rank 1 on ") and said in problem


@pytest.mark.parametrize("numbers, wrong", [("001", []), ("011", [1, 2]), ("012", [2])])
def test_gpus(numbers: str, wrong: List[int], tmp_path: Path) -> None:
    """Two GPUs for three ranks that have a core together, so rank 0 does not train. There is no third GPU."""
    write_nvidia_smi(tmp_path)
    ranks: List[List[object]] = [["--json", f"CUDA_VISIBLE_DEVICES={number}"] for number in numbers]
    done = ended(each(*ranks), cores={min(os.sched_getaffinity(0))}, PATH=f"{tmp_path}:{os.environ['PATH']}")
    seen = json.loads(done.stdout)
    assert [place["gpu"] for place in seen["ranks"]] == [{"0": A, "1": B, "2": ""}[number] for number in numbers]
    assert seen["rank_0_trains"] is False
    problems = [trouble["ranks"] for trouble in seen["troubles"] if trouble["is_problem"]]
    assert problems == ([wrong] if wrong else []) and done.returncode == (1 if wrong else 0)
    warnings = [trouble["what"] for trouble in seen["troubles"] if not trouble["is_problem"]]
    about_cores, = (what for what in warnings if "GiB are free" not in what)  # of memory the machine may have little
    assert about_cores.startswith("2 ranks train on their host, but 1 at a time")


@pytest.mark.parametrize("ranks, expected, variables, said", [
    (2, ["--expect-ranks", 3], {}, "has 2 ranks, --expect-ranks wants 3"),
    (0, ["--expect-ranks", 3], {}, "has 1 rank, --expect-ranks wants 3"),  # one of three singletons
    (0, [], {"OMPI_COMM_WORLD_SIZE": "3"}, "has 1 rank, the launcher started 3"),
])
def test_a_world_of_the_wrong_size(ranks: int, expected: List[object], variables: Dict[str, str], said: str) -> None:
    done = doctor(ranks, *expected, **variables)
    assert (done.returncode, done.stdout) == (2, "")
    line, = (line for line in done.stderr.splitlines() if line.startswith("menndl"))
    assert line.startswith(f"menndl doctor: the MPI world {said}: ")


def test_a_singleton_that_nobody_expects_otherwise_is_warned_of() -> None:
    done = doctor(0)
    assert done.returncode == 0 and "warning: rank 0 on " in done.stdout and "--expect-ranks N" in done.stdout


def test_a_rank_that_breaks_ends_the_job() -> None:
    code = ("from menndl_caffe.farm import world\n"
            "world.gather(None, lambda rank, library: 1 / (rank - 1))")
    done = ended([*runs.launcher(2), sys.executable, "-c", code])
    assert done.returncode != 0 and "menndl: rank 1 on " in done.stderr and "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize("arguments", [["--expect-ranks", "2"], ["--data", "data"], ["--engine", "torch"],
                                       ["--search", "s"]])
def test_what_is_about_ranks_needs_mpi(arguments: List[str], menndl: Any) -> None:
    done = menndl("doctor", *arguments)
    assert done.returncode == 2 and "add --mpi" in done.stderr


def test_mpi4py_that_does_not_work_is_told(tmp_path: Path) -> None:
    (tmp_path / "mpi4py.py").write_text("raise ImportError('libmpi.so: cannot open')")
    done = doctor(0, PYTHONPATH=f"{tmp_path}:{runs.REPOSITORY}")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("menndl doctor: --mpi: mpi4py does not work here: libmpi.so: cannot open; pip")
