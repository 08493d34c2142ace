"""The rules of `stop`, each against what its equations give by hand, and what a search is told of who was stopped."""
from __future__ import annotations

import math
import statistics
from itertools import count
from typing import Any, Callable, List, Optional, Sequence, Tuple

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.genome import IntGene, SearchSpace
from menndl_caffe.nets.proto import caffe_pb2, menndl_pb2
from menndl_caffe.nets.rates import is_steady, learning_rate
from menndl_caffe.objective import LOSS, Objective
from menndl_caffe.search import Problem, curve, halving, median, rungs
from menndl_caffe.search.curve import forecast
from menndl_caffe.trial import CRASHED, OK, STOPPED, Result, Trial

SPACE = SearchSpace((IntGene("gene", 0, 10**6, 1, 0),))
END = 100


def problem(**more: Any) -> Problem:
    ids = count(1)
    return Problem(SPACE, 1, lambda genome, generation: Trial(next(ids), genome, 1, END, generation), **more)


class Tried:
    """A rule, to which individuals come as curves of (iteration, accuracy)."""

    def __init__(self, rule: Any):
        self._rule, self._ids = rule, count(1)

    def comes(self, curve: Sequence[Tuple[int, float]], until: Optional[int] = None, continues: Optional[int] = None,
              loss: float = 1.0) -> Tuple[int, bool]:
        """The trial's id, and whether it goes on."""
        trial = Trial(next(self._ids), SPACE.default, 1, END, until=until, continues=continues)
        result = Result(trial.id, OK if until is None else STOPPED, curve[-1][1], loss,
                        curve=tuple((at, value, loss) for at, value in curve))
        self._rule.learn(trial, result)
        return trial.id, until is not None and self._rule.goes_on(trial, result)


def test_of_a_rung_the_best_go_on() -> None:
    rule, came = Tried(halving.Halving(problem(), 3)), []
    for value in (0.5, 0.4, 0.3, 0.45, 0.6, 0.55, 0.1):
        came.append(value)
        best = sorted(came, reverse=True)[:-(-len(came) // 3)]
        assert rule.comes([(10, value)], 10)[1] == (value in best)


@given(st.lists(st.sampled_from((0.1, 0.2, 0.3, 0.4)), max_size=20), st.integers(2, 4))
@settings(max_examples=50)
def test_of_equals_at_a_rung_all_go_on_or_none(values: List[float], factor: int) -> None:
    """Who goes on has fewer before it than there are places."""
    rule = Tried(halving.Halving(problem(), factor))
    for n, value in enumerate(values, 1):
        better = sum(other > value for other in values[:n])
        assert rule.comes([(10, value)], 10)[1] == (better < math.ceil(n / factor))


# ---- the median rule ----


def test_worse_than_the_median_of_averages() -> None:
    rule = Tried(median.Median(problem(), 3))
    for final in (0.2, 0.3, 0.4):  # averages at iteration 20: 0.1, 0.15, 0.2
        assert rule.comes([(10, 0.0), (20, final)], 20)[1], "fewer than three others"
    assert rule.comes([(10, 0.15), (20, 0.0)], 20)[1], "its best, at iteration 10, is the median"
    assert not rule.comes([(10, 0.12), (20, 0.11)], 20)[1], "now it is 0.125"


def test_of_the_others_only_what_came_as_far_counts() -> None:
    rule = Tried(median.Median(problem(), 1))
    first, _ = rule.comes([(10, 0.9)], 10)
    assert rule.comes([(10, 0.1), (20, 0.1)], 20)[1], "nobody else was there"
    rule.comes([(10, 0.9), (20, 0.9), (100, 0.99)], None, first)
    assert rule.comes([(10, 0.1), (20, 0.5)], 20)[1], "the median of 0.9 and 0.1, what came after 20 left out"
    assert not rule.comes([(10, 0.1), (20, 0.29)], 20)[1], "of 0.9, 0.1 and 0.3"


def test_an_individual_counts_once() -> None:
    rule = Tried(median.Median(problem(), 2))
    first, _ = rule.comes([(10, 0.9)], 10)
    rule.comes([(10, 0.9), (20, 0.9)], 20, first)
    assert rule.comes([(10, 0.1)], 10)[1], "there is one other"
    assert not rule.comes([(10, 0.1)], 10)[1]


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=2, max_size=8))
@settings(max_examples=50)
def test_the_median_rule_in_losses(curves: List[List[float]]) -> None:
    """The same, whichever way is better; and by the equation over all of them."""
    places = (10, 20, 30)
    verdicts = []
    for objective, sign in ((Objective(), 1), (Objective("error", minimize=True), -1)):
        rule = Tried(median.Median(problem(objectives=[objective]), 2))
        verdicts.append([rule.comes(list(zip(places, (sign * value for value in values))), 30)[1] for values in curves])
    means = [statistics.fmean(-value for value in values) for values in curves]
    expected = [k < 2 or min(-value for value in values) <= statistics.median(means[:k])
                for k, values in enumerate(curves)]
    assert verdicts == [expected, expected]


