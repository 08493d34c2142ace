"""Plain trainings of a net on images, with any decays, and every method that finds decays for them.

| symbol | here | meaning |
|---|---|---|
| T | `Problem.iterations` | of a training: SGD, momentum 0.9 |
| a | `Plain.rate` | base_lr |
| z | | logarithms of the decays, one a blob (PER_BLOB) or one a weight (PER_WEIGHT), from log START on |
| E | | validation loss |

    z <- z - Adam's step with dE/dz, rate 0.5        (1)   UNROLLED, DRMAD, HOAG
    log 1e-8 <= z <= log 0.1/a                       (2)   as `adaptive` has it

What is found is judged by a plain training with it: `Problem.trained`, or on training and validation images together.
"""
from __future__ import annotations

from pathlib import Path
from typing import Callable, Dict, Iterator, NamedTuple, Optional, Tuple

import h5py
import numpy as np
from jinja2 import Template

import menndl_caffe.torchcaffe as engine
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.trainer import adaptive, hypernet
from menndl_caffe.trainer.adam import Adam
from menndl_caffe.trainer.adaptive import adapt
from menndl_caffe.trainer.groups import grouped
from menndl_caffe.trainer.hypergradient.drmad import drmad
from menndl_caffe.trainer.hypergradient.estimate import Estimate
from menndl_caffe.trainer.hypergradient.implicit import Settings
from menndl_caffe.trainer.hypergradient.implicit import estimate as implicit
from menndl_caffe.trainer.hypergradient.lbfgs import criterion
from menndl_caffe.trainer.hypergradient.unrolled import unrolled
from menndl_caffe.trainer.net_in_hand import VALIDATION, NetInHand
from menndl_caffe.trainer.plain import retrain
from menndl_caffe.trainer.train import test
from tests.conftest import REPOSITORY

MOMENTUM = 0.9
START = 1e-3
OUTER, OUTER_RATE = 8, 0.5
TOLERANCE = 1e-2  # HOAG's first, halved from step to step
HYPERNET_SOLVER = "templates/hypernet/solver.prototxt.j2"
READ = """\
layer {{ name: "{phase}" type: "HDF5Data" top: "data" top: "label" include {{ phase: {phase} }}
  hdf5_data_param {{ source: "{source}" batch_size: {batch} }} }}
"""
SOLVER = """\
type: "SGD" base_lr: {rate} momentum: {momentum} weight_decay: {decay} lr_policy: "fixed" max_iter: {iterations}
random_seed: {seed} test_iter: 1 test_interval: 1000000 test_initialization: false solver_mode: CPU
"""


class Images(NamedTuple):
    """Pixels in [0, 1], shape (N, 784), and labels, shape (N,)."""

    pixels: np.ndarray
    labels: np.ndarray


class Losses(NamedTuple):
    """Of a trained net."""

    validation: float
    test: float
    accuracy: float  # of the test images


class Plain(NamedTuple):
    """A training."""

    layers: str  # of the net, from `data` to the loss
    iterations: int
    batch: int = 100  # images
    rate: float = 0.05


class Problem:
    """Images in three parts, and trainings of them."""

    def __init__(self, plain: Plain, folder: Path, fit: Images, held: Images, test: Images, seed: int):
        """`folder`: an existing one, into which the images are written. `seed`: of the first weights."""
        self._plain, self._folder, self.seed = plain, folder, seed
        self._batches = {}
        for name, images in (("fit", fit), ("held", held), ("both", _joined(fit, held)),
                             ("judged", _joined(held, test))):
            with h5py.File(folder / f"{name}.h5", "w") as file:
                file["data"], file["label"] = images.pixels.astype("f"), images.labels.astype("f")
            (folder / f"{name}.txt").write_text(f"{folder / name}.h5\n")
            self._batches[name] = len(images.labels) // plain.batch

    @property
    def iterations(self) -> int:
        """Of a training."""
        return self._plain.iterations

    @property
    def bounds(self) -> Tuple[float, float]:
        """Of decays, (2)."""
        return adaptive.LOWEST, adaptive.HIGHEST / self._plain.rate

    @property
    def batches(self) -> Tuple[int, int]:
        """Of training and validation."""
        return self._batches["fit"], self._batches["held"]

    def hand(self, part: str = "fit", shown: str = "held", iterations: Optional[int] = None) -> NetInHand:
        """A net whose weights have decays of their own, all START at first. It trains on `part`, `fit` or `both`, and
        is shown `held`, or `judged`: these and the test images.
        """
        net = "".join(READ.format(phase=phase, source=self._folder / f"{name}.txt", batch=self._plain.batch)
                      for phase, name in (("TRAIN", part), ("TEST", shown))) + self._plain.layers
        solver = SOLVER.format(rate=self._plain.rate, momentum=MOMENTUM, decay=START, seed=self.seed,
                               iterations=iterations or self.iterations)
        return NetInHand(engine, net, solver, (self._batches[part], self._batches[shown]), own_decay=True)

    def trained(self, decay: np.ndarray) -> Losses:
        """After a plain training with the decay of each weight."""
        return self._losses("fit", decay, self.iterations)

    def trained_on_both(self, decay: np.ndarray) -> Losses:
        """After one on the training and validation images: as many epochs, half the decay."""
        return self._losses("both", decay / 2, 2 * self.iterations)

    def _losses(self, part: str, decay: np.ndarray, iterations: int) -> Losses:
        hand = self.hand(part, "judged", iterations)
        hand.decay = decay
        retrain(hand, _nothing)
        return self.judged(hand)

    def judged(self, hand: NetInHand) -> Losses:
        """Of the weights in a hand that is shown `judged`."""
        held, judged = self._batches["held"], self._batches["judged"]
        of_test = _judged(hand, range(held, judged))
        return Losses(_judged(hand, range(held))["loss"], of_test["loss"], of_test["accuracy"])


