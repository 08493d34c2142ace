"""CMA_ES: it goes to the optimum, costs nothing twice, and what it asks for follows from its calls alone."""
from __future__ import annotations

import random
import sys
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any, Callable, List, Optional, Sequence, Tuple, Union

import cmaes
import numpy as np
import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.genome import ChoiceGene, Genome, IntGene, RealGene, SearchSpace
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.search import KINDS, OtherTrial, Problem, Search, cma_es
from menndl_caffe.search.sampling import RandomSearch
from menndl_caffe.trial import Result, Trial
from tests.support.landscapes import goes_on_exactly

REALS = SearchSpace(tuple(RealGene(f"x{i}", -1.0, 1.0, False, 0.5) for i in range(4)))
WHOLE = SearchSpace((IntGene("kernel", 1, 8, 1, 5), IntGene("output", 16, 126, 2, 32),
                     IntGene("units", 1, 10**6, 1, 64), IntGene("fixed", 3, 3, 1, 3)))
MIXED = SearchSpace((RealGene("rate", 1e-4, 1.0, True, 0.1), IntGene("kernel", 1, 8, 1, 5),
                     ChoiceGene("pool", ("MAX", "AVE", "STOCHASTIC"), "MAX"), RealGene("decay", 0.0, 1.0, False, 0.9),
                     IntGene("fixed", 3, 3, 1, 3), ChoiceGene("only", ("one",), "one")))
CHOICES = SearchSpace(tuple(ChoiceGene(f"c{i}", tuple("abcde"), "a") for i in range(6)))
ONE = {"one real": SearchSpace(REALS.genes[:1]), "one whole": SearchSpace(WHOLE.genes[:1]),
       "one choice": SearchSpace(CHOICES.genes[:1])}
SIZES = {"one whole": 8, "one choice": 5}
SPACES = {"reals": REALS, "whole": WHOLE, "mixed": MIXED, "choices": CHOICES, **ONE}
Fitness = Callable[[Genome], Optional[float]]  # None: it failed
Call = Union[Trial, Tuple[Trial, Result]]  # an ask or a tell


def problem(space: SearchSpace, seed: int = 1, **known: Any) -> Problem:
    ids = count(1)
    return Problem(space, seed, lambda genome, generation: Trial(next(ids), genome, 7 + seed, 10, generation), **known)


def search(space: SearchSpace, seed: int = 1, population: int = 0, sigma: float = 0.3, **known: Any) -> Search:
    return cma_es.make(problem(space, seed, **known), SimpleNamespace(population=population, sigma=sigma))


def target(space: SearchSpace) -> Genome:
    """The optimum: near one end of the range, far from the defaults in most genes."""
    return space.from_unit([0.2 if isinstance(gene, RealGene) else 0.85 for gene in space.genes])


def ellipsoid(space: SearchSpace) -> Fitness:
    """0 at the target; numbers weigh 1 to 10, a wrong choice 0.3."""
    best = space.to_unit(target(space))
    weights = np.logspace(0, 1, len(space.genes))

    def fitness(genome: Genome) -> float:
        apart = np.subtract(space.to_unit(genome), best)
        return -sum(0.3 * (d != 0) if isinstance(gene, ChoiceGene) else w * d * d
                    for gene, w, d in zip(space.genes, weights, apart))

    return fitness


def result(trial: Trial, value: Optional[float]) -> Result:
    return Result(trial.id, "crashed") if value is None else Result(trial.id, "ok", value)


def drive(of: Search, fitness: Fitness, limit: int, slots: int = 1, seed: int = 0) -> List[Call]:
    """The calls of a search until its limit or end; results come in random order."""
    shuffle, running, calls, asked = random.Random(seed), [], [], 0
    while not of.finished:
        while len(running) < slots and asked < limit:
            trial = of.ask()
            if trial is None:
                break
            asked += 1
            running.append(trial)
            calls.append(trial)
        if not running:
            break
        trial = running.pop(shuffle.randrange(len(running)))
        told = trial, result(trial, fitness(trial.genome))
        of.tell(*told)
        calls.append(told)
    return calls


