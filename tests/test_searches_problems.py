"""The problems of tests/bench/searches: what is said of their optima, failures and tables is so."""
from __future__ import annotations

import io
import pickle
from collections import Counter

import numpy as np
import pytest

from menndl_caffe.genome import ChoiceGene
from tests.bench.searches import make_table
from tests.bench.searches.problems import cifar10_quick, landscape, synthetic, tables
from tests.bench.searches.problems.landscape import rng


def drawn(problem: str, instance: int, number: int) -> list:
    space = landscape(problem, instance).space
    return [space.from_unit(u) for u in np.random.RandomState(5).random_sample((number, len(space.genes)))]


@pytest.mark.parametrize("problem", synthetic.SPACES)
def test_no_genome_is_better_than_the_optimum(problem: str) -> None:
    genes, failing = synthetic.SPACES[problem]
    valley = synthetic.Valley(genes(), failing, rng(problem, 3))
    ground = landscape(problem, 3)
    assert ground.regret(valley.optimum) == pytest.approx(0, abs=1e-9) and ground.cost(valley.optimum) is not None
    assert min(map(ground.regret, drawn(problem, 3, 2000))) > 0


@pytest.mark.parametrize("problem", synthetic.SPACES)
def test_the_default_says_nothing_of_the_optimum(problem: str) -> None:
    """It is as far from it as any other genome that does not fail."""
    places = []
    for instance in range(40):
        ground = landscape(problem, instance)
        others = [ground.regret(genome) for genome in drawn(problem, instance, 50) if ground.cost(genome) is not None]
        places.append(np.mean([ground.regret(ground.space.default) > other for other in others]))
    assert 0.35 < np.mean(places) < 0.65


@pytest.mark.parametrize("problem", synthetic.SPACES)
def test_a_share_fails(problem: str) -> None:
    ground = landscape(problem, 0)
    failed = sum(ground.cost(genome) is None for genome in drawn(problem, 0, 2000)) / 2000
    assert failed == pytest.approx(synthetic.SPACES[problem][1], abs=0.015)


def test_instances_differ_and_are_the_same_everywhere() -> None:
    costs = [landscape("quick6", i).cost(genome) for i, genome in enumerate(drawn("quick6", 0, 1) * 2)]
    assert costs == pytest.approx([0.3482316079112034, 0.7482593696160498])


def test_the_table_is_a_whole_grid() -> None:
    lines, space = cifar10_quick.read(), landscape("cifar10_quick", 0).space
    genomes = Counter(space.from_dict({gene: int(line[gene]) for gene in cifar10_quick.GENES}) for line in lines)
    grid = make_table.grid(space)
    assert set(genomes) == set(grid) and len(grid) == 486
    assert Counter(genomes.values()) == {1: 436, 3: 50} and {line["status"] for line in lines} == {"ok"}
    assert min(landscape("cifar10_quick", 1).regret(genome) for genome in grid) == 0


def test_a_pickle_that_asks_for_code_is_refused() -> None:
    pickled = io.BytesIO(pickle.dumps(ChoiceGene("x", ("a",), "a")))
    with pytest.raises(pickle.UnpicklingError, match="asks for menndl_caffe.genome.ChoiceGene"):
        tables.DataUnpickler(pickled).load()
