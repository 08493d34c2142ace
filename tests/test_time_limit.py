"""A run that ends before its search is finished, by `--time-limit` or a signal: in order, with exit code 75, and the
same command goes on."""
from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Iterator, List

import pytest

from menndl_caffe.arguments import period
from menndl_caffe.walltime import process_age
from tests.support import runs
from tests.test_farm import ranks_of

ENDING = re.compile(r"^menndl run: (.+): (\d+) of 18 individuals are done; the same command goes on$", re.M)


# A trainer that does not die of SIGTERM but ends as a failed one does.
OFFENDED = (f"{sys.executable} -c 'import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(1)); "
            "from tests.support import fake_trainer; fake_trainer.main()'")


def start(search: Path, folder: Path, ranks: int, *more: object, **variables: str) -> subprocess.Popen[bytes]:
    with open(folder / "log", "wb") as log:
        return runs.start(["run", search, "--out", folder / "run", *more], ranks, runs.environment(**variables), log)


def start_held(search: Path, folder: Path, ranks: int, **variables: str) -> subprocess.Popen[bytes]:
    """All trainers are then in the middle of a training without end."""
    with open(folder / "log", "wb") as log:
        return runs.start_held(["run", search, "--out", folder / "run"], folder, ranks, log, **variables)


def check_ending(text: str, folder: Path, reason: str) -> int:
    """The one line that says why and how far; the number of individuals done."""
    (why, done), = ENDING.findall(text)
    assert (why, int(done)) == (reason, len(runs.individuals(folder / "run"))), text
    assert len(re.findall("^menndl", text, re.M)) == 1 and "Traceback" not in text
    return int(done)


def check_goes_on(search: Path, folder: Path, ranks: int, undisturbed: List) -> None:
    """The same command finishes with the same answer, and nothing that was recorded is done again."""
    recorded = runs.result_lines(folder / "run")
    process = start(search, folder, ranks, "--time-limit", 3600)
    assert runs.ended(process, folder)[0] == 0
    assert runs.result_lines(folder / "run")[:len(recorded)] == recorded
    assert runs.individuals(folder / "run") == undisturbed


@pytest.mark.parametrize("ranks", [0, 3])
def test_a_time_limit(search: Path, undisturbed: List, tmp_path: Path, ranks: int) -> None:
    """In the middle of trainings without end; a slow machine needs a longer one to come so far."""
    held, limit = tmp_path / "held", 3
    held.mkdir()
    while not list(held.iterdir()):
        limit *= 2
        before = time.monotonic()
        process = start(search, tmp_path, ranks, "--time-limit", limit, FAKE_HELD=str(held))
        code, text = runs.ended(process, tmp_path)
        assert code == os.EX_TEMPFAIL == 75, text
        assert time.monotonic() - before > limit - 0.1
        assert check_ending(text, tmp_path, f"time limit of {limit} s reached") < 18
    assert runs.result_lines(tmp_path / "run")
    check_goes_on(search, tmp_path, ranks, undisturbed)


@pytest.mark.parametrize("ranks", [0, 3])
def test_a_time_limit_without_any_result(search: Path, tmp_path: Path, ranks: int) -> None:
    code, text = runs.ended(start(search, tmp_path, ranks, "--time-limit", 4, FAKE_SECONDS="3600"), tmp_path)
    assert code == 75, text
    assert check_ending(text, tmp_path, "time limit of 4 s reached") == 0


ODD = {"without a newline": "while printf x; do sleep 0.1; done", "nothing": "exec sleep 1000"}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("ranks", [0, 2])
def test_a_trainer_that_never_comes_to_the_point_keeps_no_run(search: Path, tmp_path: Path, odd: str,
                                                              ranks: int) -> None:
    (tmp_path / "trainer").write_text(ODD[odd])
    process = start(search, tmp_path, ranks, "--time-limit", 1, MENNDL_TRAINER=f"sh {tmp_path}/trainer")
    code, text = runs.ended(process, tmp_path)
    assert code == 75 and "time limit of 1 s reached: before a trainer was ready" in text


