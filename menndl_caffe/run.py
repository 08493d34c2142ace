"""The loop of every search, search x farm x journal: ask, look up or submit, record, tell."""
from __future__ import annotations

from collections import deque
from typing import Callable, Deque, Dict, List, Sequence

from menndl_caffe.errors import UserError
from menndl_caffe.farm import Farm
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.search import Search
from menndl_caffe.trial import INDIVIDUAL, TEST, Result, Trial

Keep = Callable[[Trial, Result], None]  # called with every new result before it is recorded
Watch = Callable[[Trial, Result, bool], None]  # called with every result; True: it was recorded before


class Loop:
    """One search on one farm with one journal.

    Deterministic: resumed, it asks for the same trials and finds them recorded.
    """

    def __init__(self, search: Search, farm: Farm, journal: Journal, reuse: bool, keep: Keep, watch: Watch):
        self._search, self._farm, self._journal = search, farm, journal
        self._reuse, self._keep, self._watch = reuse, keep, watch
        self._known: Dict[Genome, Result] = {}  # what individuals that were met before gave
        self._twins: Dict[Genome, List[Trial]] = {}  # being trained -> trials of the same individual that wait for it
        self._trials: Dict[int, Trial] = {}  # being trained, by id

    def run(self, first: Sequence[Trial] = ()) -> None:
        """Evaluate `first`, then all that the search asks for, until it is finished."""
        queue = deque(first)
        while queue or self._trials or not self._search.finished:
            trials = self._next(queue, self._farm.idle)
            for trial in trials:
                self._begin(trial)
            if not trials:
                for result in self._farm.poll(1.0):
                    self._end(result)

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
            if twin is not None:
                self._twins[twin] = []
            self._trials[trial.id] = trial
            self._farm.submit(trial)

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
