"""The genetic algorithm: each operator has the odds that the paper states, and the whole is deterministic."""
from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import count, islice
from types import SimpleNamespace
from typing import Callable, List, Optional

import numpy as np
import pytest

from menndl_caffe.genome import Genome, IntGene, SearchSpace
from menndl_caffe.search import OtherTrial, Problem
from menndl_caffe.search.ga import GeneticAlgorithm, cross, mutate, pairs, random_population, survivors
from menndl_caffe.trial import Result, Trial

SPACE = SearchSpace(tuple(IntGene(f"g{i}", 0, 9, 1, 5) for i in range(6)))


def genome(*values: int) -> Genome:
    return Genome(SPACE.names, values)


def search(population: int = 20, generations: int = 5, seed: int = 1, cost: Callable[[Genome], float] = lambda g: 0.0,
           mutation: float = 0.05) -> GeneticAlgorithm:
    settings = SimpleNamespace(population=population, generations=generations, crossover=0.6, mutation=mutation)
    ids = count(1)

    def new_trial(genome: Genome, generation: Optional[int]) -> Trial:
        id = next(ids)
        return Trial(id, genome, id, 1, generation)

    return GeneticAlgorithm(Problem(SPACE, seed, new_trial, cost), settings)


def ask(ga: GeneticAlgorithm, n: int) -> List[Trial]:
    """At most so many trials."""
    asked = (ga.ask() for _ in range(n))
    return [trial for trial in asked if trial is not None]


def fitness(g: Genome) -> float:
    """Best where every gene is 7."""
    return 1 - sum(abs(int(v) - 7) for v in g.values) / 42


def finish(ga: GeneticAlgorithm, seed: int = 0, slots: int = 7) -> List[Trial]:
    """Run a search to its end with `slots` slots that finish in random order; the trials by id."""
    shuffle = random.Random(seed)
    running: List[Trial] = []
    trials: List[Trial] = []
    while not ga.finished:
        asked = ask(ga, slots - len(running))
        trials += asked
        running += asked
        trial = running.pop(shuffle.randrange(len(running)))
        ga.tell(trial, Result(trial.id, "ok", fitness(trial.genome)))
    assert not running
    return sorted(trials, key=lambda trial: trial.id)


def test_first_generation_is_uniform_in_every_gene() -> None:
    population = random_population(SPACE, 10000, np.random.RandomState(3))
    for i in range(6):
        counts = Counter(g.values[i] for g in population)
        # Binomial(10000, 0.1) has a standard deviation of 30: 4.5 of them, for 60 counts
        assert all(abs(counts[v] - 1000) < 135 for v in range(10)), counts


def test_selection_removes_what_is_below_the_average_and_nothing_else() -> None:
    genomes = [genome(i, 0, 0, 0, 0, 0) for i in range(4)]
    assert survivors(genomes, [0.1, 0.2, 0.3, 0.2]) == genomes[1:]  # average 0.2: equal to it stays
    assert survivors(genomes, [0.0, 0.0, 0.0, 0.9]) == genomes[3:]
    assert survivors(genomes, [0.0, 0.0, 0.0, 0.0]) == genomes  # all failed: nobody is below the average


@pytest.mark.parametrize("value", [0.1, 0.7077, 1 / 3])
def test_equals_all_survive_although_their_mean_is_rounded(value: float) -> None:
    genomes = [genome(i, 0, 0, 0, 0, 0) for i in range(7)]
    assert len(survivors(genomes, [value] * 7)) == 7


def test_pairs_go_through_all_parents_before_any_comes_again() -> None:
    parents = [genome(i, 0, 0, 0, 0, 0) for i in range(5)]
    line = [parent for pair in islice(pairs(parents, np.random.RandomState(0)), 10) for parent in pair]
    for round in range(4):
        assert sorted(p.values[0] for p in line[5 * round:5 * round + 5]) == [0, 1, 2, 3, 4]


def test_every_parent_meets_every_other_with_the_same_odds() -> None:
    parents = [genome(i, 0, 0, 0, 0, 0) for i in range(4)]
    drawn = islice(pairs(parents, np.random.RandomState(5)), 12000)
    met = Counter(frozenset(parent.values[0] for parent in pair) for pair in drawn)
    assert len(met) == 6 and all(abs(n - 2000) < 4.5 * 41 for n in met.values()), met


