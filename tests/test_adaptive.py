"""T1-T2 against the same written out in float64, its groups and bounds, and what it learns."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest

import menndl_caffe.torchcaffe as engine
from menndl_caffe.trainer.adam import Adam
from menndl_caffe.trainer.adaptive import Settings, adapt
from menndl_caffe.trainer.groups import PER_BLOB, PER_LAYER, PER_NET, PER_UNIT, PER_WEIGHT, grouped
from menndl_caffe.trainer.learned import FEW, read, told, write
from menndl_caffe.trainer.net_in_hand import NetInHand
from menndl_caffe.trainer.plain import advance, retrain
from menndl_caffe.trainer.train import Diverged, Unsuitable
from tests.support import hands
from tests.support.exact_training import Batch, Dense, Setting, batches_of
from tests.support.hand_programs import adaptive as programs

pytestmark = pytest.mark.usefixtures("quiet_engine")

UNITS = {"linear": (64, 4), "tanh": (64, 8, 4)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hands.write_images(tmp_path_factory.mktemp("images"))


def nothing(iteration: int) -> None:
    """Of the iterations that are done."""


def hand_of(kind: str, folder: Path, **solver: Any) -> NetInHand:
    return hands.hand(engine, kind, folder, own_decay=True, **solver)


def batches() -> List[List[Batch]]:
    """Of training and of validation."""
    return [batches_of(images, labels, hands.BATCH, 0.00390625) for labels, images in (
        hands.draw_images(0, hands.TRAINED), hands.draw_images(1, hands.HELD))]


# ---- the same, written out ----

def written_out(hand: NetInHand, net: Dense, place_of: np.ndarray, every: int) -> np.ndarray:
    """The decays that T1-T2 learns where weight i has decay number place_of[i]; rate 0.05, momentum 0.9."""
    lr_mult = hand.lr_mult
    fit, held = batches()
    w, velocity, decay = hand.take().astype(float), np.zeros(hand.size), hand.decay
    first, second = np.zeros(place_of.max() + 1), np.zeros(place_of.max() + 1)
    for t in range(hand.param.max_iter):
        if t % every == 0:
            k = t // every
            each = -0.05 * lr_mult * w * net.gradient(w, held[k % len(held)])[1] * decay
            by_log = np.array([each[place_of == group].sum() for group in range(len(first))])
            first, second = 0.9 * first + 0.1 * by_log, 0.999 * second + 0.001 * by_log ** 2
            change = 0.02 * first / (1 - 0.9 ** (k + 1)) / np.sqrt(second / (1 - 0.999 ** (k + 1)) + 1e-60)
            decay = np.clip(decay * np.exp(-change[place_of]), 1e-8, 2.0)
        gradient = net.gradient(w, fit[t % len(fit)])[1] + decay * w
        velocity = 0.9 * velocity + 0.05 * lr_mult * gradient
        w = w - velocity
    return decay


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("kind", ["linear", "tanh"])
def test_it_is_what_is_written_down(kind: str, every: int, folder: Path) -> None:
    hand = hand_of(kind, folder, max_iter=60)
    blobs = hand.of_blobs(list(range(len(hand.parameters))))
    expected = written_out(hand, Dense(kind, UNITS[kind]), blobs, every)
    learned = adapt(hand, Settings(PER_BLOB, every))
    assert np.ptp(np.log(learned.of_weights / 0.01)) > 0.1  # they went their ways
    np.testing.assert_allclose(learned.of_weights, expected, rtol=1e-3)


def test_lr_mult_weighs_in_a_group(folder: Path) -> None:
    net = hands.net_text("linear", folder).replace("\n  param { lr_mult: 1", "\n  param { lr_mult: 9")  # of the bias
    hand = NetInHand(engine, net, hands.solver_text(max_iter=60, momentum=0.9), hands.PERIODS, own_decay=True)
    expected = written_out(hand, Dense("linear", UNITS["linear"]), np.zeros(hand.size, int), 1)
    np.testing.assert_allclose(adapt(hand, Settings(PER_NET)).of_weights, expected, rtol=1e-4)


def test_steps_do_not_depend_on_how_small_gradients_are() -> None:
    adam = Adam(3, 0.02)
    for _ in range(5):
        np.testing.assert_allclose(adam.step(np.array([1e-13, -1e5, 0.0])), [0.02, -0.02, 0.0])


def test_both_engines_learn_the_same(folder: Path, caffe_root: Path) -> None:
    caffe, torch = (hands.in_engine(name, programs.learned, folder, caffe_root) for name in ("caffe", "torch"))
    np.testing.assert_allclose(caffe["decay"], torch["decay"], rtol=5e-3)


# ---- groups ----

@pytest.mark.parametrize(("kind", "count"), [(PER_NET, 1), (PER_LAYER, 2), (PER_BLOB, 4), (PER_UNIT, 12),
                                             (PER_WEIGHT, 556)])
def test_what_shares_a_decay(kind: str, count: int, folder: Path) -> None:
    hand = hand_of("tanh", folder)
    groups = grouped(hand.parameters, kind).of_weight
    assert len(set(groups)) == count and groups.shape == (hand.size,)
    stated = hand.decay
    learned = adapt(hand, Settings(kind))
    change = np.log(learned.of_weights / stated)
    assert all(np.ptp(change[groups == group]) < 1e-12 for group in set(groups))
    if kind in (PER_LAYER, PER_BLOB, PER_UNIT):
        assert len(set(change.round(9))) == count


def test_what_is_stated_as_0_stays_0(folder: Path) -> None:
    hand = hand_of("lenet", folder)  # whose biases have decay_mult: 0
    learned = adapt(hand, Settings(PER_NET))
    for parameter in hand.parameters:
        decays = learned.of_weights[parameter.place]
        assert (decays == 0).all() if parameter.index else (decays > 0).all()
    score, conv = (learned.of_weights[next(each.place for each in hand.parameters if each.layer == name)][0]
                   for name in ("score", "conv"))
    assert score / conv == pytest.approx(2)  # their decay_mult


# ---- bounds ----

@pytest.mark.parametrize(("stated", "low", "high"), [(50.0, 1.2, 2.0001), (1e-12, 0.9999e-8, 1.6e-8)])
def test_decays_are_kept_where_training_is_stable(stated: float, low: float, high: float, folder: Path) -> None:
    learned = adapt(hand_of("linear", folder, decay=stated), Settings(PER_WEIGHT))  # 20 steps of 0.02
    assert low < learned.of_weights.min() and learned.of_weights.max() < high


def test_the_bound_is_by_the_largest_learning_rate_and_by_lr_mult(folder: Path) -> None:
    net = hands.net_text("linear", folder).replace("\n  param { lr_mult: 1", "\n  param { lr_mult: 2")  # of the bias
    solver = hands.solver_text(decay=50.0, more="gamma: 0.5 stepsize: 5").replace('"fixed"', '"step"')
    hand = NetInHand(engine, net, solver, hands.PERIODS, own_decay=True)
    weight, bias = (adapt(hand, Settings(PER_BLOB, every=100)).of_weights[i] for i in (0, -1))  # one step of 0.02
    assert 2 * np.exp(-0.0201) < weight < 2.0001
    assert bias == pytest.approx(1)  # it was 0, and so was its gradient


# ---- the curve, the retraining ----

def test_the_curve_ends_with_what_was_learned(folder: Path) -> None:
    learned = adapt(hand_of("tanh", folder, max_iter=250), Settings(PER_BLOB))
    assert [point[0] for point in learned.curve] == [*range(13, 250, 13), 250]
    decays = sorted(set(learned.of_weights))
    assert sorted(learned.of_groups) == pytest.approx(decays)
    assert learned.curve[-1][1:] == pytest.approx([np.exp(np.log(decays).mean()), decays[0], decays[-1]])


def test_what_is_told_of_it(folder: Path) -> None:
    learned = adapt(hand_of("tanh", folder), Settings(PER_BLOB))
    said, decays = told(learned), sorted(set(learned.of_weights))
    assert said["count"] == 4 and said["mean"] == pytest.approx(np.exp(np.log(decays).mean()))
    assert said["quantiles"][::4] == pytest.approx([decays[0], decays[-1]])
    assert said["quantiles"][2] == pytest.approx(np.sqrt(decays[1] * decays[2]))
    assert list(said["values"]) == ["hidden[0]", "hidden[1]", "score[0]", "score[1]"]
    assert said["values"]["score[1]"] == pytest.approx(learned.of_weights[-1])
    many = told(adapt(hand_of("tanh", folder), Settings(PER_WEIGHT)))
    assert many["count"] == 556 > FEW and many["values"] == {}


def test_what_is_written_is_read_again_and_of_the_same_net_alone(folder: Path, tmp_path: Path) -> None:
    hand, path = hand_of("tanh", folder), tmp_path / "learned.npz"
    decay = np.random.RandomState(0).random_sample(hand.size)
    for _ in range(2):
        write(str(path), hand, decay)
        assert [each.name for each in tmp_path.iterdir()] == ["learned.npz"]
    with np.load(path) as found:
        assert found["hidden[0]"].shape == (8, 64) and found["hidden[0]"][0, 1] == decay[1]
    assert read(str(path), hand).tolist() == decay.tolist()
    with pytest.raises(ValueError, match=r"learned.npz: has decays of the blobs .*hidden.*; expected .*score"):
        read(str(path), hand_of("linear", folder))


def test_retraining_is_plain_training_with_the_decays(folder: Path) -> None:
    hand = hand_of("tanh", folder, max_iter=60)
    decay = np.random.RandomState(0).random_sample(hand.size) * 0.1
    start = hand.take()
    told: List[int] = []
    hand.decay = decay
    retrain(hand, told.append)
    assert told == list(range(61))
    expected = Dense("tanh", UNITS["tanh"]).trained(start, batches()[0],
                                                    Setting(decay, [0.05] * 60, 0.9, hand.lr_mult))
    np.testing.assert_allclose(hand.take(), expected, atol=1e-5)


def test_retraining_with_the_stated_decays_is_the_solvers_own(folder: Path) -> None:
    own, solvers = hand_of("lenet", folder), hands.hand(engine, "lenet", folder)
    retrain(own, nothing)
    for iteration in range(20):
        advance(solvers, iteration)
    np.testing.assert_allclose(own.take(), solvers.take(), atol=1e-6)


def test_it_finds_a_decay_from_far_too_much(folder: Path) -> None:
    def loss(decay: np.ndarray) -> float:
        hand = hand_of("linear", folder, max_iter=300)
        hand.decay = decay
        retrain(hand, nothing)
        return Dense("linear", UNITS["linear"]).loss(hand.take().astype(float), batches()[1])

    hand = hand_of("linear", folder, decay=0.5, max_iter=300)
    stated = hand.decay
    learned = adapt(hand, Settings(PER_BLOB))
    assert (learned.of_weights < 0.05).all()
    assert loss(learned.of_weights) < 0.5 * loss(stated)


# ---- what it is for ----

@pytest.mark.parametrize("kind", ["Nesterov", "Adam", "RMSProp"])
def test_any_solver(kind: str, folder: Path) -> None:
    solver = hands.solver_text(rate=0.01, momentum=0.0 if kind == "RMSProp" else 0.9).replace('"SGD"', f'"{kind}"')
    hand = NetInHand(engine, hands.net_text("tanh", folder), solver, hands.PERIODS, own_decay=True)
    stated = hand.decay
    learned = adapt(hand, Settings(PER_BLOB))
    assert np.isfinite(hand.take()).all() and (learned.of_weights != stated).all()


@pytest.mark.parametrize(("solver", "reason"), [
    (dict(decay=0.0), "no learned weight has a decay; expected weight_decay > 0"),
    (dict(more="clip_gradients: 2"), "the solver has clip_gradients: 2; expected none"),
    (dict(more="iter_size: 2"), "the solver has iter_size: 2; expected 1, with a larger batch_size"),
    (dict(more='regularization_type: "L1"'), 'the solver has regularization_type: "L1"; expected "L2"'),
])
def test_what_it_is_not_for(solver: Dict[str, Any], reason: str, folder: Path) -> None:
    with pytest.raises(Unsuitable, match=reason):
        adapt(hand_of("linear", folder, **solver), Settings(PER_NET))


def test_a_training_that_diverges_says_so(folder: Path) -> None:
    with pytest.raises(Diverged, match="training loss is .* at iteration"):
        hand = hand_of("linear", folder, max_iter=200)
        hand.decay = np.full(260, 1e6)
        retrain(hand, nothing)
