"""UNROLLED and DRMAD against differences of whole trainings, in float64 on their own and in the engines."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import pytest

import menndl_caffe.torchcaffe as engine
from menndl_caffe.trainer.hypergradient.drmad import drmad
from menndl_caffe.trainer.hypergradient.estimate import Estimate
from menndl_caffe.trainer.hypergradient.product import EXACT_COST
from menndl_caffe.trainer.hypergradient.unrolled import unrolled
from menndl_caffe.trainer.net_in_hand import VALIDATION, NetInHand
from menndl_caffe.trainer.plain import advance, learning_rates
from menndl_caffe.trainer.train import Diverged, Unsuitable
from tests.support import hands
from tests.support.exact_training import Dense, Setting, batches_of, slope
from tests.support.hand_programs import unrolled as programs

UNITS = {"linear": (64, 4), "tanh": (64, 8, 4), "relu": (64, 8, 4)}
pytestmark = pytest.mark.usefixtures("quiet_engine")

BATCHES = hands.PERIODS[1]
RATES = 'lr_policy: "inv" gamma: 0.02 power: 0.75'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hands.write_images(tmp_path_factory.mktemp("images"))


def nothing(iteration: int) -> None:
    """Of the iterations that are done."""


def of(kind: str, folder: Path, method: Callable[..., Estimate] = unrolled, **solver: Any) -> Estimate:
    return method(hands.hand(engine, kind, folder, **solver), BATCHES, nothing)


def in_hand(net: str, solver: str) -> NetInHand:
    return NetInHand(engine, net, solver, hands.PERIODS)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


# ---- the same derivative by whole trainings ----

class Exact:
    """The validation loss after a training of the net in hand, in float64, as a function of its setting."""

    def __init__(self, hand: NetInHand, kind: str):
        self._net, self._start = Dense(kind, UNITS[kind]), hand.take()
        self._fit, self._held = ([*batches_of(images, labels, hands.BATCH, 0.00390625)] for labels, images in (
            hands.draw_images(0, hands.TRAINED), hands.draw_images(1, hands.HELD)))
        self.setting = Setting(hand.decay, learning_rates(hand.param), hand.param.momentum, hand.lr_mult)

    def __call__(self, **changed: Any) -> float:
        setting = self.setting._replace(**changed)
        return self._net.loss(self._net.trained(self._start, self._fit, setting), self._held)


def by_base_lr(hand: NetInHand, estimate: Estimate) -> float:
    return sum(parameter.lr_mult * estimate.others[f"lr {parameter.name}"] for parameter in hand.parameters)


@pytest.mark.parametrize("kind", ["linear", "tanh"])
def test_it_is_the_derivative_of_a_whole_training(kind: str, folder: Path) -> None:
    net = hands.net_text(kind, folder).replace("\n  param { lr_mult: 1", "\n  param { lr_mult: 2")  # of the biases
    solver = hands.solver_text(max_iter=60).replace('lr_policy: "fixed"', RATES)
    hand = in_hand(net, solver)
    exact = Exact(hand, kind)
    estimate = unrolled(hand, BATCHES, nothing)
    decay, rates, momentum, lr_mult = exact.setting
    directions = [hand.of_blobs([float(blob == one) for blob in range(len(hand.parameters))])
                  for one in range(len(hand.parameters))]
    directions += list(np.random.RandomState(3).standard_normal((3, hand.size)))
    by_log_decay = [slope(lambda h, u=u: exact(decay=decay * np.exp(h * u)), 1e-3) for u in directions]
    found = np.array([direction @ (decay * estimate.by_decay) for direction in directions])
    assert np.linalg.norm(found - by_log_decay) <= 1e-3 * np.linalg.norm(by_log_decay)
    base_lr = slope(lambda h: exact(rates=rates * np.exp(h)), 1e-3) / hand.param.base_lr
    assert by_base_lr(hand, estimate) == pytest.approx(base_lr, rel=1e-3)
    assert estimate.others["momentum"] == pytest.approx(slope(lambda h: exact(momentum=momentum + h), 1e-4), rel=1e-3)
    for parameter, direction in zip(hand.parameters, directions):
        by_lr_mult = slope(lambda h, u=direction: exact(lr_mult=lr_mult + h * u), 1e-3)
        by_lr = estimate.others[f"lr {parameter.name}"]
        assert hand.param.base_lr * by_lr == pytest.approx(by_lr_mult, rel=1e-3, abs=1e-6)
    assert not estimate.distrust


def loss_after(hand: NetInHand) -> float:
    for iteration in range(hand.param.max_iter):
        advance(hand, iteration)
    losses = []
    for number in range(BATCHES):
        hand.show(VALIDATION, number)
        losses.append(hand.loss())
    return float(np.mean(losses))


@pytest.mark.parametrize("kind", ["linear", "tanh"])
def test_it_is_the_derivative_of_a_whole_training_in_the_engine(kind: str, folder: Path) -> None:
    def trained(**solver: float) -> float:
        return loss_after(hands.hand(engine, kind, folder, max_iter=60, **solver))

    hand = hands.hand(engine, kind, folder, max_iter=60)
    estimate = unrolled(hand, BATCHES, nothing)
    by_log_decay = slope(lambda h: trained(decay=0.01 * np.exp(h)), 0.05)
    assert hand.decay @ estimate.by_decay == pytest.approx(by_log_decay, rel=1e-2)
    assert 0.05 * by_base_lr(hand, estimate) == pytest.approx(slope(lambda h: trained(rate=0.05 * np.exp(h)), 0.02),
                                                              rel=1e-2)
    assert estimate.others["momentum"] == pytest.approx(slope(lambda h: trained(momentum=0.9 + h), 2e-3), rel=1e-2)


def test_dropout_is_the_same_function_each_time(folder: Path) -> None:
    drop = 'layer { name: "drop" type: "Dropout" bottom: "active" top: "dropped" }\nlayer { name: "score"'
    net = hands.net_text("tanh", folder).replace('layer { name: "score"', drop).replace(
        'bottom: "active" top: "score"', 'bottom: "dropped" top: "score"')
    assert net.count('"dropped"') == 2

    def made(decay: float) -> NetInHand:
        return in_hand(net, hands.solver_text(max_iter=40, decay=decay))

    hand = made(0.01)
    estimate = unrolled(hand, BATCHES, nothing)
    expected = slope(lambda h: loss_after(made(0.01 * np.exp(h))), 0.05)
    assert hand.decay @ estimate.by_decay == pytest.approx(expected, rel=1e-2)
    assert not estimate.distrust


def test_both_engines_find_the_same(folder: Path, caffe_root: Path) -> None:
    caffe, torch = (hands.in_engine(name, programs.hypergradients, folder, caffe_root) for name in ("caffe", "torch"))
    assert caffe.keys() == torch.keys()
    for name, values in caffe.items():
        assert np.linalg.norm(values - torch[name]) <= 5e-3 * np.linalg.norm(values)


# ---- the training that it follows ----

@pytest.mark.parametrize("name", ["caffe", "torch"])
def test_the_path_is_that_of_the_program_train(name: str, folder: Path, caffe_root: Path) -> None:
    found = hands.in_engine(name, programs.paths, folder, caffe_root)
    assert found["told"].tolist() == list(range(21))
    for output in ("accuracy", "loss"):
        assert len(found[f"train {output}"]) == programs.TESTS
        assert found[f"unrolled {output}"].tolist() == found[f"train {output}"].tolist()


@pytest.mark.parametrize("method", [unrolled, drmad])
def test_the_trained_weights_are_in_hand_afterwards(method: Callable[..., Estimate], folder: Path) -> None:
    plain, hand = (hands.hand(engine, "tanh", folder) for _ in range(2))
    for iteration in range(20):
        advance(plain, iteration)
    method(hand, BATCHES, nothing)
    np.testing.assert_array_equal(hand.take(), plain.take())


@pytest.mark.parametrize("method", [unrolled, drmad])
def test_a_training_that_diverges_says_so(method: Callable[..., Estimate], folder: Path) -> None:
    with pytest.raises(Diverged, match="training loss is .* at iteration"):
        of("linear", folder, method, rate=1e6, decay=1.0, max_iter=200)


# ---- how far it may be trusted ----

@pytest.fixture
def by_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with an engine that has no products of its own: real Caffe."""
    monkeypatch.setattr(NetInHand, "has_exact_products", False)