def test_what_is_recorded_needs_no_time(search: Path, undisturbed: List, tmp_path: Path) -> None:
    """A finished run ends with 0 even where the limit is over before it has begun to look."""
    assert runs.ended(start(search, tmp_path, 0), tmp_path)[0] == 0
    late = ["bash", "-c", 'sleep 1.2; exec "$@"', "bash", sys.executable, "-m", "menndl_caffe.cli", "run", str(search)]
    for out, code in (("run", 0), ("new", 75)):
        done = subprocess.run([*late, "--out", tmp_path / out, "--time-limit", "1"], cwd=runs.REPOSITORY,
                              env=runs.environment(), capture_output=True, text=True, timeout=runs.PATIENCE)
        assert done.returncode == code, done.stderr
    assert "time limit of 1 s reached: 0 of 18 individuals" in done.stderr
    assert not [line for line in (tmp_path / "new" / "journal.jsonl").read_text().splitlines() if '"result"' in line]
    assert runs.individuals(tmp_path / "run") == undisturbed


def test_the_time_counts_from_the_start_of_the_process() -> None:
    """A process keeps its age when it becomes another program; ps says the same."""
    code = "from menndl_caffe.walltime import process_age; print(process_age())"
    script = ["bash", "-c", 'sleep 1.5; exec "$@"', "bash", sys.executable, "-c", code]
    before = time.monotonic()
    age = float(subprocess.run(script, cwd=runs.REPOSITORY, check=True, capture_output=True, text=True).stdout)
    assert 1.5 < age < time.monotonic() - before + 0.1
    ps, before = ["ps", "-o", "etimes=", "-p", str(os.getpid())], process_age()
    said = int(subprocess.run(ps, check=True, capture_output=True, text=True).stdout)
    assert before - 2 < said < process_age() + 2


@pytest.mark.parametrize("ranks, whom", [(0, "master"), (0, "all"), (3, "master"), (3, "rank"), (3, "all")])
def test_sigterm(search: Path, undisturbed: List, tmp_path: Path, ranks: int, whom: str) -> None:
    """To the master; to one training rank; to all processes but mpirun, as schedulers do.

    The trainers last: one that ends before its rank is told is one that failed.
    """
    process = start_held(search, tmp_path, ranks, MENNDL_TRAINER=OFFENDED)
    runs.tell(victims(process, whom), signal.SIGTERM)
    code, text = runs.ended(process, tmp_path)
    assert code == 75, text
    assert check_ending(text, tmp_path, "SIGTERM received") < 18
    assert all('"status": "ok"' in line for line in runs.result_lines(tmp_path / "run"))
    check_goes_on(search, tmp_path, ranks, undisturbed)


@pytest.fixture
def not_under_nohup() -> Iterator[None]:
    """What these tests run under may ignore SIGHUP, and what is started by them would, too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("not_under_nohup")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU])
@pytest.mark.parametrize("ranks", [0, 3])
def test_other_signals_that_end_a_program(search: Path, tmp_path: Path, ranks: int, number: signal.Signals) -> None:
    """To the last rank, whose master has the name from it."""
    process = start_held(search, tmp_path, ranks)
    runs.tell(victims(process, "rank"), number)
    code, text = runs.ended(process, tmp_path)
    assert code == 75, text
    assert check_ending(text, tmp_path, f"{number.name} received") < 18


def test_nohup(search: Path, undisturbed: List, tmp_path: Path) -> None:
    """Who starts a program with SIGHUP ignored means it to go on."""
    held, run = tmp_path / "held", tmp_path / "run"
    held.mkdir()
    command = ["nohup", sys.executable, "-m", "menndl_caffe.cli", "run", str(search), "--out", str(run)]
    with subprocess.Popen(command, cwd=runs.REPOSITORY, env=runs.environment(FAKE_HELD=str(held)),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert runs.are_held(held, 1)
        process.send_signal(signal.SIGHUP)
        held.rename(tmp_path / "free")
        said, _ = process.communicate(timeout=runs.PATIENCE)
    assert process.returncode == 0, said
    assert runs.individuals(run) == undisturbed


@pytest.mark.parametrize("module", ["menndl_caffe.run.command", "numpy", "menndl_caffe.run.loop"])
def test_a_signal_before_the_run_begins(search: Path, tmp_path: Path, module: str) -> None:
    """While a module is loaded: the command's own, the first that takes long, and the last."""
    code = f"""import os, signal, sys

class Now:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Now())
sys.argv[1:] = ["run", {str(search)!r}, "--out", {str(tmp_path / "run")!r}]
from menndl_caffe import cli
cli.entry()"""
    done = subprocess.run([sys.executable, "-c", code], cwd=runs.REPOSITORY, env=runs.environment(),
                          capture_output=True, text=True, timeout=runs.PATIENCE)
    assert done.returncode == 75, done
    assert check_ending(done.stderr, tmp_path, "SIGTERM received") == 0


