"""A Gaussian process over genomes: what is to be expected of one that was not tried, and how sure that is.

| symbol | here | meaning |
|---|---|---|
| n, d | | individuals known, genes |
| x | `x` | coordinates of genomes (cube.py), shape (n, d) |
| y | `y` | their costs, standardized, shape (n,) |
| l | `lengths` | length scale of each gene, shape (d,) |
| g | `noise` | variance of the noise as a part of s2 |
| s2 | | variance of the process, which follows from l and g |
| theta | | (log l, log g), shape (d + 1,) |

Distances (1): D_i = |x_i - x'_i| of numbers, 1 of different choices;  q = sqrt(5 sum_i D_i^2 / l_i^2).
Kernel   (2): k(x, x') = s2 (1 + q + q^2 / 3) exp(-q), Matern with nu = 5/2; with noise K = R + g I, R = k / s2.
Variance (3): s2 = (y' K^-1 y + 2) / (n + 2).
Fit      (4): theta minimizes (n + 2)/2 log s2 + sum_i log L_ii + sum_j (theta_j - mu_j)^2 / (2 sigma_j^2), K = L L',
              log l ~ N(log 0.3 + log(d)/2, 1) (the scaling of Hvarfner et al. 2024), log g ~ N(log 0.01, 2^2).
Gradient (5): W = K^-1 - a a' / s2, a = K^-1 y;  d/dlog l_i = 1/2 sum (W o 5/3 (1 + q) e^-q o D_i^2 / l_i^2),
              d/dlog g = g/2 tr W.
Expected improvement (6): of N(m, s^2) below b: s h(z), z = (b - m)/s, h(z) = phi(z) + z Phi(z); its logarithm by Ament
              et al. 2023, section 4.1, which keeps its digits where the improvement is next to none.
"""
from __future__ import annotations

import math
from copy import copy
from typing import NamedTuple, Tuple

import numpy as np
from scipy import linalg, optimize, special
from scipy.spatial.distance import cdist

LENGTH, NOISE = math.log(0.3), math.log(0.01)  # centres of the prior of theta; log(d)/2 comes to the first
LENGTH_SIGMA, NOISE_SIGMA = 1.0, 2.0
BOUNDS = ((math.log(0.01), math.log(300.0)), (math.log(1e-6), math.log(10.0)))  # of each log l, and of log g
STARTS = ((0.0, NOISE), (-1.0, NOISE + 2.0))  # of a fit: log l from its centre, log g
STEPS = 60  # of L-BFGS from each
CLOSE = -1 / math.sqrt(np.finfo(float).eps)  # z below which h(z) is its first term


class Hyperparameters(NamedTuple):
    """Of a kernel."""

    lengths: np.ndarray
    noise: float


def squared_distances(x: np.ndarray, other: np.ndarray, choices: np.ndarray) -> np.ndarray:
    """D_i^2 of (1), shape (d, n, m); `choices` says which genes are such, shape (d,)."""
    apart = x.T[:, :, None] - other.T[:, None, :]
    return np.where(choices[:, None, None], apart != 0, apart * apart)


def matern(q: np.ndarray) -> np.ndarray:
    """R of (2)."""
    return (1 + q * (1 + q / 3)) * np.exp(-q)


def fit(x: np.ndarray, y: np.ndarray, choices: np.ndarray) -> Hyperparameters:
    """Equation (4), from fixed starts: so the same data always have the same fit, whoever fitted before."""
    d = x.shape[1]
    squares = squared_distances(x, x, choices)
    centre = LENGTH + math.log(d) / 2
    found = [optimize.minimize(objective, np.append(np.full(d, centre + length), noise), (squares, y), jac=True,
                               method="L-BFGS-B", bounds=[BOUNDS[0]] * d + [BOUNDS[1]], options={"maxiter": STEPS})
             for length, noise in STARTS]
    best = min(found, key=lambda result: float(result.fun)).x
    return Hyperparameters(np.exp(best[:-1]), float(np.exp(best[-1])))


