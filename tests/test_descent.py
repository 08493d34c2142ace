"""Decays that go down the hypergradient of whole trainings: what they reach, what it costs, and what is not used."""
from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest

import menndl_caffe.torchcaffe as engine
from menndl_caffe.trainer import descent
from menndl_caffe.trainer.descent import Settings, descend
from menndl_caffe.trainer.groups import PER_BLOB, PER_NET, PER_WEIGHT
from menndl_caffe.trainer.hypergradient.estimate import Estimate
from menndl_caffe.trainer.hypergradient.methods import Method, estimate
from menndl_caffe.trainer.learned import Learned
from menndl_caffe.trainer.plain import Batches, retrain
from menndl_caffe.trainer.train import Unsuitable
from tests.support import hands
from tests.support.hand_programs.descents import learned

BATCHES = Batches(hands.TRAINED // hands.BATCH, hands.HELD // hands.BATCH, *hands.PERIODS)
METHODS = ("UNROLLED", "DRMAD", "IMPLICIT", "HOAG")

pytestmark = pytest.mark.usefixtures("quiet_engine")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hands.write_images(tmp_path_factory.mktemp("images"))


def make(folder: Path, kind: str = "linear", **solver: Any) -> Any:
    return functools.partial(hands.hand, engine, kind, folder, own_decay=True, **{"max_iter": 60, **solver})


def validation(folder: Path, decay: np.ndarray) -> float:
    """The loss of a plain training with these decays."""
    hand = make(folder)()
    hand.decay = decay
    retrain(hand, lambda iteration: None)
    losses = []
    for number in range(BATCHES.validation):
        hand.show("validation", number)
        losses.append(hand.loss())
    return float(np.mean(losses))


@pytest.mark.parametrize("method", METHODS)
def test_it_goes_down_from_far_too_much(folder: Path, method: str) -> None:
    found = descend(make(folder, decay=0.5), BATCHES, Settings(method, PER_BLOB, steps=8))
    stated = make(folder, decay=0.5)().decay
    assert found.by["distrust"] == "" and len(found.curve) == 9
    assert validation(folder, found.of_weights) < 0.8 * validation(folder, stated)


def test_along_the_path_a_step_is_adams_by_the_estimate(folder: Path) -> None:
    """The first step of Adam is its rate, against the sign."""
    made = make(folder, decay=0.1)
    hand = made()
    expected = estimate(Method("UNROLLED"), hand, BATCHES, lambda iteration: None)
    found = descend(made, BATCHES, Settings("UNROLLED", PER_NET, steps=1, rate=0.3))
    sign = np.sign(hand.decay @ expected.by_decay)
    assert np.log(found.of_groups / 0.1) == pytest.approx(-0.3 * sign, rel=1e-6)
    again = descend(made, BATCHES, Settings("UNROLLED", PER_NET, steps=3, rate=0.3))
    assert found.curve == again.curve[:2], "each step begins with the same weights"


def test_a_warm_start_saves_most_of_the_gradients(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(folder)
    warm = descend(made, BATCHES, Settings("HOAG", PER_WEIGHT, steps=6))

    def cold(method: Method, hand: Any, *more: Any, **named: Any) -> Estimate:
        fresh = made()
        fresh.decay = hand.decay
        return estimate(method, fresh, *more, **named)

    monkeypatch.setattr(descent, "estimate", cold)
    anew = descend(made, BATCHES, Settings("HOAG", PER_WEIGHT, steps=6))
    assert warm.by["distrust"] == anew.by["distrust"] == ""
    assert warm.by["gradients"] < anew.by["gradients"]
    assert np.corrcoef(np.log(warm.of_groups), np.log(anew.of_groups))[0, 1] > 0.99


def test_what_may_not_be_trusted_ends_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = iter(range(9))

    def doubtful(*arguments: Any, **named: Any) -> Estimate:
        found = estimate(*arguments, **named)
        return found._replace(distrust="it grew") if next(count) == 2 else found

    monkeypatch.setattr(descent, "estimate", doubtful)
    found = descend(make(folder), BATCHES, Settings("HOAG", PER_BLOB, steps=8))
    assert found.by["distrust"] == "it grew" and found.by["steps"] == 2 and len(found.curve) == 3


def test_methods_refuse_what_they_are_not_for(folder: Path) -> None:
    with pytest.raises(Unsuitable, match="not least squares"):
        descend(make(folder), BATCHES, Settings("CHOLESKY", PER_NET))
    with pytest.raises(Unsuitable, match="no learned weight has a decay"):
        descend(make(folder, decay=0.0), BATCHES, Settings("HOAG", PER_NET))


def test_both_engines_learn_the_same(folder: Path, caffe_root: Path) -> None:
    both: Dict[str, Any] = {name: hands.in_engine(name, learned, folder, caffe_root) for name in ("caffe", "torch")}
    assert both["caffe"].keys() == both["torch"].keys()
    for name, decays in both["caffe"].items():
        np.testing.assert_allclose(np.log(decays), np.log(both["torch"][name]), atol=0.1, err_msg=name)  # steps of 0.5


def test_what_is_told(folder: Path) -> None:
    found: Learned = descend(make(folder), BATCHES, Settings("HOAG", PER_BLOB, steps=2))
    assert found.by.keys() == {"method", "steps", "gradients", "distrust"}
    assert found.by["method"] == "HOAG" and found.by["steps"] == 2 and found.by["gradients"] > 2 * BATCHES.train
