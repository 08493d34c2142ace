"""Extrapolation of learning curves (Domhan et al. 2015, "Speeding up Automatic Hyperparameter Optimization of Deep
Neural Networks by Extrapolation of Learning Curves"): who is likely to end behind the best so far is stopped. Of their
eleven families four, fitted by least squares, with a bootstrap in the place of their Markov chain.

| symbol | here | meaning |
|---|---|---|
| t_i, y_i | `t`, `y` | test passes so far: iteration, and cost, the lower the better; i = 1 ... n, shape (n,) |
| T | `end` | max_iter |
| x | | t / t_1; at the end X = T / t_1 |
| g(x) | `_Shapes` | falls to 0; its one or two parameters are taken from a grid, shape (shapes, n) |
| c, a | `_Fits` | what the curve comes to, and how far it is above at first |
| w_i | `w` | recency: from 0.1 at the first to 1 at the last in equal ratios, divided by their sum, shape (n,) |
| k | | parameters of a family |
| b | `lowest` | no cost is lower: that of accuracy 1, of loss 0 |

Curve    (1): y(x) = c + a g(x), a >= 0, c >= b.
Families (2): pow3 x^-p;  MMF4 1 / (1 + (q x)^d);  Weibull4 exp(-(q x)^d);  ilog2 1 / log(x + 1).
Fit      (3): of each shape, a = sum w (y - y') (g - g') / sum w (g - g')^2 and c = y' - a g', ' the weighted mean, are
              the least squares; a < 0 becomes 0; where c < b, c = b and a = sum w g (y - b) / sum w g^2. The family's
              best shape has the least S = sum w (y - y(x))^2 (variable projection; Golub and Pereyra 1973).
Weights  (4): of the families, exp(-BIC / 2), BIC = n log S + k log n.
Bootstrap(5): residuals of the family's fit, times sqrt(n / (n - k)), are drawn with replacement and added to it; each
              such curve is fitted as (3) and gives y(X), to which one more residual is added: a test pass is noisy.
Verdict  (6): who has P(y(X) < best) < `probability` is stopped; best is the lowest cost of those that came to T.
"""
from __future__ import annotations

import functools
from typing import Any, Iterator, NamedTuple, Optional

import numpy as np

from menndl_caffe.objective import ACCURACY, LOSS, Objective
from menndl_caffe.search import checkpoints
from menndl_caffe.search.checkpoints import rungs
from menndl_caffe.search.search import Problem, Wrong
from menndl_caffe.trial import Result, Trial

FEWEST = 5  # test passes, of which a curve of four parameters can be made
DRAWS = 100  # of the bootstrap, of each family
POWERS = np.geomspace(0.1, 3, 16)  # p
PLACES = np.geomspace(0.25, 50, 14)  # q X
STEEPNESS = np.geomspace(0.4, 3, 9)  # d
LOWEST = {Objective(ACCURACY): -1.0, Objective(ACCURACY, minimize=True): 0.0, Objective(LOSS, minimize=True): 0.0}  # b


class Forecast(NamedTuple):
    """Draws of the cost at the end with their weights, which sum to 1; both of shape (4 DRAWS,)."""

    costs: np.ndarray
    weights: np.ndarray

    def below(self, cost: float) -> float:
        """The probability of a lower cost."""
        return float(self.weights[self.costs < cost].sum())


class Curve:
    """The rule (rungs.Rule)."""

    def __init__(self, problem: Problem, probability: float):
        self._problem, self._probability = problem, probability
        self._objective = problem.objectives[0]
        self._best: Optional[float] = None

    def learn(self, trial: Trial, result: Result) -> None:
        """See Rule."""
        if result.finished:
            cost = self._objective.cost(result.fitness)
            self._best = cost if self._best is None else min(self._best, cost)

    def goes_on(self, trial: Trial, result: Result) -> bool:
        """Equation (6); also who cannot be judged: the first, one with too few test passes, or one whose learning rate
        will still fall far."""
        points = np.array([point for point in checkpoints.costs(result, self._objective) if point[0] > 0])
        if self._best is None or len(points) < FEWEST or not np.isfinite(points).all() or not self._problem.steady(
                trial.genome, int(points[-1, 0])):
            return True
        found = forecast(points[:, 0], points[:, 1], trial.max_iter, self._problem.rng(trial.id),
                         LOWEST.get(self._objective, -np.inf))
        return found.below(self._best) >= self._probability