def _nothing(iteration: int) -> None:
    """No test pass is due."""


def _joined(one: Images, other: Images) -> Images:
    return Images(*(np.concatenate(pair) for pair in zip(one, other)))


def _judged(hand: NetInHand, numbers: range) -> Dict[str, float]:
    """Loss and accuracy, the means over the batches of these numbers."""
    return test(hand.engine, hand.solver.test_nets[0], len(numbers), hand.param.max_iter,
                lambda number: hand.show(VALIDATION, numbers[number]))


def with_decays(problem: Problem, decay: np.ndarray) -> NetInHand:
    """A net in hand whose weights have these decays."""
    hand = problem.hand()
    hand.decay = decay
    return hand


# ---- methods: each gives decays, step by step ----

class Found(NamedTuple):
    """What a method has after a step."""

    decay: np.ndarray  # of each weight
    gradients: int  # of a batch, taken so far
    distrusted: int  # how many hypergradients so far say that they may not be used


Estimator = Callable[[Problem, np.ndarray, int], Tuple[Estimate, int]]  # with the decays at an outer step; its cost


def by_unrolled(problem: Problem, decay: np.ndarray, step: int) -> Tuple[Estimate, int]:
    """UNROLLED."""
    found = unrolled(with_decays(problem, decay), problem.batches[1], _nothing)
    return found, problem.iterations + found.how["gradients"]


def by_drmad(problem: Problem, decay: np.ndarray, step: int) -> Tuple[Estimate, int]:
    """DRMAD, which is used even where it says that it should not be."""
    found = drmad(with_decays(problem, decay), problem.batches[1], _nothing)
    return found, problem.iterations + found.how["gradients"]


def by_hoag(problem: Problem, decay: np.ndarray, step: int) -> Tuple[Estimate, int]:
    """HOAG, from the net's first weights on."""
    return _implicit(with_decays(problem, decay), Settings("HOAG", TOLERANCE / 2 ** step, *problem.batches))


def warm_hoag(problem: Problem) -> Estimator:
    """HOAG whose weights, and q of its linear system, go on from where the step before has left them; tolerances are
    relative to |g| at the first ones."""
    hand, solution = problem.hand(), None  # type: NetInHand, Optional[np.ndarray]
    reference = float(np.linalg.norm(criterion(hand, problem.batches[0], hand.decay)(hand.take())[1]))

    def by_warm_hoag(problem: Problem, decay: np.ndarray, step: int) -> Tuple[Estimate, int]:
        nonlocal solution
        hand.decay = decay
        found = _implicit(hand, Settings("HOAG", TOLERANCE / 2 ** step, *problem.batches, reference, solution))
        solution = found[0].solution
        return found

    return by_warm_hoag


def _implicit(hand: NetInHand, settings: Settings) -> Tuple[Estimate, int]:
    found = implicit(hand, settings)
    return found, found.how["gradients"]


def descent(problem: Problem, kind: str, estimator: Estimator, steps: int = OUTER) -> Iterator[Found]:
    """(1) and (2)."""
    groups = grouped(problem.hand().parameters, kind)
    logs = np.full(len(groups.names), np.log(START))
    low, high = np.log(problem.bounds)
    adam, gradients, distrusted = Adam(len(logs), OUTER_RATE), 0, 0
    for step in range(steps):
        decay = groups.spread(np.exp(logs))
        found, cost = estimator(problem, decay, step)
        logs = np.clip(logs - adam.step(groups.sums(decay * found.by_decay)), low, high)
        gradients, distrusted = gradients + cost, distrusted + bool(found.distrust)
        yield Found(groups.spread(np.exp(logs)), gradients, distrusted)


def by_t1t2(problem: Problem, kind: str) -> Found:
    """T1-T2: a training, with a validation gradient in each iteration."""
    learned = adapt(problem.hand(), adaptive.Settings(kind))
    return Found(learned.of_weights, 2 * problem.iterations, 0)


def by_hypernet(problem: Problem, kind: str) -> Found:
    """A local hypernet as a search has it by default; of its cost, the net's gradients alone are counted."""
    hand, default = problem.hand(), menndl_pb2.HypernetParameter()
    groups = grouped(hand.parameters, kind)
    net, solver = (Template((REPOSITORY / name).read_text()).render(
        pairs=default.pairs, decays=len(groups.names), weights=hand.size, rate=default.net_rate,
        random_seed=problem.seed, solver_mode="CPU") for name in (default.net, HYPERNET_SOLVER))
    settings = hypernet.Settings(hypernet.LOCAL, np.log(START), default.deviation, default.iterations, default.steps,
                                 default.rate, problem.batches[1], problem.seed)
    learned = hypernet.learn(hand, hypernet.Hypernet(engine, net, solver), groups, settings, _nothing)
    return Found(groups.spread(np.exp(learned.z)), default.steps * (default.iterations * default.pairs + 1), 0)
