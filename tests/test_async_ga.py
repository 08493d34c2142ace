"""The steady-state GA: whose children it makes, and what unequal training times do to it."""
from __future__ import annotations

import random
from statistics import mean
from typing import Any, List, Optional

import pytest

from menndl_caffe.genome import ChoiceGene, Genome, IntGene, RealGene, SearchSpace
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.trial import OK, Result
from tests.support.landscapes import adjusted, best, between_two_ends, drive, search

SPACE = SearchSpace(tuple(RealGene(name, 0, 1, False, 0.5) for name in "abcdefghijkl"))
SMALL = SearchSpace((IntGene("kernel", 1, 5, 1, 3), ChoiceGene("pool", ("MAX", "AVE"), "MAX")))


def settings(**settings: Any) -> Any:
    message = menndl_pb2.SearchParameter(type="ASYNC_GA")
    message.async_ga_param.CopyFrom(menndl_pb2.AsyncGAParameter(**settings))
    return message


def values(genome: Genome) -> List[float]:
    return [float(value) for value in genome.values]


def sphere(genome: Genome) -> float:
    return sum((u - 0.3) ** 2 for u in values(genome))


def test_the_default_comes_first_then_a_design_then_children() -> None:
    asked = [genome for genome, _ in drive(search(SPACE, "ASYNC_GA"), sphere, 40)]
    assert asked[0] == SPACE.default
    for genome in asked[20:]:  # a child has most of its genes from one of two
        shared = max(sum(a == b or a == c for a, b, c in zip(genome.values, one.values, two.values))
                     for one in asked for two in asked if genome not in (one, two))
        assert shared >= 6, genome


@pytest.mark.parametrize("slots", [1, 30])
def test_it_finds_what_chance_does_not(slots: int) -> None:
    ours = [best(drive(search(SPACE, "ASYNC_GA", seed), sphere, 200, slots)) for seed in range(3)]
    chance = [best(drive(search(SPACE, "RANDOM", seed), sphere, 200, slots)) for seed in range(3)]
    assert max(ours) < 0.7 * min(chance), (ours, chance)


def test_individuals_that_train_fast_do_not_take_over_with_sweet() -> None:
    """A flat landscape, on which fitness is chance; a gene makes a training last from 0.1 to 10. Its mean would be 0.5
    in a search without bias."""
    def chance(genome: Genome) -> float:
        return random.Random(str(genome)).random()

    def asked(sweet: float) -> float:
        means = []
        for seed in range(10):
            genomes = drive(adjusted(SPACE, settings(sweet=sweet), seed), chance, 120, 30,
                            lambda genome: 10 ** (2 * values(genome)[0] - 1))
            means.append(mean(values(genome)[0] for genome, _ in genomes[30:]))
        return mean(means)

    without, some, much = asked(0), asked(0.25), asked(0.5)
    assert without < 0.33 < some < 0.5 and without + 0.08 < some < much - 0.08, (without, some, much)


def test_selection_waits_for_half_of_the_first_population() -> None:
    """With many ranks the few that are fastest would be the parents of all."""
    of = search(SPACE, "ASYNC_GA")
    trials = [of.ask() for _ in range(60)]
    for trial in trials[:9]:
        of.tell(trial, Result(trial.id, OK, 1.0))
    design = search(SPACE, "ASYNC_GA")
    expected = [design.ask().genome for _ in range(62)]
    assert of.ask().genome == expected[60]
    of.tell(trials[9], Result(trials[9].id, OK, 1.0))
    assert of.ask().genome != expected[61]


def test_a_space_is_gone_through_to_its_end_and_nothing_comes_twice() -> None:
    of = search(SMALL, "ASYNC_GA")
    assert of.total == 10
    asked = [genome for genome, _ in drive(of, lambda genome: None, 10)]
    assert len(set(asked)) == 10 and not of.finished
    assert of.ask() is None


def test_failures_have_no_children() -> None:
    """Half of the space fails; the best of the rest lies at its border."""
    def half(genome: Genome) -> Optional[float]:
        return None if values(genome)[0] < 0.5 else sphere(genome)

    asked = drive(search(SPACE, "ASYNC_GA", 3), half, 300, 8)
    failed = [cost is None for _, cost in asked]
    assert mean(failed[:20]) > 0.3 and mean(failed[200:]) < 0.3
    assert best(asked) < 0.25


def test_earlier_individuals_are_parents_from_the_beginning() -> None:
    good = SPACE.genome([0.3] * 12)
    earlier = [(SPACE.genome([0.3 + i / 100] * 12), (i / 10,)) for i in range(20)]
    of = search(SPACE, "ASYNC_GA", earlier=earlier, first=[good])
    asked = drive(of, sphere, 20, 4)
    assert asked[0][0] == good
    assert all(cost < 1.0 for _, cost in asked), "no design of its own"


def test_two_objectives_spread_over_the_front() -> None:
    found = between_two_ends("ASYNC_GA", 400)
    near = [a for costs, a in found if sum(costs) < 0.7]
    assert min(near) < 0.3 and max(near) > 0.7 and any(0.45 < a < 0.55 for a in near), sorted(near)
