"""Hypernetworks: a net that writes the weights of another for its decays, so that the validation loss has a gradient
with respect to the decays without a training for each (Lorraine and Duvenaud 2018, arXiv 1802.09419).

| symbol | here | meaning |
|---|---|---|
| w_phi(z) | `Hypernet.weights` | the hypernet, of weights phi: the n weights of the elementary net, written for z |
| z | `z` | logarithms of the decays, shape (m,): one of each group; lambda in the paper |
| d = e^z | `decay` | the training criterion is C(w, z) = L(w) + sum_i d_g(i) w_i^2 / 2 |
| p(z) | `Settings.deviation` | normal: around the centre of all (GLOBAL), or around the present z (LOCAL) |
| E(w) | `_validation` | the validation loss, without decay |
| dE/dz = (dw/dz)' dE/dw | `Hypernet.pull` | back through the hypernet, which is what makes z learnable |

GLOBAL (the paper's algorithm 2): phi <- phi - step * dC/dphi for z ~ p(z), until done; then z along -dE/dz.
LOCAL (algorithm 3): a few such steps for z^ ~ p(z^ | z), then one of z, and so on.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, List, NamedTuple, Tuple

import numpy as np

from menndl_caffe.trainer.adam import Adam
from menndl_caffe.trainer.groups import Groups
from menndl_caffe.trainer.net_in_hand import TRAIN, VALIDATION, NetInHand
from menndl_caffe.trainer.nets import make_solver, solver_parameter, take_tests_over
from menndl_caffe.trainer.plain import Tested
from menndl_caffe.trainer.train import Diverged, Unsuitable

GLOBAL, LOCAL = "GLOBAL", "LOCAL"
INPUT, OUTPUT = "z", "w"
SMALLEST_DECAY, LARGEST_STEP = 1e-8, 0.1  # of a decay, and of decay * base_lr: beyond it a retraining may diverge
CURVE = 41  # points of it


class Hypernet:
    """A Caffe net with an Input `z` of shape (pairs, m) and a top `w` of shape (pairs, n), and its solver."""

    def __init__(self, engine: Any, net: str, solver: str) -> None:
        """From the two texts. Unsuitable where the net has no such blobs, or would learn nothing."""
        parameter = solver_parameter(engine, net, solver)
        # Net::Init leaves out the backward pass of layers that lead to no loss: all diffs would stay 0, silently.
        if not parameter.net_param.force_backward:
            raise Unsuitable("the hypernet has no loss, so that without force_backward it learns nothing; "
                             "expected force_backward: true")
        take_tests_over(parameter)
        parameter.ClearField("test_iter")
        self._solver = make_solver(engine, parameter)
        self._net = self._solver.net
        found = {name: tuple(blob.shape) for name, blob in self._net.blobs.items()}
        for name in (INPUT, OUTPUT):
            if len(found.get(name, ())) != 2:
                raise Unsuitable(f"the hypernet has the blobs {found}; expected {name} of two axes, (pairs, its size)")
        self.pairs, self.inputs = found[INPUT]
        self.outputs = found[OUTPUT][1]

    def weights(self, z: np.ndarray) -> np.ndarray:
        """w_phi of each row: (k, m) to (k, n)."""
        self._net.blobs[INPUT].reshape(*z.shape)
        self._net.blobs[INPUT].data[...] = z
        self._net.forward()
        return self._net.blobs[OUTPUT].data.copy()

    def pull(self, d_weights: np.ndarray) -> np.ndarray:
        """(dw/dz)' u of each row, at the z of the last `weights`: (k, n) to (k, m)."""
        self._net.blobs[OUTPUT].diff[...] = d_weights
        self._net.backward()
        return self._net.blobs[INPUT].diff.copy()

    def step(self, d_weights: np.ndarray) -> None:
        """One iteration of the solver, at the z of the last `weights`; dC/dw of each row, (pairs, n), summed."""
        self._net.blobs[OUTPUT].diff[...] = d_weights  # which no forward pass touches
        self._solver.step(1)


@dataclass(frozen=True)
class Settings:
    """How a hypernet is trained, and z with it."""

    method: str  # GLOBAL or LOCAL
    centre: float  # of z: GLOBAL samples around it, LOCAL starts there
    deviation: float  # standard deviation of the samples, > 0
    iterations: int  # of the hypernet: GLOBAL before the first step of z, LOCAL before each
    steps: int  # of z
    rate: float  # Adam's, of z: about how far a step goes
    validation_batches: int  # what the whole validation set has; a step of z is for one of them, in turn
    seed: int


class Learned(NamedTuple):
    """The z that was found, and what led there. All losses are as the hypernet predicts them: not of trained nets."""

    z: np.ndarray  # shape (m,)
    loss: float  # the validation loss of w_phi(z)
    curve: List[Tuple[float, float]]  # z and validation loss, of GLOBAL with m = 1; else empty
    path: List[Tuple[np.ndarray, float]]  # z before each of its steps, with the loss of one validation batch


