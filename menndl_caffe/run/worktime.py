"""How long a run is worked at, over all its starts, and when that is enough: `limit { hours: ... }`.

Where the search file has `confirm`, the search ends so much earlier that the trainings from new seeds fit within the
hours, as trainings have taken so far:

| symbol | meaning |
|---|---|
| d | the longest training of an individual or the default so far: as long those take that are being trained then |
| s_i | seconds of the trainings from new seeds: what the same genes have taken, for as many iterations as these have |
| m | slots, trials that can be trained at once |

    d + (sum_i s_i + (m - 1) max_i s_i) / m                                                                         (1)

Where the best is tested in the end, one s_i more is d. The fraction is the most that m slots need that are never idle
while a training is left (Graham 1969). The search has half of the hours at least, whatever a confirmation takes.
"""
from __future__ import annotations

import math
import time
from typing import Callable, Dict, Optional

from menndl_caffe.experiment.recorded import Run, worked
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.report.confirmation import to_come
from menndl_caffe.trial import DEFAULT, INDIVIDUAL

RECOUNTED = 60.0  # seconds after which it is counted anew what is kept for the end
MOST_KEPT = 0.5  # of the hours


class Worktime:
    """Called, says whether the search's time is over. Once it is, a line of the journal says so, and the search stays
    at its end when it is resumed, unless with a longer limit."""

    def __init__(self, journal: Journal, hours: float, kept: Callable[[], float] = lambda: 0.0):
        """Of a journal whose line of this start is written; `hours` is 0 where the search has no such limit. `kept`:
        seconds of them that what comes after the search will need."""
        self._journal, self._hours, self._count = journal, hours, kept
        before = worked(journal.record)
        self.end = time.monotonic() + 3600 * hours - before if hours else math.inf
        self._kept, self._counted = 0.0, -math.inf

    def __call__(self) -> bool:
        ended = self._journal.record.ended
        if self._hours and ended is not None and ended >= self._hours:
            return True
        if not self._hours or time.monotonic() < self.end - self._kept_now():
            return False
        self._journal.add_end(self._hours)
        return True

    def _kept_now(self) -> float:
        now = time.monotonic()
        if now - self._counted >= RECOUNTED:
            self._kept, self._counted = min(self._count(), MOST_KEPT * 3600 * self._hours), now
        return self._kept


def to_confirm(run: Run, slots: int) -> float:
    """Equation (1), in seconds; 0 where the search file has no `confirm`, or nothing was trained yet."""
    counts, record = to_come(run), run.record
    if not counts:
        return 0.0
    took: Dict[Optional[Genome], float] = {
        trial.genome: record.seconds(trial) for id, trial in record.trials.items()
        if trial.role in (INDIVIDUAL, DEFAULT) and id in record.results and record.results[id].same_as is None}
    longest = max(took.values(), default=0.0)
    longer = (run.message.confirm.iterations or run.message.max_iter) / run.message.max_iter
    after = [longer * took.get(genome, longest) for genome, count in counts.items() for _ in range(count)]
    after += [longest] * (run.fitness_set == "validation")
    return longest + (sum(after) + (slots - 1) * max(after, default=0.0)) / slots
