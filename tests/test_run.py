"""The loop of every search, on a farm that follows a script: twins, known individuals, resuming, journal first."""
from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence, Tuple

import pytest

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.run.loop import Loop, Stop, never
from menndl_caffe.search.search import check_asked
from menndl_caffe.trial import CRASHED, DEFAULT, OK, TEST, Result, Trial
from menndl_caffe.walltime import Stopped
from tests.support import runs
from tests.support.searches import FIRST_LINE, numbering


def trial(id: int, value: int, generation: Optional[int] = 0, role: str = "individual", seed: int = 11) -> Trial:
    return Trial(id, Genome(("g",), (value,)), seed, 100, generation, role)


def trained(trial: Trial) -> Result:
    """Its fitness shows its genome, its loss the trial that was really trained."""
    return Result(trial.id, OK, trial.genome.values[0] / 10, loss=float(trial.id), seconds=3.0, log="a log")


class Generations:
    """A search of given trials: the next generation is asked for when the last result of the one before was told."""

    generations = None

    def __init__(self, run: Path, *generations: Sequence[Trial]):
        self._run, self._waiting, self._later = run, list(generations[0]), [list(g) for g in generations[1:]]
        self._asked: List[int] = []
        self.total = sum(map(len, generations))
        self.told: List[Result] = []

    @property
    def finished(self) -> bool:
        return len(self.told) == self.total

    def ask(self) -> Optional[Trial]:
        if not self._waiting and len(self.told) == len(self._asked) and self._later:
            self._waiting = self._later.pop(0)
        if not self._waiting:
            return None
        self._asked.append(self._waiting[0].id)
        return self._waiting.pop(0)

    def asked(self, trial: Trial) -> None:
        check_asked(self, trial)

    def tell(self, trial: Trial, result: Result) -> None:
        assert trial.id == result.id and result.id in self._asked
        assert result.id not in [earlier.id for earlier in self.told]
        assert journal.read(self._run).results[result.id].fitness == result.fitness, "told before it was on disk"
        self.told.append(result)


class ScriptedFarm:
    """Answers one of its trials at each poll: the one that `which` picks among those that run."""

    def __init__(self, slots: int, which: int = 0, train: Callable[[Trial], Result] = trained):
        self.slots, self._which, self._train = slots, which, train
        self._running: List[Trial] = []
        self.submitted: List[int] = []

    @property
    def idle(self) -> int:
        return self.slots - len(self._running)

    def submit(self, trial: Trial) -> int:
        assert self.idle, "a trial too many"
        self._running.append(trial)
        self.submitted.append(trial.id)
        return 7

    def poll(self, seconds: float) -> List[Result]:
        assert self._running, "nothing runs, so nothing will come"
        return [self._train(self._running.pop(self._which))]

    def lost(self) -> List[Trial]:
        return []

    def close(self) -> None:
        pass


class Case:
    """One run of the loop in a folder, and what was seen of it."""

    def __init__(self, run: Path, *generations: Sequence[Trial], first: Sequence[Trial] = (),
                 last: Sequence[Trial] = (), farm: Any = None, stop: Stop = never):
        self.farm, self.search = farm or ScriptedFarm(2), Generations(run, *generations)
        self.kept: List[int] = []
        self.watched: List[Tuple[int, bool]] = []
        with Journal(run) as self.journal:
            self.journal.begin(FIRST_LINE)
            loop = Loop(self.search, self.farm, self.journal, numbering(1), self.search.total, self.keep, self.watch,
                        stop)
            loop.run(first)
            loop.run(last)
        self.results = journal.read(run).results

    def keep(self, trial: Trial, result: Result) -> None:
        assert trial.id not in self.journal.record.results, "files come before the record, else a kill loses them"
        assert (trial.id, result.log) == (result.id, "a log")
        self.kept.append(trial.id)

    def watch(self, trial: Trial, result: Result, recorded: bool) -> None:
        self.watched.append((trial.id, recorded))

    @property
    def told(self) -> List[int]:
        return [result.id for result in self.search.told]


