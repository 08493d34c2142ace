"""GUIDED_GA and BO: many children, of which a model of all results chooses the one to train.

| symbol | here | meaning |
|---|---|---|
| y | `standardized` | costs: bad ones clipped, those of failures added, mean 0 and variance 1 |
| n0 | `design` | individuals that fill the space, before the model is asked |
| w | `weights` | of each objective, where there are several: on the simplex, drawn anew for each trial |

Clipping (1): nothing costs more than median + (median - best) of the successes, and that is what a failure costs.
Belief   (2): what is being trained counts as if its result were what the model expects (kriging believer, Ginsbourger
              et al. 2010), so that ranks that ask at the same time get different individuals.
Choice   (3): children of the best 20 and points drawn anew; in each round the 12 most promising have 16 mutants each;
              the best logarithm of expected improvement wins, against the lowest mean at an individual that is known.
Schedule (4): hyper-parameters are fitted to the first m results, m = n0, then 5% more each time: so a resumed search
              has, after one fit, those that it had before.
Weighing (5): several objectives are one for each trial, max_i w_i z_i + 0.05 sum_i w_i z_i, z_i what an individual
              costs above the best of objective i, in standard deviations (ParEGO; Knowles 2006).
"""
from __future__ import annotations

import contextlib
from typing import Any, ContextManager, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from menndl_caffe.errors import UserError
from menndl_caffe.genome import Genome
from menndl_caffe.objective import Costs
from menndl_caffe.search.async_ga import winners
from menndl_caffe.search.cube import Points
from menndl_caffe.search.operators import WIDTH, Operators
from menndl_caffe.search.search import Kind, OtherTrial, Problem, Wrong
from menndl_caffe.search.steady import SteadyState
from menndl_caffe.trial import Result, Trial

PARENTS, PROMISING, MUTANTS = 20, 12, 16
NARROWER = 0.7  # the mutants' width from round to round
FIRST_RESULTS = 4  # that the model needs
OLD, NEW = 300, 700  # results that are kept beyond their sum: the best, and the newest


def standardized(costs: Sequence[Optional[float]]) -> np.ndarray:
    """y of (1), shape (n,); None is a failure."""
    known = np.array([np.nan if cost is None else cost for cost in costs])
    if np.isnan(known).all():
        return np.zeros(len(known))
    best, median, worst = np.nanmin(known), np.nanmedian(known), np.nanmax(known)
    top = 2 * median - best if median > best else worst
    clipped = np.where(np.isnan(known), top, np.minimum(known, top))
    return (clipped - clipped.mean()) / (clipped.std() or 1.0)


def weighed(costs: Sequence[Optional[Costs]], objectives: int, weights: np.ndarray) -> np.ndarray:
    """y of one objective, or of several by (5)."""
    z = np.array([standardized([None if each is None else each[i] for each in costs]) for i in range(objectives)])
    if objectives == 1:
        return z[0]
    above = weights[:, None] * (z - z.min(axis=1, keepdims=True))
    y = above.max(axis=0) + 0.05 * above.sum(axis=0)
    return (y - y.mean()) / (y.std() or 1.0)


