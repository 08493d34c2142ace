"""The experiments of docs/results.md with gradients of hyper-parameters: each at a small size, and the page."""
from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any, List, Tuple

import numpy as np
import pytest

from menndl_caffe.trainer.groups import PER_BLOB, PER_NET, PER_WEIGHT
from tests.bench.gradients import mnist, nets, results, searches, series, sparse, trainings
from tests.bench.gradients.__main__ import EXPERIMENTS, main
from tests.bench.gradients.least_squares import LeastSquares, Samples, closed_form, descend
from tests.bench.gradients.trainings import Images, Plain, Problem
from tests.conftest import REPOSITORY
from tests.support import hands

pytestmark = pytest.mark.usefixtures("quiet_engine")

PAGE = REPOSITORY / "docs/results.md"


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_the_page_has_the_tables_of_the_data(experiment: Any) -> None:
    text = PAGE.read_text()
    for part in experiment.page(experiment.load()):
        assert part in text or part in " ".join(text.split())  # a table, or a sentence on some lines
    if experiment.FIGURE is not None:
        assert f"({experiment.FIGURE.name})" in text and experiment.FIGURE.stat().st_size < 300_000


# ---- what all share ----

def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = [sparse.Row(60, 1, sparse.EACH, 1.25, 1.5, 0.875, 95, 0.001, 12.5),
            sparse.Row(60, 2, sparse.LEAST, 2.5, 1 / 3, 2.0, 0, float("nan"), float("nan"))]
    results.write(tmp_path / "some.csv", rows, ["of: nowhere"])
    first, second = results.read(tmp_path / "some.csv", sparse.Row)
    assert first == rows[0]
    assert second[:4] == rows[1][:4] and np.isnan(second.irrelevant)
    assert second.test_of_all == pytest.approx(1 / 3, rel=1e-5)


def test_medians_quartiles_and_wins() -> None:
    assert results.said([5, 1, 2, 4, 3], 1) == "3.0 [2.0, 4.0]"
    assert results.fraction({1: 0.5, 2: 0.5, 3: 0.1}, {1: 0.6, 2: 0.5, 3: 0.0}) == "1 of 3"


def drawn(seed: int, count: int) -> Samples:
    random = np.random.RandomState(seed)
    inputs = random.standard_normal((count, 5))
    return Samples(inputs, inputs @ np.arange(5) + random.standard_normal(count))


def test_the_net_minimises_and_differentiates_by_decay_and_importance(tmp_path: Path) -> None:
    """Against numpy's own least squares, and differences of its validation loss."""
    fit, held = drawn(1, 20), drawn(2, 15)
    random = np.random.RandomState(3)
    decay, importance = random.uniform(0.1, 1, 5), random.uniform(0.1, 1, 20)
    found = LeastSquares(tmp_path, fit, held).at(decay, importance)

    def loss(decay: np.ndarray, importance: np.ndarray) -> float:
        return held.error(closed_form(fit, decay, importance)) / 2

    assert np.allclose(found.weights, closed_form(fit, decay, importance), atol=1e-5)
    assert found.loss == pytest.approx(loss(decay, importance), rel=1e-5)
    for by, size, moved in ((found.by_decay, 5, lambda d: loss(decay + d, importance)),
                            (found.by_importance, 20, lambda d: loss(decay, importance + d))):
        differences = [(moved(1e-5 * unit) - moved(-1e-5 * unit)) / 2e-5 for unit in np.eye(size)]
        assert np.allclose(by, differences, atol=1e-4 * np.abs(differences).max())


def test_the_descent_ends_at_a_minimum_or_a_bound() -> None:
    target = np.array([0.5, 7.0, -9.0])
    found = descend(lambda x: (float(((x - target) ** 2).sum()), 2 * (x - target)), np.zeros(3), np.full(3, -2.0),
                    np.full(3, 3.0))
    assert np.allclose(found, [0.5, 3.0, -2.0], atol=1e-2)


# ---- sparse linear regression ----

def test_sparse_irrelevant_decays_grow() -> None:
    decay, gradients = sparse.descended(sparse.draw(60, 3), sparse.INPUTS)
    logs = np.log(decay / sparse.START)
    assert logs[sparse.RELEVANT:].mean() > 1 + max(0, logs[:sparse.RELEVANT].mean())
    assert 43 < gradients <= 43 + 200  # 40 + 3 to read A and b, then one each step


def test_sparse_one_decay_is_where_no_other_is_better() -> None:
    problem = sparse.draw(60, 4)
    decay, _ = sparse.descended(problem, 1)
    assert np.ptp(decay) == 0

    def error(factor: float) -> float:
        return problem.held.error(closed_form(problem.fit, factor * decay, np.ones(60)))

    assert error(1) < min(error(0.9), error(1.1))


