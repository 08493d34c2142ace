"""The near side of the trainer's pipe: starts the process, feeds it, sees it die, and starts it again."""
from __future__ import annotations

import ctypes
import json
import os
import re
import select
import signal
import subprocess
import time
from typing import IO, Any, Dict, Mapping, Optional, Sequence

from menndl_caffe.errors import UserError

LOG_BYTES = 65536  # of an engine's log, its end is kept
# By which an operator, a scheduler or the kernel ends a process, and no program itself.
KILLS = ("SIGHUP", "SIGINT", "SIGKILL", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGXCPU")
_LIBC = ctypes.CDLL(None)  # loaded here: little may be done between fork and exec
# glog's own lines: `F1121 08:03:04.628316 4711 blob.cpp:33] Check failed: ...`; and those of its stack traces.
_MESSAGE = re.compile(r"(?P<severity>[IWEF])\d{4} [\d:.]+ +\d+ [^ ]+\] +(?P<text>.*)")
_TRACE = re.compile(r" +@ +0x|PC: @|\*\*\* ")


class TrainerDied(Exception):
    """The trainer process ended in the middle of a training.

    `killed` says that it was from outside; `ready` that it had started properly before.
    """

    def __init__(self, ending: str, log: str, ready: bool):
        self.ready, self.killed = ready, ending in KILLS
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
        self._unread = b""
        self._ready = False

    def start(self) -> None:
        """Start the process unless it runs, and a new log; the first message is then its `ready`.

        UserError where there is no such command.
        """
        self._log.truncate(0)
        if self._process is not None and self._process.poll() is not None:
            self._forget()  # it died after its last training, so that is not the next one's fault
        if self._process is None:
            self._unread, self._ready = b"", False
            # Appending, so that truncating the log for the next training is safe while the trainer holds it open.
            with open(f"/proc/self/fd/{self._log.fileno()}", "ab") as log:
                self._process = self._popen(log)

    def send(self, request: Mapping[str, Any]) -> None:
        """Hand over a training. A trainer that is dead is noticed by `poll`."""
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def poll(self, seconds: float) -> Optional[Dict[str, Any]]:
        """The next message, waiting at most so long; None where none came. TrainerDied where the process has ended."""
        assert self._process is not None and self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            chunk = os.read(self._process.stdout.fileno(), 65536)
            if not chunk:
                raise self._dead()
            self._unread += chunk
        line, self._unread = self._unread.split(b"\n", 1)
        try:
            message: Dict[str, Any] = json.loads(line)
        except ValueError:
            self.kill()
            said = line.decode(errors="replace")[:80]
            raise TrainerDied(f"saying {said!r}, no message of its protocol", self.log(), self._ready) from None
        self._ready = True
        return message

    def log(self) -> str:
        """The end of what the engine logged since the last `start`."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), LOG_BYTES, max(0, size - LOG_BYTES)).decode(errors="replace")

    def kill(self) -> None:
        """End the process and all that it started, at once."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._forget()

    def _popen(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                    env=dict(self._environment), start_new_session=True,
                                    preexec_fn=_die_with_parent)
        except OSError as error:
            raise UserError(f"trainer command {self._command[0]}: {error.strerror}") from None

    def close(self) -> None:
        """End the process; nothing can be started after that."""
        self.kill()
        self._log.close()

    def _dead(self) -> TrainerDied:
        assert self._process is not None
        code = self._process.wait()
        self._forget()
        return TrainerDied(ending(code), self.log(), self._ready)

    def _forget(self) -> None:
        assert self._process is not None
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass
        self._process = None