def test_different_individuals_are_all_trained_in_the_order_asked(tmp_path: Path) -> None:
    case = Case(tmp_path, [trial(1, 5), trial(2, 6), trial(3, 7)], [trial(4, 8)])
    assert case.farm.submitted == case.told == case.kept == [1, 2, 3, 4]
    assert case.watched == [(1, False), (2, False), (3, False), (4, False)]
    assert [result.fitness for result in case.search.told] == [0.5, 0.6, 0.7, 0.8]


def test_results_are_told_as_they_come(tmp_path: Path) -> None:
    case = Case(tmp_path, [trial(id, id) for id in (1, 2, 3, 4)], farm=ScriptedFarm(2, which=-1))
    assert case.farm.submitted == [1, 2, 3, 4]
    assert case.told == [2, 3, 4, 1]


def test_a_twin_waits_for_the_one_in_training(tmp_path: Path) -> None:
    """And its slot is given to the next."""
    case = Case(tmp_path, [trial(1, 5), trial(2, 5), trial(3, 5), trial(4, 6)])
    assert case.farm.submitted == case.kept == [1, 4]
    assert case.told == [1, 2, 3, 4]
    for id in (2, 3):
        twin = case.results[id]
        assert (twin.status, twin.fitness, twin.loss, twin.same_as, twin.seconds) == (OK, 0.5, 1.0, 1, 0.0)
    assert case.results[1].same_as is None and case.results[1].seconds == 3.0


def test_an_individual_met_again_takes_its_recorded_result(tmp_path: Path) -> None:
    case = Case(tmp_path, [trial(1, 5), trial(2, 6)], [trial(3, 6, 1), trial(4, 7, 1)], [trial(5, 6, 2)])
    assert case.farm.submitted == [1, 2, 4]
    assert {id: case.results[id].same_as for id in (3, 5)} == {3: 2, 5: 2}, "named is the one that was trained"
    assert case.results[5].loss == 2.0


def test_a_failure_met_again_is_the_same_failure(tmp_path: Path) -> None:
    farm = ScriptedFarm(1, train=lambda trial: Result(trial.id, CRASHED, reason="it does not work", log="a log"))
    case = Case(tmp_path, [trial(1, 5), trial(2, 5)], [trial(3, 5, 1)], farm=farm)
    assert farm.submitted == [1]
    results = {(result.status, result.reason, result.fitness) for result in case.results.values()}
    assert results == {(CRASHED, "it does not work", 0.0)}


def test_the_default_is_an_individual_too_but_not_the_searchs(tmp_path: Path) -> None:
    case = Case(tmp_path, [trial(1, 5), trial(2, 6)], first=[trial(0, 5, None, DEFAULT)])
    assert case.farm.submitted == [0, 2]
    assert case.told == [1, 2] and case.results[1].same_as == 0


def test_a_final_test_is_always_trained_and_answers_nobody(tmp_path: Path) -> None:
    """For it trains the same individual, but measures it on other images."""
    case = Case(tmp_path / "last", [trial(1, 5), trial(2, 6)], last=[trial(3, 6, None, TEST)])
    assert case.farm.submitted == [1, 2, 3] and case.told == [1, 2]
    case = Case(tmp_path / "first", [trial(1, 5), trial(2, 6)], [trial(4, 6, 1)], first=[trial(3, 6, None, TEST)])
    assert case.farm.submitted == [3, 1, 2] and case.told == [1, 2, 4]
    assert case.results[4].same_as == 2


def test_another_seed_is_other_work(tmp_path: Path) -> None:
    case = Case(tmp_path, [trial(1, 5, seed=1), trial(2, 5, seed=2)], [trial(3, 5, 1, seed=3)])
    assert case.farm.submitted == [1, 2, 3]
    assert [result.same_as for result in case.results.values()] == [None] * 3
    case = Case(tmp_path / "budget", [trial(1, 5), replace(trial(2, 5), max_iter=50)])
    assert case.farm.submitted == [1, 2]