# ---- extrapolation ----

FAMILIES = {
    "pow3": lambda x: 0.6 - 0.5 * x ** -POWER,
    "mmf4": lambda x: 0.6 - 0.5 / (1 + (PLACE * x / 20) ** STEEP),
    "weibull4": lambda x: 0.6 - 0.5 * np.exp(-(PLACE * x / 20) ** STEEP),
    "ilog2": lambda x: 0.6 - 0.2 / np.log(x + 1),
}
POWER, PLACE, STEEP = curve.POWERS[8], curve.PLACES[8], curve.STEEPNESS[4]  # of the grid


@pytest.mark.parametrize("passes", [5, 10])
@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_family_made_is_predicted(name: str, passes: int) -> None:
    """20 test passes, of which the first few are known: what the family has at the end, and nothing else."""
    t = np.arange(1, 21) * 5.0
    y = FAMILIES[name](t / t[0])
    found = forecast(t[:passes], -y[:passes], END, np.random.RandomState(0), -1.0)
    assert found.weights.sum() == pytest.approx(1) and found.costs.shape == found.weights.shape
    assert found.weights @ np.abs(found.costs + y[-1]) < 1e-6


def test_no_cost_is_forecast_below_the_lowest() -> None:
    y = -np.linspace(0.7, 0.98, 8)  # straight on it would be 2.1
    assert forecast(np.arange(1.0, 9), y, 40, np.random.RandomState(0)).costs.min() < -1.1
    assert forecast(np.arange(1.0, 9), y, 40, np.random.RandomState(0), -1.0).costs.min() > -1.1, "a residual beyond"


def test_the_fit_is_least_squares() -> None:
    """Of one shape, a and c by numpy's own least squares, weighted; held at their bounds where those are outside."""
    chance = np.random.RandomState(0)
    shapes = curve._families(tuple(range(1, 8)), 20.0)[3]
    w = np.geomspace(0.1, 1, 7)
    for _ in range(20):
        y = chance.random_sample(7) - 1 - np.arange(7) * chance.choice([-0.1, 0.05, 0.2])
        fit = curve._Fits(shapes, w / w.sum(), y[None], -2.0)
        if -2.0 < fit.c[0] and fit.a[0] > 0:
            left = np.stack([np.ones(7), shapes.g[0]], axis=1) * np.sqrt(w)[:, None]
            np.testing.assert_allclose([fit.c[0], fit.a[0]], np.linalg.lstsq(left, y * np.sqrt(w), rcond=None)[0])
        rest = y - fit.curve(shapes)[0]
        assert fit.squares[0] == pytest.approx(w @ rest**2 / w.sum())
        for c, a in ((fit.c[0] + 0.01, fit.a[0]), (fit.c[0], fit.a[0] + 0.01), (fit.c[0] - 0.01, fit.a[0]),
                     (fit.c[0], fit.a[0] - 0.01), (fit.c[0] + 0.01, fit.a[0] - 0.01)):
            if c >= -2 and a >= 0:
                assert w @ (y - c - a * shapes.g[0])**2 / w.sum() >= fit.squares[0] - 1e-12


