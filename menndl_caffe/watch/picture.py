"""What there is to show of a run at one moment; kept up to date by reading on in its journal."""
from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Tuple

import numpy as np

from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.genome import Value
from menndl_caffe.journal import Entry
from menndl_caffe.objective import Objective
from menndl_caffe.report.status import STOPPED, state, status_dict
from menndl_caffe.report.summary import generations
from menndl_caffe.text import duration
from menndl_caffe.trial import CurvePoint
from menndl_caffe.watch.ranks import Doing, doing, slots

QUIET_SECONDS = 60.0  # without a result before that is worth a warning, where trials are shorter
COST_SHARE = 0.05  # of the time may go into counting anew


@dataclass(frozen=True)
class Picture:
    """The numbers of a run as of its journal's newest line."""

    status: Dict[str, Any]  # as report.status_dict has it
    fitness: Objective
    defaults: Dict[str, Value]
    best_so_far: List[float]  # by stage (see Run.stages), but for those in which all failed and have no number
    mean: List[float]
    curve: Tuple[CurvePoint, ...]  # of the best individual
    seconds: Optional[Tuple[float, float, float, float]]  # successful trainings: lower quartile, median, upper, longest
    doing: List[Doing]
    slots: Optional[int]  # trials that can be trained at once
    last_result: Optional[float]  # seconds since the epoch

    def silence(self, now: float) -> str:
        """`last result 0:03 ago`, or a warning where that is longer than any training took."""
        if self.last_result is None:
            started = self.status["started"]
            return "no result yet" + (f" after {duration(max(0.0, now - started))}" if started else "")
        ago = duration(max(0.0, now - self.last_result))
        if self.status["state"] == STOPPED:
            return f"stopped, last result {ago} ago"
        return f"no result for {ago}" if self.is_quiet(now) else f"last result {ago} ago"

    def is_quiet(self, now: float) -> bool:
        """Whether a result is overdue."""
        longest = self.seconds[3] if self.seconds else QUIET_SECONDS
        return (not self.status["complete"] and self.last_result is not None
                and now - self.last_result > max(QUIET_SECONDS, longest))


class Watched:
    """A run that is looked at again and again. Reading costs as much as there is new; counting is of the whole record,
    and done so seldom that it takes no more than a twentieth of the time."""

    def __init__(self, folder: Path):
        """UserError where there is no run."""
        self.folder = folder
        self.picture: Optional[Picture] = None  # None until the journal has its first line
        self._follower = recorded.follower(folder)
        self._run: Optional[Run] = None
        self._changed, self._next_count = False, 0.0
        self.look()

    @property
    def complete(self) -> bool:
        """Whether the search is finished."""
        return self.picture is not None and bool(self.picture.status["complete"])

    def look(self) -> List[Entry]:
        """What is new in the journal; `picture` says the same, or will at a later look."""
        entries = self._follower.look()
        self._changed |= bool(entries)
        begin = time.monotonic()
        if self._changed and self._follower.record.run and begin >= self._next_count:
            self._run = self._run or Run(self.folder, self._follower.record)
            self.picture = _picture(self._run)
            self._changed = False
            self._next_count = begin + (time.monotonic() - begin) / COST_SHARE
        elif self.picture is not None:  # its writer may have ended without a word
            status = self.picture.status
            now = state(self.folder, status["complete"])
            if now["state"] != status["state"]:
                self.picture = replace(self.picture, status={**status, **now})
        return entries


def _known(values: Iterable[Optional[float]]) -> List[float]:
    return [value for value in values if value is not None]


def _picture(run: Run) -> Picture:
    status, summaries, results = status_dict(run, 0.0), generations(run), run.record.results
    best, ago = status["best"], status["last_result_seconds_ago"]
    seconds = [result.seconds for result in results.values() if not result.failed and result.same_as is None]
    low, middle, high, longest = np.percentile(seconds or [0.0], [25, 50, 75, 100])
    return Picture(status, run.fitness, run.space.default.as_dict(), _known(row.best_so_far for row in summaries),
                   _known(row.mean for row in summaries), results[best["id"]].curve if best else (),
                   (low, middle, high, longest) if seconds else None, doing(run.record), slots(run.record),
                   None if ago is None else -ago)
