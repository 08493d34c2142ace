"""The implicit hypergradient, in both engines, against float64 minima, whole matrices, and retraining."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

from menndl_caffe.trainer.hypergradient import conjugate_gradients, lbfgs
from tests.support import double_nets, hands
from tests.support.hand_programs import implicit as programs

Found = Dict[str, np.ndarray]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hands.write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def both(folder: Path, caffe_root: Path) -> Dict[str, Found]:
    return {name: hands.in_engine(name, programs.estimates, folder, caffe_root) for name in ("torch", "caffe")}


@pytest.fixture(scope="module", params=["torch", "caffe"])
def found(request: pytest.FixtureRequest, both: Dict[str, Found]) -> Found:
    return both[request.param]


@pytest.fixture(scope="module")
def odd(folder: Path, caffe_root: Path) -> Found:
    return hands.in_engine("torch", programs.odd_estimates, folder, caffe_root)


def error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def by_blob(kind: str, vector: np.ndarray) -> np.ndarray:
    return np.array([vector[place].sum() for place in double_nets.places(kind)])


def exact(kind: str, found: Found, name: str) -> Tuple[np.ndarray, np.ndarray]:
    """The minimum that is next to where an estimate was made, and the hypergradient there."""
    decay = found[f"{name}.decay"]
    weights = double_nets.minimum(kind, decay, found[f"{name}.weights"])
    return weights, double_nets.implicit(kind, decay, weights)


def retrained(kind: str, decay: np.ndarray, weights: np.ndarray, change: np.ndarray) -> float:
    """dE along a change of the log decays, by the difference of two minima."""
    up, down = (double_nets.minimum(kind, decay * np.exp(sign * change), weights) for sign in (1, -1))
    return (double_nets.held_loss(kind, up) - double_nets.held_loss(kind, down)) / 2


@pytest.mark.parametrize("name, of_blobs, of_weights", [("linear", 1e-3, 5e-3), ("linear.loose", .05, .15)])
def test_linear_softmax(found: Found, name: str, of_blobs: float, of_weights: float) -> None:
    expected = exact("linear", found, name)[1]
    assert error(found[f"{name}.by_blob"], by_blob("linear", expected)) < of_blobs
    assert error(found[f"{name}.by_decay"], expected) < of_weights
    assert (str(found[f"{name}.product"]), str(found[f"{name}.distrust"])) == ("HESSIAN", "")


@pytest.mark.parametrize("kind", ["linear", "tanh"])
def test_what_the_estimates_are_held_to_is_what_retraining_says(both: Dict[str, Found], kind: str) -> None:
    weights, expected = exact(kind, both["torch"], kind)
    decay, change = both["torch"][f"{kind}.decay"], .002 * programs.direction(weights.size, kind)
    assert expected @ (decay * change) == pytest.approx(retrained(kind, decay, weights, change), rel=1e-4)


def test_a_tanh_net_by_its_hessian(found: Found) -> None:
    expected = exact("tanh", found, "tanh")[1]
    assert error(found["tanh.by_blob"], by_blob("tanh", expected)) < 1e-2
    assert (str(found["tanh.product"]), str(found["tanh.distrust"])) == ("HESSIAN", "")


def test_a_tanh_net_by_gauss_newton(odd: Found) -> None:
    expected = exact("tanh", odd, "ordered")[1]
    assert error(odd["ordered.by_blob"], by_blob("tanh", expected)) < .35
    assert [str(odd[f"ordered.{name}"]) for name in ("product", "why", "curvature", "distrust")] == [
        "GAUSS_NEWTON", "kinks in ordered", "positive", ""]


def momentum_trained(decay: np.ndarray, start: np.ndarray) -> float:
    """E of a relu net after 1,500 steps down all training images; the rate falls to a tenth on the way."""
    weights, velocity = start.astype(float), np.zeros(start.size)
    for number in range(1500):
        gradient = double_nets.loss_and_gradient("relu", weights, "fit")[1] + decay * weights
        velocity = .9 * velocity - (.2 if number < 900 else .02) * gradient
        weights = weights + velocity
    return double_nets.held_loss("relu", weights)


def test_a_relu_net_by_gauss_newton_against_retraining(found: Found) -> None:
    start, decay, h = found["relu.start"], found["relu.decay"], .1
    expected = []
    for place in double_nets.places("relu"):
        up, down = decay.copy(), decay.copy()
        up[place] *= np.exp(h)
        down[place] *= np.exp(-h)
        expected.append((momentum_trained(up, start) - momentum_trained(down, start))
                        / (2 * np.sinh(h) * decay[place.start]))
    assert error(found["relu.by_blob"], np.array(expected)) < .5
    matrices = [0, 2]  # the biases' are near 0
    np.testing.assert_array_equal(np.sign(found["relu.by_blob"][matrices]), np.sign(np.array(expected)[matrices]))
    assert [str(found[f"relu.{name}"]) for name in ("product", "why", "curvature", "distrust")] == [
        "GAUSS_NEWTON", "kinks in active", "positive", ""]


@pytest.mark.parametrize("name", ["linear", "linear.loose", "tanh"])
def test_both_engines_find_the_same(both: Dict[str, Found], name: str) -> None:
    torch, caffe = (both[engine][f"{name}.by_blob"] for engine in ("torch", "caffe"))
    assert error(torch, caffe) < 5e-3


def test_gauss_newton_takes_the_place_of_a_hessian_of_negative_curvature(odd: Found) -> None:
    np.testing.assert_allclose(odd["needed.by_decay"], odd["ordered.by_decay"])
    assert str(odd["needed.product"]) == "GAUSS_NEWTON"
    assert str(odd["needed.why"]) == "negative curvature of the Hessian"
    assert odd["needed.gradients"] == odd["ordered.gradients"] + 2 * programs.TRAINED  # one product of H in vain


def test_it_is_made_where_the_inner_solver_ended(odd: Found, both: Dict[str, Found]) -> None:
    for what in ("weights", "by_decay"):
        np.testing.assert_array_equal(odd[f"looking back.{what}"], both["torch"][f"linear.{what}"])


@pytest.mark.parametrize("name, sentence", [
    ("inner", r"the inner solver reached 0.\d+ of the gradient at the start; expected 0.0001"),
    ("outer", r"conjugate gradients reached a residual of 0.\d+; expected 0.0001")])
def test_what_came_to_an_early_end_is_not_trusted(odd: Found, name: str, sentence: str) -> None:
    assert re.fullmatch(sentence, str(odd[f"{name}.distrust"]))


def test_the_cost_is_told(odd: Found) -> None:
    assert odd["inner.gradients"] == programs.TRAINED * (5 + 2 * odd["inner.iterations"]) + programs.HELD


def test_nets_that_are_no_fixed_function_are_refused(folder: Path, caffe_root: Path) -> None:
    said = hands.in_engine("torch", programs.refusals, folder, caffe_root)
    for name, words in (("dropout", "random (Dropout"), ("mirror", "mirrored"), ("statistics", "BatchNorm"),
                        ("decay", "every blob's decay is 0"), ("softmax", "not least squares")):
        assert words in str(said[name])


def test_conjugate_gradients_solve_what_the_whole_matrix_solves() -> None:
    random = np.random.RandomState(3)
    factor, diagonal, right = random.randn(30, 20), random.random_sample(30), random.randn(30)
    matrix = factor @ factor.T
    solved = conjugate_gradients.solve(lambda v: matrix @ v, diagonal, right, 1e-12, 100)
    np.testing.assert_allclose(solved.solution, np.linalg.solve(matrix + np.diag(diagonal), right), rtol=1e-9)
    assert solved.positive and solved.residual <= 1e-12
    early = conjugate_gradients.solve(lambda v: matrix @ v, diagonal, right, 1e-12, 4)
    left = right - (matrix + np.diag(diagonal)) @ early.solution
    assert early.iterations == 4
    assert early.residual == pytest.approx(np.linalg.norm(left) / np.linalg.norm(right))


def test_conjugate_gradients_stop_at_negative_curvature() -> None:
    right = np.array([1.0, 2.0, 1.0])
    solved = conjugate_gradients.solve(lambda v: np.array([3.0, 2.0, -1.0]) * v, np.zeros(3), right, 1e-12, 10)
    assert not solved.positive and solved.residual > 0
    assert conjugate_gradients.solve(lambda v: v, np.zeros(3), np.zeros(3), 1e-3, 9).iterations == 0


def test_conjugate_gradients_go_on_from_where_they_begin() -> None:
    random = np.random.RandomState(3)
    root = random.standard_normal((40, 40))
    matrix, diagonal, right = root @ root.T, random.random_sample(40), random.standard_normal(40)

    def solve(tolerance: float, start: Any = None) -> conjugate_gradients.Solved:
        return conjugate_gradients.solve(lambda v: matrix @ v, diagonal, right, tolerance, 500, start)

    exact = np.linalg.solve(matrix + np.diag(diagonal), right)
    assert solve(1e-8, exact).iterations == 1, "the product that tells it"
    near, far = solve(1e-4, exact * (1 + 1e-5)), solve(1e-4)
    assert near.iterations < far.iterations / 2 and near.residual <= 1e-4 and near.positive
    np.testing.assert_allclose(solve(1e-10, random.standard_normal(40)).solution, exact, atol=1e-6)


def rosenbrock(w: np.ndarray) -> Tuple[float, np.ndarray]:
    x, y = w.astype(float)
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2, np.array([2 * (x - 1) - 400 * x * (y - x * x), 200 * (y - x * x)])


def test_the_inner_solver_goes_round_a_bend() -> None:
    seen: List[np.ndarray] = []

    def watched(w: np.ndarray) -> Tuple[float, np.ndarray]:
        seen.append(w)
        return rosenbrock(w)

    end = lbfgs.minimise(watched, np.array([-1.2, 1.0]), 1e-12, 200)
    np.testing.assert_allclose(end.weights, 1, rtol=1e-9)
    assert end.ratio <= 1e-12 and end.gradients == len(seen) < 100
    first = np.linalg.norm(rosenbrock(np.array([-1.2, 1.0]))[1])
    assert end.ratio == pytest.approx(np.linalg.norm(rosenbrock(end.weights)[1]) / first)
    nearer = lbfgs.minimise(rosenbrock, end.weights + 1e-3, 1e-6, 200, float(first))
    assert np.linalg.norm(rosenbrock(nearer.weights)[1]) <= 1e-6 * first and nearer.gradients < end.gradients / 2
    assert lbfgs.minimise(rosenbrock, np.array([-1.2, 1.0]), 1e-12, 7).gradients == 7


def test_the_inner_solver_reaches_float32s_floor_though_its_losses_do_not() -> None:
    scales = np.logspace(-2, 0, 50)

    def rough(w: np.ndarray) -> Tuple[float, np.ndarray]:
        away = w.astype(float) - 1
        return float(np.float32(10 + (scales * away ** 2).sum() / 2)), scales * away

    end = lbfgs.minimise(rough, np.zeros(50, np.float32), 1e-6, 200)
    assert end.ratio <= 1e-6 and end.weights.dtype == np.float32
