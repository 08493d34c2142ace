"""A search within each individual of another one: `inner` of a search file.

HYPERGRADIENT: each individual of the outer search, which knows all other genes, is a descent by the gradient of some.
All steps are trials of one run, and the outer search is told the best of them. The programs of ADAPTIVE and HYPERNET
search within one training, so there the outer search has all genes, and only the program is another.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, Optional

from menndl_caffe.genome import Genome
from menndl_caffe.objective import Costs
from menndl_caffe.search.adaptive import trained_by
from menndl_caffe.search.descents import Descents, Line
from menndl_caffe.search.search import Kind, OtherTrial, Problem, Search
from menndl_caffe.trial import HYPERGRADIENT, TRAIN, Result, Trial

Make = Callable[[Problem], Search]


def within(problem: Problem, inner: Any, kind: Kind, outer: Make) -> Search:
    """`outer`, with a search of this kind within each individual. `inner`: an InnerParameter."""
    if kind.program != HYPERGRADIENT:
        return outer(trained_by(problem, kind.program))
    return DescentEach(problem, inner, outer)


class DescentEach(Descents):
    """A descent of so many steps at most for each individual of an outer search.

    It begins where the outer search's `first` says, or at the genes' defaults. The outer search's individual has the
    id and the seed of the descent's first step, and is told the best of its steps by the first objective.
    """

    total = None

    def __init__(self, problem: Problem, inner: Any, outer: Make):
        super().__init__(problem, inner.hypergradient_param, problem.space.part(inner.gene))
        self._steps = inner.steps
        self._outside = problem.space.part([name for name in problem.space.names if name not in inner.gene])
        self._starts = {self._outer(genome): genome for genome in reversed(problem.first)}
        self._individuals: Dict[int, _Individual] = {}  # by the number of their line
        self._search = outer(self._seen_from_outside())

    @property
    def finished(self) -> bool:
        """Whether the outer search is, and every descent."""
        return self._search.finished and not self._individuals

    @property
    def generations(self) -> Optional[int]:
        """Of the outer search."""
        return self._search.generations

    def _start(self) -> Optional[Trial]:
        trial = self._search.ask()
        return trial and self._begun_by(trial)

    def _started(self, trial: Trial) -> Trial:
        seen = replace(trial, genome=self._outer(trial.genome), program=TRAIN, tolerance=None, descent=None)
        try:
            self._search.asked(seen)
        except OtherTrial as other:
            raise OtherTrial(other.given and self._inside(other.given)) from None
        return self._begun_by(seen)

    def _ends(self, line: Line, result: Result) -> bool:
        individual = self._individuals[line.number]
        individual.hear(self._problem.costs(result), result)
        if line.descent.steps < self._steps and not line.descent.is_over:
            return False
        del self._individuals[line.number]
        self._search.tell(individual.trial, individual.best)
        return True

    def _begun_by(self, trial: Trial) -> Trial:
        self._individuals[self._begun] = _Individual(trial)
        return self._inside(trial)

    # ---- between the two spaces ----

    def _seen_from_outside(self) -> Problem:
        problem = self._problem
        earlier = {self._outer(genome): costs for genome, costs in reversed(problem.earlier)}  # of several the best

        def new_trial(genome: Genome, generation: Optional[int]) -> Trial:
            return replace(problem.new_trial(self._joined(genome), generation), genome=genome)

        return replace(problem, space=self._outside, new_trial=new_trial, earlier=list(reversed(earlier.items())),
                       first=list(dict.fromkeys(map(self._outer, problem.first))),
                       cost=lambda genome: problem.cost(self._joined(genome)))

    def _outer(self, genome: Genome) -> Genome:
        return self._outside.from_dict(genome.as_dict())

    def _joined(self, outer: Genome) -> Genome:
        """With the values at which the descent begins."""
        begun = self._starts.get(outer, self._problem.space.default)
        return self._problem.space.from_dict({**begun.as_dict(), **outer.as_dict()})

    def _inside(self, trial: Trial) -> Trial:
        return replace(trial, genome=self._joined(trial.genome))


@dataclass
class _Individual:
    """Of the outer search: its trial, and the best result that it has so far."""

    trial: Trial
    costs: Optional[Costs] = None
    result: Optional[Result] = None

    def hear(self, costs: Optional[Costs], result: Result) -> None:
        """Keep the better one."""
        if self.result is None or costs is not None and (self.costs is None or costs[0] < self.costs[0]):
            self.costs, self.result = costs, result

    @property
    def best(self) -> Result:
        """As the outer search's own trial's; at least one was heard."""
        assert self.result is not None
        return replace(self.result, id=self.trial.id)
