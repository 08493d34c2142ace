"""The report of a run that goes on: made when somebody asks for it and the journal has grown, but not too often."""
from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Callable, Optional

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.recorded import Run

Make = Callable[[Run], str]  # the page of a run

REST = 5.0  # seconds between the making of two pages, or so many times as long as one takes


class LivePage:
    """The page of one run; any number of threads may ask."""

    def __init__(self, folder: Path, make: Make):
        """UserError where there is no run."""
        self._folder, self._make = folder, make
        self._run: Optional[Run] = None
        self._lock = threading.Lock()
        self._page, self._results, self._next = "", 0, 0.0
        self._follower = recorded.follower(folder)
        self._follower.look()

    def results(self) -> int:
        """How many results the page has that would be had now. UserError where the journal is damaged."""
        with self._lock:
            return self._results if self._rests() else self._look()

    def html(self) -> str:
        """The page, at its end the number of its results as a comment. UserError where there is nothing to show, or
        the journal is damaged."""
        with self._lock:
            if not self._rests() and (self._look() > self._results or not self._page):
                begin = time.monotonic()
                self._run = self._run or Run(self._folder, self._follower.record)
                page, results = self._make(self._run), len(self._follower.record.results)
                self._page, self._results = f"{page}<!--{results}-->", results
                self._next = time.monotonic() + REST * max(1.0, time.monotonic() - begin)
            return self._page

    def _rests(self) -> bool:
        return bool(self._page) and time.monotonic() < self._next

    def _look(self) -> int:
        try:
            self._follower.look()
        except UserError:  # a journal that was mended or begun anew is read from its beginning
            self._follower, self._run, self._page, self._results = recorded.follower(self._folder), None, "", 0
            raise
        return len(self._follower.record.results)
