"""Every type of search as a user has it: a search file, `menndl run`, and all that reads the run."""
from __future__ import annotations

import random
from pathlib import Path
from typing import Dict

import pytest

from menndl_caffe import journal
from menndl_caffe.genome import Genome
from menndl_caffe.objective import Objective
from menndl_caffe.report.status import settings_text
from menndl_caffe.trial import CRASHED, DIVERGED, OK, TIMEOUT, Result, Trial
from tests.support import runs
from tests.support.in_process import Menndl, calls
from tests.support.landscapes import search
from tests.support.searches import PLAIN
from tests.test_guided_ga import SPACE, cost

TRIALS = 12
OTHERS = {"GA": "ga_param {{ population: 6 generations: 2 }}"}
REPEATING = ("GA", "RANDOM")


@pytest.fixture
def menndl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Menndl:
    return Menndl(monkeypatch, capsys)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("data") / "data")


@pytest.mark.parametrize("kind", PLAIN)
def test_every_command_knows_every_type(menndl: Menndl, data: Path, tmp_path: Path, kind: str) -> None:
    text = OTHERS.get(kind, f'type: "{kind}" limit {{{{ trials: {TRIALS} }}}}')
    path, run = runs.write_search(tmp_path / "a.search.prototxt", data, kind=text), tmp_path / "run"
    menndl.run(path, run)
    status = menndl.json("status", run)
    assert status["search"]["type"] == kind and status["complete"] and status["done"] == TRIALS
    assert len(menndl.json("best", run, "-n", 3)["best"]) == 3
    csv = ["export", run, "--to", "csv", "--out", tmp_path / "csv"]
    for arguments in (["report", run], ["watch", run, "--once"], csv):
        assert menndl(*arguments) == 0, menndl.said
    assert settings_text(status["search"]) in (run / "report" / "report.html").read_text()
    before = calls(run)
    menndl.run(path, run)
    assert calls(run) == before, "a finished run is only shown"


def outcome(genome: Genome) -> str:
    """By the genome alone: a region of 5% that crashes, and by chance NaN, and trainings that hang."""
    chance = random.Random(str(genome)).random()
    if int(str(genome.values[0])) == 7 and int(str(genome.values[1])) > 80:
        return CRASHED
    return DIVERGED if chance < 0.05 else TIMEOUT if chance < 0.1 else OK


@pytest.mark.parametrize("kind", [kind for kind in PLAIN if kind != "GA"])
def test_failures_end_nothing_and_win_nothing(kind: str) -> None:
    """100 individuals on 8 ranks whose results come by chance."""
    of, chance = search(SPACE, kind, objectives=(Objective(),)), random.Random(1)
    running: Dict[int, Trial] = {}
    asked, told = [], []
    while len(told) < 100:
        trial = of.ask() if len(running) < 8 and len(asked) < 100 else None
        if trial is not None:
            asked.append(trial.genome)
            running[trial.id] = trial
        else:
            done = running.pop(chance.choice(list(running)))
            status = outcome(done.genome)
            told.append((done.genome, status))
            fitness = max(0.0, 0.9 - cost(done.genome)) if status == OK else 0.0
            of.tell(done, Result(done.id, status, fitness))
    assert kind in REPEATING or len(set(asked)) == 100, "no genome is asked for twice"
    late = [status for _, status in told[50:]]
    assert late.count(OK) > 35, "it does not stay where it fails"


def test_a_space_with_few_genomes_ends(menndl: Menndl, data: Path, tmp_path: Path) -> None:
    """An asynchronous search that asks for more than there is ends when all was tried, and says that it is complete."""
    path, run = tmp_path / "a.search.prototxt", tmp_path / "run"
    runs.write_search(path, data, kind='type: "GUIDED_GA" limit {{ trials: 500 }}')
    text = path.read_text().replace("min: 16 max: 126 step: 2", "min: 32 max: 64 step: 32").replace("min: 1 max: 8",
                                                                                                   "min: 5 max: 5")
    path.write_text(text)
    menndl.run(path, run)
    assert len(list(journal.read(run).individuals())) == 32
    assert menndl.json("status", run)["complete"]