def test_nine_of_ten_lie_in_nine_of_ten(record_property: Callable[[str, object], None]) -> None:
    """Noisy curves of the four families: their ends, as a test pass reads them, are where the forecast says, at stated
    odds. 120 curves; if each is in its interval with a chance of at least 0.9, fewer than 98 are with one below 0.003.
    """
    chance, inside = np.random.RandomState(3), 0
    t = np.arange(1, 21) * 5.0
    for _ in range(30):
        for made in FAMILIES.values():
            y = made(t / t[0]) + 0.01 * chance.standard_normal(20)
            found = forecast(t[:10], -y[:10], END, chance, -1.0)
            inside += 0.05 <= found.below(-y[-1]) <= 0.95
    record_property("inside", inside)
    assert inside >= 98


def rising(to: float, passes: int) -> List[Tuple[int, float]]:
    return [(5 * k, to * (1 - 2.0 ** -k)) for k in range(1, passes + 1)]


def test_who_will_end_behind_is_stopped() -> None:
    rule = Tried(curve.Curve(problem(), 0.05))
    assert rule.comes(rising(0.3, 10), 50)[1], "nobody came to an end yet"
    rule.comes(rising(0.6, 20))
    assert not rule.comes(rising(0.4, 10), 50)[1]
    assert rule.comes(rising(0.65, 10), 50)[1]
    assert rule.comes(rising(0.3, 4), 50)[1], "too few test passes"
    assert rule.comes([(0, 0.1), *rising(0.3, 4)], 50)[1], "before the first iteration there is no curve"
    assert rule.comes([*rising(0.3, 9), (50, float("inf"))], 50)[1], "no fit"


def test_a_loss_is_extrapolated_as_well() -> None:
    """By itself, not by the accuracy beside it."""
    rule = curve.Curve(problem(objectives=[Objective(LOSS, minimize=True)]), 0.05)
    assert curve.LOWEST[Objective(LOSS, minimize=True)] == 0

    def comes(to: float, passes: int, until: Optional[int]) -> bool:
        trial = Trial(passes, SPACE.default, 1, END, until=until)
        points = tuple((5 * k, 0.5, to + 2.0 ** -k) for k in range(1, passes + 1))
        result = Result(passes, OK if until is None else STOPPED, points[-1][2], points[-1][2], curve=points)
        rule.learn(trial, result)
        return until is not None and rule.goes_on(trial, result)

    comes(1.0, 20, None)
    assert [comes(to, 10, 50) for to in (1.5, 0.9)] == [False, True]


def test_nobody_is_stopped_before_the_rate_falls_no_more() -> None:
    steady = Tried(curve.Curve(problem(steady=lambda genome, iteration: iteration >= 50), 0.05))
    steady.comes(rising(0.6, 20))
    assert [steady.comes(rising(0.3, passes), 5 * passes)[1] for passes in (9, 10)] == [True, False]


@pytest.mark.parametrize("solver, first", [
    ('lr_policy: "fixed"', 0), ('lr_policy: "inv" gamma: 0.0001 power: 0.75', 0),
    ('lr_policy: "step" gamma: 0.1 stepsize: 30', 90), ('lr_policy: "step" gamma: 0.5 stepsize: 40', 80),
    ('lr_policy: "multistep" gamma: 0.1 stepvalue: 20 stepvalue: 70', 70),
    ('lr_policy: "multistep" gamma: 0.1 stepvalue: 20 stepvalue: 20 stepvalue: 200', 21),
    ('lr_policy: "poly" power: 1', 99), ('lr_policy: "exp" gamma: 0.99', 31), ('lr_policy: "exp" gamma: 0.9999', 0),
    ('lr_policy: "sigmoid" gamma: 0.5 stepsize: 50', 51)])
