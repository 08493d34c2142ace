"""Adaptive trainings on each engine: what counts is the plain training with the decays that are in the file, and a run
of them goes on exactly."""
from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest

from menndl_caffe import journal
from menndl_caffe.experiment import search_file
from menndl_caffe.files import sha256_of
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.record import Record
from menndl_caffe.run.launch import Parts
from menndl_caffe.trial import ADAPTIVE, DIVERGED, OK, RETRAIN, TEST, Result, Trial
from tests.conftest import Runner
from tests.support import runs
from tests.support.in_process import calls, cut, lines_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("data") / "data", validation=40)


def parts_of(folder: Path, data: Path, engine: str, groups: str = "PER_BLOB", rate: str = "0.02") -> Parts:
    """Of a linear net that trains for 40 iterations."""
    path = runs.write_adaptive(folder / "a.search.prototxt", data, groups, hidden=0, max_iter=40)
    text = "".join(line for line in path.read_text().splitlines(keepends=True) if '"decay_hidden"' not in line)
    path.write_text(text.replace('"base_lr" value: "0.02"', f'"base_lr" value: "{rate}"'))
    return Parts(search_file.load(str(path)), engine, "float32", 1)


@pytest.fixture(params=["torch", "caffe"])
def engine(request: pytest.FixtureRequest, caffe_root: Path) -> str:
    return str(request.param)


def trial_with(parts: Parts, decay: float) -> Trial:
    return parts.experiment.trial(1, parts.experiment.space.with_settings([f"decay_score={decay:.6g}"]))


def loss(result: Result) -> float:
    assert result.status == OK and result.loss is not None, result.reason
    return result.loss


def test_what_counts_is_the_training_with_what_was_learned(tmp_path: Path, data: Path, engine: str,
                                                           evaluators: List[Evaluator]) -> None:
    """One decay for the net: the program "train" is told it as a gene, in six digits."""
    parts = parts_of(tmp_path, data, engine, "PER_NET")
    evaluator = parts.evaluator(run=tmp_path)
    evaluators.append(evaluator)
    start = trial_with(parts, 0.05)
    found = evaluator.evaluate(replace(start, program=ADAPTIVE))
    path = tmp_path / "trials" / "1" / "learned.npz"
    assert found.learned["sha256"] == sha256_of(path) and found.learned["count"] == 1
    with np.load(path) as file:
        weights, names = file["score[0]"], file.files
    learned = weights.ravel()[0]
    assert (weights == learned).all() and weights.dtype == np.float64 and "score[0]" in names
    assert found.learned["values"] == {"net": pytest.approx(learned)} and abs(np.log(learned / 0.05)) > 0.3
    again = evaluator.evaluate(replace(trial_with(parts, learned), seed=start.seed))
    assert found.curve == pytest.approx(np.array(again.curve), rel=2e-5)
    assert loss(found) != pytest.approx(loss(evaluator.evaluate(start)), rel=1e-3), "the decay makes a difference"


def test_retraining_from_the_file_is_the_same_again(tmp_path: Path, data: Path, engine: str,
                                                    evaluators: List[Evaluator]) -> None:
    parts = parts_of(tmp_path, data, engine, "PER_WEIGHT")
    evaluator = parts.evaluator(run=tmp_path)
    evaluators.append(evaluator)
    trial = trial_with(parts, 0.05)
    found = evaluator.evaluate(replace(trial, program=ADAPTIVE))
    assert found.learned["values"] == {} and found.learned["count"] > 1000
    again = replace(trial, id=2, program=RETRAIN, decays_of=1, decays=found.learned["sha256"])
    retrained = evaluator.evaluate(again)
    assert (retrained.curve, retrained.learned) == (found.curve, {})
    assert evaluator.evaluate(replace(again, id=3, role=TEST)).curve != found.curve, "other images"


@pytest.mark.parametrize("method", ["UNROLLED", "HOAG"])
def test_whole_trainings_may_teach_too(tmp_path: Path, data: Path, engine: str, method: str,
                                       evaluators: List[Evaluator]) -> None:
    """Two steps of log decay by 0.5 each, from far too much."""
    parts = parts_of(tmp_path, data, engine, f"PER_NET method: {method} steps: 2", "0.002")
    evaluators.append(parts.evaluator(run=tmp_path))
    trial = trial_with(parts, 0.5)
    found = evaluators[-1].evaluate(replace(trial, program=ADAPTIVE))
    by = found.learned["by"]
    assert (by["method"], by["steps"], by["distrust"]) == (method, 2, "") and by["gradients"] > 80
    assert found.learned["mean"] == pytest.approx(0.5 * np.exp(-1), rel=0.05)
    assert loss(found) < loss(evaluators[-1].evaluate(trial))


def test_an_adaptive_training_may_diverge(tmp_path: Path, data: Path, evaluators: List[Evaluator]) -> None:
    parts = parts_of(tmp_path, data, "torch", rate="1e38")
    evaluators.append(parts.evaluator())
    assert evaluators[-1].evaluate(replace(trial_with(parts, 0.05), program=ADAPTIVE)).status == DIVERGED


def test_a_run_goes_on_exactly(menndl: Runner, tmp_path: Path, data: Path) -> None:
    path = runs.write_adaptive(tmp_path / "a.search.prototxt", data, trials=3, max_iter=12)

    def run(folder: Path) -> List[Any]:
        done = menndl("run", path, "--engine", "torch", "--out", folder)
        assert done.returncode == 0, done.stderr
        return calls(folder)

    expected = run(tmp_path / "whole")
    record = journal.read(tmp_path / "whole")
    assert {trial.role for trial in record.trials.values()} == {"default", "individual", "test", "yardstick"}
    assert not any(result.failed for result in record.results.values())
    _saved(menndl, tmp_path / "whole", record)
    again = cut(lines_of(tmp_path / "whole")[:5], tmp_path / "again")
    shutil.copytree(tmp_path / "whole" / "trials", again / "trials")
    assert run(again) == expected


def _saved(menndl: Runner, run: Path, record: Record) -> None:
    """The best is saved as it was trained, with its decays; and every reader knows such a run."""
    done = menndl("best", run, "--save", run.parent / "best")
    assert done.returncode == 0, done.stderr
    best, result = record.best(1)[0]
    assert sha256_of(run.parent / "best" / "learned.npz") == result.learned["sha256"]
    readme = (run.parent / "best" / "README.md").read_text()
    assert "equal to the recorded ones" in readme and "| learned.npz | the decay of each weight" in readme
    assert not (run.parent / "best" / "trials").exists()
    for command in (("report", run, "--out", run.parent / "report"), ("status", run), ("best", run)):
        done = menndl(*command)
        assert done.returncode == 0, done.stderr
    assert "yardstick" in done.stdout
