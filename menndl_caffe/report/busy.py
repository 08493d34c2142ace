"""The clock of a run: time in which at least one rank trained."""
from __future__ import annotations

from typing import Any, Iterable, List, Sequence

import numpy as np

from menndl_caffe.trial import Result


class BusyTime:
    """The union of the results' intervals, so that the pauses of an interrupted run, and clocks set anew, take no room
    on a time axis. Results that were taken over from another trial took no time."""

    def __init__(self, results: Iterable[Result]):
        spans = sorted((result.started, result.started + result.seconds) for result in results
                       if result.same_as is None)
        merged: List[List[float]] = []
        for start, end in spans:
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        self._spans = np.array(merged or [[0.0, 0.0]])
        lengths = self._spans[:, 1] - self._spans[:, 0]
        self._before = np.concatenate([[0.0], np.cumsum(lengths)])

    @property
    def seconds(self) -> float:
        """All of it."""
        return float(self._before[-1])

    def at(self, moments: Sequence[float]) -> Any:
        """The clock at these moments (seconds since the epoch), shape (n,)."""
        moment = np.asarray(moments, dtype=float)
        span = np.clip(np.searchsorted(self._spans[:, 0], moment, side="right") - 1, 0, None)
        inside = np.clip(moment - self._spans[span, 0], 0, self._spans[span, 1] - self._spans[span, 0])
        return self._before[span] + inside