def test_from_when_on_a_rate_falls_no_more_by_far(solver: str, first: int) -> None:
    """By hand for steps; and for all, that the rates as the solver has them stay within a factor of two."""
    param = text_format.Parse(f"base_lr: 0.1 {solver}", caffe_pb2.SolverParameter(max_iter=END))
    assert [is_steady(param, i, END) for i in range(END)] == [i >= first for i in range(END)]
    rates, step = [], 0
    for i in range(END):
        rate, step = learning_rate(param, i, step)
        rates.append(rate)
    assert max(rates[first:]) < 2 * min(rates[first:])
    assert first == 0 or not rates[-1] / 2 < rates[first - 1] < rates[-1] * 2


# ---- what a search is told ----


class Listening:
    """A search that asks on and on, and keeps what it is told."""

    finished, total, generations = False, None, None

    def __init__(self, problem: Problem):
        self._problem, self.told = problem, []  # type: Problem, List[Tuple[int, str, float]]

    def ask(self) -> Optional[Trial]:
        return self._problem.new_trial(SPACE.default, None)

    def asked(self, trial: Trial) -> None:
        raise AssertionError

    def tell(self, trial: Trial, result: Result) -> None:
        assert trial.until is None and trial.continues is None
        self.told.append((result.id, result.status, result.fitness))


def through(stop: str, objective: Objective, curves: Sequence[Sequence[Optional[float]]]) -> List[Any]:
    """What a search is told of individuals with these fitnesses at the rungs and the end; None is a failure."""
    found = problem(objectives=[objective])
    search, individuals = Listening(found), {}
    message = text_format.Parse(stop, menndl_pb2.StopParameter())
    with_rungs = rungs.with_rungs(found, message, END, lambda problem: search)
    assert isinstance(with_rungs, rungs.Rungs)
    waiting = list(curves)
    while True:
        trial = with_rungs.ask() if waiting else with_rungs.go_on()
        if trial is None:
            return search.told
        values, curve = individuals.pop(trial.continues) if trial.continues else (list(waiting.pop(0)), ())
        value = values.pop(0)
        curve = (*curve, (trial.until or END, value, 1.0))
        individuals[trial.id] = values, curve
        with_rungs.tell(trial, Result(trial.id, CRASHED) if value is None else
                        Result(trial.id, OK if trial.until is None else STOPPED, value, 1.0, curve=curve))


def test_who_was_stopped_is_told_as_at_the_end() -> None:
    """By hand: at rung 50 half go on. Of an even number, the worse of the two in the middle is the median."""
    told = through("halving { first: 50 factor: 2 }", Objective(), [
        [0.25, 0.5], [0.125], [0.5, 1.0], [None], [0.1875], [0.5, 0.75], [0.75, 0.25], [0.6875, 0.5], [0.375],
        [0.75, 1.0], [0.375]])
    assert told == [
        (1, OK, 0.5), (3, OK, 0.125 + 0.25), (4, OK, 1.0), (6, CRASHED, 0.0), (7, OK, 0.1875 + 0.25), (8, OK, 0.75),
        (10, OK, 0.25), (12, OK, 0.5), (14, OK, 0.5), (15, OK, 1.0), (17, OK, 0.5)
    ], "0.375 + 0.25 is better than 0.5, the median of 5 ends, and of 6"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=12), st.booleans(),
       st.sampled_from(["halving { first: 30 factor: 2 }", "median { least: 1 at: 30 at: 60 }",
                        "median { least: 2 at: 30 } halving { first: 60 factor: 3 }"]))
@settings(max_examples=60)
def test_who_was_stopped_is_never_told_as_the_best(curves: List[Tuple[float, ...]], minimize: bool, stop: str) -> None:
    """Nor better than the median of those that had come to their ends; and all are told once, in their order."""
    objective = Objective("measure", minimize)
    told, ends = through(stop, objective, curves), []  # type: List[Any], List[float]
    assert len(told) == len(curves)
    finals = [values[-1] for values in curves]
    for _, _, fitness in told:
        if fitness in finals:
            ends.append(objective.cost(fitness))
        elif ends:
            assert objective.cost(fitness) >= min(ends)


