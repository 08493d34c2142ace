"""What trainings from new seeds say of individuals, and of their differences to the default.

| symbol | here | meaning |
|---|---|---|
| k | | individuals that were trained again |
| n_i | `Mean.count` | values of individual i, one for each seed whose training did not fail; n_0 of the default |
| m_i, s_i^2 | `Mean.mean`, `Mean.variance` | their mean, and their variance: the sum of squares by n_i - 1 |
| d, e, nu | `Difference` | m_i - m_0, its standard error, and the degrees of freedom of that |
| a, b | `Mean.bounds` | between which all values lie: 0 and 1 of an accuracy, else infinite |
| F, t_q(nu) | student_t | Student's distribution, and its quantile of probability q |
| s^2, v_i | `shrunk` | variance of one training, of all k together; v_i = s^2 / n_i, that of a mean |
| mu, tau^2 | `shrunk` | the mean of the k means, and the variance of what they would be without chance |
| theta_i | `shrunk` | what individual i can be expected to give with more seeds |

The seeds of different genes are different, so nothing is paired. Welch 1947:

    e^2 = s_i^2 / n_i + s_0^2 / n_0,   nu = e^4 / ((s_i^2 / n_i)^2 / (n_i - 1) + (s_0^2 / n_0)^2 / (n_0 - 1))     (1)
    95% interval: d - t_0.975(nu) e  to  d + t_0.975(nu) e;   of one mean: m_i +- t_0.975(n_i - 1) s_i / sqrt(n_i)  (2)
    what of an interval lies beyond a or b, of a difference beyond -(b - a) or b - a, is cut off
    chance that i is no better: F(-d / e; nu) where more is better, F(d / e; nu) where less is                      (3)

A cut interval covers as often as a whole one: no true value lies in what is cut off.

(3) is the one-sided p-value, and with a flat prior the probability that the true difference is 0 or of the wrong sign.

The best of k means is the best partly by luck. Empirical Bayes takes that back: each mean is shrunk towards the mean of
all, the more, the less the k differ by more than chance (James and Stein 1961; Efron and Morris 1975; moments as in
DerSimonian and Laird 1986):

    s^2 = sum_i (n_i - 1) s_i^2 / sum_i (n_i - 1)                                                                   (4)
    tau^2 = max(0, sum_i (m_i - mu)^2 / (k - 1) - sum_i v_i / k)                                                    (5)
    theta_i = mu + (m_i - mu) tau^2 / (tau^2 + v_i)                                                                 (6)
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import numpy as np

from menndl_caffe.report.student_t import below, quantile

LEVEL = 0.95  # of all intervals
Interval = Tuple[float, float]
NONE: Interval = (-math.inf, math.inf)  # no bounds


@dataclass(frozen=True)
class Mean:
    """The mean of some values, at least one; a variance and an interval need two."""

    count: int
    mean: float
    variance: Optional[float]
    bounds: Interval = NONE

    @staticmethod
    def of(values: Sequence[float], bounds: Interval = NONE) -> Optional[Mean]:
        """Of values that lie between the bounds; None of no values."""
        if not values:
            return None
        variance = float(np.var(values, ddof=1)) if len(values) > 1 else None
        return Mean(len(values), float(np.mean(values)), variance, bounds)

    @property
    def interval(self) -> Optional[Interval]:
        """(2)."""
        if self.variance is None:
            return None
        reach = quantile((1 + LEVEL) / 2, self.count - 1) * math.sqrt(self.variance / self.count)
        return _cut(self.mean - reach, self.mean + reach, self.bounds)


@dataclass(frozen=True)
class Difference:
    """A mean above another one."""

    value: float  # d
    error: float  # e
    freedom: float  # nu; infinite where nothing varies
    bounds: Interval = NONE

    @staticmethod
    def of(one: Mean, other: Mean) -> Optional[Difference]:
        """(1); None where one has no variance."""
        if one.variance is None or other.variance is None:
            return None
        shares = [(mean.variance or 0.0) / mean.count for mean in (one, other)]
        below_line = sum(share ** 2 / (mean.count - 1) for share, mean in zip(shares, (one, other)))
        freedom = sum(shares) ** 2 / below_line if below_line else math.inf
        bounds = one.bounds[0] - other.bounds[1], one.bounds[1] - other.bounds[0]
        return Difference(one.mean - other.mean, math.sqrt(sum(shares)), freedom, bounds)

    @property
    def interval(self) -> Interval:
        """(2)."""
        reach = quantile((1 + LEVEL) / 2, self.freedom) * self.error if self.error else 0.0
        return _cut(self.value - reach, self.value + reach, self.bounds)

    def chance(self, minimize: bool) -> float:
        """(3), in [0, 1]."""
        gain = -self.value if minimize else self.value
        if not self.error:
            return float(gain <= 0)
        return below(-gain / self.error, self.freedom)


def _cut(low: float, high: float, bounds: Interval) -> Interval:
    return max(low, bounds[0]), min(high, bounds[1])


def shrunk(means: Sequence[Mean]) -> List[float]:
    """(4) to (6), in the order of the means; these as they are, where there are fewer than two, or no variance."""
    found = np.array([mean.mean for mean in means])
    freedom = sum(mean.count - 1 for mean in means)
    if len(means) < 2 or not freedom:
        return [float(value) for value in found]
    of_one = sum((mean.count - 1) * (mean.variance or 0.0) for mean in means) / freedom
    of_mean = of_one / np.array([mean.count for mean in means])
    centre = found.mean()
    between = max(0.0, float(found.var(ddof=1) - of_mean.mean()))
    total = between + of_mean
    kept = np.divide(between, total, out=np.ones_like(total), where=total > 0)
    return [float(value) for value in centre + (found - centre) * kept]
