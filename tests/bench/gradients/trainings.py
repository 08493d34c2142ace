"""Plain trainings of a linear net on images, with any decays, and every method that finds decays for them.

| symbol | here | meaning |
|---|---|---|
| T | `Problem.iterations` | of a training: SGD, base_lr 0.05, momentum 0.9, 100 images each |
| z | | logarithms of the decays, 2 (PER_BLOB) or 7,850 (PER_WEIGHT), from log START on |
| E | | validation loss |

    z <- z - Adam's step with dE/dz, rate 0.5        (1)   UNROLLED, DRMAD, HOAG; 8 times
    log 1e-8 <= z <= log 2                           (2)   as `adaptive` has it, for this learning rate

What is found is judged by a plain training with it: `Problem.trained`, or on training and validation images together.
"""
from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Optional, Tuple

import h5py
import numpy as np

import menndl_caffe.torchcaffe as engine
from menndl_caffe.trainer import adaptive
from menndl_caffe.trainer.adam import Adam
from menndl_caffe.trainer.adaptive import adapt
from menndl_caffe.trainer.groups import grouped
from menndl_caffe.trainer.hypergradient.drmad import drmad
from menndl_caffe.trainer.hypergradient.estimate import Estimate
from menndl_caffe.trainer.hypergradient.implicit import Settings
from menndl_caffe.trainer.hypergradient.implicit import estimate as implicit
from menndl_caffe.trainer.hypergradient.unrolled import unrolled
from menndl_caffe.trainer.net_in_hand import NetInHand
from menndl_caffe.trainer.plain import retrain

BATCH, RATE, MOMENTUM = 100, 0.05, 0.9
START, LOWEST, HIGHEST = 1e-3, adaptive.LOWEST, adaptive.HIGHEST / RATE
OUTER, OUTER_RATE = 8, 0.5
TOLERANCE = 1e-2  # HOAG's first, halved from step to step
READ = """\
layer {{ name: "{phase}" type: "HDF5Data" top: "data" top: "label" include {{ phase: {phase} }}
  hdf5_data_param {{ source: "{source}" batch_size: {batch} }} }}
"""
NET = """\
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score"
  inner_product_param { num_output: 10 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
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


class Problem:
    """Images in three parts, and trainings of them."""

    def __init__(self, folder: Path, fit: Images, held: Images, test: Images, seed: int, iterations: int):
        """`folder`: an existing one, into which the images are written. `seed`: of the first weights."""
        both = Images(*(np.concatenate(pair) for pair in zip(fit, held)))
        self._folder, self._held, self._test, self._seed = folder, held, test, seed
        self.iterations = iterations
        self._batches = {}
        for name, images in (("fit", fit), ("held", held), ("both", both)):
            with h5py.File(folder / f"{name}.h5", "w") as file:
                file["data"], file["label"] = images.pixels.astype("f"), images.labels.astype("f")
            (folder / f"{name}.txt").write_text(f"{folder / name}.h5\n")
            self._batches[name] = len(images.labels) // BATCH

    @property
    def batches(self) -> Tuple[int, int]:
        """Of training and validation."""
        return self._batches["fit"], self._batches["held"]

    def texts(self, part: str = "fit", iterations: Optional[int] = None) -> Tuple[str, str, Tuple[int, int]]:
        """What a net in hand is made of; `part`: `fit` or `both`, which it trains on."""
        net = "".join(READ.format(phase=phase, source=self._folder / f"{name}.txt", batch=BATCH)
                      for phase, name in (("TRAIN", part), ("TEST", "held"))) + NET
        solver = SOLVER.format(rate=RATE, momentum=MOMENTUM, decay=START, seed=self._seed,
                               iterations=iterations or self.iterations)
        return net, solver, (self._batches[part], self._batches["held"])

    def trained(self, decay: np.ndarray) -> Losses:
        """After a plain training with the decay of each weight."""
        return self._losses("fit", decay, self.iterations)

    def trained_on_both(self, decay: np.ndarray) -> Losses:
        """After one on the training and validation images: as many epochs, half the decay."""
        return self._losses("both", decay / 2, 2 * self.iterations)

    def _losses(self, part: str, decay: np.ndarray, iterations: int) -> Losses:
        hand = with_decays(self, decay, part, iterations)
        retrain(hand, _nothing)
        weights = hand.take().astype(float)
        (validation, _), (test, accuracy) = _judged(weights, self._held), _judged(weights, self._test)
        return Losses(validation, test, accuracy)


def _nothing(iteration: int) -> None:
    """No test pass is due."""


def _judged(weights: np.ndarray, images: Images) -> Tuple[float, float]:
    """Loss and accuracy."""
    scores = images.pixels @ weights[:-10].reshape(10, -1).T + weights[-10:]
    scores -= scores.max(axis=1, keepdims=True)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    of_label = logs[np.arange(len(logs)), images.labels]
    return float(-of_label.mean()), float((scores.argmax(axis=1) == images.labels).mean())


def with_decays(problem: Problem, decay: np.ndarray, part: str = "fit", iterations: Optional[int] = None) -> NetInHand:
    """A net in hand whose weights have decays of their own, in place of those of the texts."""
    hand = NetInHand(engine, *problem.texts(part, iterations), own_decay=True)
    hand.decay = decay
    return hand


# ---- methods: each gives decays, step by step ----

class Found(NamedTuple):
    """What a method has after a step."""

    decay: np.ndarray  # of each weight
    gradients: int  # of 100 images, taken so far
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
    """HOAG."""
    found = implicit(with_decays(problem, decay), Settings("HOAG", TOLERANCE / 2 ** step, *problem.batches))
    return found, found.how["gradients"]


def descent(problem: Problem, kind: str, estimator: Estimator, steps: int = OUTER) -> Iterator[Found]:
    """(1) and (2)."""
    groups = grouped(NetInHand(engine, *problem.texts(), own_decay=True).parameters, kind)
    logs = np.full(len(groups.names), np.log(START))
    adam, gradients, distrusted = Adam(len(logs), OUTER_RATE), 0, 0
    for step in range(steps):
        decay = groups.spread(np.exp(logs))
        found, cost = estimator(problem, decay, step)
        logs = np.clip(logs - adam.step(groups.sums(decay * found.by_decay)), np.log(LOWEST), np.log(HIGHEST))
        gradients, distrusted = gradients + cost, distrusted + bool(found.distrust)
        yield Found(groups.spread(np.exp(logs)), gradients, distrusted)


def by_t1t2(problem: Problem, kind: str) -> Found:
    """T1-T2: a training, with a validation gradient in each iteration."""
    hand = NetInHand(engine, *problem.texts(), own_decay=True)
    learned = adapt(hand, adaptive.Settings(kind))
    return Found(learned.of_weights, 2 * problem.iterations, 0)