def test_several_rules_must_agree() -> None:
    """At a rung that both have; else the one whose rung it is decides."""
    stop = text_format.Parse("halving { first: 30 factor: 3 } median { at: 30 at: 60 }", menndl_pb2.StopParameter())
    assert rungs.rungs(stop, END) == [30, 60, 90]
    told = through("halving { first: 60 factor: 3 } median { least: 1 at: 60 }", Objective(),
                   [[0.9, 0.9], [0.5, 0.1], [0.6, 0.2], [0.7, 0.8], [0.65, 0.3]])
    assert [fitness for *_, fitness in told[::3]] == [0.9, 0.8]
    assert not {0.1, 0.2, 0.3} & {fitness for *_, fitness in told}, "the last is 3rd of 5, and the others' median 0.65"
    told = through("halving { first: 60 factor: 2 } median { least: 1 at: 30 }", Objective(),
                   [[0.5, 0.5, 0.5], [0.4], [0.6, 0.4], [0.5, 0.5, 0.7]])
    assert [fitness for *_, fitness in told][::3] == [0.5, 0.7]


def test_nothing_is_cut_where_no_rung_comes_before_the_end() -> None:
    search = Listening(problem())
    stop = text_format.Parse("median {}", menndl_pb2.StopParameter())
    assert rungs.rungs(stop, 1) == [] and rungs.rungs(stop, 2) == [1] and rungs.rungs(stop, 10) == [3, 5, 8]
    assert rungs.with_rungs(problem(), stop, 1, lambda problem: search) is search


# ---- the search file ----


@pytest.mark.parametrize("stop, wrong", [
    ("", "stop: is empty; expected one or more of halving, curve, median"),
    ("halving {}", "stop.halving.first: is 0; expected 1 to 799, iterations before max_iter"),
    ("halving { first: 800 }", "stop.halving.first: is 800; expected 1 to 799, iterations before max_iter"),
    ("halving { first: 80 factor: 1 }", "stop.halving.factor: is 1; expected 2 or more"),
    ("curve { probability: 0 }", "stop.curve.probability: is 0; expected a number above 0, up to 0.5"),
    ("curve { probability: nan }", "stop.curve.probability: is nan; expected a number above 0, up to 0.5"),
    ("curve { at: 160 at: 400 }", "stop.curve.at: is 160, 400; expected iterations, ascending, from 200, a quarter of "
                                  "max_iter, to 799"),
    ("median { least: 0 }", "stop.median.least: is 0; expected 1 or more"),
    ("median { at: 400 at: 80 }", "stop.median.at: is 400, 80; expected iterations, ascending, from 1 to 799"),
    ("median { at: 80 at: 80 }", "stop.median.at: is 80, 80; expected"),
    ("median { at: 800 }", "stop.median.at: is 800; expected")])
def test_mistakes(stop: str, wrong: str) -> None:
    text = ('net: "n" solver: "s" type: "RANDOM" limit { trials: 3 } max_iter: 800 '
            'gene { name: "k" int_range { min: 1 max: 2 } default: 1 }\n'
            f"stop {{ {stop} }}")
    with pytest.raises(UserError) as found:
        search_file.of_text(text, "a.search.prototxt")
    assert str(found.value).startswith(f"a.search.prototxt:2: {wrong}")


@pytest.mark.parametrize("kind, wrong", [
    ('type: "ADAPTIVE"', "cannot be used with type ADAPTIVE, whose trainings all go to their ends; expected a type of"),
    ('type: "GA" inner { type: "HYPERGRADIENT" gene: "k" }', "cannot be used together with inner, whose trainings")])
def test_trainings_that_learn_more_than_weights_have_no_rungs(kind: str, wrong: str) -> None:
    text = (f'net: "n" solver: "s" {kind} limit {{ trials: 3 }} max_iter: 800 '
            'gene { name: "k" real_range { min: 1 max: 2 } default: 1 }\nstop { curve { } }')
    with pytest.raises(UserError) as found:
        search_file.of_text(text, "a.search.prototxt")
    assert f"a.search.prototxt:2: stop: {wrong}" in str(found.value)
