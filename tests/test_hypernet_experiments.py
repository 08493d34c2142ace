"""The experiments of docs/results.md with hypernets, each at a small size; tables are in test_gradient_experiments."""
from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Tuple

import numpy as np
import pytest

from menndl_caffe.trainer.groups import PER_NET, PER_UNIT
from tests.bench.gradients import hypernet_curve, hypernet_deeper, hypernet_losses, hypernet_thousands, hypernets, mnist
from tests.bench.gradients.hypernets import Setting, Writer
from tests.bench.gradients.nets import LINEAR
from tests.bench.gradients.trainings import START, Images, Plain, Problem
from tests.support import hands

pytestmark = pytest.mark.usefixtures("quiet_engine")

PIXELS, SIZE = hands.SIDE ** 2, (hands.SIDE ** 2 + 1) * 10


def part(seed: int, count: int) -> Images:
    """Images of 64 pixels, of 4 of 10 classes."""
    labels, pixels = hands.draw_images(seed, count)
    return Images(pixels.reshape(count, -1) / 256, labels.astype(int))


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    """Of 200, 100 and 100 of them."""
    return Problem(Plain(LINEAR, 20), tmp_path_factory.mktemp("hypernets"), part(0, 200), part(1, 100), part(2, 100), 1)


def judged(weights: np.ndarray, images: Images) -> Tuple[float, float]:
    """Loss and accuracy of the linear net, by numpy."""
    w = weights.astype(float)
    scores = images.pixels @ w[:-10].reshape(10, PIXELS).T + w[-10:]
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(logs)), images.labels].mean(), (scores.argmax(axis=1) == images.labels).mean()


# ---- what all share ----

def test_predicted_are_the_losses_of_what_is_written(problem: Problem) -> None:
    writer = Writer(problem, PER_UNIT, Setting("linear", 0.3, 1e-2), -3.0)
    writer.train(30, 1)
    z = np.linspace(-5, -1, 10)
    weights, predicted = writer.weights(z), writer.predicted(z)
    assert predicted.validation == pytest.approx(judged(weights, part(1, 100))[0], rel=1e-5)
    assert (predicted.test, predicted.accuracy) == pytest.approx(judged(weights, part(2, 100)), rel=1e-5)


def test_the_gradient_is_that_of_what_is_predicted(problem: Problem) -> None:
    writer = Writer(problem, PER_UNIT, Setting("linear", 0.3, 1e-2), -3.0)
    writer.train(30, 1)
    z = np.full(10, -3.0)
    for unit, slope in zip(np.eye(10), writer.gradient(z)):
        higher, lower = (judged(writer.weights(z + step * unit), part(1, 100))[0] for step in (0.05, -0.05))
        assert slope == pytest.approx((higher - lower) / 0.1, rel=0.01, abs=1e-5)


def test_training_goes_on_where_it_ended(problem: Problem) -> None:
    """And lowers what is predicted around the centre."""
    writer = Writer(problem, PER_NET, Setting("linear", 0.3, 1e-3), -3.0)
    losses = []
    for seed in range(3):
        writer.train(20, seed)
        losses.append(writer.predicted(np.array([-3.0])).validation)
    assert losses[2] < losses[1] < losses[0] < np.log(10)


def test_ranges() -> None:
    assert hypernets.ranged([3, 1, 2.5], 1) == "2.5 [1.0, 3.0]"
    assert hypernets.ranged([3], 2) == "3.00"


# ---- one decay ----

def test_curve_rows_hold_predictions_against_trainings(problem: Problem) -> None:
    rows = list(hypernet_curve.rows_of(problem, steps=25, iterations=100))
    points = 3  # 0, 20 and the last, 25
    assert Counter(row.method for row in rows) == {hypernet_curve.GLOBAL_NAME: 15,
                                                   **{name: 2 * points for name in hypernet_curve.LOCAL}}
    assert [row.step for row in rows[15:18]] == [0, 20, 25]
    assert [rows[15].z, rows[18].z] == [rows[15].start, rows[18].start] == list(hypernet_curve.STARTS)
    assert rows[17].z != rows[17].start
    for row in rows[7], rows[17]:
        assert row.true == pytest.approx(problem.trained(np.full(SIZE, np.exp(row.z))).validation, rel=1e-6)
    learned = {name: [row for row in rows if row.method == name] for name in hypernet_curve.LOCAL}
    assert all(0 < row.predicted < 3 for own in learned.values() for row in own)


