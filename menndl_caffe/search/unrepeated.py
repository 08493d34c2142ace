"""A search around a sampler of a library: no genome is trained twice, and a recorded run is gone on with exactly."""
from __future__ import annotations

import math
from collections import deque
from typing import Any, Deque, Dict, Iterator, List, Optional, Protocol, Set, Tuple

from menndl_caffe.genome import Genome, SearchSpace
from menndl_caffe.objective import Costs
from menndl_caffe.search.search import OtherTrial, Problem
from menndl_caffe.trial import Result, Trial

PATIENCE = 50  # genomes in a row that were met before, after which the sampler is told that it is stuck
LEVELS = 1000  # of a real gene, where all genomes are counted

Token = Any  # what a sampler wants to hear with the result of a genome


class Sampler(Protocol):
    """What draws genomes. Its draws depend on the earlier calls and the draw's number alone."""

    def draw(self, number: int) -> Tuple[Genome, Token]:
        """A genome, met before or not; `number` counts the draws."""

    def stand_in(self, token: Token, genome: Genome) -> Token:
        """The token of a draw that was another genome when it was recorded."""

    def injected(self, genome: Genome) -> Token:
        """The token of a genome that it has not drawn; None where it wants to hear nothing of it."""

    def learn(self, token: Token, costs: Optional[Costs]) -> None:
        """The costs of a token's genome; None where it failed."""

    def stuck(self) -> bool:
        """PATIENCE draws in a row were met before; whether more of them may be others now."""


class Unrepeated:
    """Asks a sampler until a limit, or until every genome was met.

    A genome that was met before costs no budget: the sampler hears at once what is known of it and draws again, or, as
    long as the genome is being trained, hears it with all that wait for the same result. When it is stuck, the next
    genome in counting order that nobody met takes the place of its draw.

    A recorded trial is believed. Its draws are repeated; should the last be another genome than the record's, since
    another version of numpy or another processor rounds differently, the record's is the one that is told. OtherTrial
    is for a trial that cannot be this run's: of another seed or budget, or of a genome that the run has already.
    """

    generations = None

    def __init__(self, problem: Problem, sampler: Sampler):
        self._problem, self._sampler = problem, sampler
        self._known: Dict[Genome, Optional[Costs]] = dict(reversed(problem.earlier))  # of several the best
        self._waiting: Dict[Genome, List[Token]] = {}  # being trained -> who waits for the result
        self._first: Deque[Genome] = deque(dict.fromkeys(problem.first))
        size, known = problem.space.size, {*self._known} - {*self._first}
        self._total = int(size) - len(known) if size < math.inf else None
        self._draws = 0
        self._exhausted = False

    @property
    def total(self) -> Optional[int]:
        """Genomes of the space but for those known from the beginning; None where they are beyond counting."""
        return self._total

    @property
    def finished(self) -> bool:
        """Whether every genome has been met and told."""
        return self._exhausted and not self._waiting

    def ask(self) -> Optional[Trial]:
        """The next individual; None when every genome was met."""
        genome = self._next()
        return None if genome is None else self._problem.new_trial(genome, None)

    def asked(self, trial: Trial) -> None:
        """See Search, and this class on what is believed."""
        believed = not self._first and not self._is_met(trial.genome)
        genome = self._next()
        given = None if genome is None else self._problem.new_trial(trial.genome if believed else genome, None)
        if genome is None or given != trial:
            raise OtherTrial(given)
        if genome != trial.genome:
            tokens = self._waiting.pop(genome)
            self._waiting[trial.genome] = [self._sampler.stand_in(token, trial.genome) for token in tokens]

    def tell(self, trial: Trial, result: Result) -> None:
        """Take a result. KeyError for a trial that nobody waits for."""
        tokens = self._waiting.pop(trial.genome)
        costs = self._known[trial.genome] = self._problem.costs(result)
        for token in tokens:
            self._sampler.learn(token, costs)

    def _next(self) -> Optional[Genome]:
        """A genome to be trained now; it waits for its result already."""
        if self._exhausted:
            return None
        if self._first:
            return self._inject(self._first.popleft())
        genome, token = self._drawn()
        if self._is_met(genome) and self._sampler.stuck():
            genome, token = self._drawn()
        if self._is_met(genome):
            unmet = next_unmet(self._problem.space, genome, {*self._known, *self._waiting})
            self._exhausted = unmet is None
            return None if unmet is None else self._inject(unmet)
        self._waiting[genome] = [token]
        return genome

    def _inject(self, genome: Genome) -> Genome:
        token = self._sampler.injected(genome)
        self._waiting[genome] = [] if token is None else [token]
        return genome

    def _drawn(self) -> Tuple[Genome, Token]:
        """The first draw of a genome that was not met, or the last of PATIENCE that were all met."""
        for _ in range(PATIENCE):
            genome, token = self._sampler.draw(self._draws)
            self._draws += 1
            if genome in self._waiting:
                self._waiting[genome].append(token)
            elif genome in self._known:
                self._sampler.learn(token, self._known[genome])
            else:
                break
        return genome, token

    def _is_met(self, genome: Genome) -> bool:
        return genome in self._known or genome in self._waiting


def next_unmet(space: SearchSpace, genome: Genome, met: Set[Genome]) -> Optional[Genome]:
    """The first genome not in `met`, counted from `genome` on and around like an odometer; None where all are."""
    return next((other for other in _counted(space, genome) if other not in met), None)


def _counted(space: SearchSpace, genome: Genome) -> Iterator[Genome]:
    sizes = [int(gene.size) if gene.size < math.inf else LEVELS for gene in space.genes]
    digits = [min(int(u * size), size - 1) for u, size in zip(space.to_unit(genome), sizes)]
    start = list(digits)
    while True:
        for i, size in enumerate(sizes):
            digits[i] = (digits[i] + 1) % size
            if digits[i]:
                break
        yield space.from_unit([(digit + 0.5) / size for digit, size in zip(digits, sizes)])
        if digits == start:
            return