@pytest.mark.usefixtures("by_differences")
@pytest.mark.parametrize(("kind", "kinks"), [("linear", False), ("tanh", False), ("relu", True), ("lenet", True)])
def test_kinks_are_seen_and_their_effect_is_measured(kind: str, kinks: bool, folder: Path) -> None:
    estimate = of(kind, folder, max_iter=60)
    assert estimate.how["kinks"] == kinks
    assert (estimate.how["disagreement"] > 0.05) == kinks == ("spread" in estimate.how)
    assert estimate.how["gradients"] == (BATCHES + 2 * (60 + 8)) * (1 + kinks)


@pytest.mark.usefixtures("by_differences")
def test_what_moves_with_the_step_of_the_products_is_distrusted(folder: Path) -> None:
    distrusted = of("relu", folder, max_iter=60)
    assert max(distrusted.how["spread"].values()) > 0.05
    assert distrusted.distrust.startswith("with other steps of the Hessian products it changes by ")
    assert distrusted.distrust.endswith("expected 0.05 at most; the net has kinks")


@pytest.mark.usefixtures("by_differences")
def test_kinks_that_do_not_matter_are_trusted(folder: Path) -> None:
    hand = hands.hand(engine, "relu", folder, max_iter=60, rate=0.005, momentum=0.0)
    exact = Exact(hand, "relu")
    estimate = unrolled(hand, BATCHES, nothing)
    assert max(estimate.how["spread"].values()) < 0.02 and not estimate.distrust
    by_log_decay = slope(lambda h: exact(decay=hand.decay * np.exp(h)), 0.05)
    assert hand.decay @ estimate.by_decay == pytest.approx(by_log_decay, rel=0.05)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_exact_products_go_through_kinks(momentum: float, folder: Path) -> None:
    """Between its kinks the path is smooth; what the jumps add shows in differences of whole trainings."""
    hand = hands.hand(engine, "relu", folder, max_iter=60, momentum=momentum)
    exact = Exact(hand, "relu")
    estimate = unrolled(hand, BATCHES, nothing)
    assert estimate.how["product"] == "EXACT" and estimate.how["kinks"] and not estimate.distrust
    assert estimate.how["gradients"] == BATCHES + EXACT_COST * 60
    by_log_decay = slope(lambda h: exact(decay=hand.decay * np.exp(h)), 0.3)
    assert hand.decay @ estimate.by_decay == pytest.approx(by_log_decay, rel=0.1)


