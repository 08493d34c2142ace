"""Least squares through a Caffe net of one InnerProduct layer, and descent in the logarithms of hyper-parameters.

| symbol | here | meaning |
|---|---|---|
| x_t, y_t | `Samples` | inputs, shape (N, n), and targets, shape (N,) |
| s_t | `importance` | the weight of training sample t in the loss, shape (N,) |
| L(w) | | sum_t s_t (w'x_t - y_t)^2 / 2N, by EuclideanLoss: w'A w / 2 - b'w + constant |
| d | `decay` | the decay of each w, shape (n,) |
| w | `Fit.weights` | where L + sum d_i w_i^2 / 2 is least, shape (n,) |
| E | `Fit.loss` | the same loss of the validation samples there, all of weight 1 |
| q | | (A + D)^-1 dE/dw |

    dE/ds_t = q'x_t (y_t - w'x_t) / N        (1)   by (A + D) dw = db - dA w

The net multiplies what comes to its loss by the square roots of s. A and b are read of it, and dE/dw is its own.
"""
from __future__ import annotations

from pathlib import Path
from typing import Callable, NamedTuple, Tuple

import h5py
import numpy as np

import menndl_caffe.torchcaffe as engine
from menndl_caffe.trainer.hypergradient import cholesky, lbfgs
from menndl_caffe.trainer.net_in_hand import TRAIN, VALIDATION, NetInHand

NET = """\
layer {{ name: "fit" type: "HDF5Data" top: "inputs" top: "target" top: "root" include {{ phase: TRAIN }}
  hdf5_data_param {{ source: "{folder}/fit.txt" batch_size: {fit} }} }}
layer {{ name: "held" type: "HDF5Data" top: "inputs" top: "target" top: "root" include {{ phase: TEST }}
  hdf5_data_param {{ source: "{folder}/held.txt" batch_size: {held} }} }}
layer {{ name: "output" type: "InnerProduct" bottom: "inputs" top: "output"
  inner_product_param {{ num_output: 1 bias_term: false }} }}
layer {{ name: "score" type: "Eltwise" bottom: "output" bottom: "root" top: "score"
  eltwise_param {{ operation: PROD }} }}
layer {{ name: "wanted" type: "Eltwise" bottom: "target" bottom: "root" top: "wanted"
  eltwise_param {{ operation: PROD }} }}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "score" bottom: "wanted" top: "loss" }}
"""
SOLVER = """\
type: "SGD" base_lr: 1 lr_policy: "fixed" weight_decay: 1 max_iter: 1 test_iter: 1 test_interval: 1 solver_mode: CPU
"""


class Samples(NamedTuple):
    """Of a regression."""

    inputs: np.ndarray
    targets: np.ndarray

    def error(self, weights: np.ndarray) -> float:
        """The mean square error."""
        return float(((self.inputs @ weights - self.targets) ** 2).mean())


def joined(one: Samples, other: Samples) -> Samples:
    """Both, one after the other."""
    return Samples(np.vstack([one.inputs, other.inputs]), np.concatenate([one.targets, other.targets]))


class Fit(NamedTuple):
    """The minimum, and how the validation loss there depends on what was chosen."""

    weights: np.ndarray
    loss: float
    by_decay: np.ndarray  # shape (n,)
    by_importance: np.ndarray  # shape (N,)


class LeastSquares:
    """A net in hand over training and validation samples."""

    def __init__(self, folder: Path, fit: Samples, held: Samples):
        """`folder`: an existing one, into which the samples are written."""
        for name, samples in (("fit", fit), ("held", held)):
            with h5py.File(folder / f"{name}.h5", "w") as file:
                file["inputs"], file["target"] = samples.inputs.astype("f"), samples.targets[:, np.newaxis].astype("f")
                file["root"] = np.ones((len(samples.targets), 1), "f")
            (folder / f"{name}.txt").write_text(f"{folder / name}.h5\n")
        net = NET.format(folder=folder, fit=len(fit.targets), held=len(held.targets))
        self._hand = NetInHand(engine, net, SOLVER, (1, 1))
        self._fit = fit
        self.gradients = 0  # taken so far, of training and validation
        self._of = np.zeros(0)  # the importance that A and b are of
        self._matrix, self._right = np.zeros(0), np.zeros(0)

    def at(self, decay: np.ndarray, importance: np.ndarray) -> Fit:
        """The minimum at these hyper-parameters."""
        if not np.array_equal(importance, self._of):
            self._matrix, self._right = self._read(importance)
            self._of = importance.copy()
        solution = cholesky.solve(self._matrix, self._right, decay)
        self._hand.put(solution.weights.astype(np.float32))
        self._hand.show(VALIDATION, 0)
        loss, by_weights = self._hand.gradient()
        self.gradients += 1
        adjoint = cholesky.solve(self._matrix, by_weights, decay).weights
        residuals = self._fit.targets - self._fit.inputs @ solution.weights
        by_importance = (self._fit.inputs @ adjoint) * residuals / len(residuals)
        return Fit(solution.weights, loss, cholesky.decay_gradient(solution, by_weights), by_importance)

    def _read(self, importance: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        def gradient(weights: np.ndarray) -> np.ndarray:
            self._hand.put(weights.astype(np.float32))
            self.gradients += 1
            return self._hand.gradient()[1].astype(float)

        self._hand.show(TRAIN, 0)
        self._hand.solver.net.blobs["root"].data[...] = np.sqrt(importance)[:, np.newaxis]
        return cholesky.read(gradient, self._hand.size)


def closed_form(samples: Samples, decay: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """The same minimum by numpy alone; of least norm where it is not unique."""
    weighted = samples.inputs * importance[:, np.newaxis]
    matrix = weighted.T @ samples.inputs / len(samples.targets) + np.diag(decay)
    return np.linalg.lstsq(matrix, weighted.T @ samples.targets / len(samples.targets), rcond=None)[0]


STEPS, TOLERANCE = 200, 1e-3  # evaluations at most, and of the gradient at the start


def descend(function: Callable[[np.ndarray], Tuple[float, np.ndarray]], start: np.ndarray, low: np.ndarray,
            high: np.ndarray) -> np.ndarray:
    """Where L-BFGS comes to rest within bounds; `function` gives a value and its gradient."""

    def within(point: np.ndarray) -> Tuple[float, np.ndarray]:
        value, gradient = function(np.clip(point, low, high))
        return value, gradient * ((point > low) & (point < high))

    found = lbfgs.minimise(within, start.astype(float), TOLERANCE, STEPS)
    return np.clip(found.weights, low, high)
