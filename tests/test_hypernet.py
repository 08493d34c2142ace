"""Hypernets of the templates before small nets, against trainings by scipy in float64, one for each decay."""
from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Callable, List, Tuple

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

from menndl_caffe import torchcaffe
from menndl_caffe.data.lmdb_data import Images, write_lmdb
from menndl_caffe.experiment.template import Template
from menndl_caffe.trainer.hypernet import GLOBAL, LOCAL, Hypernet, Settings, learn
from menndl_caffe.trainer.train import Diverged, Unsuitable
from tests.conftest import REPOSITORY
from tests.support import hands
from tests.support.hand_programs import hypernets

PIXELS, IMAGES = hands.SIDE ** 2, hands.HELD
LINEAR, TANH = (PIXELS + 1) * hands.CLASSES, (PIXELS + 1) * 8 + 9 * hands.CLASSES  # weights
RATE = 1e-2
RENDERED = {  # template and the net before which it is put: its decays, weights, rate
    "global": (1, LINEAR, 3e-3), "linear": (1, LINEAR, RATE), "global_tanh": (1, TANH, RATE),
    "linear_tanh": (4, TANH, RATE), "factorised_tanh": (12, TANH, RATE), "diagonal_tanh": (TANH, TANH, RATE)}
both_engines = pytest.mark.parametrize("engine", ["torch", "caffe"])