def test_sparse_data_have_every_method_and_seed() -> None:
    rows = sparse.load()
    assert Counter((row.samples, row.seed, row.method) for row in rows) == Counter(
        (samples, seed, method) for samples in sparse.SIZES for seed in sparse.SEEDS for method in sparse.METHODS)
    fresh = next(row for row in sparse.rows_of(60, 1) if row.method == sparse.LEAST)
    kept = next(row for row in rows if (row.samples, row.seed, row.method) == (60, 1, sparse.LEAST))
    assert kept.test == pytest.approx(fresh.test, rel=1e-4)


# ---- a series that changes ----

def test_series_gradient_of_the_sigmoid(tmp_path: Path) -> None:
    """The descent ends where the validation error, by numpy alone, is no lower beside it."""
    drawn_series = series.draw(True, 2)
    point, gradients = series.descended(drawn_series)

    def error(point: np.ndarray) -> float:
        weights = closed_form(drawn_series.fit, np.full(series.ORDER, series.DECAY),
                              series.sigmoid(point, series.TRAINED))
        return drawn_series.held.error(weights)

    assert error(point) < error(np.array(series.START))
    for step in (np.array([0.1, 0]), np.array([0, 0.2])):
        for beside in (point + step, point - step):
            assert error(point) <= error(np.clip(beside, series.LOW, series.HIGH)) * (1 + 1e-4)
    assert gradients > 7  # 3 + 3 to read A and b at each point


def test_series_change_where_they_say() -> None:
    """Least squares before and after the change find other slopes; the inputs are the values before the target."""
    one = series.draw(True, 1)
    values = one.fit.targets
    assert np.allclose(one.fit.inputs[5:, 0], values[4:-1]) and np.allclose(one.fit.inputs[5:, 2], values[2:-3])
    assert series.TRAINED // 4 <= one.change < 3 * series.TRAINED // 4
    assert series.draw(False, 1).change == 0
    after = closed_form(one.test, np.zeros(3), np.ones(series.TESTED))
    assert one.test.error(after) == pytest.approx(1, abs=0.1)
    late, early = (Samples(one.fit.inputs[part], one.fit.targets[part])
                   for part in (slice(one.change, None), slice(one.change)))
    assert late.error(after) < early.error(after)


def test_series_data_have_every_method_and_seed() -> None:
    rows = series.load()
    assert Counter((row.series, row.seed, row.method) for row in rows) == Counter(
        (kind, seed, method) for kind in series.CHANGES for seed in series.SEEDS for method in series.METHODS)


# ---- a linear net on MNIST ----

def part(seed: int, count: int) -> Images:
    """Images of 64 pixels in 4 classes."""
    labels, pixels = hands.draw_images(seed, count)
    return Images(pixels.reshape(count, -1) / 256, labels.astype(int))


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    """A linear net, 650 weights in 2 blobs, for 20 iterations; 2 batches to train on, 1 of validation, 1 of test."""
    folder = tmp_path_factory.mktemp("mnist")
    return Problem(Plain(nets.LINEAR, 20), folder, part(0, 200), part(1, 100), part(2, 100), 1)


def test_mnist_rows_count_what_was_spent(problem: Problem) -> None:
    rows = list(mnist.rows_of(problem, 1, outer=1))
    assert [(row.method, row.decays) for row in rows] == list(mnist.METHODS)
    costs = {row.method: 20 * (row.cost - 1) for row in rows}
    assert costs[mnist.GRID_NAME] == pytest.approx(6 * 20)  # and the best one's own
    assert costs[mnist.T1T2] == pytest.approx(2 * 20)
    assert costs[mnist.UNROLLED] == costs[mnist.DRMAD] == pytest.approx(20 + 1 + 2 * (20 + 8))  # of HELD 1 batch
    for row in rows:
        assert 0 < row.validation < 2.4 and 0 < row.test < 2.4 and 0 < row.accuracy <= 1


def test_mnist_losses_are_those_of_the_trained_weights(problem: Problem) -> None:
    """Of a softmax in numpy."""
    decay = np.full(650, 0.01)
    hand = trainings.with_decays(problem, decay)
    for iteration in range(20):
        hand.show("train", iteration)
        hand.step()
    weights = hand.take().astype(float)

    def judged(images: Images) -> Tuple[float, float]:
        powers = np.exp(images.pixels @ weights[:640].reshape(10, 64).T + weights[640:])
        likely = powers[np.arange(100), images.labels] / powers.sum(axis=1)
        return -np.log(likely).mean(), (powers.argmax(axis=1) == images.labels).mean()

    found = problem.trained(decay)
    assert found.validation == pytest.approx(judged(part(1, 100))[0], rel=1e-5)
    assert found[1:] == pytest.approx(judged(part(2, 100)), rel=1e-5)


