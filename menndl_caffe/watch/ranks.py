"""Which rank trains what, and since when: as the lines of the trials say."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional

from menndl_caffe.record import Record


@dataclass(frozen=True)
class Doing:
    """A trial that a rank has, or a rank that has none; since when, in seconds since the epoch."""

    rank: int
    host: str  # known from its first result on
    trial: Optional[int]
    since: float


def slots(record: Record) -> Optional[int]:
    """How many trials can be trained at once, since the run was started last; None where that is not recorded."""
    return (record.resumes or [record.run])[-1].get("slots")


def doing(record: Record) -> List[Doing]:
    """Every trial that is with a rank, and every rank without one that had some since the run was started last.

    By rank; none at all in journals of menndl 0.1, which do not say to which rank a trial was given.
    """
    started = max(line.get("started", 0.0) for line in (record.run, *record.resumes))
    given = {id: given for id, given in record.given.items() if given.time >= started}
    hosts: Dict[int, str] = {}
    free: Dict[int, float] = {}  # rank -> when its newest result came
    for id, result in record.results.items():
        if id in given:
            hosts[result.rank] = result.host
            free[result.rank] = max(free.get(result.rank, 0.0), result.started + result.seconds)
    trials = [Doing(rank, hosts.get(rank, ""), id, since) for id, (rank, since) in given.items()
              if id not in record.results]
    busy = {one.rank for one in trials}
    trials += [Doing(rank, hosts[rank], None, since) for rank, since in free.items() if rank not in busy]
    return sorted(trials, key=lambda one: (one.rank, one.since))