def forecast(t: np.ndarray, y: np.ndarray, end: int, rng: np.random.RandomState, lowest: float = -np.inf) -> Forecast:
    """What a curve of at least FEWEST test passes comes to at iteration `end`, by (2) to (5)."""
    n, w = len(t), np.geomspace(0.1, 1, len(t))
    w /= w.sum()
    costs, bic = [], []
    for shapes in _families(tuple(t / t[0]), end / t[0]):
        first = _Fits(shapes, w, y[None], lowest)
        curve = first.curve(shapes)[0]
        residuals = (y - curve) * np.sqrt(n / (n - shapes.parameters))
        drawn = residuals[rng.randint(n, size=(DRAWS, n + 1))]
        costs.append(_Fits(shapes, w, curve + drawn[:, :-1], lowest).end(shapes) + drawn[:, -1])
        bic.append(n * np.log(max(first.squares[0], np.finfo(float).tiny)) + shapes.parameters * np.log(n))
    weights = np.exp(-(np.array(bic) - min(bic)) / 2)
    return Forecast(np.concatenate(costs), np.repeat(weights / weights.sum() / DRAWS, DRAWS))


class _Shapes(NamedTuple):
    """A family of (2) over its grid."""

    parameters: int  # k
    g: np.ndarray  # at the test passes, shape (shapes, n)
    end: np.ndarray  # g(X), shape (shapes,)


@functools.lru_cache(maxsize=16)  # of a search, all curves have the same places
def _families(x: Any, end: float) -> Any:
    """The four families at `x` and at the end."""
    at = np.array([*x, end])
    moved = (PLACES[:, None, None] / end * at) ** STEEPNESS[:, None]  # (q x)^d
    grids = ((3, at ** -POWERS[:, None]), (4, 1 / (1 + moved)), (4, np.exp(-moved)), (2, 1 / np.log(at + 1)))
    return [_Shapes(parameters, g.reshape(-1, len(at))[:, :-1], g.reshape(-1, len(at))[:, -1])
            for parameters, g in grids]


class _Fits:
    """The least squares of (3) for each of m curves: their best shapes, c, a and S, of shape (m,)."""

    def __init__(self, shapes: _Shapes, w: np.ndarray, y: np.ndarray, lowest: float):
        """`y` of shape (m, n)."""
        g, mean, g_mean = shapes.g, y @ w, shapes.g @ w
        apart, g_apart = y - mean[:, None], g - g_mean[:, None]
        a = np.maximum((apart * w) @ g_apart.T / (g_apart * g_apart @ w), 0)
        c = mean[:, None] - a * g_mean
        if np.isfinite(lowest):
            at_bound = np.maximum(((y - lowest) * w) @ g.T / (g * g @ w), 0)
            a, c = np.where(c < lowest, at_bound, a), np.maximum(c, lowest)
        # S, multiplied out: nothing of shape (m, shapes, n) is made
        squares = ((y * y) @ w)[:, None] - 2 * (c * mean[:, None] + a * ((y * w) @ g.T)) + (
            c * c + 2 * a * c * g_mean + a * a * (g * g @ w))
        self.shape = squares.argmin(axis=1)
        here = np.arange(len(y)), self.shape
        self.c, self.a = c[here], a[here]
        self.squares = np.maximum(squares[here], 0)

    def curve(self, shapes: _Shapes) -> np.ndarray:
        """y(x) at the test passes, shape (m, n)."""
        return self.c[:, None] + self.a[:, None] * shapes.g[self.shape]

    def end(self, shapes: _Shapes) -> np.ndarray:
        """y(X), shape (m,)."""
        return self.c + self.a * shapes.end[self.shape]


def make(problem: Problem, settings: Any) -> Curve:
    """The rule of a CurveParameter."""
    return Curve(problem, settings.probability)


def check(settings: Any, max_iter: int) -> Iterator[Wrong]:
    """What is wrong with a CurveParameter."""
    if not 0 < settings.probability <= 0.5:
        yield "probability", f"{settings.probability:g}", "a number above 0, up to 0.5"
    yield from checkpoints.check(settings, max_iter, -(-max_iter // 4))


__all__ = ["Curve", "check", "make", "rungs"]
