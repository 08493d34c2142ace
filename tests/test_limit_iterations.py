"""`limit { iterations: ... }`: a search that ends once its individuals have been given so many, and goes further with
more."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from menndl_caffe import journal
from menndl_caffe.experiment import recorded
from menndl_caffe.record import Record
from menndl_caffe.report.status import status_dict
from menndl_caffe.report.summary import described
from menndl_caffe.trial import INDIVIDUAL
from tests.support import runs
from tests.support.in_process import Menndl, cut, lines_of, results

RANDOM = 'type: "RANDOM" limit {{ iterations: {iterations} }}'
STOP = "stop {{ halving {{ first: 1 factor: 2 }} }}"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("images") / "data", validation=40)


def write(folder: Path, data: Path, iterations: int, kind: str = RANDOM) -> Path:
    """4 iterations each."""
    kind = kind.replace("{iterations}", str(iterations))
    return runs.write_search(folder / "s.search.prototxt", data, kind=kind, test_interval=1)


def given(record: Record) -> int:
    """Counted anew: what each individual was given, to the end of the last trial that it was begun with."""
    last = {trial.id: trial for trial in record.trials.values() if trial.role == INDIVIDUAL}
    for trial in list(last.values()):
        last.pop(trial.continues or 0, None)
    return sum(trial.end for trial in last.values())


def test_no_individual_is_begun_once_all_are_given(local: Menndl, data: Path, tmp_path: Path) -> None:
    """Of 21 iterations six individuals have 24; resumed it stays there; of 33 they are nine, the first six the same."""
    run = tmp_path / "run"
    local.run(write(tmp_path, data, 21), run)
    assert "individuals 6/6" in local.said
    first = results(run)
    status = local.json("status", run)
    assert (status["complete"], status["done"], status["total"]) == (True, 6, 6)
    assert status["iterations"] == {"limit": 21, "given": 24}
    assert local("status", run) == 0
    assert re.search(r"^state +complete after 24 iterations, 6 individuals$", local.out, re.M), local.out
    assert "budget      6 individuals of 4 iterations in some 21 iterations in all" in local.out
    local.run(tmp_path / "s.search.prototxt", run)
    assert results(run) == first
    local.run(write(tmp_path, data, 33), run)
    assert results(run)[:len(first)] == first and recorded.read(run).total == 9 == len(results(run)) - 1


@pytest.mark.parametrize("kind, individuals", [
    ('type: "RANDOM" limit {{ iterations: {iterations} trials: 4 }}', 4),
    ('type: "RANDOM" limit {{ iterations: {iterations} trials: 400 }}', 10),
    ("ga_param {{ population: 4 generations: 300 }} limit {{ iterations: {iterations} }}", 10),
    ("ga_param {{ population: 2 generations: 2 }} limit {{ iterations: {iterations} }}", 4)])
def test_whichever_comes_first(local: Menndl, data: Path, tmp_path: Path, kind: str, individuals: int) -> None:
    """Those that were met before count as well, or a search that has tried everything would never end."""
    local.run(write(tmp_path, data, 40, kind), tmp_path / "run")
    status = local.json("status", tmp_path / "run")
    assert status["complete"] and status["done"] == status["total"] == individuals
    assert status["over"] == (individuals == 10)
    assert recorded.read(tmp_path / "run").generations == (
        None if "RANDOM" in kind else 3 if individuals == 10 else 2)


def test_with_rungs_those_begun_go_on_to_their_ends(local: Menndl, data: Path, tmp_path: Path) -> None:
    """All are counted as far as they came, and more come to be than whole trainings would be."""
    run = tmp_path / "run"
    local.run(write(tmp_path, data, 40, f"{RANDOM} {STOP}"), run)
    record = journal.read(run)
    assert 40 <= record.iterations == given(record) < 40 + 4
    status = local.json("status", run)
    assert status["complete"] and status["done"] == status["total"] > 10 and status["stopped"]["count"] > 0
    first = results(run)
    local.run(write(tmp_path, data, 80, f"{RANDOM} {STOP}"), run)
    record = journal.read(run)
    assert results(run)[:len(first)] == first and 80 <= record.iterations == given(record) < 80 + 4


def test_a_training_that_served_for_all_rungs_took_its_time_once(local: Menndl, data: Path, tmp_path: Path) -> None:
    """The first individual has the default's genes, and so is not trained at all."""
    local.run(write(tmp_path, data, 40, f'type: "ASYNC_GA" limit {{{{ iterations: 40 }}}} {STOP}'), tmp_path / "run")
    run = recorded.read(tmp_path / "run")
    default, (first, result) = run.record.default(), next(run.record.individuals())
    assert default is not None and result.same_as == default.id and len(run.record.chain(first)) > 1
    assert described(run, first, result)["seconds"] == default.seconds > 0


def test_a_start_says_first_how_far_the_search_was(local: Menndl, data: Path, tmp_path: Path) -> None:
    """Once, and not how it came there."""
    search = write(tmp_path, data, 40, f"{RANDOM} {STOP}")
    local.run(search, tmp_path / "run")
    lines = lines_of(tmp_path / "run")
    for kept in (len(lines), len(lines) // 2):
        again = cut(lines[:kept], tmp_path / str(kept))
        done = sum(1 for _ in journal.read(again).individuals())
        local.run(search, again)
        assert re.findall(r"^individuals (\d+) ", local.said, re.M)[0] == str(done)


def test_wherever_it_is_cut_it_ends_alike(local: Menndl, data: Path, tmp_path: Path) -> None:
    search = write(tmp_path, data, 40, f"{RANDOM} {STOP}")
    local.run(search, tmp_path / "whole")
    lines = lines_of(tmp_path / "whole")
    for kept in range(1, len(lines), 7):
        again = cut(lines[:kept], tmp_path / str(kept))
        local.run(search, again)
        assert results(again) == results(tmp_path / "whole")


def test_the_time_left_is_that_of_the_iterations_left(local: Menndl, data: Path, tmp_path: Path) -> None:
    """Half of the iterations are left, and as many take as long; the default's training is no individual's."""
    local.run(write(tmp_path, data, 40), tmp_path / "run")
    lines = lines_of(tmp_path / "run")
    half = recorded.read(cut(lines[:1 + 2 * (1 + 5)], tmp_path / "half"))
    status = status_dict(half, 0.0)
    assert status["done"] == 5 and status["seconds_left"] == pytest.approx(status["busy_seconds"] * 20 / 24, abs=0.1)
