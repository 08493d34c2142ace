"""A journal's lines are held against the search of its first line: genes, objectives, gradients, what was learned."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded
from menndl_caffe.journal import NAME, Journal
from tests.fuzz import journals
from tests.support import gradient_run, mixed_run, objective_run

GENES = {"filters": 10, "base_lr": 0.001, "dropout": 0.5, "pool": "MAX", "second": "no"}
OTHER = mixed_run.SEARCH.format(folder="x", generations=2).replace("dropout", "drop")


def generations(folder: Path) -> Path:
    return mixed_run.write(folder)


def objectives(folder: Path) -> Path:
    return objective_run.write(folder, objective_run.THREE)


def sizes(folder: Path) -> Path:
    return objective_run.write(folder, objective_run.SIZE)


def explicit(folder: Path) -> Path:
    return objective_run.write(folder, 'objective { measure: "accuracy" }\n')


Wrong = Tuple[Callable[[Path], Path], int, Dict[str, Any], str]
WRONG: List[Wrong] = [
    (generations, 2, {"genes": {**GENES, "filters": 11}}, "gene filters is 11; expected a whole number from 2 to 50"),
    (generations, 2, {"genes": {**GENES, "filters": 10.0}}, "gene filters is 10.0; expected a whole number"),
    (generations, 2, {"genes": {**GENES, "base_lr": -1.0}}, "gene base_lr is -1.0; expected a number from 1e-05"),
    (generations, 2, {"genes": {**GENES, "base_lr": "x"}}, "gene base_lr is 'x'; expected a number"),
    (generations, 2, {"genes": {**GENES, "pool": 3}}, "gene pool is 3; expected one of MAX, AVE, STOCHASTIC"),
    (generations, 2, {"genes": {**GENES, "more": 3}}, "expected filters base_lr dropout pool second"),
    (generations, 2, {"genes": {"filters": 10}}, "its genes are filters; expected filters base_lr dropout pool second"),
    (generations, 3, {"fitness": 79.5}, "field 'fitness' is 79.5; expected a finite number from 0 to 1"),
    (generations, 3, {"fitness": -0.1}, "field 'fitness' is -0.1; expected a finite number from 0 to 1"),
    (generations, 3, {"measures": {"parameters": -1}}, "field 'parameters' is -1; expected"),
    (explicit, 3, {"fitness": 1.1}, "field 'fitness' is 1.1; expected a finite number from 0 to 1"),
    (sizes, 3, {"fitness": -5.0}, "field 'fitness' is -5.0; expected a finite number from 0"),
    (objectives, 3, {"measures": {"accuracy": 0.5}}, "field 'error' is missing; expected a finite number"),
    (objectives, 3, {"measures": {"error": 1.0, "accuracy": 7}}, "field 'accuracy' is 7; expected a finite number"),
    (gradient_run.write, 5, {"gradient": {"decay": 0.1}}, "its gradient is by decay; expected decay of_biases"),
    (journals.adaptive, 3, {"learned": {}}, "field 'groups' is missing"),
]


@pytest.mark.parametrize("write, number, change, said", WRONG)
def test_what_the_search_cannot_have_is_named(tmp_path: Path, write: Callable[[Path], Path], number: int,
                                              change: Dict[str, Any], said: str) -> None:
    run = write(tmp_path)
    recorded.read(run)
    lines = (run / NAME).read_text().splitlines()
    lines[number - 1] = json.dumps({**json.loads(lines[number - 1]), **change})
    (run / NAME).write_text("\n".join(lines) + "\n")
    for reader in (recorded.read, lambda folder: Journal(folder, judging=recorded.judging)):
        with pytest.raises(UserError) as error:
            reader(run)
        assert str(error.value).startswith(f"{run / NAME}:{number}: damaged: ") and said in str(error.value)


def test_a_resume_of_another_search_is_none(tmp_path: Path) -> None:
    run = mixed_run.write(tmp_path)
    with open(run / NAME, "a") as file:
        file.write(json.dumps({"event": "resume", "search": OTHER}) + "\n")
    with pytest.raises(UserError, match="journal.jsonl:18: damaged: its search has other genes, objectives or "):
        recorded.read(run)


def test_what_a_later_version_may_say_beside_is_passed_over(tmp_path: Path) -> None:
    run = mixed_run.write(tmp_path)
    lines = [{**json.loads(line), "later": {"deep": [1, "\ud800"]}} for line in (run / NAME).read_text().splitlines()]
    before = recorded.read(run)
    (run / NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert recorded.read(run).record == before.record
