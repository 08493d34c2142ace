"""A search whose trainings adapt their decays, as a user has it: killed and gone on with, on any number of ranks, its
files, and its mistakes."""
from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, List

import pytest

from menndl_caffe import journal
from menndl_caffe.files import sha256_of
from menndl_caffe.record import Record
from menndl_caffe.trial import ADAPTIVE, INDIVIDUAL, RETRAIN, TEST, TRAIN, YARDSTICK, Result, Trial
from tests.support import runs
from tests.support.fake_trainer import LEARNED
from tests.support.in_process import Menndl, cut, lines_of, results
from tests.test_resume import as_undisturbed, kills


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In place of conftest's: 18 adaptive trainings."""
    folder = tmp_path_factory.mktemp("search")
    return runs.write_adaptive(folder / "adaptive.search.prototxt", runs.small_data(folder / "data", validation=50))


def trial_of(record: Record, role: str) -> Trial:
    trial, = (trial for trial in record.trials.values() if trial.role == role)
    return trial


@pytest.mark.parametrize("target", ["trainer", "everything"])
def test_kills(search: Path, undisturbed: List, tmp_path: Path, target: str) -> None:
    kills(search, tmp_path, 0, target, 3, as_undisturbed(undisturbed))


def test_three_ranks_give_what_one_gives(search: Path, undisturbed: List, tmp_path: Path) -> None:
    process = runs.start(["run", search, "--out", tmp_path / "run"], runs.training_ranks(3) + 1)
    assert process.wait(runs.PATIENCE) == 0
    assert runs.individuals(tmp_path / "run") == undisturbed


def test_what_each_training_learned_is_kept(local: Menndl, search: Path, tmp_path: Path) -> None:
    local.run(search, tmp_path / "run")
    record = journal.read(tmp_path / "run")
    individuals = [trial for trial in record.trials.values() if trial.role == INDIVIDUAL]
    assert len({trial.genome for trial in individuals}) == 18
    assert individuals[0].genome == record.trials[0].genome and record.trials[0].program == TRAIN
    for trial in individuals:
        path = tmp_path / "run" / "trials" / str(trial.id) / "learned.npz"
        assert trial.program == ADAPTIVE
        assert record.results[trial.id].learned == {**LEARNED, "sha256": sha256_of(path)}
    best, result = record.best(1)[0]
    test, yardstick = trial_of(record, TEST), trial_of(record, YARDSTICK)
    assert (test.genome, test.program, test.decays_of) == (best.genome, RETRAIN, best.id)
    assert test.decays == result.learned["sha256"] and not record.results[test.id].learned
    assert (yardstick.genome, yardstick.program) == (record.trials[0].genome, TRAIN)
    for known in (test, individuals[0]):
        assert Trial.from_dict(known.as_dict()) == known
    assert Result.from_dict(result.as_dict()) == result


def test_cut_after_any_line_it_goes_on_exactly(local: Menndl, search: Path, tmp_path: Path) -> None:
    local.run(search, tmp_path / "run")
    lines, expected = lines_of(tmp_path / "run"), results(tmp_path / "run")
    for kept in (1, 2, 9, 24, len(lines) - 3, len(lines) - 1):
        again = cut(lines[:kept], tmp_path / str(kept))
        shutil.copytree(tmp_path / "run" / "trials", again / "trials")
        local.run(search, again)
        assert results(again) == expected


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("something else")])
def test_the_best_decays_are_those_that_it_learned(local: Menndl, search: Path, tmp_path: Path, spoil: Any) -> None:
    local.run(search, tmp_path / "run")
    lines = lines_of(tmp_path / "run")
    end = next(i for i, line in enumerate(lines) if '"role": "test"' in line)
    (tmp_path / "run" / journal.NAME).write_text("".join(lines[:end]))
    best, _ = journal.read(tmp_path / "run").best(1)[0]
    path = tmp_path / "run" / "trials" / str(best.id) / "learned.npz"
    spoil(path)
    assert local("run", search, "--out", tmp_path / "run") == 2
    found = "has the SHA-256 " if path.exists() else "is not there"
    assert f"{path}: {found}" in local.said and f"expected the decays that individual {best.id} learned" in local.said
    assert "Traceback" not in local.said


def test_a_trainer_that_writes_nothing_is_of_another_version(local: Menndl, search: Path, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = tmp_path / "trainer.py"
    fake = Path(runs.FAKE_TRAINER.split()[1]).read_text()
    trainer.write_text(fake.replace('if "learned" in request:', "if False:"))
    monkeypatch.setenv("MENNDL_TRAINER", f"{runs.FAKE_TRAINER.split()[0]} {trainer}")
    assert local("run", search, "--out", tmp_path / "run") == 2
    assert "learned.npz: the trainer wrote no decays there: it is of another version" in local.said


MISTAKES = [
    ("fitness_set: VALIDATION", "fitness_set: TEST", "fitness_set: is TEST; expected VALIDATION"),
    ("groups: PER_BLOB", "every: 0", "adaptive_param.every: is 0; expected 1 or more"),
    ("groups: PER_BLOB", "rate: 2", "adaptive_param.rate: is 2.0; expected a number from 0 (the method's own) to 1"),
    ("groups: PER_BLOB", "groups: PER_CENT", "PER_CENT"),
    ("limit { trials: 18 }", "", "is ADAPTIVE, which goes on until a limit"),
]


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES)
def test_mistakes_end_before_anything_begins(local: Menndl, search: Path, tmp_path: Path, old: str, new: str, said: str
                                             ) -> None:
    path = tmp_path / "wrong.search.prototxt"
    assert old in search.read_text()
    path.write_text(search.read_text().replace(old, new))
    assert local("run", path, "--out", tmp_path / "run") == 2
    assert said in local.said and "Traceback" not in local.said
    assert not (tmp_path / "run" / "journal.jsonl").exists()