@pytest.mark.parametrize(("reuse", "seeds"), [("true", 1), ("false", 3)])
def test_without_reuse_every_training_has_its_own_seed(tmp_path: Path, in_repository: Path, reuse: str,
                                                       seeds: int) -> None:
    search = runs.write_search(tmp_path / "s.search.prototxt", tmp_path, f"reuse_results: {reuse}")
    experiment = search_file.load(str(search))
    assert len({experiment.trial(id, experiment.space.default).seed for id in (1, 2, 3)}) == seeds


@pytest.mark.parametrize("seeds", [[11] * 5, [1, 2, 3, 4, 5]])
@pytest.mark.parametrize("lines", range(12))
def test_a_cut_journal_is_gone_on_with(tmp_path: Path, lines: int, seeds: List[int]) -> None:
    """Cut after any line: what stands there is told and not trained, the rest is trained, and the end is the same."""
    trials = [trial(id, value, int(id > 3), seed=seed) for (id, value), seed in
              zip([(1, 5), (2, 5), (3, 6), (4, 6), (5, 7)], seeds)]
    generations = trials[:3], trials[3:]
    Case(tmp_path / "whole", *generations)
    whole = (tmp_path / "whole" / "journal.jsonl").read_text().splitlines(keepends=True)
    assert len(whole) == 1 + 2 * 5
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "journal.jsonl").write_text("".join(whole[:lines]))
    before = journal.read(tmp_path / "cut").results if lines else {}
    case = Case(tmp_path / "cut", *generations, farm=ScriptedFarm(3, which=-1))
    assert not set(before) & set(case.farm.submitted)
    assert {id for id, recorded in case.watched if recorded} == set(before)
    assert sorted(case.told) == [1, 2, 3, 4, 5]
    fitness = {1: 0.5, 2: 0.5, 3: 0.6, 4: 0.6, 5: 0.7}
    for results in (case.results, journal.read(tmp_path / "whole").results):
        assert {id: result.fitness for id, result in results.items()} == fitness


@pytest.mark.parametrize("other", [trial(2, 7), trial(2, 6, seed=12), trial(2, 6, generation=1)])
def test_a_trial_that_differs_from_the_recorded_one_is_another_search(tmp_path: Path, other: Trial) -> None:
    Case(tmp_path, [trial(1, 5), trial(2, 6)])
    before = (tmp_path / "journal.jsonl").read_text()
    with pytest.raises(UserError, match=r"recorded trial 2 is \[g=6\] with seed 11, this search asks for \[g="):
        Case(tmp_path, [trial(1, 5), other])
    assert (tmp_path / "journal.jsonl").read_text().startswith(before)
    assert journal.read(tmp_path).results.keys() == {1, 2}


class StoppingFarm(ScriptedFarm):
    """Says stop, to be heard after `polls` polls; of what runs then, one more result has come by the last look."""

    def __init__(self, slots: int, polls: int, train: Callable[[Trial], Result] = trained):
        super().__init__(slots, train=train)
        self._polls = polls
        self.last_look = False

    def stop(self) -> str:
        return "it is late" if self._polls <= 0 else ""

    def poll(self, seconds: float) -> List[Result]:
        self._polls -= 1
        self.last_look = self._polls < 0
        assert seconds == 0 or self._polls >= 0, "waited though it is late"
        return super().poll(seconds) if self._running else []


@pytest.mark.parametrize("slots", [1, 2, 3, 6])
@pytest.mark.parametrize("polls", range(7))
def test_a_stop_at_any_moment(tmp_path: Path, polls: int, slots: int) -> None:
    """What came is recorded, nothing more is handed out, and the same loop again ends as an undisturbed one."""
    generations = [[trial(1, 5), trial(2, 5), trial(3, 6), trial(4, 7)], [trial(5, 6, 1), trial(6, 8, 1)]]
    farm = StoppingFarm(slots, polls)
    try:
        Case(tmp_path, *generations, farm=farm, stop=farm.stop)
    except Stopped as stopped:
        done = journal.read(tmp_path).results
        assert str(stopped) == f"it is late: {len(done)} of 6 individuals are done; the same command goes on"
        assert len(done) < 6 and farm.last_look
        assert len(farm.submitted) <= min(polls, 4) + slots
        assert polls or not farm.submitted
    else:
        assert polls >= 4, "four trainings need four polls"
    again = Case(tmp_path, *generations)
    assert {id: result.fitness for id, result in again.results.items()} == {1: .5, 2: .5, 3: .6, 4: .7, 5: .6, 6: .8}


