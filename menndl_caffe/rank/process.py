"""The near side of the trainer's pipe: starts the process, feeds it, sees it die, and starts it again."""
from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import subprocess
import time
from typing import IO, Any, Collection, Mapping, Optional, Sequence, Union

from menndl_caffe.errors import UserError
from menndl_caffe.fields import SHOWN
from menndl_caffe.rank.messages import LINE_BYTES, Conversation, Message, Unfit
from menndl_caffe.trial import TRAIN

LOG_BYTES = 65536  # of an engine's log, its end is kept
LONGEST_LOG = 64 * LOG_BYTES  # that is held in memory until it is cut
CLOSING_SECONDS = 10.0  # from the end of a process's output to its own
# By which an operator, a scheduler or the kernel ends a process, and no program itself.
KILLS = ("SIGHUP", "SIGINT", "SIGKILL", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGXCPU")
_LIBC = ctypes.CDLL(None)  # loaded here: little may be done between fork and exec
# glog's own lines: `F1121 08:03:04.628316 4711 blob.cpp:33] Check failed: ...`; and those of its stack traces.
_MESSAGE = re.compile(r"(?P<severity>[IWEF])\d{4} [\d:.]+ +\d+ [^ ]+\] +(?P<text>.*)")
_TRACE = re.compile(r" +@ +0x|PC: @|\*\*\* ")


class TrainerDied(Exception):
    """The trainer process ended in the middle of a training.

    `blameless`: the net had no part in it, as where the process was killed from outside. `ready`: it had started
    properly before.
    """

    def __init__(self, ending: str, log: str, ready: bool, blameless: bool = False):
        self.ready, self.blameless = ready, blameless or ending in KILLS
        words = last_words(log)
        super().__init__(f"trainer ended by {ending}" + (f": {words}" if words else ""))


def ending(code: int) -> str:
    """The name of the signal that ended a process, by itself or under a shell (128 + signal), else its exit code."""
    number = -code if code < 0 else code - 128
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"exit code {code}"


def last_words(log: str) -> str:
    """What an engine last had to say: the failed CHECK, else the last line before any stack trace, else nothing."""
    lines = [line for line in log.splitlines() if line.strip() and not _TRACE.match(line)]
    said = [_MESSAGE.match(line) for line in lines]
    fatal = next((match["text"] for match in said if match and match["severity"] == "F"), None)
    if fatal is not None or not lines:
        return fatal or ""
    return said[-1]["text"] if said[-1] else lines[-1].strip()


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the one that started it dies (prctl(2), PR_SET_PDEATHSIG).

    The trainer asks for itself as well; this is for what it may run under, such as a container's own process.
    """
    pr_set_pdeathsig = 1
    _LIBC.prctl(pr_set_pdeathsig, signal.SIGKILL)


class TrainerProcess:
    """One trainer, started when it is first needed. Never blocks: messages are fetched with `poll`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]):
        self._command, self._environment = command, environment
        self._process: Optional[subprocess.Popen[bytes]] = None
        # In memory, so that a node's full disk is no failure of an individual.
        self._log: IO[bytes] = os.fdopen(os.memfd_create("trainer's log"), "r+b")
        self._conversation = Conversation()
        self._unread, self._searched = bytearray(), 0  # what it has said, and how much of that has no end of line
        self._unsent = b""
        self._closed: Optional[float] = None  # when the end of its output was seen

    def start(self) -> None:
        """Start the process unless it runs, and a new log; the first message is then its `ready`.

        UserError where there is no such command.
        """
        self._log.truncate(0)
        if self._process is not None and (self._process.poll() is not None or self._speaks_unasked()):
            self.kill()  # that was after its last training, so it is not the next one's fault
        if self._process is None:
            self._conversation, self._unsent, self._closed = Conversation(), b"", None
            self._unread, self._searched = bytearray(), 0
            with self._appending() as log:
                self._process = self._popen(log)

    def send(self, request: Mapping[str, Any], max_iter: int, accuracies: Collection[str] = ()) -> None:
        """Hand over a training of so many iterations, unless it shall end at `until`; `accuracies` names the test net's
        outputs that are from 0 to 1.

        What the trainer does not read yet is sent by `poll`, which also notices a trainer that is dead.
        """
        number = self._conversation.number(max_iter, accuracies, request.get("program", TRAIN), request.get("until"))
        numbered = {"id": number, **request}
        self._unsent += json.dumps(numbered).encode() + b"\n"
        self._write()

    def poll(self, seconds: float) -> Optional[Message]:
        """The next message, waiting at most so long; None where none came.

        TrainerDied where the process has ended, or is ended for saying what no trainer may say; UserError where it is
        none for such requests.
        """
        deadline, late = time.monotonic() + seconds, False
        self._cut_log()
        while (end := self._unread.find(b"\n", self._searched)) < 0:
            self._searched = len(self._unread)
            if len(self._unread) > LINE_BYTES:
                raise self._refused(self._unread, Unfit(f"more than {LINE_BYTES} bytes without an end of line"))
            left = max(0.0, deadline - time.monotonic())
            if self._closed is not None:
                self._await_end(left)
                return None
            if late or not self._exchanged(left):
                return None
            late = not left  # who speaks without end keeps nobody waiting
        line, self._searched = bytes(self._unread[:end]), 0
        del self._unread[:end + 1]
        try:
            return self._conversation.take(line)
        except Unfit as unfit:
            raise self._refused(line, unfit) from None

    def log(self) -> str:
        """The end of what the engine logged since the last `start`."""
        return self._end_of_log().decode(errors="replace")

    def kill(self) -> None:
        """End the process and all that it started, at once."""
        if self._process is not None:
            if self._process.returncode is None:  # else its number may be another's by now
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._forget()

    def close(self) -> None:
        """End the process; nothing can be started after that."""
        self.kill()
        self._log.close()

    def _end_of_log(self) -> bytes:
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), LOG_BYTES, max(0, size - LOG_BYTES))

    def _cut_log(self) -> None:
        if os.fstat(self._log.fileno()).st_size > LONGEST_LOG:
            end = self._end_of_log()
            self._log.truncate(0)
            with self._appending() as log:
                log.write(end)

    def _appending(self) -> IO[bytes]:
        """So that truncating the log is safe while the trainer holds it open."""
        return open(f"/proc/self/fd/{self._log.fileno()}", "ab")

    def _popen(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                       env=dict(self._environment), start_new_session=True,
                                       preexec_fn=_die_with_parent, bufsize=0)
        except OSError as error:
            raise UserError(f"trainer command {self._command[0]}: {error.strerror}") from None
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)  # a large net does not fit into a pipe that nobody reads yet
        return process

    def _write(self) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            self._unsent = self._unsent[os.write(self._process.stdin.fileno(), self._unsent):]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._unsent = b""

    def _exchanged(self, seconds: float) -> bool:
        """Whether the process took or said something in this time, or closed its output."""
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        readable, writable, _ = select.select([self._process.stdout], [self._process.stdin] if self._unsent else [],
                                              [], seconds)
        if writable:
            self._write()
        if readable:
            chunk = os.read(self._process.stdout.fileno(), 65536)
            self._unread += chunk
            self._closed = None if chunk else time.monotonic()
        return bool(readable or writable)

    def _speaks_unasked(self) -> bool:
        """Whether there is something to read, though the last request has its answer."""
        assert self._process is not None and self._process.stdout is not None
        return bool(self._unread or select.select([self._process.stdout], [], [], 0)[0])

    def _await_end(self, seconds: float) -> None:
        """Of a process whose output is closed: TrainerDied when it has ended, or has had its time for that."""
        assert self._process is not None and self._closed is not None
        try:
            how = ending(self._process.wait(seconds))
        except subprocess.TimeoutExpired:
            if time.monotonic() < self._closed + CLOSING_SECONDS:
                return
            how = "closing its output"
        raise self._dead(how)

    def _refused(self, line: Union[bytes, bytearray], unfit: Unfit) -> TrainerDied:
        return self._dead(f"saying {line[:SHOWN].decode(errors='replace')!r}, {unfit}", unfit.late)

    def _dead(self, how: str, blameless: bool = False) -> TrainerDied:
        self.kill()
        return TrainerDied(how, self.log(), self._conversation.ready, blameless)

    def _forget(self) -> None:
        assert self._process is not None
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None
