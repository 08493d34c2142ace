"""Trainings that go from rung to rung: `stop` of a search file, around a search of any type that trains plainly.

An individual's training is cut at rungs, each a trial of its own. The first ends at the first rung (`Trial.until`), the
next one goes on from there (`Trial.continues`), the last one ends at max_iter. Between two, a rule decides whether the
individual goes on; where several rules decide at a rung, all must agree. So no message stops a training, and the
journal holds every decision: a trial that continues another says that it went on.

The search around which this is knows nothing of rungs. It asks for individuals, and is told one result of each: that
at max_iter, or, of one that was stopped, what `Rungs._as_at_the_end` makes of its last (docs/budgets.md).
"""
from __future__ import annotations

from bisect import insort
from collections import defaultdict, deque
from dataclasses import replace
from typing import (
    Any,
    Callable,
    DefaultDict,
    Deque,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Protocol,
    Sequence,
    Tuple,
)

from menndl_caffe.search import curve, halving, median
from menndl_caffe.search.search import OtherTrial, Problem, Search
from menndl_caffe.trial import OK, Result, Trial

Wrong = Tuple[Tuple[Any, ...], str, str]  # a place in a StopParameter, what was found there, what would be valid


class Rule(Protocol):
    """Who goes on. What it says depends on the results that it was told, and on their order, alone."""

    def learn(self, trial: Trial, result: Result) -> None:
        """Take a result, at a rung or at the end."""

    def goes_on(self, trial: Trial, result: Result) -> bool:
        """Whether the individual with this result at a rung shall be trained further."""


class _Heard(NamedTuple):
    """A trial with its result, as the search shall be told it where the individual ends here, and the rule's verdict.
    """

    trial: Trial
    result: Result
    goes_on: bool


class Rungs:
    """A search whose individuals are trained from rung to rung.

    The rule decides as results come; the search hears of those who ended, in the order of their coming, when the next
    trial is asked for. A recorded decision is repeated as it was, whatever the rule says on this machine: who went on
    is in the journal, and all others who were heard before were stopped.
    """

    def __init__(self, problem: Problem, search: Search, rule: Rule, rungs: Sequence[int]):
        """`rungs`: iterations, ascending, all below max_iter."""
        self._problem, self._search, self._rule = problem, search, rule
        self._next: Dict[Optional[int], Optional[int]] = dict(zip(rungs, (*rungs[1:], None)))
        self._first, self._cost = rungs[0], problem.objectives[0].cost
        self._individuals: Dict[int, Trial] = {}  # by the id of its last trial: as the search asked for it
        self._heard: Deque[_Heard] = deque()  # of which the search knows nothing yet
        self._passed: DefaultDict[int, Dict[int, float]] = defaultdict(dict)  # by the individual's id: rung -> cost
        # Of those who came to their ends, each ascending: how their costs changed from each rung on, and these costs.
        self._further: DefaultDict[int, List[float]] = defaultdict(list)
        self._ends: List[float] = []
        self.when_stopped: Callable[[Trial], None] = lambda trial: None  # told the last trial of each who is stopped

    @property
    def finished(self) -> bool:
        """Whether the search is, and all that it began."""
        return self._search.finished and not self._individuals

    @property
    def total(self) -> Optional[int]:
        """Individuals of the search."""
        return self._search.total

    @property
    def generations(self) -> Optional[int]:
        """Of the search."""
        return self._search.generations

    def ask(self) -> Optional[Trial]:
        """The next rung of one that goes on, else the first of a new individual."""
        going = self.go_on()
        if going is not None:
            return going
        trial = self._search.ask()
        return trial and self._begun(trial)

    def go_on(self) -> Optional[Trial]:
        """The next rung of one that goes on; None where nobody does."""
        while self._heard:
            one = self._heard.popleft()
            if one.goes_on:
                return self._continued(one.trial)
            self._end(one)
        return None

    def nobody_goes_on(self) -> None:
        """All of whom was heard so far are stopped, as the journal has it where no trial follows."""
        while self._heard:
            self._end(self._heard.popleft())

    def asked(self, trial: Trial) -> None:
        """See Search, and this class on what is repeated."""
        while self._heard:
            one = self._heard.popleft()
            if one.trial.id == trial.continues:
                return _check(self._continued(one.trial), trial)
            self._end(one)
        try:
            self._search.asked(replace(trial, until=None))
        except OtherTrial as other:
            raise OtherTrial(other.given and replace(other.given, until=self._first)) from None
        return _check(self._begun(replace(trial, until=None)), trial)

    def tell(self, trial: Trial, result: Result) -> None:
        """Take a result, at a rung or at the end."""
        self._rule.learn(trial, result)
        if trial.until is None or result.failed:
            self._ended(trial, result)
            self._heard.append(_Heard(trial, result, False))
        else:
            self._passed[self._individuals[trial.id].id][trial.until] = self._cost(result.fitness)
            told = self._as_at_the_end(trial.until, result)
            self._heard.append(_Heard(trial, told, self._rule.goes_on(trial, result)))

    def _ended(self, trial: Trial, result: Result) -> None:
        """Learn how much further one comes from each rung."""
        passed = self._passed.pop(self._individuals[trial.id].id, {})
        if result.finished:
            end = self._cost(result.fitness)
            insort(self._ends, end)
            for rung, cost in passed.items():
                insort(self._further[rung], end - cost)

    def _begun(self, individual: Trial) -> Trial:
        self._individuals[individual.id] = individual
        return replace(individual, until=self._first)

    def _continued(self, before: Trial) -> Trial:
        individual = self._individuals.pop(before.id)
        id = self._problem.new_trial(individual.genome, individual.generation).id
        self._individuals[id] = individual
        return replace(individual, id=id, until=self._next[before.until], continues=before.id)

    def _end(self, one: _Heard) -> None:
        individual = self._individuals.pop(one.trial.id)
        if one.trial.until is not None and not one.result.failed:
            self.when_stopped(one.trial)
        self._search.tell(individual, replace(one.result, id=individual.id))

    def _as_at_the_end(self, rung: int, result: Result) -> Result:
        """A result at a rung as if it were one at max_iter. Its cost changes as the median of those who came to their
        ends did from this rung on, and is not below the median of their ends: so the stopped keep their order, are no
        worse than they would be, and never the best. All is subtraction and comparison: the same on every machine."""
        cost = self._cost(result.fitness)
        if self._further[rung]:
            cost += _median_high(self._further[rung])
        if self._ends:
            cost = max(cost, _median_high(self._ends))
        return replace(result, status=OK, fitness=self._cost(cost))  # which is its own inverse


