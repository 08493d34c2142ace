"""`menndl watch` as a command on a terminal: a pseudo-terminal of a given size, keys and signals."""
from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any, Iterator, List

import pytest

from menndl_caffe import journal
from menndl_caffe.journal import Journal
from menndl_caffe.trial import Result
from tests.conftest import REPOSITORY, Runner
from tests.support.runs import PATIENCE
from tests.test_report import TRIALS, record

INTO_SCREEN, OUT_OF_SCREEN, SHOW_CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    record(tmp_path / "run", TRIALS, ranks=2, slots=2)
    return tmp_path / "run"


class Terminal:
    """A command on a pseudo-terminal; `text` is all that it has written."""

    def __init__(self, *arguments: object, columns: int = 80, rows: int = 24, **variables: str):
        self._own, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = self.settings()
        kept = {name: value for name, value in os.environ.items()
                if name not in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE")}
        command = [sys.executable, "-m", "menndl_caffe.cli", "watch", *map(str, arguments)]
        self.process = subprocess.Popen(command, cwd=REPOSITORY, stdin=other, stdout=other, stderr=other,
                                        env={**kept, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **variables})
        os.close(other)
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end within a character
        self.text = ""

    def read(self, until: str = "", seconds: float = PATIENCE) -> str:
        """What it writes until a text comes, or until its end."""
        deadline = time.monotonic() + seconds
        begin = len(self.text)
        while not (until and until in self.text[begin:]):
            assert time.monotonic() < deadline, f"{until!r} did not come in {self.text!r}"
            if select.select([self._own], [], [], 0.1)[0]:
                try:
                    self.text += self._decoder.decode(os.read(self._own, 65536))
                except OSError:  # it has ended
                    assert not until, f"{until!r} did not come in {self.text!r}"
                    break
        return self.text[begin:]

    def settings(self) -> List[Any]:
        """Echo, line editing and the like."""
        return termios.tcgetattr(self._own)

    def press(self, key: str) -> None:
        os.write(self._own, key.encode())

    def end(self) -> int:
        """Its exit code."""
        self.read()
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._own)


