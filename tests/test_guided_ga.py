"""GUIDED_GA and BO: what the model is told, when it is fitted, and what comes of it."""
from __future__ import annotations

import math
from typing import List, Optional

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_caffe.genome import ChoiceGene, Genome, IntGene, RealGene, SearchSpace
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.search.guided_ga import fitted_to, standardized, weighed
from menndl_caffe.trial import OK, Result
from tests.support.landscapes import adjusted, best, between_two_ends, drive, search

SPACE = SearchSpace((IntGene("kernel", 1, 8, 1, 5), IntGene("output", 16, 126, 2, 32),
                     RealGene("rate", 1e-5, 1e-1, True, 1e-3), ChoiceGene("pool", ("MAX", "AVE", "STOCHASTIC"), "MAX")))


def cost(genome: Genome) -> float:
    kernel, output, rate, pool = genome.values
    return ((int(kernel) - 3) / 8) ** 2 + ((int(output) - 80) / 110) ** 2 + (math.log10(float(rate)) + 2.2) ** 2 / 16 \
        + (0.1 if pool == "MAX" else 0.0)


@pytest.mark.parametrize("kind", ["GUIDED_GA", "BO"])
@pytest.mark.parametrize("slots", [1, 20])
def test_it_is_far_ahead_of_chance(kind: str, slots: int) -> None:
    ours = [best(drive(search(SPACE, kind, seed), cost, 50, slots)) for seed in range(2)]
    chance = [best(drive(search(SPACE, "RANDOM", seed), cost, 50, slots)) for seed in range(2)]
    assert max(ours) < min(chance) / 3, (ours, chance)


def test_who_asks_at_the_same_time_gets_another_individual() -> None:
    """Without belief in what is being trained all would get the same region, if not the same genome."""
    of = search(SPACE, "GUIDED_GA")
    for _, known in zip(range(10), iter(lambda: of.ask(), None)):
        of.tell(known, Result(known.id, OK, cost(known.genome)))
    asked = [of.ask().genome for _ in range(15)]
    assert len(set(asked)) == 15
    points = np.array([SPACE.to_unit(genome) for genome in asked])
    assert points.std(axis=0).max() > 0.1


@given(st.lists(st.one_of(st.none(), st.integers(-9, 9), st.integers(-10**9, 10**9)), min_size=1, max_size=30))
def test_bad_costs_are_clipped_and_failures_are_the_worst(costs: List[Optional[int]]) -> None:
    y = standardized(costs)
    known = [value for value in costs if value is not None]
    assert np.isfinite(y).all() and abs(y.mean()) < 1e-6 and (abs(y.std() - 1) < 1e-6 or not y.any())
    if known:
        assert y[costs.index(min(known))] == y.min()
    for value, each in zip(costs, y):
        if value is None:
            assert each == y.max()


def test_one_huge_loss_does_not_hide_all_other_differences() -> None:
    """By hand: median 3, best 1, so that nothing costs more than 5."""
    y = standardized([1.0, 2.0, 3.0, 4.0, 1e7, None])
    clipped = np.array([1.0, 2.0, 3.0, 4.0, 1e7, 0.0])
    clipped[4:] = 2 * 3.0 - 1.0
    np.testing.assert_allclose(y, (clipped - clipped.mean()) / clipped.std())


def test_it_gets_by_with_failures_and_huge_losses() -> None:
    """A region that fails, one of losses of 10^7."""
    def wild(genome: Genome) -> Optional[float]:
        if int(genome.values[0]) == 4:
            return None
        return 1e7 if int(genome.values[1]) < 40 else cost(genome)

    for seed in range(2):
        asked = drive(search(SPACE, "GUIDED_GA", seed), wild, 50, 4)
        assert best(asked) < 0.02
        assert sum(each is None or each > 1 for _, each in asked[20:]) < 15


def test_fits_come_at_fixed_numbers_of_results() -> None:
    assert [fitted_to(n, 6) for n in range(4, 12)] == [4, 5, 6, 7, 8, 9, 10, 11]
    sizes = sorted({fitted_to(n, 6) for n in range(4, 401)})
    assert all(b - a == max(1, a // 20) for a, b in zip(sizes, sizes[1:]))
    assert 60 < len(sizes) < 110


def test_several_objectives_are_weighed_as_by_knowles() -> None:
    costs = [(1.0, 30.0), (2.0, 20.0), (3.0, 10.0)]
    z = math.sqrt(1.5)  # a step of 1 or 10, in standard deviations
    raw = np.array([0.75 * 2 * z + 0.05 * 0.75 * 2 * z, 0.75 * z + 0.05 * (0.25 + 0.75) * z,
                    0.25 * 2 * z + 0.05 * 0.25 * 2 * z])
    np.testing.assert_allclose(weighed(list(costs), 2, np.array([0.25, 0.75])), (raw - raw.mean()) / raw.std(),
                               atol=1e-12)


def test_two_objectives_have_a_front_from_end_to_end() -> None:
    found = between_two_ends("GUIDED_GA", 60)
    near = [a for costs, a in found if costs[0] - abs(a - 0.2) < 0.1 and 0.15 < a < 0.85]
    assert min(near) < 0.3 and max(near) > 0.7 and any(0.4 < a < 0.6 for a in near), sorted(near)


def test_all_failed_and_all_equal_are_no_trouble() -> None:
    for value in (None, 0.5):
        asked = drive(search(SPACE, "GUIDED_GA"), lambda genome, value=value: value, 30, 3)  # type: ignore[misc]
        assert len({genome for genome, _ in asked}) == 30


def test_earlier_individuals_take_the_place_of_the_design() -> None:
    earlier = [(genome, (cost(genome),)) for genome, _ in drive(search(SPACE, "SOBOL", 5), cost, 40)]
    earlier.sort(key=lambda pair: pair[1])
    first = best(drive(search(SPACE, "GUIDED_GA", 2, earlier=earlier, first=[earlier[0][0]]), cost, 12))
    assert first < earlier[0][1][0] / 2 and first < best(drive(search(SPACE, "GUIDED_GA", 2), cost, 12))


def test_more_results_than_the_model_takes() -> None:
    """It is given the best of the old ones and the newest."""
    from menndl_caffe.search.guided_ga import NEW, OLD, _kept

    y = np.random.RandomState(1).standard_normal(OLD + NEW + 500)
    kept = _kept(y)
    assert len(kept) == OLD + NEW and (np.diff(kept) > 0).all()
    old = y[kept[:OLD]]
    assert kept[OLD:].tolist() == list(range(len(y) - NEW, len(y)))
    assert old.max() <= np.delete(y[:-NEW], kept[:OLD]).min()


def test_settings_are_used() -> None:
    message = menndl_pb2.SearchParameter(type="GUIDED_GA")
    message.guided_ga_param.design = 12
    asked = [genome for genome, _ in drive(adjusted(SPACE, message), cost, 14)]
    design = [genome for genome, _ in drive(search(SPACE, "ASYNC_GA"), cost, 14)]
    assert asked[:12] == design[:12] and asked[12] != design[12]
