"""A search within each individual of another: who has which genes, what the outer search is told, and its mistakes."""
from __future__ import annotations

import re
from itertools import count
from pathlib import Path
from typing import Any, Dict, List

import pytest

from menndl_caffe import journal
from menndl_caffe.genome import Genome, IntGene, RealGene, SearchSpace
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.search import Problem, inner, make
from menndl_caffe.search.inner import DescentEach
from menndl_caffe.search.search import Kind
from menndl_caffe.trial import ADAPTIVE, DIVERGED, HYPERGRADIENT, INDIVIDUAL, OK, TEST, TRAIN, YARDSTICK, Result, Trial
from tests.conftest import Runner
from tests.support import runs
from tests.support.in_process import Menndl, check_cuts
from tests.test_resume import as_undisturbed, kills

SPACE = SearchSpace((IntGene("kernel", 1, 9, 1, 5), RealGene("decay", 1e-6, 1.0, True, 1e-3),
                     IntGene("outputs", 1, 99, 1, 50)))
DESCENDS = menndl_pb2.InnerParameter(gene=["decay"], steps=3)


class Outer:
    """Asks for kernels 1, 2, ... one at a time, and keeps what it is told."""

    finished, total, generations = False, None, 7

    def __init__(self, problem: Problem):
        self.problem, self.told = problem, []  # type: Problem, List[Any]
        self._open = False

    def ask(self) -> Any:
        if self._open:
            return None
        self._open = True
        return self.problem.new_trial(self.problem.space.genome((len(self.told) + 1, 50)), 2)

    def asked(self, trial: Trial) -> None:
        raise NotImplementedError

    def tell(self, trial: Trial, result: Result) -> None:
        self._open = False
        self.told.append((trial, result))


def problem(**more: Any) -> Problem:
    ids = count(1)
    return Problem(SPACE, 5, lambda genome, generation: Trial(next(ids), genome, 7, 10, generation), **more)


def descending(**more: Any) -> Any:
    search = inner.within(problem(**more), DESCENDS, Kind(Outer, program=HYPERGRADIENT), Outer)
    assert isinstance(search, DescentEach)
    return search


def test_the_outer_search_is_told_the_best_step_of_its_individual() -> None:
    search = descending()
    outer, trials = search._search, []
    for fitness in (0.5, 0.7, 0.6):
        assert outer.told == []
        trial = search.ask()
        assert search.ask() is None, "the individual waits for its steps"
        assert (trial.program, trial.descent, trial.generation) == (HYPERGRADIENT, 0, 2)
        search.tell(trial, Result(trial.id, OK, fitness, 1.0, gradient={"decay": 1.0}))
        trials.append(trial)
    (individual, result), = outer.told
    assert individual.genome.as_dict() == {"kernel": 1, "outputs": 50} and individual.program == TRAIN
    assert (individual.id, result.id, result.fitness) == (trials[0].id, trials[0].id, 0.7)
    decays = [float(trial.genome.as_dict()["decay"]) for trial in trials]
    assert decays[0] == 1e-3 and decays[0] > decays[1] > decays[2]
    assert {trial.genome.as_dict()["kernel"] for trial in trials} == {1}
    following = search.ask()
    assert following.genome.as_dict() == {"kernel": 2, "decay": 1e-3, "outputs": 50} and following.descent == 1


def test_an_individual_that_fails_is_told_as_failed() -> None:
    search = descending()
    trial = search.ask()
    search.tell(trial, Result(trial.id, DIVERGED))
    (_, result), = search._search.told
    assert result.status == DIVERGED and search.ask().descent == 1


def test_failures_after_a_step_that_was_good_do_not_count() -> None:
    search = descending()
    first = search.ask()
    search.tell(first, Result(first.id, OK, 0.4, 1.0, gradient={"decay": 1.0}))
    for _ in range(2):
        trial = search.ask()
        search.tell(trial, Result(trial.id, DIVERGED))
    (_, result), = search._search.told
    assert (result.status, result.fitness) == (OK, 0.4)


def test_what_is_enqueued_begins_where_it_says() -> None:
    enqueued = [SPACE.genome((1, 0.25, 50)), SPACE.genome((3, 0.5, 50))]
    search = descending(first=enqueued)
    assert [genome.as_dict() for genome in search._search.problem.first] == [
        {"kernel": 1, "outputs": 50}, {"kernel": 3, "outputs": 50}]
    assert search.ask().genome == enqueued[0]


def test_what_is_known_of_earlier_runs_is_the_best_of_each_outer_genome() -> None:
    """`earlier` comes best first, what failed last."""
    known = [(SPACE.genome((1, 0.1, 50)), (-0.9,)), (SPACE.genome((2, 0.1, 50)), (-0.8,)),
             (SPACE.genome((1, 0.2, 50)), (-0.7,)), (SPACE.genome((2, 0.3, 50)), None)]
    seen = descending(earlier=known)._search.problem
    assert [(genome.as_dict()["kernel"], costs) for genome, costs in seen.earlier] == [(1, (-0.9,)), (2, (-0.8,))]


