"""The gradient that a rank finds, by the genes, against differences of plain trainings of one seed, on each engine."""
from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Dict

import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.run.launch import Parts
from menndl_caffe.trial import HYPERGRADIENT, OK, Result, Trial
from tests.support import runs

GENES = """\
gene { name: "decay_hidden" real_range { min: 1e-6 max: 1 scale: LOG } default: 0.05 }
gene { name: "decay_score" real_range { min: 1e-6 max: 1 scale: LOG } default: 0.1 }
gene { name: "base_lr" real_range { min: 1e-3 max: 1 scale: LOG } default: 0.002 }
gene { name: "momentum" real_range { min: 0 max: 0.99 } default: 0.8 }
"""
ALIKE = 'gene { name: "decay_hidden" real_range { min: 1e-6 max: 1 scale: LOG } default: 0.05 }\n'
H = {"decay_hidden": 0.2, "decay_score": 0.2, "base_lr": 0.02, "momentum": 0.004}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("data") / "data", validation=40)


def parts_of(folder: Path, data: Path, engine: str, method: str = "UNROLLED", genes: str = GENES, **more: int) -> Parts:
    path = runs.write_gradients(folder / "a.search.prototxt", data, method, max_iter=30, **more)
    lines = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith("gene")]
    constants = [line for line in lines if not any(f'"{name}"' in line for name in H if f'"{name}"' in genes)]
    path.write_text("".join(constants) + genes)
    return Parts(search_file.load(str(path)), engine, "float32", 1)


@pytest.fixture(params=["torch", "caffe"])
def engine(request: pytest.FixtureRequest, caffe_root: Path) -> str:
    return str(request.param)


def shifted(trial: Trial, name: str, by: float) -> Trial:
    """A gene is shifted in its own scale; the seed stays."""
    values = trial.genome.as_dict()
    value = float(values[name])
    values[name] = value + by if name == "momentum" else value * math.exp(by)
    return replace(trial, genome=replace(trial.genome, values=tuple(values.values())))


def loss(evaluator: Evaluator, trial: Trial) -> float:
    result = evaluator.evaluate(trial)
    assert result.status == OK and result.loss is not None, result.reason
    return result.loss


def differences(evaluator: Evaluator, trial: Trial) -> Dict[str, float]:
    """Of order h^4, since losses come with six digits."""
    slopes = {}
    for name, h in H.items():
        near, far = ([loss(evaluator, shifted(trial, name, by * h)) for by in (-step, step)] for step in (1, 2))
        slopes[name] = (8 * (near[1] - near[0]) - (far[1] - far[0])) / (12 * h)
    return slopes


def test_unrolled_is_the_slope_of_the_training(tmp_path: Path, data: Path, engine: str, evaluators: list) -> None:
    parts = parts_of(tmp_path, data, engine)
    evaluator = parts.evaluator()
    evaluators.append(evaluator)
    trial = parts.experiment.trial(1, parts.experiment.space.default)
    plain = evaluator.evaluate(trial)
    found = evaluator.evaluate(replace(trial, program=HYPERGRADIENT))
    assert (found.curve, found.fitness, found.loss) == (plain.curve, plain.fitness, plain.loss), "the plain training"
    assert "distrust" not in found.gradient_by and found.gradient_by["method"] == "UNROLLED"
    expected = differences(evaluator, trial)
    assert found.gradient == pytest.approx(expected, rel=2e-2, abs=1e-4), expected
    assert plain.gradient == {} == plain.gradient_by


def evaluated(parts: Parts, evaluators: list, tolerance: float = 1e-4) -> Result:
    evaluators.append(parts.evaluator())
    trial = parts.experiment.trial(1, parts.experiment.space.default)
    return evaluators[-1].evaluate(replace(trial, program=HYPERGRADIENT, tolerance=tolerance))


def test_at_the_minimum_the_decay_s_slope_is_that_of_solving_again(tmp_path: Path, data: Path, engine: str,
                                                                   evaluators: list) -> None:
    """A linear net, which has one minimum: the losses there of two decays beside it."""
    def solved(default: str) -> Result:
        genes = ALIKE.replace("decay_hidden", "decay_score").replace("0.05", default)
        parts = parts_of(tmp_path, data, engine, "IMPLICIT", genes, hidden=0)
        return evaluated(parts, evaluators)

    below, at, above = (solved(default) for default in ("0.409365", "0.5", "0.610701"))  # e^-0.2, 1, e^0.2
    assert below.loss is not None and above.loss is not None
    assert at.gradient["decay_score"] == pytest.approx((above.loss - below.loss) / 0.4, rel=2e-2)
    assert at.gradient_by["curvature"] == "positive" and at.curve[-1][0] == 30


def test_what_a_method_is_not_for_ends_the_run_with_a_reason(tmp_path: Path, data: Path, engine: str,
                                                             evaluators: list) -> None:
    parts = parts_of(tmp_path, data, engine, "CHOLESKY", ALIKE.replace("decay_hidden", "decay_score"), hidden=0)
    reason = r"hypergradient of \[decay_score=0.05\]: (not least squares|too large a Hessian)"
    with pytest.raises(UserError, match=reason):
        evaluated(parts, evaluators)
