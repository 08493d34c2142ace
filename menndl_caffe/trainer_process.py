"""The near side of the trainer's pipe: starts the process, feeds it, sees it die, and starts it again."""
from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from typing import Any, Dict, IO, Mapping, Optional, Sequence

LOG_BYTES = 65536  # of an engine's log, its end is kept


class TrainerDied(Exception):
    """The trainer process ended in the middle of a training. `killed` says that it was from outside, by SIGKILL or SIGTERM;
    `ready` that it had started properly before."""

    def __init__(self, code: int, log: str, ready: bool):
        self.ready = ready
        self.killed = -code in (signal.SIGKILL, signal.SIGTERM) or code - 128 in (signal.SIGKILL, signal.SIGTERM)
        fatal = [line for line in log.splitlines() if line.startswith("F") and "] " in line]
        last = fatal[0].split("] ", 1)[1] if fatal else (log.strip().splitlines() or [""])[-1]
        super().__init__(f"trainer ended by {_ending(code)}" + (f": {last}" if last else ""))


def _ending(code: int) -> str:
    number = -code if code < 0 else code - 128
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"exit code {code}"


class TrainerProcess:
    """One trainer, started when it is first needed. Never blocks: messages are fetched with `poll`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]):
        self._command, self._environment = command, environment
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._log: IO[bytes] = tempfile.TemporaryFile()
        self._unread = b""
        self._ready = False

    def start(self) -> None:
        """Start the process unless it runs; the first message is then its `ready`."""
        if self._process is None:
            self._unread, self._ready = b"", False
            # Appending, so that truncating the log for the next training is safe while the trainer holds it open.
            with open(f"/proc/self/fd/{self._log.fileno()}", "ab") as log:
                self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                                 env=dict(self._environment), start_new_session=True)

    def send(self, request: Mapping[str, Any]) -> None:
        """Hand over a training; its log begins here. A trainer that is dead is noticed by `poll`."""
        self._log.truncate(0)
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
        message: Dict[str, Any] = json.loads(line)
        self._ready = True
        return message

    def log(self) -> str:
        """The end of what the engine logged since the last `send`."""
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

    def _dead(self) -> TrainerDied:
        assert self._process is not None
        code = self._process.wait()
        self._forget()
        return TrainerDied(code, self.log(), self._ready)

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
