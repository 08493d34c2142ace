"""The played runs are what real ones would have left."""
from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from menndl_caffe import journal
from menndl_caffe.experiment.appraise import measures_of
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.shapes import infer
from menndl_caffe.record import Record
from menndl_caffe.trial import OK, STATUSES, STOPPED
from tests.support import big_journal


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return big_journal.write(tmp_path_factory.mktemp("big"), 60, 8, failures=0.1, ranks=16)


@pytest.fixture(scope="module")
def record(run: Path) -> Record:
    return journal.read(run)


def test_it_is_complete(record: Record) -> None:
    assert len(list(record.individuals())) == record.run["total"] == 480
    assert {result.status for result in record.results.values()} == set(STATUSES) - {STOPPED}
    assert all(len(result.curve) == 9 for result in record.results.values() if result.status == OK)
    default = record.default()
    assert default is not None and default.fitness == pytest.approx(0.705, abs=0.02)


def test_no_rank_does_two_things_at_once(record: Record) -> None:
    trained = [result for result in record.results.values() if result.same_as is None]
    assert len(trained) < 480  # some individuals were met again
    for _, of_rank in itertools.groupby(sorted(trained, key=lambda r: (r.rank, r.started)), key=lambda r: r.rank):
        results = list(of_rank)
        for before, after in zip(results, results[1:]):
            assert before.started + before.seconds <= after.started + 0.002  # both are rounded


def test_it_drifts(record: Record) -> None:
    fitness = [[r.fitness for t, r in record.individuals() if t.generation == generation] for generation in (0, 7)]
    assert sum(fitness[1]) > sum(fitness[0]) + 60 * 0.03


def test_files_and_cost(run: Path, record: Record) -> None:
    best, _ = record.best(1)[0]
    for trial in (record.trials[0], best):
        net = prototxt.load(run / "trials" / str(trial.id) / "train_test.prototxt", caffe_pb2.NetParameter).message
        counted = measures_of(infer(net, "TRAIN", lambda layer: (3, 32, 32)))
        assert record.results[trial.id].measures == big_journal.measures(trial.genome) == counted
