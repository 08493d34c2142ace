"""Points of the unit cube, and the odds with which children differ from their parents."""
from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_caffe.genome import ChoiceGene, IntGene, RealGene, SearchSpace
from menndl_caffe.search.cube import Cube
from menndl_caffe.search.operators import Operators

SPACE = SearchSpace((IntGene("kernel", 1, 9, 2, 5), ChoiceGene("pool", ("MAX", "AVE", "STOCHASTIC"), "MAX"),
                     RealGene("rate", 1e-5, 1e-1, True, 1e-3), IntGene("one", 4, 4, 1, 4)))
CUBE = Cube(SPACE)
GENOMES = st.tuples(*[st.floats(0, 1, exclude_max=True)] * 4).map(SPACE.from_unit)


@given(st.lists(GENOMES, min_size=1, max_size=5))
def test_points_are_genomes(genomes: list) -> None:
    points = CUBE.points(genomes)
    assert [CUBE.genome(point) for point in points] == genomes
    np.testing.assert_allclose(CUBE.at_levels(CUBE.levels(points)), points, atol=1e-12)
    coordinates = CUBE.coordinates(points)
    for genome, row in zip(genomes, coordinates):
        kernel, pool, _, _ = genome.values
        assert row[0] == (int(kernel) - 1) / 8 and row[1] == ("MAX", "AVE", "STOCHASTIC").index(str(pool))


def test_the_spread_fills_the_cube_better_than_chance() -> None:
    """Of 4^3 cells 150 of its points meet all; of points drawn by chance some stay empty."""
    cube = Cube(SearchSpace(tuple(RealGene(name, 0, 1, False, 0.5) for name in "abc")))
    points = np.array([cube.spread(i, np.array([0.3, 0.6, 0.9])) for i in range(150)])
    assert len({tuple(cell) for cell in np.floor(points * 4).astype(int)}) == 64
    assert (0 <= points).all() and (points < 1).all()
    chance = np.random.RandomState(1).random_sample((150, 3))
    assert len({tuple(cell) for cell in np.floor(chance * 4).astype(int)}) < 62


@given(GENOMES, st.integers(0, 2**31 - 1), st.floats(0.01, 3))
def test_a_mutant_is_another_genome_of_the_space(genome: object, seed: int, width: float) -> None:
    points = CUBE.points([genome] * 30)  # type: ignore[list-item]
    for mutant in Operators(CUBE).mutants(points, np.random.RandomState(seed), width):
        assert ((0 <= mutant) & (mutant <= 1)).all()
        made = CUBE.genome(mutant)
        for gene, value in zip(SPACE.genes, made.values):
            gene.parse(str(value))


def test_the_odds_of_mutation() -> None:
    """Binomial bounds of 4.5 standard deviations, n = 20,000. A gene is hit with probability 1.5/4, or as the one of
    four that always is: 1 - (1 - 0.375)(1 - 1/4) = 0.531."""
    n = 20_000
    start = SPACE.default
    points = CUBE.points([start] * n)
    made = [CUBE.genome(point) for point in Operators(CUBE).mutants(points, np.random.RandomState(1))]
    changed = [sum(genome.values[i] != start.values[i] for genome in made) for i in range(4)]
    assert all(abs(number - 0.53125 * n) < 320 for number in changed[:3]) and changed[3] == 0, changed
    pools = Counter(genome.values[1] for genome in made)
    assert abs(pools["AVE"] - pools["STOCHASTIC"]) < 470
    kernels = Counter(genome.values[0] for genome in made)
    # near: |0.15 * 4 * N| < 1.5 steps in 98.8% of 80% -> one step; afresh: each other value in a quarter of 20%
    one, two = kernels[3] + kernels[7], kernels[1] + kernels[9]
    share = 0.2 * 0.5 + 0.8 * 0.98758
    assert abs(one - share * changed[0]) < 4.5 * (share * (1 - share) * changed[0]) ** 0.5
    assert one + two == changed[0]


def test_a_whole_number_always_moves() -> None:
    """Also where its way is reflected at an end, and where it has two values only."""
    for size, level in [(n, k) for n in (2, 3, 5, 40) for k in range(n)]:
        cube = Cube(SearchSpace((IntGene("n", 0, size - 1, 1, level),)))
        points = cube.points([cube.genome(cube.at_levels(np.array([float(level)])))] * 400)
        moved = cube.levels(Operators(cube).mutants(points, np.random.RandomState(level), width=0.5))[:, 0]
        assert level not in moved and set(moved) <= set(range(size))


def test_the_odds_of_crossover() -> None:
    """Without mutation's share: of the genes that differ between parents and are not hit."""
    n = 8000
    space = SearchSpace(tuple(ChoiceGene(name, tuple(str(i) for i in range(50)), "0") for name in "abcd"))
    cube = Cube(space)
    first, second = (cube.points([space.genome([value] * 4)] * n) for value in ("10", "20"))
    made = cube.levels(Operators(cube, crossover=0.6, mutations=1e-9).children(first, second, np.random.RandomState(2)))
    kinds = Counter("mixed" if 20 in row else "copy" for row in made)
    # one gene of four is mutated (to 10 or 20 in 1 of 49 cases each): a crossed child is seen with 1 - 1/2^3
    assert abs(kinds["mixed"] - 0.6 * (7 / 8 + 1 / 8 / 49) * n) < 230
    assert abs((made == 20).sum() / (made == 10).sum() - 0.3 / 0.7) < 0.02


@pytest.mark.parametrize("spans", [(1, 1), (1, 2)])
def test_spaces_of_a_single_genome(spans: tuple) -> None:
    space = SearchSpace(tuple(IntGene(name, 1, span, 1, 1) for name, span in zip("ab", spans)))
    cube = Cube(space)
    made = Operators(cube).mutants(cube.points([space.default] * 50), np.random.RandomState(1))
    assert {cube.genome(point).values for point in made} <= set(product(*(range(1, span + 1) for span in spans)))