def trials(calls: Sequence[Call]) -> List[Trial]:
    return [call for call in calls if isinstance(call, Trial)]


def best(calls: Sequence[Call]) -> float:
    return max(call[1].fitness for call in calls if isinstance(call, tuple) and not call[1].failed)


@pytest.mark.parametrize("slots", [1, 30])
@pytest.mark.parametrize("name", ["reals", "whole", "mixed", "choices"])
def test_it_comes_far_closer_than_random_search(name: str, slots: int) -> None:
    """The median of three seeds, results in random order."""
    space = SPACES[name]
    fitness = ellipsoid(space)
    ours, chance = (
        np.median([best(drive(make(seed), fitness, 200 + 5 * slots, slots, seed)) for seed in range(3)])
        for make in (lambda seed: search(space, seed), lambda seed: RandomSearch(problem(space, seed))))
    assert ours > chance / 5 and chance < 0, (ours, chance)  # both below 0, where 0 is the optimum


def test_a_failing_half_does_not_keep_it_from_the_optimum() -> None:
    fitness = ellipsoid(MIXED)
    calls = drive(search(MIXED), lambda g: None if g.as_dict()["kernel"] in (1, 3, 5, 6) else fitness(g), 300, 8)
    assert sum(call[1].failed for call in calls if isinstance(call, tuple)) > 20
    assert best(calls) > -0.01


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("value", [None, 0.1], ids=["failed", "equal"])
def test_all_failed_or_equal_is_no_end_and_no_warning(name: str, value: Optional[float]) -> None:
    made = search(SPACES[name])
    calls = drive(made, lambda genome: value, 60, 4)
    assert len({trial.genome for trial in trials(calls)}) == len(trials(calls)) == SIZES.get(name, 60)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("slots", [1, 30])
def test_no_genome_twice_and_all_of_them_in_a_small_space(name: str, slots: int) -> None:
    space = SPACES[name]
    made = search(space)
    calls = drive(made, ellipsoid(space), 150, slots)
    genomes = [trial.genome for trial in trials(calls)]
    assert len(genomes) == len(set(genomes)) == SIZES.get(name, 150)
    assert made.finished == (made.ask() is None) == (name in SIZES)


def test_a_space_of_one_genome_has_one_trial() -> None:
    for genes in (MIXED.genes[4:], MIXED.genes[5:], (RealGene("x", 0.5, 0.5, True, 0.5),)):
        made = search(SearchSpace(genes))
        assert [trial.genome for trial in trials(drive(made, lambda g: 0.5, 10))] == [SearchSpace(genes).default]
        assert made.finished


def test_the_first_draws_are_the_librarys_own() -> None:
    """Derived by hand for real genes: around the default, sigma as it stands, each draw from its own seed."""
    ours = [trial.genome.values for trial in trials(drive(search(REALS, 3, sigma=0.2), ellipsoid(REALS), 8))]
    library = cmaes.CMAwM(np.full(4, 0.75), 0.2, np.array([[0.0, 1.0]] * 4), np.zeros(4), population_size=8)
    for number, values in enumerate(ours):
        library.reseed_rng(int(np.random.RandomState([3, number]).randint(2**31 - 1)))
        assert values == pytest.approx(2 * library.ask()[0] - 1, rel=1e-5)


def test_lambda_results_in_any_order_move_it_once() -> None:
    one, other = search(REALS, population=6), search(REALS, population=6)
    for made, order in ((one, range(6)), (other, range(5, -1, -1))):
        asked = [made.ask() for _ in range(9)]
        for i in order:
            trial = asked[i]
            assert trial is not None
            made.tell(trial, result(trial, ellipsoid(REALS)(trial.genome)))
    given, too = one.ask(), other.ask()
    assert given == too and given is not None
    unmoved = search(REALS, population=7)
    assert [unmoved.ask() for _ in range(10)][-1] != given


