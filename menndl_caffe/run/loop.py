"""The loop of every search, search x farm x journal: ask, look up or submit, record, tell.

The journal is the log of the calls. A run is resumed by repeating them: each recorded trial is `asked`, each recorded
result is told, in the order of the lines. So a search that breeds from what it was told so far goes on exactly.
"""
from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Callable, Deque, Dict, List, Optional, Sequence

from menndl_caffe.errors import UserError
from menndl_caffe.farm import Farm
from menndl_caffe.journal import Journal
from menndl_caffe.run.numbering import Numbering
from menndl_caffe.search import OtherTrial, Search
from menndl_caffe.trial import CONFIRM, INDIVIDUAL, Result, Trial, Work
from menndl_caffe.walltime import Stopped

PATIENCE = 0.1  # seconds until the loop looks whether it must stop; after SIGTERM, mpirun kills within a second

Keep = Callable[[Trial, Result], None]  # called with every new result before it is recorded
Watch = Callable[[Trial, Result, bool], None]  # called with every result; True: it was recorded before
Stop = Callable[[], str]  # says why the run must end now, or nothing
GoOn = Callable[[], Optional[Trial]]  # the next trial that goes on with an individual, of those begun; None: no more


def never() -> str:
    """A Stop for runs that go on until their search is finished."""
    return ""