@pytest.mark.parametrize("kind", ["tanh", "relu"])
def test_exact_products_are_those_of_a_whole_hessian(kind: str, folder: Path) -> None:
    hand = hands.hand(engine, kind, folder)
    hand.show("train", 1)
    net, fit = Dense(kind, UNITS[kind]), batches_of(*hands.draw_images(0, hands.TRAINED)[::-1], hands.BATCH, 0.00390625)
    weights, direction = hand.take().astype(float), np.random.RandomState(4).standard_normal(hand.size)
    ahead, behind = (net.gradient(weights + step * direction, fit[1])[1] for step in (1e-7, -1e-7))
    np.testing.assert_allclose(hand.exact_product(direction), (ahead - behind) / 2e-7, atol=2e-4 * np.abs(ahead).max())
    np.testing.assert_array_equal(hand.take(), weights.astype(np.float32))


def test_exact_products_know_what_is_learned(folder: Path) -> None:
    """A blob whose lr_mult is 0 is no part of w."""
    net = hands.net_text("tanh", folder)
    frozen = in_hand(net.replace("lr_mult: 1", "lr_mult: 0", 1), hands.solver_text())
    whole = in_hand(net, hands.solver_text())
    lacking = whole.size - frozen.size
    for hand in (frozen, whole):
        hand.show("train", 0)
    direction = np.random.RandomState(4).standard_normal(whole.size)
    direction[:lacking] = 0
    assert lacking > 0
    np.testing.assert_allclose(frozen.exact_product(direction[lacking:]), whole.exact_product(direction)[lacking:],
                               rtol=1e-5, atol=1e-7)