def test_other_commands_end_by_sigterm(tmp_path: Path) -> None:
    code = """import os, signal, sys
from menndl_caffe import cli
from menndl_caffe.report import command

command.main = lambda arguments: os.kill(os.getpid(), signal.SIGTERM)
sys.argv[1:] = ["status", "nowhere"]
cli.entry()"""
    done = subprocess.run([sys.executable, "-c", code], cwd=runs.REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")


def victims(process: subprocess.Popen[bytes], whom: str) -> List[int]:
    ranks = ranks_of(process) or {0: process.pid}
    trainers = [pid for pid, command in runs.descendants(process.pid).items() if "fake_trainer" in command]
    by_rank = [ranks[rank] for rank in sorted(ranks)]
    return {"master": by_rank[:1], "rank": by_rank[-1:], "all": [*reversed(by_rank), *trainers]}[whom]


def test_sigterm_to_mpirun_loses_nothing(search: Path, undisturbed: List, tmp_path: Path) -> None:
    """Open MPI's own exit code is then what it likes."""
    process = start_held(search, tmp_path, 3)
    process.terminate()
    assert runs.ended(process, tmp_path)[0] != 0
    check_goes_on(search, tmp_path, 3, undisturbed)


TIMES = {"1": 1, "7200": 7200, "90m": 5400, "2h": 7200, "1h30m": 5400, "1H30M": 5400, "1d": 86400, "1d1s": 86401,
         "0.5h": 1800, "1.5s": 2, "2:00:00": 7200, "0:00:01": 1, "100:00:00": 360000}


@pytest.mark.parametrize("text", TIMES)
def test_a_limit_as_people_write_it(text: str) -> None:
    assert period(text) == TIMES[text]


@pytest.mark.parametrize("limit", ["0", "-1", "1.5", "soon", "", "2h ", "0m", "0:00:00", "2:00", "1:60:00", "30m1h",
                                   "1h1h", "h", "9" * 20, "9" * 400 + "h", "٣", "1e3", "2 h"])
def test_a_limit_that_is_no_time(limit: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected seconds, 1 or more, or a time such as 90m, 2h"):
        period(limit)


def test_a_limit_that_is_no_time_begins_no_run(menndl: Any, search: Path, tmp_path: Path) -> None:
    done = menndl("run", search, "--out", tmp_path / "run", "--time-limit", "soon")
    assert done.returncode == 2 and "argument --time-limit: 'soon'; expected seconds" in done.stderr
    assert not (tmp_path / "run").exists()


def test_help_tells_of_the_exit_code(menndl: Any) -> None:
    for command in (["--help"], ["run", "--help"]):
        said = menndl(*command).stdout
        assert "75" in said and all(f"SIG{name}" in said for name in ("TERM", "HUP", "USR1", "USR2", "XCPU"))
    assert "130 Ctrl-C" in menndl("--help").stdout