class Loop:
    """One search on one farm with one journal. `total` is how many individuals there shall be; None: all it has. Once
    `over` says so, there are no more; those that are begun `go_on` to their ends."""

    def __init__(self, search: Search, farm: Farm, journal: Journal, numbering: Numbering, total: Optional[int],
                 keep: Keep, watch: Watch, stop: Stop = never, over: Callable[[], bool] = lambda: False,
                 go_on: GoOn = lambda: None):
        self._search, self._farm, self._journal, self._numbering = search, farm, journal, numbering
        self._keep, self._watch, self._stop, self._over = keep, watch, stop, over
        self._go_on = go_on
        self._total = total
        self._asked = 0  # individuals so far
        self._known: Dict[Work, Result] = {}  # what work that was met before gave
        self._twins: Dict[Work, List[Trial]] = {}  # being trained -> trials of the same work that wait for it
        self._trials: Dict[int, Trial] = {}  # being trained, by id
        self._queue: Deque[Trial] = deque()  # to be begun before the search is asked for more
        self._replay()

    def run(self, first: Sequence[Trial] = ()) -> None:
        """Evaluate `first`, then all that the search asks for, until it is finished.

        Stopped where that must not go on; what had come until then is recorded, but for failures. UserError where the
        journal holds the trials of another search.
        """
        self._queue.extend(trial for trial in first if self._is_new(trial))
        while True:
            trial = self._next() if self._farm.idle else None
            if trial is not None:
                self._begin(trial)
            elif self._trials:
                self._wait()
            elif self._ended:
                return
            else:
                raise RuntimeError("the search asks for nothing and is not finished, and nothing is being trained")

    @property
    def _ended(self) -> bool:
        """Whether the search will begin no more individuals."""
        return self._search.finished or self._asked == self._total or self._over()

    def _next(self) -> Optional[Trial]:
        if self._queue:
            return self._queue.popleft()
        trial = self._go_on() if self._ended else self._search.ask()
        self._asked += trial is not None and trial.continues is None
        return trial

    # ---- what is recorded ----

    def _replay(self) -> None:
        """Repeat the journal's calls in the journal's order."""
        record = self._journal.record
        for trial in record.trials.values():
            if trial.role != INDIVIDUAL:  # a generation may be bred here before the test that came before it then
                self._numbering.take(trial)
        for call in record.calls:
            if isinstance(call, Result):
                self._tell(record.trials[call.id], call, recorded=True)
            else:
                if call.role == INDIVIDUAL:
                    self._repeat(call)
                self._numbering.take(call)
        # Of a search that wants no more results, as where its best are confirmed, no individual is begun again.
        self._queue.extend(trial for trial in record.trials.values() if trial.id not in record.results
                           and not (trial.role == INDIVIDUAL and self._search.finished))

    def _repeat(self, trial: Trial) -> None:
        self._asked += trial.continues is None
        try:
            self._search.asked(trial)
        except OtherTrial as other:
            raise self._another(trial, other.given) from None

    def _is_new(self, trial: Trial) -> bool:
        earlier = self._journal.record.trials.get(trial.id)
        if earlier is not None and earlier != trial:
            raise self._another(earlier, trial)
        return earlier is None

    def _another(self, recorded: Trial, asked: Optional[Trial]) -> UserError:
        now = f"for [{asked.genome}] with seed {asked.seed}" if asked else "for none there"
        return UserError(f"{self._journal.run_dir}: recorded trial {recorded.id} is [{recorded.genome}] with seed "
                         f"{recorded.seed}, this search asks {now}: "
                         "the run is of another search or another version of menndl")

    # ---- trials ----

    def _begin(self, trial: Trial) -> None:
        """Answer a trial from an earlier result of the same work, else let it be trained."""
        reason = self._stop()  # also where nothing is trained: a search may ask for the same again and again
        if reason:
            self._collect(0.0)
            raise self._stopped(reason)
        known, twins = self._known_of(trial), self._twins_of(trial)
        if known is not None:
            self._journal.add_trial(trial)
            self._record(trial, known.copied_to(trial))
        elif twins is not None and trial.id not in self._trials:
            self._journal.add_trial(trial)
            twins.append(trial)
        else:
            self._twins.setdefault(trial.work, [])
            self._trials[trial.id] = trial
            self._journal.add_trial(trial, self._farm.submit(trial))

    def _known_of(self, trial: Trial) -> Optional[Result]:
        """What the same work gave before; up to a rung also a training to the end, such as the default's."""
        known = self._known.get(trial.work)
        if known is None and trial.until is not None:
            whole = self._known.get(_to_its_end(trial).work)
            known = whole and whole.at_rung(trial.until)
        return known

    def _twins_of(self, trial: Trial) -> Optional[List[Trial]]:
        """Those that wait for the training of the same work, or of the same to its end; None where there is none."""
        return self._twins.get(trial.work, self._twins.get(_to_its_end(trial).work))

    def _wait(self) -> None:
        """For results, or for the time to stop."""
        reason = self._stop()  # asked before the last look, which then sees all that came in time
        self._collect(0.0 if reason else PATIENCE)
        if reason and self._trials:
            raise self._stopped(reason)

    def _collect(self, seconds: float) -> None:
        for result in self._farm.poll(seconds):
            if not result.failed or not self._stop():  # a trainer may fail for being signalled as well
                self._end(result)
        self._queue.extendleft(self._farm.lost())

    def _stopped(self, reason: str) -> Stopped:
        record = self._journal.record
        done = sum(1 for _ in record.individuals())
        of_all = f" of {self._total}" if self._total else ""
        again = sum(record.trials[id].role == CONFIRM for id in record.results)
        more = f" and {again} trainings from new seeds" if again else ""
        return Stopped(f"{reason}: {done}{of_all} individuals{more} are done; the same command goes on")

    # ---- results ----

    def _end(self, result: Result) -> None:
        """Take a result from the farm, for its trial and for those of the same work."""
        trial = self._trials.pop(result.id)
        self._keep(trial, result)
        self._record(trial, result)
        for twin in self._twins.pop(trial.work):
            known = self._known_of(twin)
            if known is None:  # what failed further on says nothing of a rung
                self._queue.append(twin)
            else:
                self._record(twin, known.copied_to(twin))

    def _record(self, trial: Trial, result: Result) -> None:
        """Journal first, then tell: what the search knows is on disk."""
        self._journal.add_result(result)
        self._tell(trial, result, recorded=False)

    def _tell(self, trial: Trial, result: Result, recorded: bool) -> None:
        self._known.setdefault(trial.work, result)
        if trial.role == INDIVIDUAL:
            self._search.tell(trial, result)
        self._watch(trial, result, recorded)


def _to_its_end(trial: Trial) -> Trial:
    return replace(trial, until=None)