def test_mnist_a_step_of_unrolled_lowers_the_validation_loss(problem: Problem) -> None:
    before = problem.trained(np.full(650, trainings.START)).validation
    *_, found = trainings.descent(problem, PER_WEIGHT, trainings.by_unrolled, 3)
    assert len(np.unique(found.decay)) > 600
    assert problem.trained(found.decay).validation < before


def test_mnist_parts_have_no_image_in_common() -> None:
    images = Images(np.arange(7000).reshape(-1, 1), np.arange(7000))
    parts = mnist.split(images, 3)
    assert [len(part.labels) for part in parts] == [1000, 1000, 4000]
    assert len(set(np.concatenate([part.labels for part in parts]))) == 6000
    assert all(np.array_equal(part.pixels[:, 0], part.labels) for part in parts)


def test_mnist_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    for more, words in ([], "--mnist FOLDER is missing"), (["--mnist", str(tmp_path)], "t10k-images-idx3-ubyte is"):
        monkeypatch.setattr("sys.argv", ["gradients", "mnist", "run", *more])
        with pytest.raises(SystemExit) as exit:
            main()
        assert exit.value.code == 2 and words in capsys.readouterr().err


def test_mnist_data_have_every_method_and_seed() -> None:
    rows = mnist.load()
    steps = Counter((row.seed, row.method, row.decays) for row in rows)
    assert steps == {(seed, method, kind): trainings.OUTER if method in mnist.ESTIMATORS else 1
                     for seed in mnist.SEEDS for method, kind in mnist.METHODS}


# ---- decays of blobs, with and without gradients ----

def test_searches_nets_have_the_weights_that_they_say(tmp_path: Path) -> None:
    for layers, side, weights, blobs in ((nets.LINEAR, 28, 7850, 2), (nets.MLP, 14, 10360, 4),
                                         (nets.LENET, 14, 2618, 8)):
        images = Images(np.random.RandomState(1).random_sample((100, side * side)), np.arange(100) % 10)
        hand = Problem(Plain(layers, 1), tmp_path, images, images, images, 1).hand()
        assert (hand.size, len(hand.parameters)) == (weights, blobs)
        assert hand.decay == pytest.approx(np.full(weights, trainings.START))


def test_searches_halve_images() -> None:
    """The pixels of a row are side by side."""
    image = np.arange(32).reshape(2, 16)  # two of 4 x 4
    halved = searches.halved(Images(image, np.array([3, 5])))
    assert halved.pixels.tolist() == [[2.5, 4.5, 10.5, 12.5], [18.5, 20.5, 26.5, 28.5]]
    assert halved.labels.tolist() == [3, 5]


@pytest.mark.parametrize("method", searches.WITHOUT)
def test_searches_without_gradients_train_as_often_as_the_budget_says(
        problem: Problem, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "BUDGET", 8)
    tried = list(searches.tried_by(problem, method, PER_BLOB))
    assert [each.cost for each in tried] == list(range(1, 9))
    decays = np.array([each.decay for each in tried])
    assert ((1e-8 <= decays) & (decays <= 2)).all()
    assert (np.ptp(decays[:, :640], axis=1) == 0).all() and (np.ptp(decays[:, 640:], axis=1) == 0).all()
    assert len({tuple(decay[[0, 640]]) for decay in decays}) == 8
    assert (decays[0] == trainings.START).all() == (method == searches.GUIDED_GA)  # the others do not know it
    assert tried[3].losses == problem.trained(tried[3].decay)


