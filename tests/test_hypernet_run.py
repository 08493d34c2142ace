"""A search whose trainings learn their decays by a hypernet, as a user has it: its journal, and its mistakes. What it
has in common with adaptive trainings is in test_adaptive_run.py."""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from menndl_caffe import journal
from menndl_caffe.files import sha256_of
from menndl_caffe.trial import DEFAULT, HYPERNET, INDIVIDUAL, RETRAIN, TEST, TRAIN, YARDSTICK, Result
from tests.conftest import REPOSITORY
from tests.support import runs
from tests.support.fake_trainer import SAID_OF
from tests.support.in_process import Menndl, cut, lines_of, results

LINEAR = REPOSITORY / "templates" / "hypernet" / "linear.prototxt.j2"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("data") / "data", validation=50)


def test_what_was_learned_and_predicted_is_in_the_journal(local: Menndl, data: Path, tmp_path: Path) -> None:
    search, run = runs.write_hypernet(tmp_path / "h.search.prototxt", data, trials=4), tmp_path / "run"
    local.run(search, run)
    record = journal.read(run)
    programs = {(trial.role, trial.program) for trial in record.trials.values()}
    assert programs == {(DEFAULT, TRAIN), (INDIVIDUAL, HYPERNET), (TEST, RETRAIN), (YARDSTICK, TRAIN)}
    for id, trial in record.trials.items():
        if trial.role == INDIVIDUAL:
            checksum = sha256_of(run / "trials" / str(id) / "learned.npz")
            assert record.results[id].learned == {**SAID_OF["hypernet"], "sha256": checksum}
            assert Result.from_dict(record.results[id].as_dict()) == record.results[id]
    assert record.run["templates"]["hypernet"] == sha256_of(LINEAR)
    again = cut(lines_of(run)[:6], tmp_path / "again")
    shutil.copytree(run / "trials", again / "trials")
    local.run(search, again)
    assert results(again) == results(run)


def with_template(folder: Path, data: Path, text: str) -> Path:
    """A search file whose hypernet is this template."""
    template = folder / "hypernet.prototxt.j2"
    template.write_text(text)
    return runs.write_hypernet(folder / "h.search.prototxt", data, f'net: "{template}"', trials=2)


def test_a_run_has_one_hypernet(local: Menndl, data: Path, tmp_path: Path) -> None:
    local.run(with_template(tmp_path, data, LINEAR.read_text()), tmp_path / "run")
    search = with_template(tmp_path, data, LINEAR.read_text() + "# another\n")
    assert local("run", search, "--out", tmp_path / "run") == 2
    assert "its hypernet template is the one of SHA-256" in local.said


TEMPLATES = [
    ("force_backward: true", "", "force_backward: is false; expected true"),
    ("dim: {{ decays }}", "dim: {{ 2 * decays }}", "hypernet.prototxt.j2:9: TypeError: unsupported operand"),
    ("dim: {{ decays }}", "dim: {{ decay }}", "hypernet.prototxt.j2:9: 'decay' is undefined"),
    ('top: "w"', 'top: "v"', "the blob 'w' is not there; expected (2, 2): pairs, weights"),
    ("num_output: {{ weights }}", "num_output: 7", "the blob 'w' is (2, 7); expected (2, 2): pairs, weights"),
    ("dim: {{ pairs }}", "dim: 3", "the blob 'z' is (3, 2); expected (2, 2): pairs, decays"),
    ("num_output: {{ weights }}", "num_outputs: {{ weights }}", "did you mean num_output"),
    ("num_output: {{ weights }}", "", "(rendered):"),
]


@pytest.mark.parametrize(("old", "new", "said"), TEMPLATES)
def test_a_template_that_makes_no_hypernet_is_refused_before_anything_begins(
        local: Menndl, data: Path, tmp_path: Path, old: str, new: str, said: str) -> None:
    assert LINEAR.read_text().count(old) == 1
    search = with_template(tmp_path, data, LINEAR.read_text().replace(old, new))
    assert local("run", search, "--out", tmp_path / "run") == 2
    assert said in local.said and "Traceback" not in local.said
    assert not (tmp_path / "run" / "journal.jsonl").exists()


MISTAKES = [
    ("fitness_set: VALIDATION", "fitness_set: TEST", "fitness_set: is TEST; expected VALIDATION"),
    ("groups: PER_NET", "pairs: 0", "hypernet_param.pairs: is 0; expected 1 or more"),
    ("groups: PER_NET", "deviation: inf", "hypernet_param.deviation: is inf; expected a number above 0"),
    ("groups: PER_NET", "net_rate: 2", "hypernet_param.net_rate: is 2.0; expected a number above 0, at most 1"),
    ("groups: PER_NET", 'net: "templates/hypernet/liner.prototxt.j2"', "templates/hypernet/linear.prototxt.j2"),
    ("limit { trials: 18 }", "", "is HYPERNET, which goes on until a limit"),
]


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES)
def test_mistakes_end_before_anything_begins(local: Menndl, data: Path, tmp_path: Path, old: str, new: str, said: str
                                             ) -> None:
    path = runs.write_hypernet(tmp_path / "wrong.search.prototxt", data)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert local("run", path, "--out", tmp_path / "run") == 2
    assert said in local.said and "Traceback" not in local.said
    assert not (tmp_path / "run" / "journal.jsonl").exists()


def test_a_net_without_decay_is_refused(local: Menndl, data: Path, tmp_path: Path) -> None:
    solver = tmp_path / "solver.prototxt.j2"
    stated = (REPOSITORY / "solvers" / "gradients.solver.prototxt.j2").read_text()
    solver.write_text(stated.replace("weight_decay: 1", "weight_decay: 0"))
    path = runs.write_hypernet(tmp_path / "wrong.search.prototxt", data)
    path.write_text(path.read_text().replace("solvers/gradients.solver.prototxt.j2", str(solver)))
    assert local("run", path, "--out", tmp_path / "run") == 2
    assert "weight_decay: no learned weight has a decay" in local.said
