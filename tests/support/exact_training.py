"""Whole trainings of small dense nets in float64 NumPy, on its own: what derivatives of a training are judged by.

A net is a list of (outputs, inputs) matrices with biases, softmax loss, and one function between them. Its weights are
a vector in the order of Caffe's blobs: matrix, bias, matrix, bias ...
"""
from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

ACTIVE = {"linear": (None, None), "tanh": (np.tanh, lambda y: 1 - y * y),
          "relu": (lambda x: np.maximum(x, 0), lambda y: (y > 0).astype(float))}
Batch = Tuple[np.ndarray, np.ndarray]  # images (count, inputs), labels (count,)


class Setting(NamedTuple):
    """What a training is told; decay and lr_mult are one number or one for each weight."""

    decay: np.ndarray
    rates: Sequence[float]  # of each iteration
    momentum: float
    lr_mult: np.ndarray


class Dense:
    """One of the nets `linear`, `tanh`, `relu`, with these numbers of units from the images to the classes."""

    def __init__(self, kind: str, units: Sequence[int]):
        self._active, self._slope = ACTIVE[kind]
        self._shapes = list(zip(units[1:], units[:-1]))

    def _split(self, w: np.ndarray) -> List[Tuple[np.ndarray, np.ndarray]]:
        layers, start = [], 0
        for outputs, inputs in self._shapes:
            middle, end = start + outputs * inputs, start + outputs * (inputs + 1)
            layers.append((w[start:middle].reshape(outputs, inputs), w[middle:end]))
            start = end
        return layers

    def gradient(self, w: np.ndarray, batch: Batch) -> Tuple[float, np.ndarray]:
        """Mean loss of a batch and its gradient."""
        images, labels = batch
        layers, inputs = self._split(w), [images]
        for matrix, bias in layers:
            scores = inputs[-1] @ matrix.T + bias
            inputs.append(scores if len(inputs) == len(layers) else self._active(scores))
        shifted = scores - scores.max(axis=1, keepdims=True)
        logarithm = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        rows = np.arange(len(labels))
        back = np.exp(logarithm)
        back[rows, labels] -= 1
        back /= len(labels)
        found: List[np.ndarray] = []
        for (matrix, _), below in zip(layers[::-1], inputs[-2::-1]):
            found = [(back.T @ below).ravel(), back.sum(axis=0), *found]
            if below is not images:
                back = back @ matrix * self._slope(below)
        return float(-logarithm[rows, labels].mean()), np.concatenate(found)

    def trained(self, w: np.ndarray, batches: Sequence[Batch], setting: Setting) -> np.ndarray:
        """The weights after SGD with momentum, batch t of iteration t coming again after the last."""
        w, velocity = w.astype(float), np.zeros(len(w))
        for t, rate in enumerate(setting.rates):
            gradient = self.gradient(w, batches[t % len(batches)])[1] + setting.decay * w
            velocity = setting.momentum * velocity + rate * setting.lr_mult * gradient
            w = w - velocity
        return w

    def loss(self, w: np.ndarray, batches: Sequence[Batch]) -> float:
        """The mean over batches of one size."""
        return float(np.mean([self.gradient(w, batch)[0] for batch in batches]))


def slope(function: Callable[[float], float], step: float) -> float:
    """The derivative at 0, by a central difference of second order."""
    return (function(step) - function(-step)) / (2 * step)


def batches_of(images: np.ndarray, labels: np.ndarray, size: int, scale: float,
               count: Optional[int] = None) -> List[Batch]:
    """Pixels and labels cut into batches in order."""
    flat = images.reshape(len(images), -1) * scale
    return [(flat[i:i + size], labels[i:i + size].astype(int)) for i in range(0, len(images), size)][:count]
