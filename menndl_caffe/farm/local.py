"""A farm of one slot: trials run in order, on one trainer of this process. Also a rank's own slot under MPI."""
from __future__ import annotations

from typing import List

from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.trial import Result, Trial


class LocalFarm:
    """The farm where there is no MPI."""

    slots = 1

    def __init__(self, evaluator: Evaluator):
        self._evaluator = evaluator
        self._busy = False

    @property
    def idle(self) -> int:
        """1 or 0."""
        return 0 if self._busy else 1

    def submit(self, trial: Trial) -> int:
        """Begin the trial; the evaluator's rank."""
        self._evaluator.start(trial)
        self._busy = True
        return self._evaluator.rank

    def poll(self, seconds: float) -> List[Result]:
        """The trial's result, if it came in time."""
        result = self._evaluator.poll(seconds) if self._busy else None
        if result is None:
            return []
        self._busy = False
        return [result]

    def lost(self) -> List[Trial]:
        """None: this rank does not outlive itself."""
        return []

    def close(self) -> None:
        """End the trainer."""
        self._evaluator.close()