def fitted_to(n: int, design: int) -> int:
    """m of (4) when there are n results."""
    m = max(design, FIRST_RESULTS)
    while m + max(1, m // 20) <= n:
        m += max(1, m // 20)
    return min(m, n)


class GuidedGA(SteadyState):
    """Whoever is idle gets the most promising of many children."""

    def __init__(self, problem: Problem, settings: Any):
        """`settings`: a GuidedGAParameter or BOParameter. UserError where there is no scipy."""
        super().__init__(problem)
        try:
            from menndl_caffe.search import gaussian_process
        except ImportError:
            raise UserError('this type of search needs scipy: pip install "menndl_caffe[search]"') from None
        self._gp, self._settings = gaussian_process, settings
        self._operators = Operators(self._cube)
        self._one_thread = _one_thread()
        self._fitted: Dict[int, Any] = {}  # m -> hyper-parameters, of the last m alone
        self._points = self._cube.points([genome for genome, _ in problem.earlier])
        self._costs: List[Optional[Costs]] = [costs for _, costs in problem.earlier]

    def asked(self, trial: Trial) -> None:
        """See Search. A model's choice may be another one on another machine: what was recorded is what was asked."""
        given = self._problem.new_trial(trial.genome, None)
        if given != trial or trial.genome in self._met:
            raise OtherTrial(given)
        self._begin(trial)

    def tell(self, trial: Trial, result: Result) -> None:
        """See Search."""
        super().tell(trial, result)
        self._points = np.append(self._points, self._cube.points([trial.genome]), axis=0)
        self._costs.append(self._problem.costs(result))

    def _proposals(self, number: int, rng: np.random.RandomState) -> Iterator[Genome]:
        first = self._settings.design - len(self._problem.earlier)
        if number < first or sum(costs is not None for costs in self._costs) < FIRST_RESULTS:
            yield self._design(number)
            return
        with self._one_thread():
            candidates = self._candidates_by_promise(rng)
        for point in candidates:
            yield self._cube.genome(point)

    def _candidates_by_promise(self, rng: np.random.RandomState) -> Points:
        """Equation (3), the most promising first."""
        weights = rng.dirichlet(np.ones(len(self._problem.objectives)))
        y = weighed(self._costs, len(weights), weights)
        model, best = self._model(y)
        points = self._first_candidates(y, rng)
        promise = self._promise(model, points, best)
        for k in range(self._settings.rounds):
            leaders = points[np.argsort(-promise, kind="stable")[:PROMISING]]
            new = self._operators.mutants(np.repeat(leaders, MUTANTS, axis=0), rng, WIDTH * NARROWER ** k)
            points = np.concatenate([points, new])
            promise = np.append(promise, self._promise(model, new, best))
        return points[np.argsort(-promise, kind="stable")]

    def _first_candidates(self, y: np.ndarray, rng: np.random.RandomState) -> Points:
        cube, settings = self._cube, self._settings
        parents = self._points[np.argsort(y, kind="stable")[:PARENTS]]
        first, second = parents[winners(len(parents), (2, settings.children), rng)]
        uniform = cube.at_levels(cube.levels(rng.random_sample((settings.uniform, cube.genes))))
        return np.concatenate([self._operators.children(first, second, rng), uniform])

    def _promise(self, model: Any, points: Points, best: float) -> np.ndarray:
        mean, deviation = model.mean_and_deviation(self._cube.coordinates(points))
        return self._gp.log_expected_improvement(mean, deviation, best)

    def _model(self, y: np.ndarray) -> Tuple[Any, float]:
        """The process given all results and the beliefs (2), and the lowest mean at an individual that it knows."""
        cube, gp = self._cube, self._gp
        kept = _kept(y)
        x, y = cube.coordinates(self._points[kept]), y[kept]
        model = gp.GaussianProcess(x, y, cube.choices, self._hyperparameters())
        if self._pending:
            model = model.believing(cube.coordinates(cube.points(list(self._pending.values()))))
        return model, model.lowest

    def _hyperparameters(self) -> Any:
        m = fitted_to(len(self._costs), self._settings.design)
        if m not in self._fitted:
            objectives = len(self._problem.objectives)
            y = weighed(self._costs[:m], objectives, np.full(objectives, 1 / objectives))
            kept = _kept(y)
            x = self._cube.coordinates(self._points[:m][kept])
            self._fitted = {m: self._gp.fit(x, y[kept], self._cube.choices)}
        return self._fitted[m]


def _kept(y: np.ndarray) -> np.ndarray:
    """The places of those that the model is given, in their order: its work grows with the cube of their number."""
    if len(y) <= OLD + NEW:
        return np.arange(len(y))
    old = np.argsort(y[:-NEW], kind="stable")[:OLD]
    return np.append(np.sort(old), np.arange(len(y) - NEW, len(y)))


def _one_thread() -> Any:
    """A context in which numpy and scipy compute in one thread, where threadpoolctl can tell them so: the last bits of
    a result depend on it, and the other cores train."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return contextlib.nullcontext
    controller = ThreadpoolController()

    def limited() -> ContextManager[Any]:
        return controller.limit(limits=1)

    return limited


def check(settings: Any) -> Iterator[Wrong]:
    """What is wrong with a GuidedGAParameter or BOParameter."""
    for name, least in (("design", 1), ("children", 0), ("uniform", 0), ("rounds", 0)):
        if getattr(settings, name) < least:
            yield name, getattr(settings, name), f"{least} or more"
    if settings.children + settings.uniform < 1:
        yield "uniform", settings.uniform, "1 or more where there are no children"


GUIDED_GA = Kind(GuidedGA, "guided_ga_param", check, limited=True, several=True)
BO = Kind(GuidedGA, "bo_param", check, limited=True, several=True)
