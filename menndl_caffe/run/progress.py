"""What the user sees while a search runs: one line that is rewritten on a terminal, plain lines elsewhere."""
from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from typing import IO, Callable, Dict, Iterator, Optional

from menndl_caffe.objective import BY_ACCURACY, Objective
from menndl_caffe.text import HowFar, duration, printable
from menndl_caffe.trial import CONFIRM, DEFAULT, INDIVIDUAL, STOPPED, Result, Trial

PLAIN_SECONDS = 10.0  # between two plain lines of the same generation


def terminal(launched: bool) -> Optional[IO[str]]:
    """The terminal that the user looks at; None where there is none. That is standard error, or for a process that was
    launched by mpirun, which passes on whole lines only, mpirun's own standard error."""
    if sys.stderr.isatty():
        return sys.stderr
    if not launched:
        return None
    try:
        path = os.readlink(f"/proc/{os.getppid()}/fd/2")
        return open(path, "w") if path.startswith("/dev/pts/") else None
    except OSError:
        return None


class Progress:
    """Counts results and tells of them. Results that were recorded earlier count as done but not for the speed.

    An individual that came to a rung is done once it is `stopped`, or came to its end.

    `screen` is the terminal to write one line on again and again; without it plain lines go to standard error. `end` is
    when the search's time is over, on the monotonic clock.
    """

    def __init__(self, total: Optional[int], generations: Optional[int], screen: Optional[IO[str]],
                 fitness: Objective = BY_ACCURACY, end: float = math.inf):
        self._total, self._generations, self._live = total, generations, screen is not None
        self.confirms = 0  # trainings from new seeds that there shall be
        self.expected: Callable[[], float] = lambda: math.inf  # individuals, where there is no total
        self._confirmed = 0
        self._stream = screen or sys.stderr
        self._done = self._trained = self._told_of = self._failed = self._stopped = 0
        self._at_rung: Dict[int, bool] = {}  # trials that came to a rung, and which of them were recorded earlier
        self._fitness, self._end = fitness, end
        self._best: Optional[float] = None
        self._default: Optional[float] = None
        self._generation = 0  # the last one begun: 1, 2, ...
        self._start, self._told = time.monotonic(), 0.0
        self._repeats = False

    def __call__(self, trial: Trial, result: Result, recorded: bool) -> None:
        """Take note of a result."""
        generation = 0 if trial.generation is None else trial.generation + 1
        begins = generation > self._generation
        self._generation = max(self._generation, generation)
        at_rung = result.status == STOPPED
        if at_rung:
            self._at_rung[trial.id] = recorded
        self._done += trial.role == INDIVIDUAL and not at_rung
        self._confirmed += trial.role == CONFIRM
        if trial.role == DEFAULT and not result.failed:
            self._default = result.fitness
        elif trial.role == INDIVIDUAL and result.finished:
            known = [value for value in (self._best, result.fitness) if value is not None]
            self._best = min(known, key=self._fitness.cost)
        if not recorded:
            self._told_of += not at_rung
            self._trained += result.same_as is None
        if result.failed and result.same_as is None:
            self._failed += 1
            if not recorded:
                self._write(f"trial {result.id} {result.status}: {result.reason}")
        last = trial.role == INDIVIDUAL and self._done == self._total or self._confirmed == self.confirms > 0
        self._show(begins or last)

    def stopped(self, trial: Trial) -> None:
        """Take note that nobody goes on with this one, which came to a rung."""
        self._stopped += 1
        self._done += 1
        self._told_of += not self._at_rung.pop(trial.id)
        self._show(self._done == self._total)

    @contextlib.contextmanager
    def repeating(self) -> Iterator[None]:
        """While a journal is repeated nothing is told; then how far it had come, once there is a default to go by."""
        self._repeats = True
        yield
        self._repeats = False
        if self._default is not None:
            self._show(True)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._write(text)

    def tell(self, text: str) -> None:
        """What is being done before there is a first result."""
        if self._live:
            self._put(f"\r\x1b[K{text}")
        else:
            self._write(text)

    def _show(self, now: bool) -> None:
        if self._repeats:
            return
        if self._live:
            self._put(f"\r\x1b[K{printable(self.line())}")
        elif now or time.monotonic() - self._told > PLAIN_SECONDS:
            self._told = time.monotonic()
            self._write(self.line())

    def line(self) -> str:
        """generation, done/total, best, stopped, failures, speed and time left."""
        speed = self._trained / (time.monotonic() - self._start) if self._trained else None
        left = max(0.0, self._end - time.monotonic())
        total = self._total or self.expected()
        if speed and total < math.inf:
            # Trainings of an individual: 0 of one that was met before, and one for each rung.
            new = self._trained / max(1, self._told_of)
            to_train = (total - self._done) * new + max(0, self.confirms - self._confirmed)
            left = min(left, to_train / speed)
        best, default = map(self._fitness.text, (self._best, self._default))
        confirmed = f"confirmed {self._confirmed}/{self.confirms}" if self.confirms else ""
        return str(HowFar(self._done, self._total, self._generation, self._generations, best, default, self._failed,
                          3600 * speed if speed else None, f"{duration(left)} left" if left < math.inf else "",
                          confirmed, self._stopped))

    def _write(self, text: str) -> None:
        self._put(("\r\x1b[K" if self._live else "") + printable(text) + "\n")

    def _put(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone, or the disk of a log full: the run goes on
            self._stream.write(text)
            self._stream.flush()

    def close(self) -> None:
        """End the line."""
        if self._live:
            self._put("\n")
