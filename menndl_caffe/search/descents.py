"""Descents along the gradient of the validation loss, each trial one step of one of them.

| symbol | here | meaning |
|---|---|---|
| u | `Descent.point` | a genome's point in the unit cube of the genes that descend, shape (N_GENE,) |
| E | | the validation loss at u |
| g | `Result.gradient` | dE/dx, x the gene or its logarithm; its sign is that of dE/du |
| s | `Descent.sizes` | the next step's size of each gene, shape (N_GENE,), in the unit cube |

Only the signs of g count, since genes differ in scale and a loss's gradient by orders of magnitude on the way (Rprop;
Riedmiller and Braun 1993, without their waiting after a turn: a trial is dear):

    s <- 1.2 s where g has kept its sign, s / 2 where it has turned      (1)
    u <- u - s sign(g), within the cube                                  (2)

A trial that failed has no g, nor has one whose gradient may not be trusted: all s are halved, and u goes half of the
way back to where there was one (3). A descent ends where no gene moves by more than SMALLEST, or where there never was
one. Of HOAG, step k = 0, 1, ... of a descent has tolerance max(tolerance, first_tolerance / 2^k) (4).
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Deque, Dict, Iterator, Mapping, Optional, Sequence

import numpy as np

from menndl_caffe.genome import Genome, RealGene, SearchSpace, Value
from menndl_caffe.search.search import OtherTrial, Problem, Wrong
from menndl_caffe.trial import HYPERGRADIENT, Result, Trial

FASTER, SLOWER, LARGEST, SMALLEST = 1.2, 0.5, 0.5, 1e-3
SOLVED = ("IMPLICIT", "HOAG")  # methods that solve for their weights to a tolerance


@dataclass
class Descent:
    """One descent: the point that it tries next, and what it knows of the last one that has a gradient."""

    point: np.ndarray  # shape (N_GENE,), in [0, 1]
    sizes: np.ndarray
    steps: int = 0  # trials told
    known: Optional[np.ndarray] = None  # the last point with a gradient
    signs: Optional[np.ndarray] = None  # of g, there

    def take(self, result: Result, genes: Sequence[str]) -> None:
        """Go on from the point that was tried; `genes` are the names, in the point's order."""
        if result.gradient:
            self.learn(self._inward(np.sign([result.gradient[name] for name in genes])))
        else:
            self.go_back()

    def _inward(self, signs: np.ndarray) -> np.ndarray:
        """0 for genes that are at their bound and would go beyond it."""
        outward = ((self.point <= 0) & (signs > 0)) | ((self.point >= 1) & (signs < 0))
        return np.where(outward, 0.0, signs)

    def learn(self, signs: np.ndarray) -> None:
        """Equations (1) and (2)."""
        same = signs * self.signs if self.signs is not None else np.zeros(len(signs))
        self.sizes = np.minimum(np.where(same < 0, SLOWER, np.where(same > 0, FASTER, 1.0)) * self.sizes, LARGEST)
        self.known, self.signs = self.point, signs
        self.point = np.clip(self.point - self.sizes * signs, 0, 1)
        self.steps += 1

    def go_back(self) -> None:
        """Equation (3)."""
        self.sizes = self.sizes * SLOWER
        if self.known is not None:
            self.point = (self.point + self.known) / 2
        self.steps += 1

    @property
    def is_over(self) -> bool:
        """Whether no gene moves, or nothing is known."""
        return self.known is None or bool(np.abs(self.point - self.known).max() < SMALLEST)


@dataclass
class Line:
    """A descent of a search, and the genes that stay what they are on it."""

    number: int  # counted as they begin
    descent: Descent
    fixed: Mapping[str, Value]
    generation: Optional[int] = None


class Descents(ABC):
    """Whoever is idle goes on with the line that has waited longest; where all wait for results, a new one begins, if
    `_start` has one."""

    def __init__(self, problem: Problem, settings: Any, space: SearchSpace):
        """`settings`: a HypergradientParameter; `space`: of the genes that descend, real_ranges all of them."""
        assert all(isinstance(gene, RealGene) for gene in space.genes)  # experiment.derivatives has looked
        self._problem, self._settings, self._space = problem, settings, space
        self._method = settings.Method.Name(settings.method)
        self._ready: Deque[Line] = deque()
        self._waiting: Dict[int, Line] = {}  # by trial's id
        self._begun = 0

    def ask(self) -> Optional[Trial]:
        """The next step of a line that has its result, else the first of a new one."""
        if not self._ready:
            begun = self._start()
            return begun and self._hand_out(self._line(begun), begun)
        line = self._ready.popleft()
        descending = self._space.from_unit(line.descent.point.tolist())
        return self._hand_out(line, self._made(line, descending))

    def asked(self, trial: Trial) -> None:
        """See Search. A gradient has other last digits on another machine: what was recorded is what was asked."""
        if self._ready:
            line = self._ready.popleft()
            given = self._hand_out(line, self._made(line, self._space.from_dict(trial.genome.as_dict())))
        else:
            begun = self._started(trial)
            given = self._hand_out(self._line(begun), begun)
        if given != trial:
            raise OtherTrial(given)

    def tell(self, trial: Trial, result: Result) -> None:
        """Go on where the gradient points, or end the line."""
        line = self._waiting.pop(trial.id)
        line.descent.take(result, self._space.names)
        if not self._ends(line, result):
            self._ready.append(line)

    @abstractmethod
    def _start(self) -> Optional[Trial]:
        """The first trial of a new line; None where there is none now."""

    @abstractmethod
    def _started(self, trial: Trial) -> Trial:
        """The same, which was recorded as this trial; OtherTrial where there is none now."""

    @abstractmethod
    def _ends(self, line: Line, result: Result) -> bool:
        """Whether a line that was told this result is over."""

    def _line(self, trial: Trial) -> Line:
        genes = trial.genome.as_dict()
        fixed = {name: value for name, value in genes.items() if name not in self._space.names}
        size = len(self._space.genes)
        self._begun += 1
        return Line(self._begun - 1, Descent(np.zeros(size), np.full(size, self._settings.step)), fixed,
                    trial.generation)

    def _made(self, line: Line, descending: Genome) -> Trial:
        """A trial of these values of the genes that descend."""
        genome = self._problem.space.from_dict({**line.fixed, **descending.as_dict()})
        return self._problem.new_trial(genome, line.generation)

    def _hand_out(self, line: Line, trial: Trial) -> Trial:
        trial = replace(trial, program=HYPERGRADIENT, tolerance=self._tolerance(line.descent), descent=line.number)
        tried = self._space.from_dict(trial.genome.as_dict())
        line.descent.point = np.array(self._space.to_unit(tried))  # rounded, as the journal has it
        self._waiting[trial.id] = line
        return trial

    def _tolerance(self, descent: Descent) -> Optional[float]:
        """Equation (4)."""
        if self._method not in SOLVED:
            return None
        first = self._settings.first_tolerance * 0.5 ** descent.steps if self._method == "HOAG" else 0.0
        return max(self._settings.tolerance, first)


def check(settings: Any) -> Iterator[Wrong]:
    """What is wrong with a HypergradientParameter."""
    if settings.starts < 1:
        yield "starts", settings.starts, "1 or more"
    if not 0 < settings.step <= 1:
        yield "step", settings.step, "a number above 0, at most 1"
    for name in ("tolerance", "first_tolerance"):
        if not 1e-6 <= getattr(settings, name) <= 0.1:
            yield name, getattr(settings, name), "a number from 1e-06 to 0.1"
