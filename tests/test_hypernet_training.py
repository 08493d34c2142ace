"""Trainings that learn decays by a hypernet, on each engine: what counts is the plain training with what was found.
What the hypernet itself does is in test_hypernet.py."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import List

import numpy as np
import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.files import sha256_of
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.run.launch import Parts
from menndl_caffe.trial import DIVERGED, HYPERNET, OK, RETRAIN, Trial
from tests.conftest import REPOSITORY
from tests.support import runs

MLP = "templates/mlp/train_test.prototxt.j2"
DIAGONAL = 'net: "templates/hypernet/diagonal.prototxt.j2"'
GLOBAL = 'method: GLOBAL groups: PER_NET net: "templates/hypernet/global.prototxt.j2"'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("data") / "data", validation=40)


def parts_of(folder: Path, data: Path, engine: str, how: str, net: str = MLP) -> Parts:
    """Of a linear net that trains for 40 iterations."""
    path = runs.write_hypernet(folder / "h.search.prototxt", data, how, hidden=0, max_iter=40)
    lines = path.read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if '"decay_hidden"' not in line)
    path.write_text(text.replace(MLP, net).replace('"base_lr" value: "0.02"', '"base_lr" value: "0.005"'))
    return Parts(search_file.load(str(path)), engine, "float32", 1)


def trial_with(parts: Parts, decay: float) -> Trial:
    return parts.experiment.trial(1, parts.experiment.space.with_settings([f"decay_score={decay:.6g}"]))


@pytest.mark.parametrize("engine", ["torch", "caffe"])
def test_what_counts_is_the_training_with_what_was_learned(tmp_path: Path, data: Path, engine: str, caffe_root: Path,
                                                           evaluators: List[Evaluator]) -> None:
    """One decay for the net: the program "train" is told it as a gene, in six digits."""
    parts = parts_of(tmp_path, data, engine, "groups: PER_NET iterations: 2 steps: 30")
    evaluator = parts.evaluator(run=tmp_path)
    evaluators.append(evaluator)
    start = trial_with(parts, 0.05)
    found = evaluator.evaluate(replace(start, program=HYPERNET))
    assert found.status == OK, found.reason
    path = tmp_path / "trials" / "1" / "learned.npz"
    assert found.learned["sha256"] == sha256_of(path) and found.learned["count"] == 1
    with np.load(path) as file:
        weights, bias = file["score[0]"], file["score[1]"]
    learned = weights.ravel()[0]
    assert (weights == learned).all() and not bias.any(), "whose decay is stated as 0"
    assert found.learned["values"] == {"net": pytest.approx(learned)} and abs(np.log(learned / 0.05)) > 0.3
    steps, means, *_ = np.array(found.learned["curve"]).T
    assert steps.tolist() == [*range(0, 30, 2), 30] and means[0] == pytest.approx(0.05)
    assert np.abs(np.diff(np.log(means))).max() < 0.3, "two steps of about 0.1"
    points = np.array(found.learned["predicted"]["points"])
    assert points[:, 0] == pytest.approx(means[:-1]) and np.isfinite(points[:, 1]).all()
    again = evaluator.evaluate(replace(trial_with(parts, learned), seed=start.seed))
    assert found.curve == pytest.approx(np.array(again.curve), rel=2e-5)
    retrain = replace(start, id=2, program=RETRAIN, decays_of=1, decays=found.learned["sha256"])
    assert evaluator.evaluate(retrain).curve == found.curve


def test_global_has_a_curve_whose_best_it_takes(tmp_path: Path, data: Path, evaluators: List[Evaluator]) -> None:
    parts = parts_of(tmp_path, data, "torch", f"{GLOBAL} deviation: 0.5 iterations: 20 steps: 1 rate: 1e-3")
    evaluators.append(parts.evaluator(run=tmp_path))
    trial = replace(trial_with(parts, 0.05), program=HYPERNET)
    found = evaluators[-1].evaluate(trial)
    assert found.status == OK, found.reason
    decays, losses = np.array(found.learned["predicted"]["points"]).T
    assert np.log(decays / 0.05) == pytest.approx(np.linspace(-1, 1, len(decays)), abs=1e-6)
    assert abs(np.log(found.learned["mean"] / decays[losses.argmin()])) == pytest.approx(1e-3, rel=1e-2), "one step on"
    assert found.learned["predicted"]["loss"] == pytest.approx(losses.min(), rel=1e-2)
    again = evaluators[-1].evaluate(trial)
    assert (again.learned, again.curve) == (found.learned, found.curve), "the same trial is the same result"


def test_a_hypernet_of_another_size_ends_the_run(tmp_path: Path, data: Path, evaluators: List[Evaluator]) -> None:
    """A weight for each decay, where there are more weights: the trainer alone knows."""
    parts = parts_of(tmp_path, data, "torch", f"{DIAGONAL} groups: PER_NET")
    evaluators.append(parts.evaluator(run=tmp_path))
    with pytest.raises(UserError, match="hypernet of .* makes 1 weights of 1 decays; expected [0-9]+ of 1"):
        evaluators[-1].evaluate(replace(trial_with(parts, 0.05), program=HYPERNET))


def test_a_decay_for_each_weight_by_the_diagonal_hypernet(tmp_path: Path, data: Path, evaluators: List[Evaluator]
                                                          ) -> None:
    """Biases have one as well: it writes as many weights as there are decays."""
    net = tmp_path / "net.prototxt.j2"
    net.write_text((REPOSITORY / MLP).read_text().replace("decay_mult: 0", "decay_mult: {{ decay }}"))
    parts = parts_of(tmp_path, data, "torch", f"{DIAGONAL} groups: PER_WEIGHT iterations: 1 steps: 5", str(net))
    evaluators.append(parts.evaluator(run=tmp_path))
    found = evaluators[-1].evaluate(replace(trial_with(parts, 0.05), program=HYPERNET))
    assert found.status == OK, found.reason
    with np.load(tmp_path / "trials" / "1" / "learned.npz") as file:
        decays = np.concatenate([file[name].ravel() for name in ("score[0]", "score[1]")])
    assert found.learned["count"] == len(decays) and found.learned["values"] == {}
    logs = np.log(decays / 0.05)
    assert np.exp(np.log(decays).mean()) == pytest.approx(found.learned["mean"])
    assert 0.1 < np.abs(logs).max() < 1 and len(set(np.round(logs, 3))) > 100, "each has gone a way of its own"


def test_a_hypernet_may_diverge(tmp_path: Path, data: Path, evaluators: List[Evaluator]) -> None:
    steep = tmp_path / "steep.prototxt.j2"
    linear = (REPOSITORY / "templates" / "hypernet" / "linear.prototxt.j2").read_text()
    steep.write_text(linear.replace("std: 0.001", "std: 1e38"))
    parts = parts_of(tmp_path, data, "torch", f'groups: PER_NET net: "{steep}"')
    evaluators.append(parts.evaluator())
    assert evaluators[-1].evaluate(replace(trial_with(parts, 0.05), program=HYPERNET)).status == DIVERGED
