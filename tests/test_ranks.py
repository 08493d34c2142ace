"""`menndl run --ranks N`: ranks that the command starts itself, ends in order, and for which it answers."""
from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, List

import pytest

from menndl_caffe import journal
from menndl_caffe.farm import launcher
from tests.support import runs
from tests.test_time_limit import check_ending

INTERRUPTED = "menndl run: interrupted; the same command goes on where this one stopped"


@pytest.fixture(autouse=True)
def a_launcher_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the command finds it, and not told how to be root."""
    monkeypatch.setenv("MENNDL_MPIRUN", runs.launcher(1)[0])


def command(search: Path, folder: Path, *more: object) -> List[object]:
    return ["run", search, "--out", folder / "run", "--ranks", 2, *more]


def plain_environment(**variables: str) -> Any:
    """Without what the tests tell Open MPI otherwise."""
    kept = {name: value for name, value in runs.environment().items() if not name.startswith(("OMPI_", "PRTE_"))}
    return {**kept, **variables}


def test_both_ranks_train_and_the_answer_is_that_of_one(search: Path, undisturbed: List, tmp_path: Path) -> None:
    """And where rank 0 refuses to go on, that is the command's own refusal."""
    done = subprocess.run([sys.executable, "-m", "menndl_caffe.cli", *map(str, command(search, tmp_path))],
                          cwd=runs.REPOSITORY, env=plain_environment(TMPDIR=str(tmp_path)), capture_output=True,
                          text=True, timeout=runs.PATIENCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Best 5 of 18 individuals") and "menndl" not in done.stderr
    record = journal.read(tmp_path / "run")
    assert {result.rank for result in record.results.values()} == {0, 1} and record.run["ranks"] == 2
    assert "--ranks 2" in record.run["command"]
    assert runs.individuals(tmp_path / "run") == undisturbed
    assert [path.name for path in tmp_path.iterdir()] == ["run"], "a folder of the ranks' own is left"
    with open(tmp_path / "log", "wb") as log:
        process = runs.start(command(search, tmp_path, "--seed", 7), env=plain_environment(), log=log)
    code, text = runs.ended(process, tmp_path)
    assert code == 2 and text.startswith(f"menndl run: {tmp_path / 'run'} is a run of another search: ")
    assert len(text.splitlines()) == 1


def start_held(search: Path, folder: Path) -> subprocess.Popen[bytes]:
    """The command, once all that train are in the middle of a training without end."""
    held = folder / "held"
    held.mkdir()
    with open(folder / "log", "wb") as log:
        process = runs.start(command(search, folder), env=plain_environment(FAKE_HELD=str(held)), log=log)
    assert runs.are_held(held, runs.training_ranks(2))
    return process


def test_a_signal_ends_them_in_order(search: Path, tmp_path: Path) -> None:
    process = start_held(search, tmp_path)
    process.terminate()
    code, text = runs.ended(process, tmp_path)
    assert code == 75 and check_ending(text, tmp_path, "SIGTERM received") < 18
    assert "---" not in text, "the launcher had something to say"


def test_ctrl_c_is_one_good_sentence(search: Path, tmp_path: Path) -> None:
    process = start_held(search, tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    code, text = runs.ended(process, tmp_path)
    assert code == 130 and text.splitlines()[-1] == INTERRUPTED
    assert text.count("menndl") == 1 and "---" not in text and "Traceback" not in text


def test_no_rank_outlives_the_command(search: Path, tmp_path: Path) -> None:
    process = start_held(search, tmp_path)
    family = runs.descendants(process.pid)
    assert sum("menndl_caffe.cli" in line for line in family.values()) >= 3
    process.kill()
    process.wait()
    assert runs.wait_until(lambda: all(map(runs.has_ended, family))), "somebody lives on"
    assert not [line for line in runs.result_lines(tmp_path / "run") if '"status": "ok"' not in line]


# A launcher that is a shell script

def start_under(script: str, folder: Path, **variables: str) -> subprocess.Popen[bytes]:
    program = folder / "mpi run"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with open(folder / "log", "wb") as log:
        return runs.start(command(Path("s"), folder), log=log,
                          env=plain_environment(MENNDL_MPIRUN=f"'{program}' --with-care", **variables))


def test_a_launcher_that_fails_is_named(tmp_path: Path) -> None:
    code, text = runs.ended(start_under("echo not today >&2; exit 213", tmp_path), tmp_path)
    assert code == 1
    assert text == (f"not today\nmenndl: `'{tmp_path}/mpi run' --with-care -n 2` ended with exit code 213, and "
                    "says why above; the same command goes on, and with --ranks 1 it needs no MPI\n")


def test_each_launcher_has_a_temporary_folder_to_itself(tmp_path: Path) -> None:
    """What an earlier one left in TMPDIR stops the next of Open MPI 5 with its process id. Ranks are found by what
    the variables say; those that the user has set stay."""
    show = 'ls "$TMPDIR" | wc -l; echo "$TMPDIR $OMPI_ALLOW_RUN_AS_ROOT $OMPI_MCA_rmaps_base_oversubscribe $*"'
    variables = {"TMPDIR": str(tmp_path), "OMPI_MCA_rmaps_base_oversubscribe": "0"}
    said = [runs.ended(start_under(show, tmp_path, **variables), tmp_path)[1] for _ in range(2)]
    folders = set()
    for text in said:
        count, line, last = text.splitlines()
        folder, *rest = line.split(" ")
        assert (count, rest[:2]) == ("0", ["1", "0"]) and Path(folder).parent == tmp_path and not Path(folder).exists()
        assert " ".join(rest[2:]).startswith(f"--with-care -n 2 {sys.executable} -m menndl_caffe.cli run s --out ")
        assert "ended with exit code 0" in last
        folders.add(folder)
    assert len(folders) == 2


@pytest.mark.parametrize("number, code, said", [
    (signal.SIGTERM, 75, "menndl run: SIGTERM received; the same command goes on\n"),
    (signal.SIGINT, 130, INTERRUPTED + "\n")])
def test_a_signal_before_there_are_ranks(tmp_path: Path, number: int, code: int, said: str) -> None:
    process = start_under(f'touch "{tmp_path}/here"; exec sleep 1000', tmp_path)
    assert runs.wait_until((tmp_path / "here").exists)
    process.send_signal(number)
    assert runs.ended(process, tmp_path) == (code, said)


def test_a_second_signal_does_not_wait_for_rank_0(tmp_path: Path) -> None:
    """Which is here a shell that hears of the first, and does nothing about it."""
    process = start_under(f'''trap 'touch "{tmp_path}/heard"' USR1
                              printf $$ >"$MENNDL_LAUNCHED/master"; while :; do sleep 0.02; done''', tmp_path)
    assert runs.wait_until(lambda: len(runs.descendants(process.pid)) >= 2)
    while not (tmp_path / "heard").exists():  # it may not yet have said who it is
        assert process.poll() is None
        process.send_signal(signal.SIGUSR1)
        runs.wait_until((tmp_path / "heard").exists, 0.5)
    process.send_signal(signal.SIGUSR2)
    assert runs.ended(process, tmp_path) == (75, "menndl run: SIGUSR2 received; the same command goes on\n")


# How many, and where there can be but one

def test_without_a_launcher_there_is_one_rank(local: Any, search: Path, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MENNDL_MPIRUN")
    monkeypatch.setattr(launcher, "mpirun", lambda: None)
    assert local(*command(search, tmp_path)) == 0
    said, = (line for line in local.said.splitlines() if line.startswith("menndl"))
    assert said.startswith("menndl: one rank only, since there is no mpirun here, or no mpi4py: `pip install ")
    assert journal.read(tmp_path / "run").run["ranks"] == 1


@pytest.mark.parametrize("more, on_terminal, ranks", [
    ([], True, 3), ([], False, None), (["--threads", "2"], True, None), (["--ranks", "2"], False, 2),
    (["--ranks", "1"], True, None), (["--threads", "2", "--ranks", "5"], True, 5)])
def test_how_many_there_are(local: Any, random_search: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                            more: List[str], on_terminal: bool, ranks: Any) -> None:
    """On three cores; alone where they are none."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(sys.stderr, "isatty", lambda: on_terminal, raising=False)
    asked: List[int] = []
    monkeypatch.setattr(launcher, "launch", lambda words, ranks: asked.append(ranks) or 0)
    search = tmp_path / "small.search.prototxt"
    search.write_text(random_search.read_text().replace("trials: 18", "trials: 1"))
    assert local("run", search, "--out", tmp_path / "run", *more) == 0
    assert asked == ([ranks] if ranks else [])
    assert (tmp_path / "run").exists() == (not ranks)


def test_a_gpu_is_not_for_all_cores(local: Any, search: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(launcher, "launch", lambda *_: pytest.fail("ranks for one GPU"))
    on_gpu = tmp_path / "gpu.search.prototxt"
    on_gpu.write_text(search.read_text() + "solver_mode: GPU\n")
    local.run(on_gpu, tmp_path / "run")
    assert journal.read(tmp_path / "run").run["ranks"] == 1