def test_a_failure_counts_as_the_worst_whatever_the_scale() -> None:
    """The next draw is the same for a failure as for a success worse than all."""
    asks = []
    for worst in (None, -1e7, -20.0):
        made = search(REALS, population=5)
        for i in range(5):
            trial = made.ask()
            assert trial is not None
            made.tell(trial, result(trial, worst if i == 1 else ellipsoid(REALS)(trial.genome)))
        asks.append(made.ask())
    assert asks[0] == asks[1] == asks[2] is not None


def test_it_begins_anew_elsewhere_when_it_has_converged() -> None:
    """In a space of 900 genomes its neighbourhood has soon been met."""
    space = SearchSpace((IntGene("a", 1, 30, 1, 2), IntGene("b", 1, 30, 1, 2)))
    made: Any = search(space)
    calls = drive(made, ellipsoid(space), 400)
    optimum = space.to_unit(target(space))
    apart = [np.hypot(*np.subtract(space.to_unit(trial.genome), optimum)) for trial in trials(calls)]
    assert np.median(apart[90:120]) < 0.2, "converged"
    assert np.median(apart[130:160]) > 0.6, "and then elsewhere"
    assert made._sampler._restarts >= 2 and len(apart) == 400
    assert made._sampler._population in (12, 24, 48, 96, 192, 384), "6, doubled"


def test_a_repeat_is_told_from_what_is_known_and_costs_nothing() -> None:
    """Of a space of 25 genomes, all are met in 25 trials, whatever number of draws that takes."""
    space = SearchSpace(CHOICES.genes[:2])
    made: Any = search(space)
    assert len(trials(drive(made, ellipsoid(space), 1000, 3))) == 25
    assert made._draws > 25


def test_a_pending_genome_is_not_asked_again_but_shares_its_result() -> None:
    """All 8 are out before any result comes: nothing is asked twice, all ends."""
    made: Any = search(ONE["one whole"], population=4)
    asked = [made.ask() for _ in range(8)]
    assert made.ask() is None and not made.finished
    assert len({trial.genome for trial in asked}) == 8
    for trial in asked:
        made.tell(trial, result(trial, 0.5))
    assert made.finished


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("slots", [1, 5, 30])
def test_it_goes_on_exactly_after_any_call(name: str, slots: int) -> None:
    space = SPACES[name]
    fitness = ellipsoid(space)

    def some_fail(genome: Genome) -> Optional[float]:
        return None if random.Random(str(genome)).random() < 0.2 else fitness(genome)

    calls = drive(search(space), some_fail, 70, slots)
    for cut in range(0, len(calls), 7):
        goes_on_exactly(search(space), calls, cut, 20)


def test_individuals_named_by_hand_come_first_and_move_nothing() -> None:
    named = [WHOLE.from_unit([u] * 4) for u in (0.1, 0.9, 0.1)]
    made, plain = search(WHOLE, first=named), search(WHOLE)
    asked = [made.ask() for _ in range(12)]
    assert [trial.genome for trial in asked if trial][:2] == named[:2]
    for trial in asked[:2]:
        assert trial is not None
        made.tell(trial, result(trial, 0.1))
    assert [t.genome for t in asked[2:] if t] == [t.genome for t in (plain.ask() for _ in range(10)) if t]


def test_earlier_individuals_are_known_and_the_best_is_where_it_begins() -> None:
    there = target(REALS)
    made = search(REALS, earlier=[(there, (-0.9,)), (REALS.default, (-0.1,)), (there, None)], sigma=0.01)
    asked = [trial.genome for trial in (made.ask() for _ in range(8)) if trial]
    assert np.allclose([REALS.to_unit(genome) for genome in asked], REALS.to_unit(there), atol=0.05)
    space = ONE["one choice"]
    known = [(space.genome([letter]), costs) for letter, costs in (("b", (0.0,)), ("a", None), ("c", None))]
    for earlier in (known, known[1:]):
        rest = {"a", "b", "c", "d", "e"} - {genome.values[0] for genome, _ in earlier}
        made = search(space, earlier=earlier)
        assert made.total == len(rest)
        assert {t.genome.values[0] for t in trials(drive(made, lambda g: 0.5, 9))} == rest


