"""One race in virtual time: a search, a problem, and w ranks that train one genome each.

| symbol | here | meaning |
|---|---|---|
| w | `slots` | trainings that are under way at a time |
| n | `budget` | different genomes that are trained |

Results come in the order in which trainings end, and whoever becomes idle asks. A genome that was trained before is
answered at once and one that is being trained when that ends: neither costs time or budget. A search that asks for
`STUBBORN` known genomes one after the other loses one training.
"""
from __future__ import annotations

import heapq
import time
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Protocol, Tuple

from menndl_caffe.genome import Genome
from tests.bench.searches.problems import Landscape

STUBBORN = 100

Ask = Tuple[int, Genome]  # the contestant's own number of it


class Contestant(Protocol):
    """A search as a race sees it."""

    cpu: float  # seconds of its own thinking so far
    version: str

    def ask(self) -> Optional[Ask]:
        """The next genome; None: results must come first, or it is at its end."""

    def tell(self, number: int, cost: Optional[float]) -> None:
        """What an asked genome costs; None: it failed."""

    def close(self) -> None:
        """No more will be asked."""


@dataclass
class Outcome:
    """How a race went."""

    regrets: List[Optional[float]] = field(default_factory=list)  # after 1, 2, ... trainings; None: all failed so far
    asked: int = 0
    repeats: int = 0  # asked, and known or being trained
    lost: int = 0  # trainings lost to STUBBORN
    failed: int = 0
    utilization: float = 0.0  # until the last training begins
    cpu: float = 0.0
    wall: float = 0.0


class Race:
    """Runs once."""

    def __init__(self, landscape: Landscape, contestant: Contestant, slots: int, budget: int,
                 duration: Callable[[Genome], float]):
        self._landscape, self._contestant, self._slots, self._budget = landscape, contestant, slots, budget
        self._duration = duration
        self._outcome = Outcome()
        self._known: Dict[Genome, Optional[float]] = {}
        self._training: Dict[Genome, List[int]] = {}  # the asks that wait for it
        self._ends: List[Tuple[float, int, Genome]] = []  # a heap: virtual time, order, genome
        self._began: List[Tuple[float, float]] = []  # start and end of each training
        self._best: Tuple[float, Optional[float]] = (float("inf"), None)  # cost and regret of the best so far
        self._now, self._row = 0.0, 0

    def run(self) -> Outcome:
        """Until the budget is spent, or the search has nothing more to ask."""
        start = time.perf_counter()
        self._fill()
        while self._ends:
            self._now, _, genome = heapq.heappop(self._ends)
            self._end(genome)
            self._fill()
        self._outcome.wall, self._outcome.cpu = time.perf_counter() - start, self._contestant.cpu
        self._outcome.utilization = self._utilization()
        return self._outcome

    def _fill(self) -> None:
        while len(self._training) < self._slots and len(self._began) + self._outcome.lost < self._budget:
            ask = self._contestant.ask()
            if ask is None:
                return
            self._outcome.asked += 1
            self._take(*ask)

    def _take(self, number: int, genome: Genome) -> None:
        if genome not in self._known and genome not in self._training:
            self._row = 0
            self._begin(number, genome)
            return
        self._outcome.repeats += 1
        self._row += 1
        if genome in self._known:
            self._contestant.tell(number, self._known[genome])
        else:
            self._training[genome].append(number)
        if self._row == STUBBORN:
            self._row = 0
            self._outcome.lost += 1
            self._outcome.regrets.append(self._best[1])

    def _begin(self, number: int, genome: Genome) -> None:
        end = self._now + self._duration(genome)
        self._training[genome] = [number]
        heapq.heappush(self._ends, (end, len(self._began), genome))
        self._began.append((self._now, end))

    def _end(self, genome: Genome) -> None:
        cost = self._known[genome] = self._landscape.cost(genome)
        if cost is None:
            self._outcome.failed += 1
        elif cost < self._best[0]:
            self._best = cost, self._landscape.regret(genome)
        self._outcome.regrets.append(self._best[1])
        for number in self._training.pop(genome):
            self._contestant.tell(number, cost)

    def _utilization(self) -> float:
        """Share of the slots' time that is training, from the start until the last training begins."""
        last = self._began[-1][0]
        return sum(min(end, last) - begin for begin, end in self._began) / (self._slots * last) if last else 1.0