@pytest.mark.parametrize("slots", [1, 2])
def test_a_search_that_asks_for_the_same_for_ever_hears_the_stop(tmp_path: Path, slots: int) -> None:
    """Where it has been trained, and where it still is: then there is nothing to be waited for."""
    told = itertools.chain([""] * 20, itertools.repeat("it is late"))
    with pytest.raises(Stopped):
        Case(tmp_path, [trial(id, 5) for id in range(1, 100)], farm=StoppingFarm(slots, 100), stop=lambda: next(told))
    assert len(journal.read(tmp_path).trials) <= 20


@pytest.mark.parametrize("status, recorded", [(OK, True), (CRASHED, False)])
def test_failures_after_the_stop_do_not_count(tmp_path: Path, status: str, recorded: bool) -> None:
    """For who is told to end may have told its trainers as well."""
    farm = StoppingFarm(1, 9, lambda trial: Result(trial.id, status, log="a log"))
    told = itertools.chain(["", ""], itertools.repeat("it is late"))  # not before handing out, nor before the look
    with pytest.raises(Stopped):
        Case(tmp_path, [trial(1, 5), trial(2, 6)], farm=farm, stop=lambda: next(told))
    assert farm.submitted == [1]
    assert set(journal.read(tmp_path).results) == ({1} if recorded else set())


class MortalFarm(ScriptedFarm):
    """Its first rank dies with the first trial, which nobody else hears of before `lost` is asked."""

    def __init__(self, slots: int):
        super().__init__(slots)
        self._lost: List[Trial] = []
        self.ranks = iter(range(1, 100))

    def submit(self, trial: Trial) -> int:
        super().submit(trial)
        return next(self.ranks)

    def poll(self, seconds: float) -> List[Result]:
        if len(self.submitted) == self.slots:
            self._lost = [self._running.pop(0)]
            return []
        return super().poll(seconds)

    def lost(self) -> List[Trial]:
        lost, self._lost = self._lost, []
        return lost


def test_a_trial_whose_rank_died_is_given_to_another(tmp_path: Path) -> None:
    case = Case(tmp_path, [trial(1, 5), trial(2, 6), trial(3, 5), trial(4, 7)], farm=MortalFarm(2))
    assert case.farm.submitted == [1, 2, 1, 4]
    assert sorted(case.told) == [1, 2, 3, 4] and case.results[3].same_as == 1
    given = journal.read(tmp_path).given
    assert {id: given[id].rank for id in given} == {1: 3, 2: 2, 4: 4}


def test_a_recorded_trial_without_a_result_is_given_out_again(tmp_path: Path) -> None:
    """And the journal says who has it now."""
    generation = [trial(1, 5), trial(2, 6), trial(3, 8), trial(4, 9)]
    farm = StoppingFarm(3, 1)
    with pytest.raises(Stopped):
        Case(tmp_path, generation, farm=farm, stop=farm.stop)
    assert set(journal.read(tmp_path).results) == {1, 2}
    case = Case(tmp_path, generation, farm=MortalFarm(9))
    assert case.farm.submitted == [3, 4]
    assert {id: given.rank for id, given in journal.read(tmp_path).given.items()} == {1: 7, 2: 7, 3: 1, 4: 2}


class Silent(Generations):
    """Gives nothing, and is not finished."""

    def ask(self) -> Optional[Trial]:
        return None


def test_a_search_that_asks_for_nothing_is_an_error_at_once(tmp_path: Path) -> None:
    with Journal(tmp_path) as writer:
        writer.begin(FIRST_LINE)
        loop = Loop(Silent(tmp_path, [trial(1, 5)]), ScriptedFarm(2), writer, numbering(1), None, lambda *_: None,
                    lambda *_: None)
        with pytest.raises(RuntimeError, match="asks for nothing and is not finished"):
            loop.run([trial(0, 5, None, DEFAULT)])
