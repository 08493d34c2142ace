"""A farm of one slot: trials run in order, on one trainer of this process. Also rank 0's own slot under MPI."""
from __future__ import annotations

from typing import List

from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.trial import Result, Trial


class SerialFarm:
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
        """Begin the trial."""
        self._evaluator.start(trial)
        self._busy = True
        return 0

    def lost(self) -> List[Trial]:
        """None: this process has not died."""
        return []

    def poll(self, seconds: float) -> List[Result]:
        """The trial's result, if it came in time."""
        result = self._evaluator.poll(seconds) if self._busy else None
        if result is None:
            return []
        self._busy = False
        return [result]

    def close(self) -> None:
        """End the trainer."""
        self._evaluator.close()
