"""Which rank trains what, as far as a journal tells.

A trial is recorded before the master gives it to any of the idle ranks; only its result names the rank. So a trial that
follows the result of one rank, when all others had theirs, is with that rank. Of trials that were handed out to several
idle ranks, as at the begin of a generation, it is known that they are with these, but not which is where.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Set, Tuple

from menndl_caffe.genome import Genome
from menndl_caffe.journal import Entry
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.trial import TEST, Result, Trial


@dataclass(frozen=True)
class Doing:
    """What a rank does: it trains one of `trials`, if one alone then that, if none then none that is recorded; where it
    `may_idle`, perhaps none of them. Since when at the earliest, in seconds since the epoch."""

    rank: int
    host: str  # known from its first result on
    trials: Tuple[int, ...]
    may_idle: bool
    since: float


@dataclass(eq=False)
class _Group:
    """Ranks among which these trials are, each on one of them."""

    ranks: Set[int] = field(default_factory=set)
    trials: Dict[int, float] = field(default_factory=dict)  # id -> when it was handed out

    @property
    def has_idle(self) -> bool:
        return len(self.ranks) > len(self.trials)


class Ranks:
    """Takes a journal's entries in their order, and says what follows from them."""

    def __init__(self) -> None:
        self._hosts: Dict[int, str] = {}
        self._free_since: Dict[int, float] = {}
        self._time = 0.0  # of the newest entry that tells one
        self._reuse = True
        self._met: Set[Genome] = set()
        self._idle = _Group()  # the one group of which ranks may be idle
        self._of_rank: Dict[int, _Group] = {}
        self._of_trial: Dict[int, _Group] = {}

    def take(self, entry: Entry) -> None:
        """The next entry. Journals whose first line does not say which ranks train tell of none."""
        if isinstance(entry, dict):
            if "slots" in entry:
                self._start(entry)
        elif self._of_rank:
            self._hand_out(entry) if isinstance(entry, Trial) else self._end(entry)

    @property
    def training(self) -> int:
        """Trials that are with a rank now, all those that a resumed run has yet to hand out again included."""
        return len(self._of_trial)

    def doing(self) -> List[Doing]:
        """What each rank does, by rank; of what it may train, since when at the earliest."""
        return [Doing(rank, self._hosts.get(rank, ""), tuple(sorted(group.trials)), group.has_idle,
                      min(group.trials.values(), default=self._free_since[rank]))
                for rank, group in sorted(self._of_rank.items())]

    def _start(self, line: Dict[str, Any]) -> None:
        """A run begins, or goes on: then all trials without result are handed out again, to whichever rank."""
        self._reuse = prototxt.parse(line["search"], menndl_pb2.SearchParameter).message.reuse_results
        self._time = line["started"]
        ranks = range(line["ranks"] - line["slots"], line["ranks"])  # a master that does not train is rank 0
        self._free_since = {rank: self._time for rank in ranks}
        self._idle = _Group(set(ranks), {id: self._time for id in self._of_trial})
        self._of_rank = {rank: self._idle for rank in ranks}
        self._of_trial = {id: self._idle for id in self._of_trial}
        self._close_full()

    def _hand_out(self, trial: Trial) -> None:
        if self._reuse and trial.role != TEST:
            if trial.genome in self._met:
                return  # its result is known, or is waited for
            self._met.add(trial.genome)
        self._idle.trials[trial.id] = self._time
        self._of_trial[trial.id] = self._idle
        self._close_full()

    def _close_full(self) -> None:
        if not self._idle.has_idle:
            self._idle = _Group()

    def _end(self, result: Result) -> None:
        group = self._of_trial.pop(result.id, None) or _Group()
        group.trials.pop(result.id, None)
        if result.same_as is None:
            self._time = max(self._time, result.started + result.seconds)
            self._hosts[result.rank] = result.host
            self._free_since[result.rank] = result.started + result.seconds
            own = self._of_rank.get(result.rank)
            if own is not group or group.has_idle:  # else it has one of the trials that are still to be handed out
                self._release(result.rank)
        if group.has_idle and group is not self._idle:  # another rank had the trial than could be thought
            for rank in list(group.ranks):
                self._release(rank)
            self._idle.trials.update(group.trials)
            self._of_trial.update((id, self._idle) for id in group.trials)

    def _release(self, rank: int) -> None:
        if rank in self._of_rank:
            self._of_rank[rank].ranks.discard(rank)
        self._idle.ranks.add(rank)
        self._of_rank[rank] = self._idle