@pytest.fixture
def terminal() -> Iterator[Any]:
    opened: List[Terminal] = []

    def start(*arguments: object, **keywords: Any) -> Terminal:
        opened.append(Terminal(*arguments, **keywords))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def plain(text: str) -> List[str]:
    """Lines without escape sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "").splitlines()


def left(terminal: Terminal) -> List[str]:
    """What stays on the terminal; which is as it was."""
    screen, _, after = terminal.text.rpartition(OUT_OF_SCREEN)
    assert INTO_SCREEN in screen and SHOW_CURSOR in terminal.text and "Traceback" not in terminal.text
    assert terminal.settings() == terminal.before
    return plain(after)


@pytest.mark.parametrize("end", ["q", "Q", signal.SIGINT])
def test_the_user_ends_it(run: Path, terminal: Any, end: Any) -> None:
    watching = terminal(run)
    watching.read("trial 5")
    watching.press(end) if isinstance(end, str) else watching.process.send_signal(end)
    assert watching.end() == 0
    lines = left(watching)
    assert any("7 of 12 (58%)" in line for line in lines) and len(lines) <= 24


@pytest.mark.parametrize("moment", [INTO_SCREEN, "trial 5"], ids=["beginning", "later"])
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_a_signal_leaves_the_terminal_as_it_was(run: Path, terminal: Any, number: int, code: int, moment: str) -> None:
    watching = terminal(run)
    watching.read(moment)
    watching.process.send_signal(number)
    assert watching.end() == code
    left(watching)


def test_it_ends_with_the_search(run: Path, terminal: Any) -> None:
    finished = run.parent / "finished"
    record(finished, TRIALS[:8], ranks=2, slots=2, total=8)
    watching = terminal(finished, "--interval", "0.2")
    watching.read("7 of 8")
    with Journal(finished, fsync=False) as writer:
        writer.add_trial(journal.read(run).trials[8])
        time.sleep(0.5)
        writer.add_result(Result(8, "ok", 0.77, 0.7, started=2015.0, seconds=5.0))
    assert watching.end() == 0
    lines = left(watching)
    assert any("complete" in line for line in lines) and any("0.7700" in line for line in lines)


@pytest.mark.parametrize("columns, rows", [(60, 24), (80, 24), (200, 50)])
def test_every_frame_fits(run: Path, terminal: Any, columns: int, rows: int) -> None:
    watching = terminal(run, "--interval", "0.2", columns=columns, rows=rows)
    watching.read("trial 5")
    watching.read("trial 5")
    watching.press("q")
    assert watching.end() == 0
    frames = watching.text.split(OUT_OF_SCREEN)[0].split("\x1b[H")[1:]
    assert len(frames) >= 2
    for frame in frames:
        lines = plain(frame)
        assert len(lines) <= rows and all(len(line) <= columns for line in lines)


def test_no_color(tmp_path: Path, terminal: Any) -> None:
    record(tmp_path, TRIALS[:8], total=7)  # a finished run's screen has no clock
    coloured, without = (terminal(tmp_path, "--once", **variables) for variables in ({}, {"NO_COLOR": "1"}))
    assert coloured.end() == without.end() == 0
    assert re.search(r"\x1b\[[0-9;]*3[0-9]m", coloured.text)
    assert not re.search(r"\x1b\[[0-9;]*[34][0-9]", without.text)
    assert plain(coloured.text) == plain(without.text)


@pytest.mark.parametrize("options, variables", [(["--plain"], {}), ([], {"TERM": "dumb"})])
def test_plain_lines_on_a_terminal(run: Path, terminal: Any, options: List[str], variables: Any) -> None:
    watching = terminal(run, "--once", *options, **variables)
    assert watching.end() == 0
    assert watching.text.startswith("generation 2/3  7/12  best 0.7400") and "\x1b" not in watching.text


def test_a_terminal_without_unicode(run: Path, terminal: Any) -> None:
    watching = terminal(run, "--once", LC_ALL="POSIX", PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    assert watching.end() == 0 and "5->4" in watching.text and watching.text.isascii()


def test_without_rich_there_are_plain_lines(run: Path, terminal: Any, tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise ImportError('no rich here')")
    watching = terminal(run, "--once", PYTHONPATH=str(tmp_path))
    assert watching.end() == 0
    note, line = watching.text.replace("\r", "").splitlines()[:2]
    assert "no rich here" in note and "menndl_caffe[report]" in note and line.startswith("generation 2/3")


def test_into_a_pipe(run: Path, menndl: Runner) -> None:
    done = menndl("watch", run, "--once")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("generation 2/3  7/12  best 0.7400  default 0.7000  failed 2  560 trials/h")


def test_a_pipe_follows_a_search_to_its_end(run: Path, tmp_path: Path) -> None:
    whole, growing = tmp_path / "whole", tmp_path / "growing"
    record(whole, TRIALS[:8], total=7)
    lines = (whole / journal.NAME).read_bytes().splitlines(keepends=True)
    growing.mkdir()
    (growing / journal.NAME).touch()
    command = [sys.executable, "-m", "menndl_caffe.cli", "watch", str(growing), "--interval", "0.1"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as watching, open(growing / journal.NAME, "ab", buffering=0) as file:
        assert watching.stdout is not None and watching.stdout.readline() == "the run has not begun\n"
        for line in lines:
            file.write(line[:40])
            time.sleep(0.05)
            file.write(line[40:])
        printed, errors = watching.communicate(timeout=PATIENCE)
    assert watching.returncode == 0 and errors == "" and printed.splitlines()[-1].endswith("complete")


@pytest.mark.parametrize("arguments, part", [
    (["{tmp}/nowhere", "--once"], "is not a run: it has no journal.jsonl"),
    (["{tmp}/run", "--interval", "0"], "expected seconds from 0.1"),
    (["{tmp}/run", "--interval", "nan"], "expected seconds from 0.1"),
    ([], "required: RUN"),
])
def test_mistakes(run: Path, menndl: Runner, tmp_path: Path, arguments: List[str], part: str) -> None:
    done = menndl("watch", *(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.returncode == 2 and done.stdout == "" and part in done.stderr and done.stderr.count("\n") == 1


def test_a_damaged_journal_is_one_line(run: Path, menndl: Runner) -> None:
    with open(run / journal.NAME, "a") as file:
        file.write("banana\n")
    done = menndl("watch", run)
    assert done.returncode == 2 and "journal.jsonl:19: damaged" in done.stderr and done.stderr.count("\n") == 1
