"""The report of a run that goes on: made when somebody asks for it and the journal has grown, but not too often."""
from __future__ import annotations

import gzip
import threading
import time
import weakref
from pathlib import Path
from typing import Callable, Optional

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.recorded import Run

Make = Callable[[Run], str]  # the page of a run

PAGES = 3  # that may be in memory: as long as so many are still being sent to somebody, no newer one is made
REST = 5.0  # seconds between the making of two pages, or so many times as long as one takes


class Page:
    """A page with so many results, compressed once for all whom it is sent to; `size` is its length in bytes before."""

    def __init__(self, text: str, results: int):
        content = f"{text}<!--{results}-->".encode()
        self.packed, self.size, self.results = gzip.compress(content, 4), len(content), results


class LivePage:
    """The page of one run; any number of threads may ask."""

    def __init__(self, folder: Path, make: Make):
        """UserError where there is no run."""
        self._folder, self._make = folder, make
        self._run: Optional[Run] = None
        self._lock = threading.Lock()
        self._page: Optional[Page] = None
        self._known: weakref.WeakSet[Page] = weakref.WeakSet()  # all that are in memory
        self._next = 0.0
        self._follower = recorded.follower(folder)
        self._follower.look()

    def results(self) -> int:
        """How many results the page has that would be had now. UserError where the journal is damaged."""
        with self._lock:
            return self._page.results if self._page and self._rests() else self._look()

    def page(self) -> Page:
        """The page, at its end the number of its results as a comment. UserError where there is nothing to show, or
        the journal is damaged."""
        with self._lock:
            if not self._page or not self._rests() and self._look() > self._page.results:
                self._page = self._made()
            return self._page

    def _made(self) -> Page:
        begin, results = time.monotonic(), self._look()
        self._run = self._run or Run(self._folder, self._follower.record)
        page = Page(self._make(self._run), results)
        self._known.add(page)
        self._next = time.monotonic() + REST * max(1.0, time.monotonic() - begin)
        return page

    def _rests(self) -> bool:
        return time.monotonic() < self._next or len(self._known) >= PAGES

    def _look(self) -> int:
        try:
            self._follower.look()
        except UserError:  # a journal that was mended or begun anew is read from its beginning
            self._follower, self._run, self._page = recorded.follower(self._folder), None, None
            raise
        return len(self._follower.record.results)
