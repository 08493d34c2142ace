"""The loop of every search, search x farm x journal: ask, look up or submit, record, tell."""
from __future__ import annotations

from collections import deque
from typing import Callable, Deque, Dict, List, Sequence

from menndl_caffe.errors import UserError
from menndl_caffe.farm import Farm
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.search import Search
from menndl_caffe.trial import INDIVIDUAL, OK, TEST, Result, Trial
from menndl_caffe.walltime import Stopped

PATIENCE = 0.1  # seconds until the loop looks whether it must stop; after SIGTERM, mpirun kills within a second

Keep = Callable[[Trial, Result], None]  # called with every new result before it is recorded
Watch = Callable[[Trial, Result, bool], None]  # called with every result; True: it was recorded before
Stop = Callable[[], str]  # says why the run must end now, or nothing


def never() -> str:
    """A Stop for runs that go on until their search is finished."""
    return ""


class Loop:
    """One search on one farm with one journal.

    Deterministic: resumed, it asks for the same trials and finds them recorded.
    """

    def __init__(self, search: Search, farm: Farm, journal: Journal, reuse: bool, keep: Keep, watch: Watch,
                 stop: Stop = never):
        self._search, self._farm, self._journal = search, farm, journal
        self._reuse, self._keep, self._watch, self._stop = reuse, keep, watch, stop
        self._known: Dict[Genome, Result] = {}  # what individuals that were met before gave
        self._twins: Dict[Genome, List[Trial]] = {}  # being trained -> trials of the same individual that wait for it
        self._trials: Dict[int, Trial] = {}  # being trained, by id
        self._lost: List[Trial] = []  # of these, which no rank has

    def run(self, first: Sequence[Trial] = ()) -> None:
        """Evaluate `first`, then all that the search asks for, until it is finished.

        Stopped where that must not go on; what had come until then is recorded, but for failures.
        """
        queue = deque(first)
        while queue or self._trials or not self._search.finished:
            trials = self._next(queue, self._farm.idle)
            for trial in trials:
                self._begin(trial)
            if not trials:
                self._wait()

    def _next(self, queue: Deque[Trial], n: int) -> List[Trial]:
        queued = [queue.popleft() for _ in range(min(n, len(queue)))]
        return queued + self._search.ask(n - len(queued))

    def _begin(self, trial: Trial) -> None:
        """Answer a trial from the journal or from its individual's earlier result, else let it be trained."""
        self._check_same(trial)
        self._journal.add_trial(trial)
        recorded = self._journal.record.results.get(trial.id)
        twin = trial.genome if self._reuse and trial.role != TEST else None
        if recorded is not None:
            self._tell(trial, recorded, recorded=True)
        elif twin in self._known:
            self._record(trial, self._known[twin].copied_to(trial))
        elif twin in self._twins:
            self._twins[twin].append(trial)
        else:
            reason = self._stop()
            if reason:
                self._collect(0.0)
                raise self._stopped(reason)
            if twin is not None:
                self._twins[twin] = []
            self._trials[trial.id] = trial
            self._farm.submit(trial)

    def _wait(self) -> None:
        """For results, or for the time to stop."""
        reason = self._stop()  # asked before the last look, which then sees all that came in time
        self._collect(0.0 if reason else PATIENCE)
        if reason and self._trials:
            raise self._stopped(reason)

    def _collect(self, seconds: float) -> None:
        for result in self._farm.poll(seconds):
            if result.status == OK or not self._stop():  # a trainer may fail for being signalled as well
                self._end(result)
        self._lost += self._farm.lost()
        while self._lost and self._farm.idle:
            self._farm.submit(self._lost.pop())

    def _stopped(self, reason: str) -> Stopped:
        done = sum(1 for _ in self._journal.record.individuals())
        return Stopped(f"{reason}: {done} of {self._search.total} individuals are done; the same command goes on")

    def _end(self, result: Result) -> None:
        """Take a result from the farm, for its trial and for those of the same individual."""
        trial = self._trials.pop(result.id)
        self._keep(trial, result)
        self._record(trial, result)
        for twin in self._twins.pop(trial.genome, []):
            self._record(twin, result.copied_to(twin))

    def _record(self, trial: Trial, result: Result) -> None:
        """Journal first, then tell: what the search knows is on disk."""
        self._journal.add_result(result)
        self._tell(trial, result, recorded=False)

    def _tell(self, trial: Trial, result: Result, recorded: bool) -> None:
        if trial.role != TEST:
            self._known.setdefault(trial.genome, result)
        if trial.role == INDIVIDUAL:
            self._search.tell(result)
        self._watch(trial, result, recorded)

    def _check_same(self, trial: Trial) -> None:
        earlier = self._journal.record.trials.get(trial.id)
        if earlier is not None and earlier != trial:
            raise UserError(f"{self._journal.run_dir}: recorded trial {trial.id} is [{earlier.genome}] with seed "
                            f"{earlier.seed}, this search asks for [{trial.genome}] with seed {trial.seed}: "
                            "the run is of another search or another version of menndl")