@functools.cache
def part(seed: int) -> Tuple[np.ndarray, np.ndarray]:
    """Labels, four in ten of which are drawn anew so that decay matters, and pixels."""
    labels, pixels = hands.draw_images(seed, IMAGES)
    random = np.random.RandomState(seed + 10)
    drawn = random.randint(hands.CLASSES, size=IMAGES).astype(np.uint8)
    return np.where(random.random_sample(IMAGES) < 0.4, drawn, labels), pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two databases, and a hypernet and its solver of each template."""
    folder = tmp_path_factory.mktemp("hypernet")
    for seed, name in enumerate(("fit", "held")):
        write_lmdb(folder / name, Images(*part(seed)), 8)
    for name, (decays, weights, rate) in RENDERED.items():
        values = {"pairs": 2, "decays": decays, "weights": weights, "mean": -3, "deviation": 1.5, "rate": rate,
                  "random_seed": 1, "solver_mode": "CPU"}
        for template, suffix in ((name.split("_")[0], "prototxt"), ("solver", "solver")):
            source = REPOSITORY / "templates" / "hypernet" / f"{template}.prototxt.j2"
            (folder / f"{name}.{suffix}").write_text(Template(source).render(values))
    return folder


# The reference: softmax regression ------------------------------------------------------------------------------------

def loss(w: np.ndarray, seed: int, images: slice = slice(None)) -> Tuple[float, np.ndarray]:
    """Mean cross-entropy of the linear net on a part, and its gradient."""
    labels, pixels = (array[images] for array in part(seed))
    x = np.hstack([pixels.reshape(len(pixels), PIXELS) / 256, np.ones((len(pixels), 1))])
    split = PIXELS * hands.CLASSES
    scores = x @ np.hstack([w[:split].reshape(hands.CLASSES, PIXELS), w[split:, np.newaxis]]).T
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    own = np.arange(len(labels)), labels
    value = -np.log(p[own]).mean()
    p[own] -= 1
    by_class = p.T @ x / len(labels)
    return value, np.concatenate([by_class[:, :-1].ravel(), by_class[:, -1]])


def true_loss(z: float) -> float:
    """The validation loss of the linear net that is trained to the end with decay e^z."""
    def criterion(w: np.ndarray) -> Tuple[float, np.ndarray]:
        value, gradient = loss(w, 0)
        return value + math.exp(z) * w @ w / 2, gradient + math.exp(z) * w

    return loss(minimize(criterion, np.zeros(LINEAR), jac=True, method="L-BFGS-B", options={"maxiter": 2000}).x, 1)[0]


@pytest.fixture(scope="module")
def true_best() -> Tuple[float, float]:
    """z and validation loss of the best single decay."""
    found = minimize_scalar(true_loss, bounds=(-7, 0.5), method="bounded", options={"xatol": 0.01})
    assert -5 < found.x < -3
    return found.x, found.fun


# Both engines ---------------------------------------------------------------------------------------------------------

@both_engines
def test_gradient_through_each_template_is_that_of_differences(engine: str, folder: Path, caffe_root: Path) -> None:
    found = hands.in_engine(engine, hypernets.quotients, folder, caffe_root)
    assert set(found) == set(hypernets.GROUPED)
    for name, (length, quotient) in found.items():
        assert length > 1e-4 and quotient == pytest.approx(length, rel=5e-3), name


@both_engines
def test_its_solver_is_adam_from_the_first_step_on(engine: str, folder: Path, caffe_root: Path) -> None:
    """Where gradients stay what they are each of Adam's steps is the rate, if its bias corrections know how many there
    were: here one up in a, whose gradient is the sum of z, and one down in b."""
    written = hands.in_engine(engine, hypernets.adam_steps, folder, caffe_root)["written"]
    moved = written - written[0]
    expected = RATE * np.arange(4)[:, np.newaxis, np.newaxis] * (hypernets.PAIR - 1)  # z rate - rate
    assert np.abs(moved - expected).max() < 1e-5


@both_engines
def test_global_finds_the_decay_that_trainings_find(engine: str, folder: Path, caffe_root: Path,
                                                    true_best: Tuple[float, float]) -> None:
    found = hands.in_engine(engine, hypernets.global_curve, folder, caffe_root)
    z, predicted = found["curve"].T
    assert (z[0], z[-1], len(z)) == (-6, 0, 41)  # two deviations around the mean
    assert np.abs(predicted[10:31:5] - [true_loss(each) for each in z[10:31:5]]).max() < 0.04  # within one
    assert true_loss(found["z"][0]) < 1.01 * true_best[1]
    assert found["loss"] == pytest.approx(true_best[1], rel=0.01)


@both_engines
def test_local_comes_from_both_sides(engine: str, folder: Path, caffe_root: Path,
                                     true_best: Tuple[float, float]) -> None:
    ends = hands.in_engine(engine, hypernets.local_ends, folder, caffe_root)["ends"]
    assert np.abs(ends - true_best[0]).max() < 0.7


# One engine -----------------------------------------------------------------------------------------------------------

def settings(**changed: float) -> Settings:
    """LOCAL, hardly any samples beside z itself."""
    values = {"centre": -1.5, "deviation": 1e-9, "iterations": 1, "steps": 1, "rate": 0.1, "seed": 1}
    return Settings(LOCAL, **{"validation_batches": 2, **values, **changed})  # type: ignore[arg-type]


def test_an_iteration_goes_down_the_mean_of_its_pairs(folder: Path) -> None:
    """w = a z + b under SGD of rate 1: a changes by -z times, b by -1 times the mean of dL/dw + d w."""
    hand, hypernet, groups = hypernets.made(torchcaffe, folder, "linear", "PER_NET", batch=30)
    plain = 'type: "SGD" base_lr: 1 momentum: 0 lr_policy: "fixed" random_seed: 1'
    hypernet = Hypernet(torchcaffe, (folder / "linear.prototxt").read_text(), plain)
    z, w = -1.5, hypernet.weights(np.array([[-1.5]]))[0].astype(float)
    gradient = (loss(w, 0, slice(0, 30))[1] + loss(w, 0, slice(30, 60))[1]) / 2 + math.exp(z) * w
    learn(hand, hypernet, groups, settings(), hypernets.nothing)
    assert np.allclose(hypernet.weights(np.array([[z]]))[0] - w, -(1 + z ** 2) * gradient, rtol=1e-4, atol=1e-6)


def test_tells_of_each_step_while_its_weights_are_in_hand(folder: Path) -> None:
    hand, hypernet, groups = hypernets.made(torchcaffe, folder, "linear", "PER_NET", batch=50)
    seen: List[Tuple[int, float]] = []

    def tested(steps: int) -> None:
        start = (steps - 1) % 2 * 50  # of the batch of this step
        seen.append((steps, loss(hand.take().astype(float), 1, slice(start, start + 50))[0]))

    learned = learn(hand, hypernet, groups, settings(steps=4), tested)
    assert [steps for steps, _ in seen] == [1, 2, 3, 4]
    assert [value for _, value in seen] == pytest.approx([value for _, value in learned.path], rel=1e-5)
    assert learned.path[0][0] == [-1.5] and abs(learned.path[1][0] + 1.5) == pytest.approx([0.1], rel=1e-3)  # Adam's
    assert learned.loss == pytest.approx(loss(hand.take().astype(float), 1)[0], rel=1e-5) and not learned.curve


def test_global_of_several_decays_goes_down_from_the_mean(folder: Path) -> None:
    """Of which there is no curve."""
    hand, _, groups = hypernets.made(torchcaffe, folder, "linear", "PER_BLOB")
    text = (folder / "linear.prototxt").read_text().replace("dim: 2 dim: 1", "dim: 2 dim: 2")
    hypernet = Hypernet(torchcaffe, text, (folder / "linear.solver").read_text())
    learned = learn(hand, hypernet, groups, Settings(GLOBAL, -1.5, 0.5, 100, 10, 0.1, 1, 1), hypernets.nothing)
    assert not learned.curve and learned.path[0][0].tolist() == [-1.5, -1.5] and len(learned.path) == 10
    assert learned.loss < learned.path[0][1] - 0.01
    assert learned.z[0] < -2  # less decay of the weights: the best is known to be -4


@pytest.mark.parametrize("start, bound", [(9, math.log(0.1 / 0.05)), (-99, math.log(1e-8))])
def test_decays_stay_where_a_training_can_follow(folder: Path, start: float, bound: float) -> None:
    learned = learn(*hypernets.made(torchcaffe, folder, "linear", "PER_NET"), settings(centre=start),
                    hypernets.nothing)
    assert learned.path[0][0] == pytest.approx([bound], rel=1e-6)


# What is refused ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("wrong, words", [
    (lambda text: text.replace("force_backward: true", ""), ["learns nothing", "expected force_backward: true"]),
    (lambda text: text.replace('"w"', '"v"'), ["'v': (2, 260)", "expected w of two axes, (pairs, its size)"]),
    (lambda text: text.replace("dim: 2 dim: 1", "dim: 2 dim: 1 dim: 1"), ["expected z of two axes"])])
def test_a_net_that_is_no_hypernet(folder: Path, wrong: Callable[[str], str], words: List[str]) -> None:
    with pytest.raises(Unsuitable) as error:
        Hypernet(torchcaffe, wrong((folder / "linear.prototxt").read_text()), (folder / "linear.solver").read_text())
    assert all(word in str(error.value) for word in words)


def test_sizes_that_do_not_fit(folder: Path) -> None:
    with pytest.raises(Unsuitable, match=f"makes {LINEAR} weights of 1 decays; expected {LINEAR} of {LINEAR}"):
        learn(*hypernets.made(torchcaffe, folder, "linear", "PER_WEIGHT"), settings(), hypernets.nothing)


@pytest.mark.parametrize("rate", [1e20, 1e38])
def test_what_is_not_finite(folder: Path, rate: float) -> None:
    """The loss, or already the weights."""
    hand, _, groups = hypernets.made(torchcaffe, folder, "linear", "PER_NET")
    steep = f'type: "SGD" base_lr: {rate} momentum: 0 lr_policy: "fixed" random_seed: 1'
    hypernet = Hypernet(torchcaffe, (folder / "linear.prototxt").read_text(), steep)
    with pytest.raises(Diverged, match="finite at its iteration|loss is (nan|inf) at iteration"):
        learn(hand, hypernet, groups, settings(iterations=50), hypernets.nothing)