def test_one_iteration_is_a_straight_line(folder: Path) -> None:
    straight, recorded = (of("tanh", folder, method, max_iter=1) for method in (drmad, unrolled))
    np.testing.assert_allclose(straight.by_decay, recorded.by_decay, rtol=1e-6)
    assert straight.others == {}


@pytest.mark.parametrize("kind", ["linear", "tanh"])
def test_a_straight_line_serves_without_momentum(kind: str, folder: Path) -> None:
    straight, recorded = (of(kind, folder, method, max_iter=100, momentum=0.0) for method in (drmad, unrolled))
    assert cosine(straight.by_decay, recorded.by_decay) > 0.95
    assert straight.how["method"] == "DRMAD" and straight.how["growth"] < 2 and not straight.distrust


def test_a_straight_line_that_is_not_stable_is_refused(folder: Path) -> None:
    straight, recorded = (of("tanh", folder, method, max_iter=200) for method in (drmad, unrolled))
    assert cosine(straight.by_decay, recorded.by_decay) < 0.9
    assert straight.how["growth"] > 20 and recorded.how["growth"] < 2
    assert straight.distrust.startswith("on the way back along the line it grew ") and not recorded.distrust


def test_a_way_back_that_explodes_is_left(folder: Path) -> None:
    estimate = of("tanh", folder, drmad, max_iter=400, rate=0.5)
    assert 1e11 < estimate.how["growth"] < 1e16 and estimate.how["gradients"] < 2 * 400
    assert "grew" in estimate.distrust


# ---- what it is not for ----

def batch_norm(text: str) -> str:
    return text.replace('layer { name: "active"', 'layer { name: "normal" type: "BatchNorm" bottom: "hidden" '
                        'top: "hidden" }\nlayer { name: "active"')


REFUSED: List[Any] = [
    (dict(more="clip_gradients: 2"), str, "the solver has clip_gradients: 2; expected none"),
    (dict(more="iter_size: 2"), str, "the solver has iter_size: 2; expected 1, with a larger batch_size"),
    (dict(more='regularization_type: "L1"'), str, 'the solver has regularization_type: "L1"; expected "L2"'),
    (dict(), lambda text: text.replace("scale: 0.00390625", "mirror: true"), "mirrored or cropped at random"),
    (dict(), lambda text: text.replace("scale: 0.00390625", "crop_size: 8"), "mirrored or cropped at random"),
    (dict(), batch_norm, "the net has a BatchNorm layer"),
]


@pytest.mark.parametrize("method", [unrolled, drmad])
@pytest.mark.parametrize(("solver", "change", "reason"), REFUSED)
def test_what_it_is_not_for(method: Callable[..., Estimate], solver: Dict[str, Any], change: Callable[[str], str],
                            reason: str, folder: Path) -> None:
    hand = in_hand(change(hands.net_text("tanh", folder)), hands.solver_text(**solver))
    with pytest.raises(Unsuitable, match=reason):
        method(hand, BATCHES, nothing)


def test_other_solvers_are_refused(folder: Path) -> None:
    solver = hands.solver_text().replace('"SGD"', '"Nesterov"')
    with pytest.raises(Unsuitable, match='the solver is of type "Nesterov"; expected "SGD"'):
        unrolled(in_hand(hands.net_text("linear", folder), solver), BATCHES, nothing)


def test_too_long_a_path_is_refused_before_it_is_gone(folder: Path) -> None:
    with pytest.raises(Unsuitable, match="2000000 iterations of 260 weights take 3.9 GiB to record; expected 2 GiB"):
        of("linear", folder, max_iter=2_000_000)
