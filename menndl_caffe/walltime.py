"""When a run ends before its search is finished: at its time limit, or at SIGTERM, which comes before a job's kill."""
from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path
from typing import Optional


class Stopped(Exception):
    """The run ended early and in order; says why and how far it came. The exit code is then os.EX_TEMPFAIL, 75."""


class Walltime:
    """Called, says why the run must end now; an empty text while it may go on.

    From its making to the end of the process SIGTERM is noted, and does no more than that.
    """

    def __init__(self, limit: Optional[int] = None):
        self._limit = limit
        self._end = time.monotonic() - process_age() + limit if limit else math.inf
        self.terminated = False
        # A function, not SIG_IGN, which the trainers would inherit.
        signal.signal(signal.SIGTERM, self.note)

    def __call__(self) -> str:
        if self.terminated:
            return "SIGTERM received"
        return f"time limit of {self._limit} s reached" if time.monotonic() >= self._end else ""

    def note(self, *_: object) -> None:
        """SIGTERM came, to this process or to another rank of the job."""
        self.terminated = True


def process_age() -> float:
    """Seconds since this process was started, imports and all (proc(5), starttime)."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
