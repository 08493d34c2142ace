"""What new seeds say: Student's distribution, intervals, the chance of being no better, and shrinkage."""
from __future__ import annotations

import math
from typing import List, Optional

import numpy as np
import pytest

from menndl_caffe.report.confirmed import Difference, Mean, shrunk
from menndl_caffe.report.student_t import below, quantile

BEST, DEFAULT = [0.346, 0.351, 0.301, 0.360, 0.340], [0.299, 0.240, 0.315, 0.280]


def mean_of(values: List[float]) -> Mean:
    found = Mean.of(values)
    assert found is not None
    return found


def difference_of(one: List[float], other: List[float]) -> Difference:
    found = Difference.of(mean_of(one), mean_of(other))
    assert found is not None
    return found


@pytest.mark.parametrize("freedom", [0.7, 1, 1.9, 2, 4.3, 8, 30, 1000])
def test_students_distribution_is_scipys(freedom: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    for t in (-40.0, -2.0, -0.1, 0.0, 0.5, 3.0, 60.0):
        assert below(t, freedom) == pytest.approx(stats.t.cdf(t, freedom), rel=1e-9, abs=1e-13)
    for probability in (0.5, 0.7, 0.975, 0.999):
        assert quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("t, freedom, probability", [
    (1.0, 1, 0.75), (math.sqrt(2), 2, 0.5 + 1 / math.sqrt(8)), (0.0, 5, 0.5),  # in closed form
    (12.706, 1, 0.975), (2.776, 4, 0.975), (2.306, 8, 0.975), (1.96, 1e6, 0.975)])  # of printed tables
def test_students_distribution(t: float, freedom: float, probability: float) -> None:
    assert below(t, freedom) == pytest.approx(probability, abs=2e-5)
    assert below(-t, freedom) == pytest.approx(1 - probability, abs=2e-5)
    assert quantile(probability, freedom) == pytest.approx(t, rel=1e-3, abs=1e-9)


def test_a_difference_is_welchs() -> None:
    stats = pytest.importorskip("scipy.stats")
    found, theirs = difference_of(BEST, DEFAULT), stats.ttest_ind(BEST, DEFAULT, equal_var=False)
    assert found.value / found.error == pytest.approx(theirs.statistic)
    assert 2 * found.chance(minimize=False) == pytest.approx(theirs.pvalue)
    low, high = found.interval
    assert (low, high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    of_one = stats.t.interval(0.95, len(BEST) - 1, np.mean(BEST), stats.sem(BEST))
    assert mean_of(BEST).interval == pytest.approx(of_one)


def test_intervals_cover_what_they_say() -> None:
    """Of 2,000 pairs of unequal size and spread, 95% of the intervals have the true difference in them."""
    rng, covered = np.random.RandomState(1), 0
    for _ in range(2000):
        one, other = rng.normal(0.5, 0.03, 5).tolist(), rng.normal(0.4, 0.01, 3).tolist()
        low, high = difference_of(one, other).interval
        covered += low <= 0.1 <= high
    assert 0.93 < covered / 2000 < 0.975


def test_intervals_of_accuracies_are_cut_where_none_can_lie() -> None:
    """Two values each: t = 12.7 standard errors to both sides, of 0.02 and 0.1."""
    high, low = Mean.of([0.94, 0.98], (0.0, 1.0)), Mean.of([0.05, 0.25], (0.0, 1.0))
    assert high and low
    reach = quantile(0.975, 1) * 0.02
    assert high.interval == (pytest.approx(0.96 - reach), 1.0) and low.interval == (0.0, 1.0)
    assert mean_of([0.94, 0.98]).interval == pytest.approx((0.96 - reach, 0.96 + reach)), "a loss"
    above, under = Difference.of(high, low), Difference.of(low, high)
    uncut = difference_of([0.94, 0.98], [0.05, 0.25])
    assert above and under and above.interval == (uncut.interval[0], 1.0) == (-under.interval[1], -under.interval[0])
    assert uncut.interval[1] > 1 and above.chance(False) == uncut.chance(False)


def test_cut_intervals_cover_as_often() -> None:
    rng = np.random.RandomState(2)
    cut, whole = [], []
    for values in rng.beta(30, 1, (500, 3)).tolist():
        for bounds, into in (((0.0, 1.0), cut), ((-math.inf, math.inf), whole)):
            low, high = (Mean.of(values, bounds) or mean_of(values)).interval or (0.0, 0.0)
            into.append(low <= 30 / 31 <= high)
    assert cut == whole and 0 < sum(cut) < 500


def test_less_may_be_better() -> None:
    found = difference_of(BEST, DEFAULT)
    assert found.chance(minimize=False) < 0.02 < 0.98 < found.chance(minimize=True)
    assert found.chance(False) + found.chance(True) == pytest.approx(1)
    back = difference_of(DEFAULT, BEST)
    assert back.interval == pytest.approx((-found.interval[1], -found.interval[0]))


def test_where_nothing_varies() -> None:
    found = difference_of([0.5, 0.5], [0.4, 0.4])
    assert found.error == 0 and found.interval == (pytest.approx(0.1),) * 2
    assert (found.chance(False), found.chance(True)) == (0, 1)
    assert difference_of([0.5, 0.5], [0.5, 0.5]).chance(False) == 1, "no better"


def test_one_value_has_no_interval() -> None:
    one = mean_of([0.5])
    assert one.interval is None and Difference.of(one, mean_of(DEFAULT)) is None
    nothing: Optional[Mean] = Mean.of([])
    assert nothing is None


def test_shrinkage_by_hand() -> None:
    """Means 0.3, 0.4, 0.5 of two values each, of variance 0.0002, 0.0002, 0.0008: s^2 = 0.0004, v = 0.0002; the means'
    variance is 0.01, so tau^2 = 0.0098, and 0.98 of each distance to 0.4 is kept."""
    pairs = [[0.29, 0.31], [0.39, 0.41], [0.48, 0.52]]
    assert shrunk([mean_of(pair) for pair in pairs]) == pytest.approx([0.302, 0.4, 0.498])


def test_what_differs_by_chance_alone_is_shrunk_to_one() -> None:
    alike = [mean_of(values) for values in ([0.30, 0.40], [0.31, 0.41], [0.32, 0.38])]
    assert shrunk(alike) == pytest.approx([0.3533333] * 3)
    assert shrunk(alike[:1]) == [0.35]
    assert shrunk([mean_of([0.3]), mean_of([0.4])]) == [0.3, 0.4], "nothing is known of chance"


def test_fewer_seeds_are_shrunk_more() -> None:
    """So the best mean need not be the best."""
    few, many, low = mean_of([0.50, 0.40]), mean_of([0.44, 0.45, 0.46, 0.43, 0.44] * 4), mean_of([0.3, 0.31, 0.29])
    found = shrunk([few, many, low])
    assert few.mean > many.mean and abs(found[0] - few.mean) > abs(found[1] - many.mean)


def test_shrinkage_errs_less() -> None:
    """Over 500 runs whose five best differ little, squared errors of the shrunk means are smaller, as James and Stein
    have it."""
    rng, errors = np.random.RandomState(2), np.zeros(2)
    for _ in range(500):
        truth = rng.normal(0.35, 0.01, 5)
        means = [mean_of(rng.normal(one, 0.03, 4).tolist()) for one in truth]
        errors += [np.sum((shrunk(means) - truth) ** 2), np.sum((np.array([one.mean for one in means]) - truth) ** 2)]
    assert errors[0] < 0.7 * errors[1]
