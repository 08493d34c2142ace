"""How long a run is worked at, over all its starts, and when that is enough: `limit { hours: ... }`."""
from __future__ import annotations

import math
import time

from menndl_caffe.experiment.recorded import worked
from menndl_caffe.journal import Journal


class Worktime:
    """Called, says whether the search's time is over. Once it is, a line of the journal says so, and the search stays
    at its end when it is resumed, unless with a longer limit."""

    def __init__(self, journal: Journal, hours: float):
        """Of a journal whose line of this start is written; `hours` is 0 where the search has no such limit."""
        self._journal, self._hours = journal, hours
        before = worked(journal.record)
        self.end = time.monotonic() + 3600 * hours - before if hours else math.inf

    def __call__(self) -> bool:
        ended = self._journal.record.ended
        if self._hours and ended is not None and ended >= self._hours:
            return True
        if time.monotonic() < self.end:
            return False
        self._journal.add_end(self._hours)
        return True
