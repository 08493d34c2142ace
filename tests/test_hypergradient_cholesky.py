"""The hypergradient of least squares by back-propagation through Cholesky, against the implicit formula and retraining,
in numpy and through both engines; and HOAG's way to the best decays."""
from __future__ import annotations

from pathlib import Path
from typing import Dict, NamedTuple

import numpy as np
import pytest

from menndl_caffe.data.lmdb_data import Images, write_lmdb
from menndl_caffe.trainer.hypergradient import cholesky
from menndl_caffe.trainer.train import Unsuitable
from tests.support import hands
from tests.support.hand_programs import implicit as programs

Found = Dict[str, np.ndarray]
RELEVANT = np.arange(64) % 2 == 0  # of the pixels: the others say nothing of the label


class Part(NamedTuple):
    """Images, as a net sees them, with a column of ones, and their labels."""

    inputs: np.ndarray
    labels: np.ndarray


def drawn(seed: int, count: int) -> Images:
    random = np.random.RandomState(seed)
    pixels = random.randint(256, size=(count, 1, 8, 8)).astype(np.uint8)
    slopes = RELEVANT * np.random.RandomState(98).uniform(-4, 4, 64)
    labels = 30 + pixels.reshape(count, 64) / 256.0 @ slopes + 3 * random.standard_normal(count)
    return Images(np.clip(labels, 0, 255).astype(np.uint8), pixels)


def part(images: Images) -> Part:
    pixels = images.pixels.reshape(len(images.labels), 64) * 0.00390625
    return Part(np.hstack([pixels, np.ones((len(pixels), 1))]), images.labels.astype(float))


FIT, HELD = part(drawn(5, hands.TRAINED)), part(drawn(6, hands.HELD))
MATRIX, RIGHT = FIT.inputs.T @ FIT.inputs / hands.TRAINED, FIT.inputs.T @ FIT.labels / hands.TRAINED


def held(weights: np.ndarray) -> float:
    """E(w): Caffe's EuclideanLoss, half the mean square."""
    return float(((HELD.inputs @ weights - HELD.labels) ** 2).mean() / 2)


def by_weights(weights: np.ndarray) -> np.ndarray:
    return HELD.inputs.T @ (HELD.inputs @ weights - HELD.labels) / len(HELD.labels)


def implicit(decay: np.ndarray) -> np.ndarray:
    """The hypergradient by the implicit formula and LU."""
    matrix = MATRIX + np.diag(decay)
    weights = np.linalg.solve(matrix, RIGHT)
    return -np.linalg.solve(matrix, by_weights(weights)) * weights


def through_cholesky(decay: np.ndarray) -> np.ndarray:
    solution = cholesky.solve(MATRIX, RIGHT, decay)
    return cholesky.decay_gradient(solution, by_weights(solution.weights))


def error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


DECAYS = 10 ** np.random.RandomState(7).uniform(-3, 0, 65)


def test_it_is_the_implicit_formula_to_float64() -> None:
    assert error(through_cholesky(DECAYS), implicit(DECAYS)) < 1e-12


def test_it_is_what_retraining_says() -> None:
    h = 1e-5
    differences = []
    for number, decay in enumerate(DECAYS):
        up, down = DECAYS.copy(), DECAYS.copy()
        up[number], down[number] = decay * (1 + h), decay * (1 - h)
        moved = [held(np.linalg.solve(MATRIX + np.diag(d), RIGHT)) for d in (up, down)]
        differences.append((moved[0] - moved[1]) / (2 * h * decay))
    assert error(through_cholesky(DECAYS), np.array(differences)) < 1e-6


def test_a_decay_each_tells_the_irrelevant_inputs() -> None:
    """Bengio's experiment: down the log decays from one value for all."""
    logs = np.full(65, np.log(.1))
    before = held(np.linalg.solve(MATRIX + np.diag(np.exp(logs)), RIGHT))
    for _ in range(400):
        logs = np.clip(logs - 5 * through_cholesky(np.exp(logs)) * np.exp(logs), np.log(1e-4), np.log(10))
    after = held(np.linalg.solve(MATRIX + np.diag(np.exp(logs)), RIGHT))
    relevant, irrelevant = logs[:64][RELEVANT].mean(), logs[:64][~RELEVANT].mean()
    assert after < .9 * before
    assert irrelevant > np.log(.1) + .5
    assert relevant < np.log(.1)


def test_matrix_and_right_side_are_read_from_a_gradient() -> None:
    matrix, right = cholesky.read(lambda w: MATRIX @ w - RIGHT, 65)
    assert error(matrix, MATRIX) < 1e-12 and error(right, RIGHT) < 1e-12
    with pytest.raises(Unsuitable, match="not least squares"):
        cholesky.read(lambda w: MATRIX @ w - RIGHT + .01 * w ** 3, 65)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result = tmp_path_factory.mktemp("regression")
    write_lmdb(result / "fit", drawn(5, hands.TRAINED), 8)
    write_lmdb(result / "held", drawn(6, hands.HELD), 8)
    return result


@pytest.fixture(scope="module", params=["torch", "caffe"])
def found(request: pytest.FixtureRequest, caffe_root: Path, folder: Path) -> Found:
    return hands.in_engine(request.param, programs.least_squares, folder, caffe_root)


@pytest.mark.parametrize("method", ["cholesky", "implicit"])
def test_it_is_the_same_through_an_engine(found: Found, method: str) -> None:
    decay = found[f"{method}.decay"]
    allowed = {"cholesky": 2e-5, "implicit": 5e-3}[method]
    assert error(found[f"{method}.by_decay"], implicit(decay)) < allowed
    assert error(found[f"{method}.weights"], np.linalg.solve(MATRIX + np.diag(decay), RIGHT)) < allowed
    assert str(found[f"{method}.distrust"]) == ""


def test_what_it_says_of_itself(found: Found) -> None:
    assert found["cholesky.inner"] < 1e-4
    assert found["cholesky.gradients"] == programs.TRAINED * (65 + 5) + programs.HELD


@pytest.mark.parametrize("case, words", [
    ("large", "too large a Hessian: the net learns 65 weights; expected at most 64"),
    ("negative", "not positive definite")])
def test_what_is_no_least_squares_is_refused(found: Found, case: str, words: str) -> None:
    assert words in str(found[case])


def test_hoag_comes_to_the_best_two_decays(folder: Path, caffe_root: Path) -> None:
    def retrained(of_weights: float, of_bias: float) -> float:
        return held(np.linalg.solve(MATRIX + np.diag([*[of_weights] * 64, of_bias]), RIGHT))

    steps = hands.in_engine("caffe", programs.hoag, folder, caffe_root)
    grid = np.logspace(-6, 2, 41)
    best = min(retrained(of_weights, of_bias) for of_weights in grid for of_bias in grid)
    losses = [retrained(*decays) for decays in steps["decays"]]
    assert losses[0] > 1.5 * best
    assert losses[-1] < 1.01 * best
    assert steps["trusted"].all()