def learn(hand: NetInHand, hypernet: Hypernet, groups: Groups, settings: Settings, tested: Tested) -> Learned:
    """Train the hypernet, and z through it. Unsuitable where the sizes do not fit, Diverged where a number is NaN.

    `tested` is told the steps of z that are done; the weights in hand are then what the hypernet gave for z before it.
    """
    expected = (len(groups.names), hand.size)
    if (hypernet.inputs, hypernet.outputs) != expected:
        raise Unsuitable(f"the hypernet makes {hypernet.outputs} weights of {hypernet.inputs} decays; "
                         f"expected {expected[1]} of {expected[0]}")
    return _Learning(hand, hypernet, groups, settings).run(tested)


class _Learning:
    """What goes on from step to step."""

    def __init__(self, hand: NetInHand, hypernet: Hypernet, groups: Groups, settings: Settings) -> None:
        self._hand, self._hypernet, self._groups, self._settings = hand, hypernet, groups, settings
        self._random, self._iteration = np.random.RandomState(settings.seed), 0
        self._bounds = math.log(SMALLEST_DECAY), math.log(LARGEST_STEP / hand.param.base_lr)

    def run(self, tested: Tested) -> Learned:
        settings = self._settings
        z = self._clipped(np.full(len(self._groups.names), float(settings.centre)))
        adam, curve = Adam(z.size, settings.rate), []
        path: List[Tuple[np.ndarray, float]] = []
        if settings.method == GLOBAL:
            self._train_around(np.full(z.size, settings.centre))
            if z.size == 1:
                curve = self._curve()
                z = np.array([min(curve, key=lambda point: point[1])[0]])
        for step in range(settings.steps):
            if settings.method == LOCAL:
                self._train_around(z)
            loss, gradient = self._validation_gradient(z, step)
            path.append((z, loss))
            z = self._clipped(z - adam.step(gradient))
            tested(step + 1)
        return Learned(z, self._validation(z), curve, path)

    def _clipped(self, z: np.ndarray) -> np.ndarray:
        return np.clip(z, *self._bounds)

    def _put(self, weights: np.ndarray) -> None:
        if not np.isfinite(weights).all():
            raise Diverged(f"weights that the hypernet writes are not finite at its iteration {self._iteration}")
        self._hand.put(weights)

    def _check(self, loss: float, part: str) -> None:
        if not math.isfinite(loss):
            raise Diverged(f"{part} loss is {loss} at iteration {self._iteration} of the hypernet")

    # ---- the hypernet ----

    def _train_around(self, centre: np.ndarray) -> None:
        """`iterations` of the hypernet for z ~ p(z)."""
        for _ in range(self._settings.iterations):
            noise = self._random.standard_normal((self._hypernet.pairs, centre.size))
            self._train(self._clipped(centre + self._settings.deviation * noise))

    def _train(self, z: np.ndarray) -> None:
        """One iteration for z of shape (pairs, m), each with a training batch of its own."""
        weights = self._hypernet.weights(z)
        d_weights = np.empty_like(weights)
        for pair in range(len(z)):
            self._put(weights[pair])
            self._hand.show(TRAIN, self._iteration * len(z) + pair)
            loss, gradient = self._hand.gradient()
            self._check(loss, "training")
            decay = self._groups.spread(np.exp(z[pair]))
            d_weights[pair] = (gradient + decay * weights[pair]) / len(z)
        self._hypernet.step(d_weights)
        self._iteration += 1

    # ---- z ----

    def _validation_gradient(self, z: np.ndarray, number: int) -> Tuple[float, np.ndarray]:
        """E of w_phi(z) and dE/dz, on the batch of that number."""
        self._put(self._hypernet.weights(z[np.newaxis])[0])
        self._hand.show(VALIDATION, number)
        loss, gradient = self._hand.gradient()
        self._check(loss, "validation")
        return loss, self._hypernet.pull(gradient[np.newaxis])[0].astype(np.float64)

    def _validation(self, z: np.ndarray) -> float:
        """E of w_phi(z), on the whole validation set."""
        self._put(self._hypernet.weights(z[np.newaxis])[0])
        losses = []
        for number in range(self._settings.validation_batches):
            self._hand.show(VALIDATION, number)
            losses.append(self._hand.loss())
        self._check(sum(losses), "validation")
        return float(np.mean(losses))

    def _curve(self) -> List[Tuple[float, float]]:
        """The predicted E over two deviations to either side of the centre, as far as decays may go."""
        centre, reach = self._settings.centre, 2 * self._settings.deviation
        lowest, highest = self._clipped(np.array([centre - reach, centre + reach]))
        return [(float(z), self._validation(np.array([z]))) for z in np.linspace(lowest, highest, CURVE)]
