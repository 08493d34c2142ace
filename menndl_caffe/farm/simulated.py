"""A farm on a virtual clock: its ranks train nothing, and an hour of theirs passes at once. Some may die on the way."""
from __future__ import annotations

import heapq
import math
from dataclasses import replace
from typing import Callable, Dict, List, Mapping, Optional, Tuple

from menndl_caffe.farm import whose
from menndl_caffe.trial import Result, Trial
from menndl_caffe.walltime import Stopped

# What a trial gives, and in how many `seconds`. That it `continues` another is told where its rank can go on with that.
Train = Callable[[Trial], Result]


class SimulatedFarm:
    """Ranks 0, 1, ... of which each has one slot. `now` is the time, in seconds since the start.

    The clock moves in `poll`, to the next result or death, and in `submit` by what the master needs for a trial. A rank
    that dies is lost with its trial, as under `mpirun --with-ft ulfm`.
    """

    def __init__(self, ranks: int, train: Train, master: float = 0.0, delay: float = 0.0,
                 deaths: Optional[Mapping[int, float]] = None, until: float = math.inf):
        """`master`: seconds that the master needs for each trial, one after the other; `delay`: those between a trial's
        sending and its beginning; `deaths`: rank -> when it dies; `until`: where the clock stops."""
        self.now = 0.0
        self.died: Dict[int, float] = {}  # rank -> when
        self._train, self._master, self._delay, self._until = train, master, delay, until
        self._idle = dict.fromkeys(reversed(range(ranks)))  # the last one is the next to get a trial
        self._running: Dict[int, Tuple[int, Trial, Result]] = {}  # by trial
        self._last: Dict[int, int] = {}  # rank -> the trial that it had last, or has
        self._events: List[Tuple[float, int, int]] = []  # time, rank, trial that ends then; -1: the rank dies
        self._events.extend((time, rank, -1) for rank, time in (deaths or {}).items())
        heapq.heapify(self._events)
        self._lost: List[Trial] = []

    @property
    def slots(self) -> int:
        """Ranks that live."""
        return len(self._idle) + len(self._running)

    @property
    def idle(self) -> int:
        """Of these, those without a trial."""
        return len(self._idle)

    def submit(self, trial: Trial) -> int:
        """Begin the trial once the master has seen to it; on which rank, first of all the one that can go on with it.
        """
        self.now += self._master
        rank = whose(trial, self._idle, self._last)
        result = self._train(trial if rank is not None else replace(trial, continues=None))
        if rank is None:
            rank = next(reversed(self._idle))
        del self._idle[rank]
        self._last[rank] = trial.id
        began = self.now + self._delay
        self._running[trial.id] = rank, trial, replace(result, rank=rank, started=began)
        heapq.heappush(self._events, (began + result.seconds, rank, trial.id))
        return rank

    def poll(self, seconds: float) -> List[Result]:
        """The results up to now; if there may be waited at all, to the next event. Stopped where none will come."""
        if seconds:
            if not self.slots:
                raise Stopped("every rank has died")
            self.now = max(self.now, min(self._until, self._events[0][0] if self._events else math.inf))
        results = []
        while self._events and self._events[0][0] <= self.now:
            time, rank, id = heapq.heappop(self._events)
            if id < 0:
                self._bury(rank, time)
            elif rank not in self.died:
                results.append(self._running.pop(id)[2])
                self._idle[rank] = None
        return results

    def lost(self) -> List[Trial]:
        """The trials whose ranks have died since the last call."""
        lost, self._lost = self._lost, []
        return lost

    def close(self) -> None:
        """Nothing is to be ended."""

    def _bury(self, rank: int, time: float) -> None:
        self.died[rank] = time
        self._idle.pop(rank, None)
        lost = [id for id, (holder, _, _) in self._running.items() if holder == rank]
        self._lost += [self._running.pop(id)[1] for id in lost]
