"""The far end of the pipe, in a peer's own environment: nothing here knows menndl.

Lines of JSON. First comes the problem: {"genes": [...], "seed": s, "slots": w, "budget": n, "worst": cost or null},
where a gene is {"name", "levels": k} for whole numbers 0..k-1 in their order, {"name", "choices": k} for unordered
0..k-1, or {"name", "low", "high", "log"}. `worst` is the greatest cost there can be. The answer is {"version": text}.
Then, in any order: {"ask": i}, answered by {"values": [...], or null: results first; "cpu": seconds of thinking so
far}; and {"tell": i, "cost": c, or null: it failed}, which has no answer.
"""
from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Protocol, Union

Value = Union[int, float]
Problem = Dict[str, Any]


class Peer(Protocol):
    version: str

    def ask(self, number: int) -> Optional[List[Value]]:
        """Values of the genes in their order."""

    def tell(self, number: int, cost: Optional[float]) -> None:
        """Of an ask that was answered."""


class Worst:
    """What a failure is told as, to peers that know no failures: the worst there is, or else the worst met."""

    def __init__(self, problem: Problem):
        self._worst, self._fixed = problem["worst"], problem["worst"] is not None

    def cost(self, cost: Optional[float]) -> float:
        """A number in any case; 0 for a failure before any success, where nothing is known."""
        if cost is None:
            return 0.0 if self._worst is None else self._worst
        if not self._fixed:
            self._worst = cost if self._worst is None else max(cost, self._worst)
        return cost


def serve(make: Callable[[Problem], Peer]) -> None:
    """Answer until the other end closes."""
    # What a library prints must not come between the lines.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**what: Any) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    peer = make(json.loads(sys.stdin.readline()))
    answer(version=peer.version)
    start = time.process_time()
    for line in sys.stdin:
        request = json.loads(line)
        if "ask" in request:
            values = peer.ask(request["ask"])
            answer(values=values, cpu=time.process_time() - start)
        else:
            peer.tell(request["tell"], request["cost"])
