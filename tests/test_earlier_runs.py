"""Runs of earlier versions of menndl are gone on with: stored journals, cut, end as they did then."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

import pytest

from menndl_caffe import journal
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.appraise import check_experiment
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.rank import engine as engines
from menndl_caffe.run.identity import identity
from tests.conftest import REPOSITORY
from tests.support import runs

# 4 generations of 8 on 3 ranks, of which 2 trained; individuals whose kernel1 is 3 diverge.
BEFORE = REPOSITORY / "tests" / "journals" / "menndl-0.1-ga.jsonl"


def earlier(run: Path, search: Path, lines: int, monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """A run of that version stopped after so many lines, on today's data and templates."""
    monkeypatch.setenv("MENNDL_TRAINER", runs.FAKE_TRAINER)
    experiment = search_file.load(str(search))
    today = identity(experiment, check_experiment(Renderer(experiment)), engines.find("caffe"))
    kept = BEFORE.read_text().splitlines()[:lines]
    first: Dict[str, Any] = json.loads(kept[0])
    first.update({name: today[name] for name in ("templates", "data", "mean")})
    run.mkdir()
    kept[0] = json.dumps(first)
    (run / journal.NAME).write_text("\n".join(kept) + "\n")
    return kept


@pytest.mark.parametrize("lines, ranks", [(1, 0), (9, 0), (20, 3), (39, 0), (66, 0)])
def test_a_run_of_menndl_0_1_goes_on_as_it_would_have(tmp_path: Path, in_repository: Path, lines: int,
                                                      ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same individuals, ids and seeds, though that version handed a generation out in another order."""
    data = runs.small_data(tmp_path / "data")
    search = runs.write_search(tmp_path / "s.search.prototxt", data, population=8, generations=4)
    search.write_text(search.read_text().replace("min: 1 max: 8", "min: 3 max: 8"))
    kept = earlier(tmp_path / "run", search, lines, monkeypatch)
    process = runs.start(["run", search, "--out", tmp_path / "run"], ranks, runs.environment(FAKE_FAILURES="1"))
    assert process.wait(runs.PATIENCE) == 0
    assert (tmp_path / "run" / journal.NAME).read_text().splitlines()[:lines] == kept, "only added to"
    (tmp_path / "then").mkdir()
    (tmp_path / "then" / journal.NAME).write_text(BEFORE.read_text())
    assert len(runs.individuals(tmp_path / "then")) == 32
    assert runs.individuals(tmp_path / "run") == runs.individuals(tmp_path / "then")
