"""The six solvers' updates: against formulas for least squares worked out by hand, and against real Caffe."""
from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import numpy as np
import pytest

import menndl_caffe.torchcaffe as caffe
from menndl_caffe.errors import UserError
from tests.support.torchcaffe.training import (
    TYPES,
    Arrays,
    Job,
    differences,
    feed,
    run_in_real_caffe,
    run_job,
    solver_text,
)

VARIANTS = {
    f"{type_}-{kind}-clip{clip:g}-size{size}": solver_text(
        type_, f'weight_decay: 0.05 regularization_type: "{kind}" clip_gradients: {clip} iter_size: {size}')
    for type_, kind, clip, size in itertools.product(TYPES, ("L1", "L2"), (-1, 0.3), (1, 2))
}


@pytest.fixture(scope="module")
def real(caffe_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Arrays]:
    jobs = [Job(name, solver) for name, solver in VARIANTS.items()]
    return run_in_real_caffe(caffe_root, jobs, tmp_path_factory.mktemp("updates"))


@pytest.mark.parametrize("name", VARIANTS)
def test_weights_and_updates_are_caffes(name: str, real: Dict[str, Arrays], tmp_path: Path) -> None:
    found = run_job(caffe, Job(name, VARIANTS[name]), tmp_path)
    assert differences(real[name], found, 3e-6) == []


# One weight matrix and one bias, w, of a least squares problem whose gradient is that of sum (x w - y)^2 / (2 n).

NET = """
layer { name: "data" type: "Input" top: "x" top: "y" input_param { shape { dim: 6 dim: 3 } shape { dim: 6 dim: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  inner_product_param { num_output: 1 weight_filler { type: "gaussian" } bias_filler { type: "gaussian" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "y" top: "loss" }
"""
State = Tuple[np.ndarray, np.ndarray]
RATE, DECAY, MU, MU2, RHO, DELTA = 0.1, 0.5, 0.9, 0.99, 0.9, 1e-3
BY_HAND: Dict[str, Callable[[np.ndarray, np.ndarray, State, int], Tuple[np.ndarray, State]]] = {
    "SGD": lambda a, g, s, t: (MU * s[0] + a * g, (MU * s[0] + a * g, s[1])),
    "Nesterov": lambda a, g, s, t: ((1 + MU) * (MU * s[0] + a * g) - MU * s[0], (MU * s[0] + a * g, s[1])),
    "AdaGrad": lambda a, g, s, t: (a * g / ((s[0] + g * g) ** .5 + DELTA), (s[0] + g * g, s[1])),
    "RMSProp": lambda a, g, s, t: _rmsprop(a, g, RHO * s[0] + (1 - RHO) * g * g),
    "AdaDelta": lambda a, g, s, t: _adadelta(a, g, MU * s[0] + (1 - MU) * g * g, s[1]),
    "Adam": lambda a, g, s, t: _adam(a, MU * s[0] + (1 - MU) * g, MU2 * s[1] + (1 - MU2) * g * g, t),
}


def _rmsprop(a: np.ndarray, g: np.ndarray, mean: np.ndarray) -> Tuple[np.ndarray, State]:
    return a * g / (mean ** .5 + DELTA), (mean, mean)


def _adadelta(a: np.ndarray, g: np.ndarray, mean: np.ndarray, steps: np.ndarray) -> Tuple[np.ndarray, State]:
    step = g * ((steps + DELTA) / (mean + DELTA)) ** .5
    return a * step, (mean, MU * steps + (1 - MU) * step ** 2)


def _adam(a: np.ndarray, first: np.ndarray, second: np.ndarray, t: int) -> Tuple[np.ndarray, State]:
    return a * (1 - MU2 ** t) ** .5 / (1 - MU ** t) * first / (second ** .5 + DELTA), (first, second)


@pytest.mark.parametrize("type_", TYPES)
def test_each_update_follows_from_the_one_before(type_: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    solver = _least_squares(type_, 'lr_policy: "fixed"')
    state: State = (np.zeros(4), np.zeros(4))
    rates = np.array([RATE, RATE, RATE, 2 * RATE])
    for t in range(1, 7):
        feed(solver)
        w, g = _weights(solver.net), _gradient(solver.net)
        update, state = BY_HAND[type_](rates, g, state, t)
        solver.step(1)
        np.testing.assert_allclose(_weights(solver.net), w - update, atol=2e-6)
        diffs = [blob.diff.ravel() for blob in solver.net.params["ip"]]
        np.testing.assert_allclose(np.concatenate(diffs), update, atol=2e-6)


def _least_squares(type_: str, more: str) -> Any:
    momentum = "" if type_ in ("AdaGrad", "RMSProp") else f"momentum: {MU}"
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text(
        f'net: "net.prototxt" type: "{type_}" base_lr: {RATE} weight_decay: {DECAY} delta: {DELTA} momentum2: {MU2} '
        f'rms_decay: {RHO} random_seed: 1 {momentum} {more}')
    return caffe.get_solver("solver.prototxt")


def _weights(net: Any) -> np.ndarray:
    return np.concatenate([blob.data.ravel() for blob in net.params["ip"]]).astype(float)


def _gradient(net: Any) -> np.ndarray:
    x = np.hstack([net.blobs["x"].data, np.ones((6, 1))]).astype(float)
    w = _weights(net)
    residual = x @ w - net.blobs["y"].data[:, 0]
    return x.T @ residual / 6 + DECAY * np.array([1, 1, 1, 0]) * w


def test_a_held_array_sees_the_update(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    solver = _least_squares("SGD", 'lr_policy: "fixed"')
    held = solver.net.params["ip"][0].data
    before = held.copy()
    feed(solver)
    solver.step(1)
    assert held is solver.net.params["ip"][0].data or np.shares_memory(held, solver.net.params["ip"][0].data)
    assert np.abs(held - before).max() > 1e-4
    held[...] = 0
    solver.net.forward()
    np.testing.assert_array_equal(solver.net.blobs["ip"].data, np.full((6, 1), solver.net.params["ip"][1].data[0]))


@pytest.mark.parametrize("type_, more, wrong", [
    ("AdaGrad", "momentum: 0.9", "momentum: 0.9 with type AdaGrad"),
    ("RMSProp", "momentum: 0.1", "momentum: 0.1 with type RMSProp"),
    ("RMSProp", "rms_decay: 1", "rms_decay: 1; expected"),
    ("SGD", 'weight_decay: 1 regularization_type: "L3"', "regularization_type: 'L3'; valid: L1, L2"),
])
def test_settings_that_caffe_refuses(type_: str, more: str, wrong: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text(f'net: "net.prototxt" type: "{type_}" base_lr: 1 lr_policy: "fixed" {more}')
    with pytest.raises(UserError, match=wrong):
        caffe.get_solver("solver.prototxt").step(1)


def test_clipping_comes_before_weight_decay(tmp_path: Path, monkeypatch: Any) -> None:
    """With a clip of 0 nothing but the decay is left of the first gradient."""
    monkeypatch.chdir(tmp_path)
    solver = _least_squares("SGD", 'lr_policy: "fixed" clip_gradients: 0')
    feed(solver)
    weight = solver.net.params["ip"][0].data.copy()
    solver.step(1)
    np.testing.assert_allclose(solver.net.params["ip"][0].diff, RATE * DECAY * weight, rtol=1e-6)


