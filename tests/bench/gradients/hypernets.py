"""Hypernets of the templates before the nets of `trainings`: what they write, and what is predicted by it.

| symbol | here | meaning |
|---|---|---|
| w_phi(z) | `Writer.weights` | what the hypernet writes, shape (n,), for the logarithms z of the decays, shape (m,) |
| E(w_phi(z)) | `Writer.predicted` | the loss that it predicts: nothing is trained at z |
| dE/dz | `Writer.gradient` | back through the hypernet, of all validation images |
| p(z) | `Setting.deviation` | normal, around a centre (GLOBAL) or around the present z (LOCAL) |
"""
from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterable, Iterator, NamedTuple, Sequence

import numpy as np

import menndl_caffe.torchcaffe as engine
from menndl_caffe.experiment.render import Template
from menndl_caffe.trainer.groups import grouped
from menndl_caffe.trainer.hypergradient.estimate import validation_gradient
from menndl_caffe.trainer.hypernet import GLOBAL, LOCAL, Hypernet, Learned, Settings, learn
from menndl_caffe.trainer.plain import Tested
from tests.bench.gradients import mnist
from tests.bench.gradients.trainings import Images, Losses, Plain, Problem
from tests.conftest import REPOSITORY

PAIRS = 2  # as in the paper
TEMPLATES = REPOSITORY / "templates" / "hypernet"
PAPER_DEVIATION = 1e-5 ** 0.5  # of algorithm 3: N(z, 0.00001)


class Setting(NamedTuple):
    """A hypernet, and how it is trained."""

    template: str
    deviation: float  # of p(z)
    rate: float  # Adam's, of its weights
    z_rate: float = 0.1  # Adam's, of z


EACH = {"factorised, as the paper": Setting("factorised", PAPER_DEVIATION, 1e-4, 1e-4),  # for a decay of each weight
        "factorised, larger steps": Setting("factorised", 0.3, 1e-4, 0.05)}


class Writer:
    """A hypernet before the net of a problem."""

    def __init__(self, problem: Problem, kind: str, setting: Setting, centre: float):
        """`kind`: of the groups of weights that have a decay in common. `centre`: of p(z), or where z begins."""
        self.problem, self._setting, self._centre = problem, setting, centre
        self._hand, self._judge = problem.hand(), problem.hand(shown="judged")
        self.groups = grouped(self._hand.parameters, kind)
        values = {"pairs": PAIRS, "decays": len(self.groups.names), "weights": self._hand.size, "mean": centre,
                  "deviation": setting.deviation, "rate": setting.rate, "random_seed": problem.seed,
                  "solver_mode": "CPU"}
        net, solver = (Template(TEMPLATES / f"{name}.prototxt.j2").render(values)
                       for name in (setting.template, "solver"))
        self.hypernet = Hypernet(engine, net, solver)

    def train(self, iterations: int, seed: int) -> None:
        """Algorithm 2, so many iterations more; `seed`: of the samples."""
        self._learn(GLOBAL, iterations, 0, seed, _nothing)

    def descend(self, iterations: int, steps: int, tested: Tested) -> Learned:
        """Algorithm 3: so many iterations before each step of z. `tested`: when `now` is of the step before."""
        return self._learn(LOCAL, iterations, steps, self.problem.seed, tested)

    def _learn(self, method: str, iterations: int, steps: int, seed: int, tested: Tested) -> Learned:
        settings = Settings(method, self._centre, self._setting.deviation, iterations, steps, self._setting.z_rate,
                            self.problem.batches[1], seed)
        return learn(self._hand, self.hypernet, self.groups, settings, tested)

    def weights(self, z: np.ndarray) -> np.ndarray:
        """w_phi(z)."""
        return self.hypernet.weights(z[np.newaxis])[0]

    def predicted(self, z: np.ndarray) -> Losses:
        """Of w_phi(z)."""
        return self._losses(self.weights(z))

    def now(self) -> Losses:
        """Of what it wrote last in `descend`."""
        return self._losses(self._hand.take())

    def _losses(self, weights: np.ndarray) -> Losses:
        self._judge.put(weights)
        return self.problem.judged(self._judge)

    def by_weights(self, z: np.ndarray) -> np.ndarray:
        """dE/dw at w_phi(z), of all validation images."""
        self._hand.put(self.weights(z))
        return validation_gradient(self._hand, self.problem.batches[1])

    def gradient(self, z: np.ndarray) -> np.ndarray:
        """dE/dz."""
        return self.hypernet.pull(self.by_weights(z)[np.newaxis])[0].astype(float)

    def decay(self, z: np.ndarray) -> np.ndarray:
        """Of each weight."""
        return self.groups.spread(np.exp(z))


def _nothing(steps: int) -> None:
    """Nothing is looked at."""


@contextmanager
def problem_of(images: Images, net: str, seed: int, trained: int, iterations: int) -> Iterator[Problem]:
    """One split of the images as in `mnist`; of what is trained on there, the first `trained`."""
    fit, held, test = mnist.split(images, seed)
    with tempfile.TemporaryDirectory() as folder:
        yield Problem(Plain(net, iterations), Path(folder), Images(fit.pixels[:trained], fit.labels[:trained]), held,
                      test, seed)


def ranged(values: Iterable[float], digits: int) -> str:
    """Of few seeds, as tables have it: median [lowest, highest], or the one there is."""
    numbers = list(values)
    if len(numbers) == 1:
        return f"{numbers[0]:.{digits}f}"
    return f"{np.median(numbers):.{digits}f} [{min(numbers):.{digits}f}, {max(numbers):.{digits}f}]"


def of_seed(rows: Sequence[Any], **fields: Any) -> Iterator[Sequence[Any]]:
    """The rows that have these values, seed by seed."""
    chosen = [row for row in rows if all(getattr(row, name) == value for name, value in fields.items())]
    for seed in sorted({row.seed for row in chosen}):
        yield [row for row in chosen if row.seed == seed]
