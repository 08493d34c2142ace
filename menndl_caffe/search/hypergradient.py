"""HYPERGRADIENT: descents along the gradient of the validation loss, each trial one step of one of them.

| symbol | here | meaning |
|---|---|---|
| u | `Descent.point` | a genome's point in the unit cube, shape (N_GENE,) |
| E | | the validation loss at u |
| g | `Result.gradient` | dE/dx, x the gene or its logarithm; its sign is that of dE/du |
| s | `Descent.sizes` | the next step's size of each gene, shape (N_GENE,), in the unit cube |

Only the signs of g count, since genes differ in scale and a loss's gradient by orders of magnitude on the way (Rprop;
Riedmiller and Braun 1993, without their waiting after a turn: a trial is dear):

    s <- 1.2 s where g has kept its sign, s / 2 where it has turned      (1)
    u <- u - s sign(g), within the cube                                  (2)

A trial that failed has no g, nor has one whose gradient may not be trusted: all s are halved, and u goes half of the
way back to where there was one (3). A descent ends where no gene moves by more than SMALLEST, or where there never was
one; another then begins at a point drawn at random. Of HOAG, step k = 0, 1, ... of a descent has tolerance
max(tolerance, first_tolerance / 2^k) (4).
"""
from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Deque, Dict, Iterator, Optional, Sequence

import numpy as np

from menndl_caffe.genome import Genome, RealGene
from menndl_caffe.search.search import Kind, OtherTrial, Problem, Search, Wrong
from menndl_caffe.trial import HYPERGRADIENT, Result, Trial

FASTER, SLOWER, LARGEST, SMALLEST = 1.2, 0.5, 0.5, 1e-3
SOLVED = ("IMPLICIT", "HOAG")  # methods that solve for their weights to a tolerance


@dataclass
class Descent:
    """One descent: the point that it tries next, and what it knows of the last one that has a gradient."""

    point: np.ndarray  # shape (N_GENE,), in [0, 1]
    sizes: np.ndarray
    number: int = 0  # counted as they begin
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


class Hypergradient:
    """As many descents at a time as the settings say; None is asked for while each waits for its result."""

    finished = False
    total = None
    generations = None

    def __init__(self, problem: Problem, settings: Any):
        """`settings`: a HypergradientParameter."""
        self._problem, self._settings = problem, settings
        self._method = settings.Method.Name(settings.method)
        self._first: Deque[Genome] = deque(dict.fromkeys([*problem.first, problem.space.default]))
        self._begun = 0
        self._ready: Deque[Descent] = deque(self._new() for _ in range(settings.starts))
        self._waiting: Dict[int, Descent] = {}  # by trial's id

    def ask(self) -> Optional[Trial]:
        """The next step of the descent that has waited longest."""
        if not self._ready:
            return None
        descent = self._ready.popleft()
        return self._begin(descent, self._problem.space.from_unit(descent.point.tolist()))

    def asked(self, trial: Trial) -> None:
        """See Search. A gradient has other last digits on another machine: what was recorded is what was asked."""
        if not self._ready:
            raise OtherTrial(None)
        given = self._begin(self._ready.popleft(), trial.genome)
        if given != trial:
            raise OtherTrial(given)

    def tell(self, trial: Trial, result: Result) -> None:
        """Go on where the gradient points, or begin anew."""
        descent = self._waiting.pop(trial.id)
        descent.take(result, self._problem.space.names)
        self._ready.append(self._new() if descent.is_over else descent)

    def _new(self) -> Descent:
        genes = len(self._problem.space.genes)
        if self._first:
            point = np.array(self._problem.space.to_unit(self._first.popleft()))
        else:
            point = self._problem.rng(self._begun).random_sample(genes)
        self._begun += 1
        return Descent(point, np.full(genes, self._settings.step), self._begun - 1)

    def _begin(self, descent: Descent, genome: Genome) -> Trial:
        trial = replace(self._problem.new_trial(genome, None), program=HYPERGRADIENT,
                        tolerance=self._tolerance(descent), descent=descent.number)
        descent.point = np.array(self._problem.space.to_unit(genome))  # rounded, as the journal has it
        self._waiting[trial.id] = descent
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


def make(problem: Problem, settings: Any) -> Search:
    """Its genes must be real_ranges: experiment.derivatives says of each whether there is a gradient."""
    assert all(isinstance(gene, RealGene) for gene in problem.space.genes)
    return Hypergradient(problem, settings)


KIND = Kind(make, "hypergradient_param", check, limited=True, program=HYPERGRADIENT)