def test_curve_ends_are_the_lowest_and_the_last() -> None:
    name, start = next(iter(hypernet_curve.LOCAL)), hypernet_curve.STARTS[0]
    rows = [hypernet_curve.Row(1, hypernet_curve.GLOBAL_NAME, np.nan, 0, z, predicted, 1.0)
            for z, predicted in ((-2.0, 3.0), (-1.0, 2.0), (0.0, 4.0))]
    rows += [hypernet_curve.Row(1, name, start, step, -float(step), 1.0, 1.0) for step in (0, 20, 40)]
    found = hypernet_curve.ends(rows)
    assert found[hypernet_curve.GLOBAL_NAME][0].z == -1
    assert found[f"{name}, from {start:g}"][0].z == -40


# ---- thousands of decays ----

def test_thousands_rows(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypernet_thousands, "LEGS", (10, 300))
    rows = list(hypernet_thousands.rows_of(problem, steps=10))
    assert Counter((row.hypernet, row.part) for row in rows) == {
        (name, part): count for name in hypernet_thousands.SETTINGS
        for part, count in ((hypernet_thousands.AROUND, 2), (hypernet_thousands.DOWN, 1))}
    last = {row.hypernet: row for row in rows if (row.part, row.step) == (hypernet_thousands.AROUND, 300)}
    # A response of rank 10 tells next to nothing of 650 decays; one decay a weight tells what one step ahead does.
    assert abs(last["factorised, larger steps"].cosine) < 0.25
    assert last["diagonal, larger steps"].cosine > 0.25 and last["diagonal, larger steps"].one_step > 0.25
    ends = [row for row in rows if row.part == hypernet_thousands.DOWN]
    assert all(row.cost == pytest.approx(10 * 21 / 20 + 1) for row in ends)  # an iteration: 2 gradients; a step: 1
    assert all(0 < min(row.validation, row.test, row.test_of_both) < 3 for row in ends)