def test_a_whole_ga_of_descents() -> None:
    """Each of its 4 x 3 individuals is a descent, and its generations are told by their best steps alone."""
    message = menndl_pb2.SearchParameter(type="GA", inner=DESCENDS)
    message.ga_param.CopyFrom(menndl_pb2.GAParameter(population=4, generations=3, mutation=0.5))
    search = make(message, problem())
    trials: List[Trial] = []
    while not search.finished:
        trial = search.ask()
        assert trial is not None
        trials.append(trial)
        search.tell(trial, Result(trial.id, OK, 0.5, 1.0, gradient={"decay": -1.0}))
    assert len(trials) == 4 * 3 * 3 and {trial.descent for trial in trials} == set(range(12))
    assert [trial.generation for trial in trials] == sorted(trial.generation or 0 for trial in trials)
    assert search.total is None and search.generations == 3


def test_trainings_that_learn_within_are_trials_of_the_outer_search() -> None:
    message = menndl_pb2.SearchParameter(type="GA", inner=menndl_pb2.InnerParameter(type="ADAPTIVE"))
    message.ga_param.CopyFrom(menndl_pb2.GAParameter(population=4, generations=3))
    search = make(message, problem())
    trial = search.ask()
    assert trial is not None and trial.program == ADAPTIVE and trial.genome.names == SPACE.names
    assert search.total == 12


# ---- as a user has it ----

@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In place of conftest's: a GA over the hidden units, with descents by two decays."""
    folder = tmp_path_factory.mktemp("search")
    return runs.write_inner(folder / "inner.search.prototxt", runs.small_data(folder / "data", validation=50))


@pytest.mark.parametrize("target", ["master", "trainer", "everything"])
def test_kills(search: Path, undisturbed: List, tmp_path: Path, target: str) -> None:
    kills(search, tmp_path, 0, target, 3, as_undisturbed(undisturbed))


def test_the_journal_has_every_step(local: Menndl, search: Path, tmp_path: Path) -> None:
    local.run(search, tmp_path / "run")
    record = journal.read(tmp_path / "run")
    steps: Dict[Any, List[Genome]] = {}
    for trial in record.trials.values():
        if trial.role == INDIVIDUAL:
            steps.setdefault(trial.descent, []).append(trial.genome)
            assert record.results[trial.id].gradient.keys() == {"decay_hidden", "decay_score"}
    assert len(steps) == 3 * 2 and all(len(genomes) == 3 for genomes in steps.values())
    for genomes in steps.values():
        assert len({genome.as_dict()["hidden"] for genome in genomes}) == 1 and len(set(genomes)) == 3
    assert {trial.role for trial in record.trials.values()} >= {TEST, YARDSTICK}
    assert local.json("status", tmp_path / "run")["complete"]
    assert local("report", tmp_path / "run") == 0, local.said


def test_cut_after_any_line_it_goes_on_exactly(local: Menndl, search: Path, tmp_path: Path) -> None:
    check_cuts(local, search, tmp_path)


WITHIN = "inner { gene: \"decay_hidden\" gene: \"decay_score\" steps: 3 }"
MISTAKES = [
    ("inner { }", r"inner: has no gene; expected those that go down the gradient"),
    ('inner { gene: "decay" }', r"inner.gene\[0\]: 'decay' is no gene of this search; .*decay_"),
    ('inner { gene: "decay_score" gene: "decay_score" }', r"inner.gene\[1\]: 'decay_score' is given twice"),
    ('inner { gene: "hidden" }', r"hidden is a whole number from 2 to 8; expected a real_range"),
    ('inner { gene: "hidden" gene: "decay_hidden" gene: "decay_score" }', r"leaves none to the outer search"),
    ('inner { gene: "decay_score" steps: 0 }', r"inner.steps: is 0; expected 1 to 100000"),
    ('inner { gene: "decay_score" hypergradient_param { starts: 2 } }', r"starts: is not for inner"),
    ('inner { gene: "decay_score" hypergradient_param { step: 2 } }', r"inner.hypergradient_param.step: is 2.0; e"),
    ('inner { type: "GA" }', r"inner.type: is 'GA'; expected one of HYPERGRADIENT, ADAPTIVE, HYPERNET"),
    ('inner { type: "ADAPTIVE" gene: "decay_score" }', r"inner.gene\[0\]: is not for ADAPTIVE"),
    ('inner { type: "HYPERNET" hypernet_param { net: "none" } }', r":\d+: hypernet template none: no such file"),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_mistakes_end_before_anything_begins(menndl: Runner, search: Path, tmp_path: Path, text: str, said: str
                                             ) -> None:
    path = tmp_path / "wrong.search.prototxt"
    assert WITHIN in search.read_text()
    path.write_text(search.read_text().replace(WITHIN, text))
    done = menndl("run", path, "--out", tmp_path / "run", "--engine", "torch")
    assert done.returncode == 2 and re.search(said, done.stderr), done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "run" / "journal.jsonl").exists()


def test_a_learning_type_has_no_search_within(menndl: Runner, search: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.search.prototxt"
    path.write_text(re.sub(r'type: "GA"\nga_param .*\n', 'type: "ADAPTIVE"\nlimit { trials: 3 }\n', search.read_text()))
    done = menndl("run", path, "--out", tmp_path / "run", "--engine", "torch")
    assert done.returncode == 2 and re.search("inner.type: is within ADAPTIVE, whose", done.stderr), done.stderr
