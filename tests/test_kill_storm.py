"""kill -9 at random moments of searches that learn from each result as it comes: the journal is its own continuation.

With several ranks the order of results is another one each time, and with it the search. What must hold: nothing that
was recorded is lost, nothing comes twice, and a fresh search that is told the finished journal's results in their order
asks for the very trials that stand between them, whoever was killed where.
"""
from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any, Dict, List

import pytest

from menndl_caffe import journal, search
from menndl_caffe.experiment.search_file import of_text
from menndl_caffe.run.numbering import Numbering
from menndl_caffe.trial import DEFAULT, INDIVIDUAL, Result
from tests.support import runs
from tests.test_fault_tolerance import RANKS, Job
from tests.test_resume import TARGETS, kills

RUNGS = "ASYNC_GA from rung to rung"
KINDS = ("ASYNC_GA", "GUIDED_GA", "CMA_ES", RUNGS)


@pytest.fixture(scope="module")
def searches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a search file for each type."""
    folder = tmp_path_factory.mktemp("searches")
    data = runs.small_data(folder / "data")
    for kind in KINDS:
        more: Dict[str, Any] = {}
        if kind == RUNGS:
            more = dict(more="stop { halving { first: 2 factor: 3 } }", max_iter=20, test_interval=2)
        runs.write_search(folder / kind, data, kind=runs.LIMITED[kind.split(" ")[0]], **more)
    return folder


def check_continuation(run: Path) -> None:
    """A fresh search, told the same, asks for the same; no genome twice, 18 individuals. From rung to rung nobody's
    decision is another one, and nothing was trained twice."""
    record = journal.read(run)
    experiment = of_text(record.run["search"], "search")
    numbering = Numbering(experiment)
    numbering(experiment.space.default, role=DEFAULT)
    fresh = search.make(experiment.message, search.Problem(experiment.space, experiment.message.random_seed, numbering))
    asked: List[object] = []
    for call in record.calls:
        if isinstance(call, Result):
            if record.trials[call.id].role == INDIVIDUAL:
                fresh.tell(record.trials[call.id], call)
        elif call.role == INDIVIDUAL:
            assert fresh.ask() == call
            if call.continues is None:
                asked.append(call.genome)
    assert len(asked) == len(set(asked)) == 18
    assert len(list(record.individuals())) == 18, "reading refuses a second result of the same trial"
    works = [trial.work for trial in record.trials.values() if record.results[trial.id].same_as is None]
    assert len(works) == len(set(works))


@pytest.mark.parametrize("ranks, target, kind", [*((0, "master", kind) for kind in KINDS if kind != RUNGS),
                                                 *((3, "everything", kind) for kind in KINDS)])
def test_a_kill(searches: Path, tmp_path: Path, kind: str, ranks: int, target: str) -> None:
    kills(searches / kind, tmp_path, ranks, target, 1, check_continuation)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ranks, target", [(ranks, target) for ranks in (0, 3) for target in TARGETS])
def test_50_kills(searches: Path, tmp_path: Path, kind: str, ranks: int, target: str) -> None:
    kills(searches / kind, tmp_path, ranks, target, 50, check_continuation)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_50_kills_of_ranks(searches: Path, tmp_path: Path, kind: str) -> None:
    """Under MPI that outlives them."""
    draw = random.Random(kind)
    told = 0
    for i in range(50):
        folder = tmp_path / str(i)
        folder.mkdir()
        job = Job(searches / kind, folder, FAKE_SECONDS="0.1")
        assert runs.wait_until(lambda job=job: (job.run / "journal.jsonl").exists()), job.text  # type: ignore[misc]
        time.sleep(draw.uniform(0, 1.5))
        job.kill(draw.sample(range(1, RANKS), draw.choice([1, 2])))
        assert job.end() == 0, job.text
        check_continuation(job.run)
        told += len(job.dead)
    assert told >= 10, "few kills came in time"