def objective(theta: np.ndarray, squares: np.ndarray, y: np.ndarray) -> Tuple[float, np.ndarray]:
    """Equation (4) and its gradient (5); `squares` of shape (d, n, n)."""
    d, n = len(squares), len(y)
    weights, noise = np.exp(-2 * theta[:-1]), math.exp(theta[-1])
    q = np.sqrt(5 * np.tensordot(weights, squares, 1))
    lower = linalg.cholesky(matern(q) + noise * np.eye(n), lower=True, check_finite=False)
    a = linalg.cho_solve((lower, True), y, check_finite=False)
    s2 = (y @ a + 2) / (n + 2)
    off = theta - np.append(np.full(d, LENGTH + math.log(d) / 2), NOISE)
    sigma = np.append(np.full(d, LENGTH_SIGMA), NOISE_SIGMA)
    value = (n + 2) / 2 * math.log(s2) + np.log(np.diag(lower)).sum() + (off * off / (2 * sigma ** 2)).sum()
    w = _inverse(lower) - np.outer(a, a) / s2
    by_length = weights / 2 * (squares.reshape(d, -1) @ (w * 5 / 3 * (1 + q) * np.exp(-q)).ravel())
    return value, np.append(by_length, noise / 2 * np.trace(w)) + off / sigma ** 2


def _inverse(lower: np.ndarray) -> np.ndarray:
    """K^-1 from its Cholesky factor."""
    half = np.tril(linalg.lapack.dpotri(lower, lower=1)[0])
    return half + np.tril(half, -1).T


class GaussianProcess:
    """The process given data: coordinates `x`, shape (n, d), and costs `y`, shape (n,)."""

    def __init__(self, x: np.ndarray, y: np.ndarray, choices: np.ndarray, hyperparameters: Hyperparameters):
        self._x, self._y, self._choices, self._hyper = x, y, choices, hyperparameters
        self._lower = self._factor(self._correlation(x, x))
        self._solve()

    def believing(self, x: np.ndarray) -> GaussianProcess:
        """The process that has been told its own mean at `x`, shape (m, d), as if these were results too.

        The Cholesky factor grows by m rows: [[L, 0], [B, C]] with B' = L^-1 K(X, x), C C' = K(x, x) - B B'.
        """
        grown = copy(self)
        across = linalg.solve_triangular(self._lower, self._correlation(self._x, x), lower=True, check_finite=False)
        corner = self._factor(self._correlation(x, x) - across.T @ across)
        grown._x, grown._y = np.concatenate([self._x, x]), np.append(self._y, self.mean(x))
        grown._lower = np.block([[self._lower, np.zeros_like(across)], [across.T, corner]])
        grown._solve()
        return grown

    def mean(self, x: np.ndarray) -> np.ndarray:
        """What is to be expected at `x`."""
        return self._correlation(x, self._x) @ self._a

    @property
    def lowest(self) -> float:
        """The lowest mean at a point of the data."""
        return float((self._y - self._hyper.noise * self._a).min())  # K a = y, and the mean is R a

    def mean_and_deviation(self, x: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """The mean, and its standard deviation, that of the noise not included."""
        correlation = self._correlation(self._x, x)
        explained = linalg.solve_triangular(self._lower, correlation, lower=True, check_finite=False)
        variance = np.maximum(1 - np.einsum("ij,ij->j", explained, explained), 1e-12)
        return self._a @ correlation, np.sqrt(self._s2 * variance)

    def _factor(self, correlation: np.ndarray) -> np.ndarray:
        return linalg.cholesky(correlation + self._hyper.noise * np.eye(len(correlation)), lower=True,
                               check_finite=False)

    def _solve(self) -> None:
        self._a = linalg.cho_solve((self._lower, True), self._y, check_finite=False)
        self._s2 = (self._y @ self._a + 2) / (len(self._y) + 2)

    def _correlation(self, x: np.ndarray, other: np.ndarray) -> np.ndarray:
        weights, choices = self._hyper.lengths ** -2.0, self._choices
        numbers = np.sqrt(weights) * ~choices  # 0 for choices, which are no numbers
        scaled = cdist(x * numbers, other * numbers, "sqeuclidean")
        for i in np.flatnonzero(choices):
            scaled += weights[i] * (x[:, i, None] != other[None, :, i])
        return matern(np.sqrt(5 * scaled))


def log_expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """The logarithm of (6)."""
    z = (best - mean) / deviation
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # of branches that are not taken
        near = np.log(np.exp(-z * z / 2) / math.sqrt(2 * math.pi) + z * special.ndtr(z))
        ratio = special.erfcx(-z / math.sqrt(2)) * -z * math.sqrt(math.pi / 2)
        far = -z * z / 2 - math.log(2 * math.pi) / 2 + np.log1p(-ratio)
        very_far = -z * z / 2 - math.log(2 * math.pi) / 2 - 2 * np.log(-z)
    return np.where(z > -1, near, np.where(z > CLOSE, far, very_far)) + np.log(deviation)