def test_crossover_has_probability_p_c_and_a_uniform_point() -> None:
    rng = np.random.RandomState(7)
    a, b = genome(0, 0, 0, 0, 0, 0), genome(1, 1, 1, 1, 1, 1)
    points: Counter = Counter()
    for _ in range(14000):
        first, second = cross((a, b), 0.6, rng)
        assert all(x + y == 1 for x, y in zip(first.values, second.values))  # what one gives, the other has
        taken = sum(first.values)
        assert first.values == (0,) * (6 - taken) + (1,) * taken  # all that lies behind the point
        points[6 - taken] += 1
    # Points 0..6 have 0.6 / 7 each; 6 changes nothing, as does no crossover at all (0.4).
    assert all(abs(points[k] - 1200) < 4.5 * 33 for k in range(6)), points
    assert abs(points[6] - (1200 + 5600)) < 4.5 * 59


def test_mutation_has_probability_p_m_and_takes_a_uniform_value() -> None:
    rng = np.random.RandomState(11)
    parent = genome(5, 5, 5, 5, 5, 5)
    children = [mutate(parent, SPACE, 0.05, rng) for _ in range(20000)]
    for i in range(6):
        counts = Counter(child.values[i] for child in children)
        others = [counts[v] for v in range(10) if v != 5]
        assert all(abs(n - 100) < 45 for n in others), counts  # 20000 * 0.05 / 10: also the value it had


def test_order_of_results_does_not_matter() -> None:
    runs = [finish(search(), k, slots) for k, slots in ((0, 1), (1, 7), (2, 50))]
    assert runs[0] == runs[1] == runs[2]
    assert [trial.id for trial in runs[0]] == list(range(1, 101))
    assert [trial.generation for trial in runs[0]] == [g for g in range(5) for _ in range(20)]


def test_seeds_give_different_searches() -> None:
    assert finish(search(seed=1)) != finish(search(seed=2))


def test_fitness_rises() -> None:
    trials = finish(search(population=100, generations=12))
    means = [np.mean([fitness(t.genome) for t in trials if t.generation == g]) for g in range(12)]
    assert means[-1] > means[0] + 0.2
    assert max(fitness(t.genome) for t in trials) > 0.95


def test_without_operators_children_are_survivors() -> None:
    ga = search(mutation=0.0)
    ga._settings.crossover = 0.0
    trials = finish(ga)
    for g in range(1, 5):
        parents = [t.genome for t in trials if t.generation == g - 1]
        alive = set(survivors(parents, [fitness(p) for p in parents]))
        assert {t.genome for t in trials if t.generation == g} <= alive


def test_longest_expected_go_first() -> None:
    ga = search(cost=lambda g: float(g.values[0]))
    first = [t.genome.values[0] for t in ask(ga, 20)]
    assert first == sorted(first, reverse=True)


def test_ask_waits_for_the_generation() -> None:
    ga = search()
    trials = ask(ga, 100)
    assert len(trials) == 20 and ga.ask() is None
    for trial in trials[:-1]:
        ga.tell(trial, Result(trial.id, "ok", 0.5))
    assert ga.ask() is None and not ga.finished
    ga.tell(trials[-1], Result(trials[-1].id, "crashed"))
    assert ga.ask() is not None


def test_a_result_that_was_not_asked_for_is_refused() -> None:
    ga = search()
    first, *_ = ask(ga, 3)
    ga.tell(first, Result(first.id, "ok", 0.5))
    waiting = next(id for id in range(1, 21) if id in ga._waiting)
    for id in (0, first.id, waiting, 21):
        with pytest.raises(KeyError):
            ga.tell(replace(first, id=id), Result(id, "ok", 0.5))


def test_earlier_versions_orders_within_a_generation_are_taken_and_other_trials_are_not() -> None:
    ga, fresh = search(cost=lambda g: float(g.values[0])), search()
    recorded = ask(fresh, 7)
    for trial in recorded:
        ga.asked(trial)
    rest = ask(ga, 20)
    assert [t.genome.values[0] for t in rest] == sorted((t.genome.values[0] for t in rest), reverse=True)
    assert {t.id for t in rest} | {t.id for t in recorded} == set(range(1, 21)) and len(rest) == 13
    for other in (recorded[0], replace(rest[0], seed=7), replace(rest[0], id=77)):
        with pytest.raises(OtherTrial):
            ga.asked(other)
