"""The small nets of tests/support/hands.py in float64 numpy, written without the engines: what they should have found.

Derivatives of second order are by complex steps, Im f(w + i h v) / h, which have no rounding error to speak of.
"""
from __future__ import annotations

from functools import cache
from typing import Callable, Dict, List, Tuple

import numpy as np

from tests.support import hands

Pull = Callable[[np.ndarray], List[np.ndarray]]  # of a gradient by the outputs: those by each blob
TINY = 1e-30
MLP = [(8, 64), (8,), (4, 8), (4,)]
SHAPES: Dict[str, List[Tuple[int, ...]]] = {
    "linear": [(4, 64), (4,)], "tanh": MLP, "relu": MLP, "lenet": [(6, 1, 3, 3), (6,), (8, 54), (8,), (4, 8), (4,)]}


@cache
def images(part: str) -> Tuple[np.ndarray, np.ndarray]:
    """Pixels, shape (N, 1, 8, 8), and one-hot labels, as the nets see them."""
    labels, pixels = hands.draw_images(*{"fit": (0, hands.TRAINED), "held": (1, hands.HELD)}[part])
    return pixels * 0.00390625, np.eye(hands.CLASSES)[labels]


def places(kind: str) -> List[slice]:
    """Of each blob in w."""
    ends = np.cumsum([int(np.prod(shape)) for shape in SHAPES[kind]])
    return [slice(end - int(np.prod(shape)), end) for end, shape in zip(ends, SHAPES[kind])]


def outputs(kind: str, weights: np.ndarray, pixels: np.ndarray) -> Tuple[np.ndarray, Pull]:
    """z(w), shape (N, 4), and the way back from it."""
    blobs = [weights[place].reshape(shape) for place, shape in zip(places(kind), SHAPES[kind])]
    if kind == "linear":
        score, pull = _dense(pixels.reshape(len(pixels), -1), *blobs)
        return score, lambda upper: pull(upper)[1:]
    if kind != "lenet":
        return _hidden(kind, pixels.reshape(len(pixels), -1), blobs)
    pooled, pull_pooled = _pooled_convolution(pixels, *blobs[:2])
    score, pull_hidden = _hidden("relu", pooled, blobs[2:], with_inputs=True)

    def back(upper: np.ndarray) -> List[np.ndarray]:
        inputs, *rest = pull_hidden(upper)
        return [*pull_pooled(inputs), *rest]

    return score, back


def _dense(inputs: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> Tuple[np.ndarray, Pull]:
    return inputs @ weights.T + bias, lambda upper: [upper @ weights, upper.T @ inputs, upper.sum(0)]


def _hidden(kind: str, inputs: np.ndarray, blobs: List[np.ndarray],
            with_inputs: bool = False) -> Tuple[np.ndarray, Pull]:
    summed, pull_summed = _dense(inputs, *blobs[:2])
    active = np.tanh(summed) if kind == "tanh" else np.where(summed.real > 0, summed, 0)
    slope = 1 - active ** 2 if kind == "tanh" else (summed.real > 0).astype(float)
    score, pull_score = _dense(active, *blobs[2:])

    def back(upper: np.ndarray) -> List[np.ndarray]:
        by_active, *last = pull_score(upper)
        by_inputs, *first = pull_summed(by_active * slope)
        return [*([by_inputs] if with_inputs else []), *first, *last]

    return score, back


def _pooled_convolution(pixels: np.ndarray, kernels: np.ndarray, bias: np.ndarray) -> Tuple[np.ndarray, Pull]:
    """Kernels 3x3, then the maxima of squares 2x2; shape (N, 6 * 3 * 3), channel by channel."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels[:, 0], (3, 3), axis=(1, 2)).reshape(len(pixels), 36, 9)
    maps = windows @ kernels.reshape(6, 9).T + bias  # (N, 36, 6)
    squares = maps.reshape(-1, 3, 2, 3, 2, 6).transpose(0, 5, 1, 3, 2, 4).reshape(-1, 6, 3, 3, 4)
    chosen = np.eye(4)[squares.real.argmax(-1)]

    def back(upper: np.ndarray) -> List[np.ndarray]:
        spread = (upper.reshape(-1, 6, 3, 3, 1) * chosen).reshape(-1, 6, 3, 3, 2, 2)
        by_maps = spread.transpose(0, 2, 4, 3, 5, 1).reshape(-1, 36, 6)
        return [np.einsum("nso,nsk->ok", by_maps, windows), by_maps.sum((0, 1))]

    return (squares * chosen).sum(-1).reshape(len(pixels), -1), back


def loss_and_gradient(kind: str, weights: np.ndarray, part: str) -> Tuple[complex, np.ndarray]:
    """L(w), the mean over all images of a part, and its gradient. Either may be complex."""
    pixels, labels = images(part)
    score, pull = outputs(kind, weights, pixels)
    chances, logarithm = _softmax(score)
    loss = (logarithm - (score * labels).sum(1)).mean()
    return loss, np.concatenate([blob.ravel() for blob in pull((chances - labels) / len(labels))])


def _softmax(score: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    highest = score.real.max(1, keepdims=True)
    powers = np.exp(score - highest)
    total = powers.sum(1, keepdims=True)
    return powers / total, (np.log(total) + highest)[:, 0]


def hessian_product(kind: str, weights: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """H v over all training images."""
    return loss_and_gradient(kind, weights + 1j * TINY * direction, "fit")[1].imag / TINY


def gauss_newton_product(kind: str, weights: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """G v over all training images, by the formula for softmax."""
    pixels, labels = images("fit")
    score, pull = outputs(kind, weights, pixels)
    moved = outputs(kind, weights + 1j * TINY * direction, pixels)[0].imag / TINY
    chances = _softmax(score)[0]
    upper = chances * (moved - (chances * moved).sum(1, keepdims=True)) / len(labels)
    return np.concatenate([blob.ravel() for blob in pull(upper)])


def hessian(kind: str, weights: np.ndarray) -> np.ndarray:
    """H, shape (n, n)."""
    return np.array([hessian_product(kind, weights, unit) for unit in np.eye(weights.size)])


def minimum(kind: str, decay: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The minimum of L + sum d w^2 / 2 that Newton's method finds from `start` on, to 1e-12 of its gradient."""
    def criterion(weights: np.ndarray) -> Tuple[float, np.ndarray]:
        loss, gradient = loss_and_gradient(kind, weights, "fit")
        return float(loss.real + (decay * weights ** 2).sum() / 2), gradient.real + decay * weights

    weights = start.astype(np.float64)
    for _ in range(50):
        value, gradient = criterion(weights)
        if np.linalg.norm(gradient) < 1e-12:
            return weights
        values, vectors = np.linalg.eigh(hessian(kind, weights) + np.diag(decay))
        step = vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), 1e-4))
        while criterion(weights - step)[0] > value + 1e-14:
            step = step / 2
        weights = weights - step
    raise AssertionError(f"no minimum: the gradient is still {np.linalg.norm(gradient)}")


def implicit(kind: str, decay: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """dE/d decay of each weight at a minimum, by the whole matrix."""
    by_weights = loss_and_gradient(kind, weights, "held")[1]
    return -np.linalg.solve(hessian(kind, weights) + np.diag(decay), by_weights) * weights


def held_loss(kind: str, weights: np.ndarray) -> float:
    """E(w)."""
    return float(loss_and_gradient(kind, weights, "held")[0].real)
