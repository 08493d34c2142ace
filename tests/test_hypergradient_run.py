"""A search by gradients as a user has it: killed and gone on with, on any number of ranks, and its mistakes."""
from __future__ import annotations

import json
import math
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List

import pytest

from menndl_caffe import journal
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.rank.process import TrainerProcess
from menndl_caffe.trial import CRASHED, HYPERGRADIENT, INDIVIDUAL, OK, TEST, YARDSTICK
from tests.conftest import Runner
from tests.support import runs
from tests.support.in_process import Menndl, check_cuts
from tests.test_resume import as_undisturbed, kills


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In place of conftest's: 18 steps of one descent after the other."""
    folder = tmp_path_factory.mktemp("search")
    return runs.write_gradients(folder / "gradients.search.prototxt", runs.small_data(folder / "data", validation=50))


@pytest.mark.parametrize("target", ["master", "trainer", "everything"])
def test_kills(search: Path, undisturbed: List, tmp_path: Path, target: str) -> None:
    kills(search, tmp_path, 0, target, 3, as_undisturbed(undisturbed))


def test_three_ranks_give_what_one_gives(search: Path, undisturbed: List, tmp_path: Path) -> None:
    process = runs.start(["run", search, "--out", tmp_path / "run"], runs.training_ranks(3) + 1)
    assert process.wait(runs.PATIENCE) == 0
    assert runs.individuals(tmp_path / "run") == undisturbed


def test_the_journal_says_how_each_gradient_was_found(local: Menndl, search: Path, tmp_path: Path) -> None:
    local.run(search, tmp_path / "run")
    record = journal.read(tmp_path / "run")
    individuals = [trial for trial in record.trials.values() if trial.role == INDIVIDUAL]
    assert {(trial.program, trial.tolerance) for trial in individuals} == {(HYPERGRADIENT, None)}
    assert individuals[0].descent == 0
    for trial in individuals:
        result, at = record.results[trial.id], trial.genome.as_dict()
        assert result.gradient_by == {"method": "FAKE"}
        for name, slope in result.gradient.items():  # the fake says log(d / 0.003) / d by d, here it is by log d
            assert slope == pytest.approx(math.log(float(at[name]) / 0.003), rel=1e-3)
    ends = {trial.role: trial for trial in record.trials.values() if trial.role in (TEST, YARDSTICK)}
    assert ends[TEST].program == ends[YARDSTICK].program == "train"
    assert ends[YARDSTICK].genome == record.trials[0].genome


def test_cut_after_any_line_it_goes_on_exactly(local: Menndl, search: Path, tmp_path: Path) -> None:
    check_cuts(local, search, tmp_path)


def refusal(menndl: Runner, path: Path, tmp_path: Path, *more: str) -> str:
    done = menndl("run", path, "--out", tmp_path / "run", *more)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "run" / "journal.jsonl").exists()
    return done.stderr


Change = Dict[str, str]
MISTAKES: List[Any] = [
    ({"fitness_set: VALIDATION": "fitness_set: TEST"}, r":\d+: fitness_set: is TEST; expected VALIDATION"),
    ({'gene { name: "decay_score" real_range { min: 1e-6 max: 1 scale: LOG } default: 1e-3 }':
      'gene { name: "decay_score" choice { value: "0.1" value: "0.01" default: "0.1" } }'},
     r":7: gene\[1\]: decay_score is one of 0.1, 0.01; expected a real_range"),
    ({'constant { name: "hidden" value: "4" }': 'gene { name: "hidden" int_range { min: 2 max: 8 } default: 4 }'},
     r"hidden is a whole number from 2 to 8; expected a real_range"),
    ({'constant { name: "base_lr" value: "0.02" }':
      'gene { name: "base_lr" real_range { min: 0.001 max: 1 } default: 0.02 }',
      "method: UNROLLED": "method: IMPLICIT"},
     r"base_lr changes lr hidden\[0\]; this method has gradients by decay alone"),
    ({"method: UNROLLED": "method: NEWTON"}, r"NEWTON"),
    ({"starts: 1": "starts: 0"}, r":4: hypergradient_param.starts: is 0; expected 1 or more"),
]


@pytest.mark.parametrize(("change", "said"), MISTAKES)
def test_mistakes_end_before_anything_begins(menndl: Runner, search: Path, tmp_path: Path, change: Change, said: str
                                             ) -> None:
    text = search.read_text()
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "wrong.search.prototxt"
    path.write_text(text)
    assert re.search(said, refusal(menndl, path, tmp_path, "--engine", "torch"))


ANSWER = """
import json, re, sys
print('{"event": "ready"}', flush=True)
for line in sys.stdin:
    request = json.loads(line)
    number, last = request["id"], int(re.search(r"max_iter: (\\d+)", request["solver"])[1])
    gradient = {"event": "gradient", "of": json.loads(sys.argv[1]), "how": {}, "distrust": ""}
    for event in ({"event": "test", "iteration": last, "outputs": {"accuracy": 0.5, "loss": 1}},
                  *([gradient] if "program" in request else []),
                  {"event": "done", "engine_seconds": 1}):
        print(json.dumps({"id": number, **event}), flush=True)
"""


@pytest.mark.parametrize(("of", "status", "said"), [
    ({"decay hidden[0]": 1e308, "decay score[0]": 1.0, "decay hidden[1]": 1e308}, OK, "it is not finite"),
    ({"decay hidden[0]": 1.0}, CRASHED, "no derivative by decay score[0], which genes move; there are decay hidden[0]"),
])
def test_a_gradient_that_cannot_be_one_by_the_genes(tmp_path: Path, evaluators: List[Any], of: Dict[str, float],
                                                    status: str, said: str) -> None:
    """One that is too large is not trusted; one that leaves out what a gene moves is no answer."""
    path = runs.write_gradients(tmp_path / "s.search.prototxt", runs.small_data(tmp_path / "data", validation=40))
    path.write_text(path.read_text().replace("max: 1 scale", "max: 1e9 scale").replace("1e-4 }", "1e5 }"))
    renderer = Renderer(search_file.load(str(path)))
    trainer = TrainerProcess([sys.executable, "-c", ANSWER, json.dumps(of)], os.environ)
    evaluators.append(Evaluator(renderer, trainer))
    trial = renderer.experiment.trial(1, renderer.experiment.space.default)
    result = evaluators[0].evaluate(replace(trial, program=HYPERGRADIENT))
    assert (result.status, result.gradient) == (status, {})
    assert said in (result.reason or result.gradient_by["distrust"])