def test_thousands_are_held_against_the_implicit_gradient(problem: Problem) -> None:
    """Which is that of differences of nets that are trained to the end."""
    found = hypernet_thousands.implicit(problem)
    direction = found / np.linalg.norm(found)

    def loss(step: float) -> float:
        from scipy.optimize import minimize

        decay, images = START * np.exp(step * direction), part(0, 200)
        x = np.hstack([images.pixels, np.ones((200, 1))])

        def criterion(w: np.ndarray) -> Tuple[float, np.ndarray]:
            scores = x @ np.hstack([w[:-10].reshape(10, PIXELS), w[-10:, np.newaxis]]).T
            p = np.exp(scores - scores.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            value = -np.log(p[np.arange(200), images.labels]).mean() + decay @ w ** 2 / 2
            p[np.arange(200), images.labels] -= 1
            by_output = p.T @ x / 200
            return value, np.concatenate([by_output[:, :-1].ravel(), by_output[:, -1]]) + decay * w

        trained = minimize(criterion, np.zeros(SIZE), jac=True, method="L-BFGS-B", tol=1e-14,
                           options={"maxiter": 20000, "maxfun": 20000, "gtol": 1e-9}).x
        return judged(trained, part(1, 100))[0]

    assert (loss(0.5) - loss(-0.5)) / 1 == pytest.approx(np.linalg.norm(found), rel=0.05)


# ---- deeper nets ----

def test_the_nets_are_the_papers(tmp_path: Path) -> None:
    images = Images(np.zeros((100, 784)), np.zeros(100, int))
    sizes = {name: Problem(Plain(net, 1), tmp_path, images, images, images, 1).hand().size
             for name, net in hypernet_deeper.NETS.items()}
    assert sizes == {"784-10": 7850, "784-100-10": 79510, "784-100-100-10": 89610}


def test_deeper_rows(problem: Problem) -> None:
    rows = list(hypernet_deeper.rows_of(problem, "784-10", steps=12))
    assert [(row.method, row.step) for row in rows] == [
        ("grid", 0), *((name, step) for name in hypernets.EACH for step in (10, 12))]
    best = min(problem.trained(np.full(SIZE, decay)).validation for decay in mnist.GRID)
    assert rows[0].validation == pytest.approx(best, rel=1e-6)
    assert 0 < rows[2].predicted < 3 and 0 < rows[2].validation < 3


# ---- weights against losses ----

def test_a_process_and_a_hypernet_of_what_is_linear(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses that are linear in z are told by the process, weights that are by the hypernet."""
    random = np.random.RandomState(5)
    z = random.normal(hypernet_losses.CENTRE, hypernet_losses.DEVIATION, (45, 10))
    slopes, base = random.normal(0, 0.01, (10, SIZE)), random.normal(0, 0.1, SIZE)
    weights = z @ slopes + base
    data = hypernet_losses.Trained(z[:25], weights[:25], z[:25].sum(axis=1))
    told = hypernet_losses.process(data)(z[25:])
    assert np.corrcoef(told, z[25:].sum(axis=1))[0, 1] > 0.97
    monkeypatch.setattr(hypernet_losses, "FIT_ITERATIONS", 4000)
    told = hypernet_losses.fitted(problem, data)(z[25:])
    assert told == pytest.approx([judged(own, part(1, 100))[0] for own in weights[25:]], rel=0.02)


def test_known_trainings_are_plain_ones(problem: Problem) -> None:
    z = np.array([np.linspace(-5, 0, 10)])
    found = hypernet_losses.trained(problem, z)
    decay = np.exp(np.append(np.repeat(z[0], PIXELS), z[0]))  # of an output's weights, and of its bias
    assert found.losses[0] == pytest.approx(problem.trained(decay).validation, rel=1e-6)
    assert found.losses[0] == pytest.approx(judged(found.weights[0], part(1, 100))[0], rel=1e-5)


def test_losses_rows_and_measures(problem: Problem) -> None:
    rows = list(hypernet_losses.rows_of(problem, known=4, asked=3))
    assert Counter(row.method for row in rows) == {method: 3 for method in hypernet_losses.METHODS}
    own = [hypernet_losses.Row(1, "some", number, true, predicted)
           for number, (true, predicted) in enumerate(((1, 1.5), (2, 1.75), (4, 4.5), (3, 3.25)))]
    assert hypernet_losses.measures(own) == {
        "mean of predicted - true": pytest.approx(0.25), "mean distance": pytest.approx(0.375),
        "too low, of 100": 25, "rank correlation": pytest.approx(1), "true at the predicted best": 1, "the best": 1}


# ---- the data ----

@pytest.mark.parametrize("experiment, kinds", [
    (hypernet_curve, {(hypernet_curve.GLOBAL_NAME,)} | {(name,) for name in hypernet_curve.LOCAL}),
    (hypernet_thousands, {(name,) for name in hypernet_thousands.SETTINGS}),
    (hypernet_deeper, {(net, method) for net in hypernet_deeper.NETS
                       for method in ("grid", *hypernets.EACH)}),
    (hypernet_losses, {(method,) for method in hypernet_losses.METHODS})],
    ids=lambda value: getattr(value, "NAME", ""))
def test_data_have_every_method_and_seed(experiment: Any, kinds: Any) -> None:
    rows = experiment.load()
    names = [name for name in ("net", "method", "hypernet") if name in experiment.Row._fields]
    found = Counter((row.seed, *(getattr(row, name) for name in names)) for row in rows)
    assert set(found) == {(seed, *kind) for seed in experiment.SEEDS for kind in kinds}
    assert all(len({found[(seed, *kind)] for seed in experiment.SEEDS}) == 1 for kind in kinds)
