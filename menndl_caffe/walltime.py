"""When a run ends before its search is finished: at its time limit, or at a signal, which comes before a job's kill."""
from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path
from typing import Optional

# By which people, terminals and schedulers tell a program to end, and which would end it at once.
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)


class Stopped(Exception):
    """The run ended early and in order; says why and how far it came. The exit code is then os.EX_TEMPFAIL, 75."""


class Walltime:
    """Called, says why the run must end now; an empty text while it may go on.

    From its making to the end of the process SIGNALS are noted, those that were blocked until then among them, and do
    no more than that.
    """

    def __init__(self, limit: Optional[int] = None):
        self._limit = limit
        self._end = time.monotonic() - process_age() + limit if limit else math.inf
        self.terminated: Optional[int] = None  # by which signal
        self.listen()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def listen(self) -> None:
        """Note the signals from now on; again after Open MPI's start, which takes SIGHUP for itself."""
        for number in SIGNALS:
            if (number, signal.getsignal(number)) != (signal.SIGHUP, signal.SIG_IGN):  # as under nohup
                signal.signal(number, self.note)  # a function, not SIG_IGN, which the trainers would inherit

    def __call__(self) -> str:
        if self.terminated:
            return f"{signal.Signals(self.terminated).name} received"
        return f"time limit of {self._limit} s reached" if time.monotonic() >= self._end else ""

    def note(self, number: int, *_: object) -> None:
        """A signal came, to this process or to another rank of the job."""
        self.terminated = number


def process_age() -> float:
    """Seconds since this process was started, imports and all (proc(5), starttime)."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