def test_searches_are_told_the_validation_loss(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    told: List[float] = []
    monkeypatch.setattr(searches.Ours, "tell", lambda self, number, cost: told.append(cost))
    monkeypatch.setattr(searches, "BUDGET", 3)
    tried = list(searches.tried_by(problem, searches.RANDOM, PER_BLOB))
    assert told == [each.losses.validation for each in tried]


def test_searches_by_descent_stop_before_the_budget_is_spent(problem: Problem) -> None:
    tried = list(searches.tried_by(problem, searches.UNROLLED, PER_BLOB))
    step = (20 + 1 + 2 * (20 + 8)) / 20  # see test_mnist_rows_count_what_was_spent
    assert [each.cost for each in tried] == pytest.approx([1 + step * number for number in range(1, 7)])
    assert 1 + 6 * step <= searches.BUDGET < 1 + 7 * step


def test_searches_by_hoag_count_a_training_at_each_step(problem: Problem) -> None:
    decay = np.full(650, trainings.START)
    _, gradients = trainings.by_hoag(problem, decay, 0)
    first = next(searches.tried_by(problem, searches.HOAG, PER_BLOB))
    assert first.cost == gradients / 20 + 1


def test_searches_warm_hoag_begins_where_it_ended(problem: Problem) -> None:
    """So the next step costs less than from the first weights, and comes to the same."""
    decay = np.full(650, trainings.START)
    warm = trainings.warm_hoag(problem)
    (first, _), (second, cost) = (warm(problem, decay, step) for step in (0, 1))
    assert np.allclose(first.by_decay, trainings.by_hoag(problem, decay, 0)[0].by_decay)
    cold, cold_cost = trainings.by_hoag(problem, decay, 1)
    assert second.how["gradients"] == cost < cold_cost
    assert second.how["inner"] <= trainings.TOLERANCE / 2
    assert np.linalg.norm(second.by_decay - cold.by_decay) < 0.1 * np.linalg.norm(cold.by_decay)


def test_searches_a_hypernet_gives_each_blob_a_decay(problem: Problem) -> None:
    found = trainings.by_hypernet(problem, PER_BLOB)
    assert found.gradients == 100 * (10 * 2 + 1)
    assert np.ptp(found.decay[:640]) == np.ptp(found.decay[640:]) == 0 < abs(found.decay[0] - found.decay[640])


def test_searches_rows_say_what_counts(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "BUDGET", 3)
    methods = (searches.GRID_NAME, PER_NET), (searches.RANDOM, PER_BLOB)
    rows = list(searches.rows_of(searches.MLP, problem, methods))
    assert [(row.method, row.step) for row in rows] == [
        *((searches.GRID_NAME, step) for step in range(1, 8)), *((searches.RANDOM, step) for step in range(1, 4))]
    for method, group in itertools.groupby(rows, lambda row: row.method):
        of_it = list(group)
        best = min(of_it, key=lambda row: row.validation)
        assert [row for row in of_it if row.test_of_both == row.test_of_both] == [best]
        if method == searches.GRID_NAME:
            decay = mnist.GRID[best.step - 1]
            assert best.test_of_both == problem.trained_on_both(np.full(650, decay)).test


def test_searches_go_on_from_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped within one method, and begun again: the same rows as at once."""
    monkeypatch.setattr(searches, "TABLE", tmp_path / "searches.csv")
    monkeypatch.setattr(searches, "SEEDS", {searches.MLP: (1, 2)})
    monkeypatch.setattr(searches, "METHODS", ((searches.GRID_NAME, PER_NET), (searches.RANDOM, PER_BLOB)))
    monkeypatch.setattr(searches, "NETS", {searches.MLP: Plain(nets.LINEAR, 2, batch=50)})
    monkeypatch.setattr(searches, "SIZES", (50, 50, 100))
    monkeypatch.setattr(searches, "BUDGET", 2)
    images = Images(np.random.RandomState(1).random_sample((200, 784)), np.arange(200) % 10)
    monkeypatch.setattr(searches, "images_in", lambda arguments: images)
    results.write(searches.TABLE, searches.run(None), [])
    whole = searches.TABLE.read_text().splitlines()
    assert len(whole) == 1 + 2 * (7 + 2)
    for stop in (8, 10):  # in front of RANDOM; of the second seed
        searches.TABLE.write_text("\n".join(whole[:stop]) + "\n")
        results.write(searches.TABLE, searches.run(None), [])
        assert searches.TABLE.read_text().splitlines() == whole


def test_searches_paths_are_of_the_best_so_far() -> None:
    def row(seed: int, step: int, validation: float, test: float) -> searches.Row:
        return searches.Row(searches.MLP, seed, searches.RANDOM, PER_BLOB, step, step, validation, test, 0.5, np.nan, 0)

    rows = [row(1, 1, 0.5, 0.9), row(1, 2, 0.6, 0.1), row(1, 3, 0.4, 0.7),
            row(2, 1, 0.7, 0.3), row(2, 2, 0.3, 0.5)]
    assert searches.path(rows, searches.RANDOM, "validation") == ([1, 2], pytest.approx([0.6, 0.4]))
    assert searches.path(rows, searches.RANDOM, "test") == ([1, 2], pytest.approx([0.6, 0.7]))
    assert searches.path(rows, searches.HOAG, "test") == ([], [])
    assert {seed: found.step for seed, found in searches.best(rows, searches.RANDOM).items()} == {1: 3, 2: 2}


def test_searches_data_have_every_method_and_seed() -> None:
    rows = searches.load()
    counted = {(row.net, row.seed, row.method): row for row in rows if row.test_of_both == row.test_of_both}
    assert set(counted) == {(net, seed, method) for net, seeds in searches.SEEDS.items() for seed in seeds
                            for method, _ in searches.METHODS}
    for net, seed, method in counted:
        tried = searches.of_method([row for row in rows if row.net == net], method)[seed]
        assert [row.step for row in tried] == list(range(1, len(tried) + 1))
        assert min(row.validation for row in tried) == counted[net, seed, method].validation
        assert len(tried) == 1 or tried[-2].cost < searches.BUDGET, "the last step began within it"
        assert tried[-1].cost <= searches.BUDGET or method in (searches.HOAG, searches.WARM), "of no known cost"