@pytest.mark.parametrize("name", SPACES)
def test_the_record_is_believed_where_it_can_be_this_run(name: str) -> None:
    """Another processor may have drawn another genome: what was recorded is what is told."""
    space = SPACES[name]
    made: Any = search(space)
    first = made.ask()
    resumed: Any = search(space)
    elsewhere = space.from_unit([0.6] * len(space.genes))
    assert elsewhere != first.genome
    resumed.asked(replace(first, genome=elsewhere))
    assert set(resumed._waiting) == {elsewhere}
    resumed.tell(replace(first, genome=elsewhere), result(first, 0.5))
    assert len(resumed._sampler._told) == 1 and resumed._sampler._told[0][1].genome == elsewhere
    calls = drive(resumed, ellipsoid(space), 20)
    assert all(trial.genome != elsewhere for trial in trials(calls))
    for other in (replace(first, seed=first.seed + 1), replace(first, max_iter=11), replace(first, id=2)):
        with pytest.raises(OtherTrial):
            search(space).asked(other)
    with pytest.raises(OtherTrial):
        resumed.asked(replace(first, id=len(trials(calls)) + 2, genome=elsewhere))


def test_a_stand_in_is_told_at_its_own_point() -> None:
    """Told at their points, genomes move the distribution as if it had drawn them there, in every kind of space."""
    for space in SPACES.values():
        made: Any = search(space)
        _, token = made._sampler.draw(0)
        there = made._sampler.stand_in(token, target(space))
        free = made._sampler._free
        point = free.to_unit(free.genome(target(space).as_dict()[name] for name in free.names))
        solution = there.solution
        numbers = [u for u, gene in zip(point, free.genes) if not isinstance(gene, ChoiceGene)]
        if isinstance(solution, np.ndarray):
            assert solution == pytest.approx(numbers)
        else:
            assert sorted(solution._v_raw) == pytest.approx(sorted(numbers))
            assert solution.c.sum(axis=1).tolist() == [1] * len(solution.c)
            assert [(row.argmax() + 0.5) / row.size for row in solution.c] == [
                u for u, gene in zip(point, free.genes) if isinstance(gene, ChoiceGene)]


def test_a_result_that_was_not_asked_for_is_refused() -> None:
    made = search(REALS)
    trial = made.ask()
    assert trial is not None
    made.tell(trial, result(trial, 0.5))
    with pytest.raises(KeyError):
        made.tell(trial, result(trial, 0.5))


def test_settings() -> None:
    def wrong(**settings: Any) -> List[str]:
        return [field for field, *_ in KINDS["CMA_ES"].check(menndl_pb2.CMAESParameter(**settings))]

    assert wrong() == wrong(population=4, sigma=0.2) == []
    assert wrong(population=3) == wrong(population=-1) == ["population"]
    for sigma in (0.0, -1.0, float("inf"), float("nan")):
        assert wrong(sigma=sigma) == ["sigma"]


@pytest.mark.parametrize("library", [None, SimpleNamespace(__version__="0.9.1")])
@pytest.mark.parametrize("space, name", [(REALS, "CMAwM"), (MIXED, "CatCMAwM")])
def test_without_the_library_or_with_an_old_one_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, library: Any,
                                                                        space: SearchSpace, name: str) -> None:
    monkeypatch.setitem(sys.modules, "cmaes", library)
    with pytest.raises(UserError, match=f"type CMA_ES needs {name} of the package cmaes: pip install "
                                        r'"menndl_caffe\[search\]"'):
        search(space)
