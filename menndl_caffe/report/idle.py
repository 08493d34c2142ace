"""Where the time of a run's ranks went: how long each trained, and why it did not for the rest.

| reason | the rank had no trial since |
|---|---|
| `generation` | others of its generation were still being trained, and the next is bred from all |
| `no_trial` | the search had none for it: its last trials are out, or it has fewer at a time than there are ranks |
| `master` | the master was busy, or the messages on their way |
| `lost` | it had one, whose result never came: the rank died over it, or the run was stopped |
| `dead` | it had died, which is known of those that died over a trial |

All from the journal, of the master's clock: when a trial was given to a rank, how long it took, and in which order the
lines stand. Pauses between two starts of a run count as nobody's time.
"""
from __future__ import annotations

import math
from collections import defaultdict
from typing import DefaultDict, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from menndl_caffe.record import Given, Record
from menndl_caffe.trial import Result

BUSY = "busy"
REASONS = {"generation": "waiting for the end of a generation", "no_trial": "without a trial to do",
           "master": "waiting for the master", "lost": "over trials that were lost", "dead": "dead"}
Spent = Dict[str, float]  # BUSY and REASONS -> seconds
ByRank = DefaultDict[Optional[int], Spent]
Handing = Tuple[int, Given, int]  # a trial, to which rank it was given and when, and after how many results


def ranks_time(record: Record, until: Optional[float] = None, died: Optional[Mapping[int, float]] = None
               ) -> Dict[Optional[int], Spent]:
    """What the time of each rank was spent on, by rank; None stands for all that never had a trial.

    `until` ends the last start's time, without it its last line; `died`, rank -> when, are deaths that the journal
    cannot tell of. Empty for journals of menndl 0.1, which do not say to which rank a trial was given.
    """
    spent = _nothing()
    lines, handings, results = [record.run, *record.resumes], record.handings, list(record.results.values())
    resumed = [line.get("started", 0.0) for line in record.resumes]
    for line, begin, end in zip(lines, [-math.inf, *resumed], [*resumed, math.inf]):
        own = [one for one in handings if begin <= one[1].time < end]
        if own:
            last = end == math.inf
            (_, first, told), after = own[0], next((told for _, given, told in handings if given.time >= end), None)
            start = _Start(record, first.time, died or {})
            start.follow(own, results[told:after])
            for rank, seconds in start.closed(until if last else None, line.get("slots", 0), last).items():
                _spend(spent[rank], **seconds)
    return dict(spent)


def shares(by_rank: Mapping[Optional[int], Spent]) -> Spent:
    """Of the time of all ranks, by what it was spent on, in [0, 1]; empty where there was none."""
    whole = sum(sum(spent.values()) for spent in by_rank.values())
    return {kind: sum(spent[kind] for spent in by_rank.values()) / whole for kind in (BUSY, *REASONS)} if whole else {}


def idle_text(by_rank: Mapping[Optional[int], Spent]) -> str:
    """`4.2% waiting for the end of a generation, 0.3% waiting for the master`; nothing for what is next to nothing."""
    found = shares(by_rank)
    return ", ".join(f"{100 * found[kind]:.1f}% {said}" for kind, said in REASONS.items() if found.get(kind, 0) >= 5e-4)


def _nothing() -> ByRank:
    return defaultdict(lambda: dict.fromkeys((BUSY, *REASONS), 0.0))


def _spend(spent: Spent, **seconds: float) -> None:
    for kind, more in seconds.items():
        spent[kind] += max(0.0, more)


class _Free(NamedTuple):
    """A rank without a trial."""

    since: float  # when the master knew of it
    generation: Optional[int]  # of the trial that it had before; None where there are none


class _Start:
    """The time from one start of a run to its end, line by line.

    The master asks for a trial as soon as it knows of an idle rank, so an idle rank has none for want of one until the
    last result before the line that gives it one; the rest is the master's.
    """

    def __init__(self, record: Record, begin: float, died: Mapping[int, float]):
        self._record, self._begin = record, begin
        self._died: Dict[int, float] = dict(died)  # rank -> when
        self._handed, self._heard = begin, begin  # when a trial was given last, and when the last result came
        self._having: Dict[int, Given] = {}  # by trial
        self._free: Dict[int, _Free] = {}  # by rank
        self._generation: Optional[int] = None  # the newest
        self._ends: Dict[Optional[int], float] = {}  # generation -> when its last result so far came
        self._spent = _nothing()

    def follow(self, handings: Sequence[Handing], results: Sequence[Result]) -> None:
        """The lines of this start, in their order."""
        _, _, first = handings[0]
        told = 0
        for id, given, before in handings:
            for result in results[told:before - first]:
                self._result(result)
            told = before - first
            self._hand(id, given)
        for result in results[told:]:
            self._result(result)

    def closed(self, until: Optional[float], slots: int, goes_on: bool) -> ByRank:
        """What was spent up to `until`, or to the last line. Trials without a result are still being trained where the
        run `goes_on`."""
        until = max(self._heard, self._handed) if until is None else until
        for given in self._having.values():
            died = self._died.get(given.rank)
            kind = BUSY if goes_on and died is None else "lost"
            _spend(self._spent[given.rank], **{kind: (until if died is None else died) - given.time})
        for generation in {self._record.trials[id].generation for id in self._having} - {None}:
            self._ends[generation] = until  # at the earliest
        never = {rank: _Free(self._begin, None) for rank in self._died if rank not in self._spent}
        for rank, free in {**self._free, **never}.items():
            self._wait(rank, free, until, until)
        for rank, time in self._died.items():
            _spend(self._spent[rank], dead=until - time)
        never_given = slots - len(self._spent)
        if never_given > 0:
            _spend(self._spent[None], no_trial=never_given * (until - self._begin))
        return self._spent

    def _hand(self, id: int, given: Given) -> None:
        before = self._having.get(id)
        if before is not None:  # its rank has died
            died = self._died.setdefault(before.rank, given.time)
            _spend(self._spent[before.rank], lost=died - before.time)
        self._wait(given.rank, self._free.pop(given.rank, _Free(self._begin, None)), self._heard, given.time)
        self._having[id], self._handed = given, given.time
        generation = self._record.trials[id].generation
        self._generation = self._generation if generation is None else generation

    def _result(self, result: Result) -> None:
        given = self._having.pop(result.id, None)
        if given is None:  # taken over from another trial
            return
        end, generation = given.time + result.seconds, self._record.trials[result.id].generation
        known = max(end, self._handed)
        _spend(self._spent[given.rank], busy=result.seconds, master=known - end)
        self._heard = max(self._heard, end)
        if generation is None:  # the default's training belongs to the first one
            generation = self._generation
        else:
            self._ends[generation] = max(self._ends.get(generation, end), end)
        self._free[given.rank] = _Free(known, generation)

    def _wait(self, rank: int, free: _Free, heard: float, until: float) -> None:
        """An idle rank got a trial, or its time ended; `heard` is until when there was none."""
        until = max(min(until, self._died.get(rank, until)), free.since)
        found = min(max(heard, free.since), until)
        bred = min(max(self._ends.get(free.generation, 0.0), free.since), found)
        _spend(self._spent[rank], generation=bred - free.since, no_trial=found - bred, master=until - found)
