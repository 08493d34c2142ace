"""Student's t distribution, by numbers alone.

| symbol | here | meaning |
|---|---|---|
| t | `t` | a difference over its estimated standard error |
| nu | `freedom` | degrees of freedom, more than 0; they need not be whole |
| F(t; nu) | `below` | probability of a value below t |
| I_x(a, b) | `_beta` | regularised incomplete beta function |

    F(t; nu) = 1 - I_x(nu/2, 1/2) / 2  for t >= 0, with x = nu / (nu + t^2);  F(-t; nu) = 1 - F(t; nu)      (1)
    I_x(a, b) = x^a (1 - x)^b / (a B(a, b)) / (1 + d_1/(1 + d_2/(1 + ...)))                                 (2)
    d_(2m) = m (b - m) x / ((a + 2m - 1)(a + 2m)),  d_(2m+1) = -(a + m)(a + b + m) x / ((a + 2m)(a + 2m + 1))

(1) and (2) are 26.7.1 and 26.5.8 of Abramowitz and Stegun 1964; the fraction is summed as Lentz does. It converges fast
where x < (a + 1) / (a + b + 2); elsewhere I_x(a, b) = 1 - I_(1-x)(b, a).
"""
from __future__ import annotations

import math
from typing import Iterator

TERMS = 10_000  # of the fraction, at most; a few dozen do
SMALL = 1e-300  # in place of a denominator of 0


def below(t: float, freedom: float) -> float:
    """Probability of a value below t, in [0, 1]."""
    tail = _beta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2
    return tail if t < 0 else 1 - tail


def quantile(probability: float, freedom: float) -> float:
    """The t below which a value is with this probability, 0.5 <= probability < 1."""
    high = 1.0
    while below(high, freedom) < probability:
        high *= 2
    low = 0.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if below(middle, freedom) < probability else (low, middle)
    return high


def _beta(x: float, a: float, b: float) -> float:
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_front) / a / _fraction(_terms(x, a, b))


def _terms(x: float, a: float, b: float) -> Iterator[float]:
    """d_1, d_2, ..."""
    for m in range(TERMS):
        yield -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        yield (m + 1) * (b - m - 1) * x / ((a + 2 * m + 1) * (a + 2 * m + 2))


def _fraction(terms: Iterator[float]) -> float:
    """1 + d_1/(1 + d_2/(1 + ...)), until a term changes nothing."""
    value, numerator, denominator = 1.0, 1.0, 0.0
    for term in terms:
        denominator = 1 / ((1 + term * denominator) or SMALL)
        numerator = (1 + term / numerator) or SMALL
        factor = numerator * denominator
        value *= factor
        if abs(factor - 1) < 1e-15:
            break
    return value
