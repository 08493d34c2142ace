"""The Gaussian process against other ways to the same numbers: inverses, finite differences, quadrature, series."""
from __future__ import annotations

import math
from typing import Tuple

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from menndl_caffe.search import gaussian_process as gp

CHOICES = np.array([False, True, False])


def data(n: int, seed: int = 1) -> Tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(seed)
    x = np.column_stack([rng.random_sample(n), rng.randint(3, size=n), rng.randint(5, size=n) / 4])
    y = np.sin(4 * x[:, 0]) + (x[:, 1] == 1) - x[:, 2] + 0.05 * rng.standard_normal(n)
    return x, (y - y.mean()) / y.std()


def correlation(a: np.ndarray, b: np.ndarray, lengths: np.ndarray) -> float:
    """Matern 5/2 as it stands in Rasmussen and Williams 2006, equation 4.17, of one pair."""
    r = math.sqrt(sum((float(p != q) if choice else p - q) ** 2 / length ** 2
                      for p, q, choice, length in zip(a, b, CHOICES, lengths)))
    return (1 + math.sqrt(5) * r + 5 * r * r / 3) * math.exp(-math.sqrt(5) * r)


def matrix(x: np.ndarray, other: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return np.array([[correlation(a, b, lengths) for b in other] for a in x])


def test_mean_and_deviation_are_those_of_the_textbook() -> None:
    x, y = data(20)
    new, _ = data(7, seed=2)
    lengths, noise = np.array([0.4, 1.3, 0.7]), 0.02
    model = gp.GaussianProcess(x, y, CHOICES, gp.Hyperparameters(lengths, noise))
    inverse = np.linalg.inv(matrix(x, x, lengths) + noise * np.eye(20))
    cross = matrix(new, x, lengths)
    s2 = (y @ inverse @ y + 2) / 22
    mean, deviation = model.mean_and_deviation(new)
    np.testing.assert_allclose(mean, cross @ inverse @ y, rtol=1e-9)
    np.testing.assert_allclose(model.mean(new), mean, rtol=1e-12)
    np.testing.assert_allclose(deviation ** 2, s2 * (1 - np.einsum("ij,jk,ik->i", cross, inverse, cross)), rtol=1e-7)


@pytest.mark.parametrize("theta", [[0.0, 0.5, -1.0, -4.0], [2.0, 2.0, 2.0, 0.5], [-2.0, 1.0, 0.0, -9.0]])
def test_what_is_minimized_is_the_posterior_with_the_best_variance(theta: list) -> None:
    """Up to a constant: the minimum over s2 of -log N(y; 0, s2 K) - log p(s2) - log p(theta), p(s2) ~ e^(-1/s2)/s2."""
    x, y = data(15)
    squares = gp.squared_distances(x, x, CHOICES)

    def direct(theta: np.ndarray) -> float:
        k = matrix(x, x, np.exp(theta[:3])) + math.exp(theta[3]) * np.eye(15)
        best = optimize.minimize_scalar(lambda log: -stats.multivariate_normal(cov=math.exp(log) * k).logpdf(y)
                                        + log + math.exp(-log), bounds=(-8, 8), method="bounded",
                                        options={"xatol": 1e-9})
        prior = stats.norm(math.log(0.3 * math.sqrt(3)), 1).logpdf(theta[:3]).sum()
        return float(best.fun) - prior - stats.norm(math.log(0.01), 2).logpdf(theta[3])

    reference = np.array([0.1, 0.2, 0.3, -3.0])
    ours = gp.objective(np.array(theta), squares, y)[0] - gp.objective(reference, squares, y)[0]
    assert ours == pytest.approx(direct(np.array(theta)) - direct(reference), rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_is_that_of_finite_differences(seed: int) -> None:
    x, y = data(25, seed)
    theta = np.random.RandomState(seed).uniform(-2, 1, 4)
    squares = gp.squared_distances(x, x, CHOICES)
    step = 1e-5 * np.eye(4)
    differences = [(gp.objective(theta + h, squares, y)[0] - gp.objective(theta - h, squares, y)[0]) / 2e-5
                   for h in step]
    np.testing.assert_allclose(gp.objective(theta, squares, y)[1], differences, rtol=1e-5, atol=1e-6)


def test_a_believer_is_the_process_with_its_own_means_as_data() -> None:
    x, y = data(20)
    new, _ = data(6, seed=2)
    hyperparameters = gp.Hyperparameters(np.array([0.4, 1.3, 0.7]), 0.02)
    model = gp.GaussianProcess(x, y, CHOICES, hyperparameters)
    whole = gp.GaussianProcess(np.concatenate([x, new]), np.append(y, model.mean(new)), CHOICES, hyperparameters)
    other, _ = data(9, seed=3)
    for ours, expected in zip(model.believing(new).mean_and_deviation(other), whole.mean_and_deviation(other)):
        np.testing.assert_allclose(ours, expected, rtol=1e-9)
    assert model.lowest == pytest.approx(model.mean(x).min(), rel=1e-9)
    assert (model.mean_and_deviation(new)[1] > model.believing(new).mean_and_deviation(new)[1]).all()


def test_a_fit_finds_what_matters_and_what_is_noise() -> None:
    rng = np.random.RandomState(3)
    x = rng.random_sample((60, 3))
    y = np.sin(6 * x[:, 0]) + 0.1 * rng.standard_normal(60)
    found = gp.fit(x, (y - y.mean()) / y.std(), np.zeros(3, bool))
    assert found.lengths[0] < found.lengths[1:].min() / 2
    assert 1e-3 < found.noise < 0.2
    again = gp.fit(x, (y - y.mean()) / y.std(), np.zeros(3, bool))
    assert found.noise == again.noise and (found.lengths == again.lengths).all()


@pytest.mark.parametrize("z", [3.0, 0.5, -0.999, -1.001, -4.0, -12.0])
def test_the_logarithm_of_expected_improvement_is_that_of_its_integral(z: float) -> None:
    """In units of the deviation: of max(0, z - t) over a standard normal t; the density is scaled where it is tiny."""
    scale = min(z, 0.0) ** 2 / 2
    low = min(z, 0.0)
    integral, _ = integrate.quad(lambda t: (z - t) * math.exp(scale - t * t / 2) / math.sqrt(2 * math.pi),
                                 low - 12, z, points=[low - 1, low - 0.1], epsabs=0, epsrel=1e-11)
    ours = gp.log_expected_improvement(np.array([1.0 - 2 * z]), np.array([2.0]), 1.0)[0]
    assert ours == pytest.approx(math.log(integral) - scale + math.log(2), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("z", [-40.0, -1e3, -1e6, -1e8, -1e12])
def test_it_keeps_its_digits_where_the_improvement_is_next_to_none(z: float) -> None:
    """Against the asymptotic series phi(z) / z^2 (1 - 3/z^2 + 15/z^4)."""
    series = -z * z / 2 - math.log(2 * math.pi) / 2 - 2 * math.log(-z) + math.log1p(-3 / z ** 2 + 15 / z ** 4)
    ours = gp.log_expected_improvement(np.array([-z]), np.array([1.0]), 0.0)[0]
    assert ours == pytest.approx(series, rel=1e-8)
    nearer = gp.log_expected_improvement(np.array([-z * 0.999]), np.array([1.0]), 0.0)[0]
    assert nearer > ours