def _median_high(ascending: Sequence[float]) -> float:
    """The median; of an even number the higher of the two in the middle."""
    return ascending[len(ascending) // 2]


def _check(given: Trial, recorded: Trial) -> None:
    if given != recorded:
        raise OtherTrial(given)


class _All:
    """Several rules, each with its rungs: at a rung all must agree that an individual goes on whose rung it is."""

    def __init__(self, rules: Sequence[Tuple[Rule, Sequence[int]]]):
        self._rules = rules

    def learn(self, trial: Trial, result: Result) -> None:
        """See Rule."""
        for rule, _ in self._rules:
            rule.learn(trial, result)

    def goes_on(self, trial: Trial, result: Result) -> bool:
        """See Rule."""
        return all(rule.goes_on(trial, result) for rule, rungs in self._rules if trial.until in rungs)


RULES: Dict[str, Any] = {"halving": halving, "curve": curve, "median": median}  # by the field of a StopParameter


def with_rungs(problem: Problem, stop: Any, max_iter: int, outer: Callable[[Problem], Search]) -> Search:
    """`outer` with the rungs of a valid StopParameter; without, where none of them comes before max_iter."""
    every = rungs(stop, max_iter)
    if not every:
        return outer(problem)
    rules = [(RULES[name].make(problem, settings), RULES[name].rungs(settings, max_iter))
             for name, settings in _given(stop)]
    return Rungs(problem, outer(problem), _All(rules), every)


def rungs(stop: Any, max_iter: int) -> List[int]:
    """The iterations of a valid StopParameter's rungs, ascending, below max_iter."""
    return sorted({rung for name, settings in _given(stop) for rung in RULES[name].rungs(settings, max_iter)})


def check(stop: Any, max_iter: int) -> Iterator[Wrong]:
    """What is wrong with a StopParameter."""
    if not _given(stop):
        yield (), "is empty", f"one or more of {', '.join(RULES)}"
    for name, settings in _given(stop):
        for field, found, expected in RULES[name].check(settings, max_iter):
            yield (name, field), f"is {found}", expected


def _given(stop: Any) -> List[Tuple[str, Any]]:
    """The rules of a StopParameter with their settings."""
    return [(field.name, settings) for field, settings in stop.ListFields()]
