"""`menndl simulate`: a virtual clock against closed forms, and what it is made of against small cases by hand."""
from __future__ import annotations

import csv
import itertools
import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List

import numpy as np
import pytest

from menndl_caffe.experiment import recorded, search_file
from menndl_caffe.export import csv_files
from menndl_caffe.farm.simulated import SimulatedFarm
from menndl_caffe.simulate.curves import made_up, shares_of
from menndl_caffe.simulate.known import Known, known
from menndl_caffe.simulate.landscape import Chance, Neighbours
from menndl_caffe.simulate.simulation import Circumstances, Setup, simulate
from menndl_caffe.simulate.times import Times, Work, assumed, fit, fitted, image_of
from menndl_caffe.trial import CRASHED, INVALID, OK, STOPPED, Result, Trial
from menndl_caffe.walltime import Stopped
from tests.conftest import REPOSITORY
from tests.support import rung_run, runs, searches
from tests.support.in_process import Menndl

GENE = 'gene {{ name: "x" real_range {{ min: 0 max: 1 }} default: 0.5 }}'


class Lengths:
    """Trainings of so many seconds, one after the other; notes which began."""

    def __init__(self, *seconds: float):
        self._seconds = itertools.cycle(seconds)
        self.began: List[Trial] = []
        self.seconds: List[float] = []

    def __call__(self, trial: Trial) -> Result:
        self.began.append(trial)
        self.seconds.append(next(self._seconds))
        return replace(searches.outcome(trial, 4), seconds=self.seconds[-1])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def menndl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Menndl:
    return Menndl(monkeypatch, capsys)


def setup(path: Path, data: Path, seconds: float = 100.0, sigma: float = 0.0, kind: str = runs.GA,
          **settings: int) -> Setup:
    """A search whose trainings all take so many seconds, but for their noise."""
    experiment = search_file.load(str(runs.write_search(path / "x.search.prototxt", data, kind=kind, **settings)))
    return Setup("x", experiment, Work(experiment), Times(seconds, 0.0, sigma, ""), Chance(1))


# ---- the clock ----

@pytest.mark.parametrize("kind", ["GA", "RANDOM", "ASYNC_GA", "Children"])
def test_one_rank_takes_the_sum_of_all_trainings(kind: str, tmp_path: Path) -> None:
    train = Lengths(10, 30, 5)
    farm = SimulatedFarm(1, train)
    searches.play(tmp_path, kind, 1, farm)
    assert farm.now == sum(train.seconds) > 0


@pytest.mark.parametrize("ranks", [1, 3, 7, 15, 40])
def test_equal_trainings_take_as_many_rounds_as_they_need(ranks: int, tmp_path: Path) -> None:
    farm = SimulatedFarm(ranks, Lengths(100))
    searches.play(tmp_path, "RANDOM", 1, farm, reuse=False)
    assert farm.now == 100 * math.ceil((searches.LIMIT + 1) / ranks)  # the default, too


def test_a_generation_is_as_long_as_its_slowest(tmp_path: Path) -> None:
    train = Lengths(10, 70, 25, 90, 40, 10, 55)
    farm = SimulatedFarm(50, train)
    searches.play(tmp_path, "GA", 1, farm, reuse=False)
    slowest: Dict[Any, float] = defaultdict(float)
    for trial, seconds in zip(train.began, train.seconds):
        slowest[trial.generation] = max(slowest[trial.generation], seconds)
    assert len(slowest) == 4 and slowest.pop(None) == 10  # the default's 10 are over before the first generation is
    assert farm.now == sum(slowest.values())


@pytest.mark.parametrize("ranks, rounds", [(3, 5), (5, 3)])
def test_a_master_that_keeps_up_comes_once_a_round(ranks: int, rounds: int, tmp_path: Path) -> None:
    farm = SimulatedFarm(ranks, Lengths(100), master=2)
    searches.play(tmp_path, "RANDOM", 1, farm, reuse=False)
    assert farm.now == rounds * (100 + 2) + (ranks - 1) * 2


def test_a_master_that_does_not_keep_up_gives_one_trial_after_the_other(tmp_path: Path) -> None:
    farm = SimulatedFarm(4, Lengths(100), master=60)
    searches.play(tmp_path, "RANDOM", 1, farm, reuse=False)
    assert farm.now == (searches.LIMIT + 1) * 60 + 100


def test_messages_take_their_time_each_way_of_a_trial(tmp_path: Path) -> None:
    farm = SimulatedFarm(1, Lengths(100), delay=3)
    searches.play(tmp_path, "RANDOM", 1, farm, reuse=False)
    assert farm.now == 103 * (searches.LIMIT + 1)


def test_a_dead_ranks_trial_begins_anew_on_another(tmp_path: Path) -> None:
    """Two ranks; 15 trials of 100 s, of which rank 1 loses its second at 150 s and rank 0 does the other fourteen."""
    train = Lengths(100)
    farm = SimulatedFarm(2, train, deaths={1: 150.0})
    calls = searches.play(tmp_path, "RANDOM", 1, farm, reuse=False)
    assert farm.now == 1400 and farm.slots == 1 and farm.died == {1: 150.0}
    assert len(train.began) == 16 and len(set(train.began)) == 15
    assert sum(isinstance(call, Result) for call in calls) == 15


def test_who_has_a_training_goes_on_with_it(tmp_path: Path) -> None:
    """From rung to rung on 3 ranks; who trains is told so."""
    train = Lengths(10, 70, 25, 90, 40)
    farm = SimulatedFarm(3, train)
    calls = searches.play(tmp_path / "all", "RANDOM" + searches.RUNGS, 1, farm, reuse=False)
    ranks = {call.id: call.rank for call in calls if isinstance(call, Result)}
    on = [trial for trial in calls if not isinstance(trial, Result) and trial.continues is not None]
    assert len(on) > 3 and all(ranks[trial.id] == ranks[trial.continues] for trial in on)
    assert sum(trial.continues is not None for trial in train.began) == len(on)


def test_where_the_rank_has_died_that_had_a_training_it_begins_anew() -> None:
    train = Lengths(10)
    farm = SimulatedFarm(2, train, deaths={0: 15.0})
    first = Trial(1, searches.SPACE.default, 7, 10, until=2)
    on = replace(first, id=2, until=None, continues=1)
    assert farm.submit(first) == 0
    assert [result.id for result in farm.poll(1)] == [1]
    assert farm.submit(on) == 0 and train.began[-1] == on
    assert farm.poll(1) == [] and farm.lost() == [on]
    assert farm.submit(on) == 1 and train.began[-1] == replace(on, continues=None)


def test_no_rank_is_left(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="every rank has died"):
        searches.play(tmp_path, "RANDOM", 1, SimulatedFarm(2, Lengths(100), deaths={0: 50.0, 1: 350.0}))


def test_the_individuals_of_a_ga_do_not_depend_on_the_ranks(tmp_path: Path) -> None:
    found = []
    for ranks in (1, 7):
        calls = searches.play(tmp_path / str(ranks), "GA", 1, SimulatedFarm(ranks, Lengths(10, 70, 25)))
        found.append({call.id: call.genome for call in calls if isinstance(call, Trial)})
    assert found[0] == found[1]


# ---- a whole simulation ----

def test_shares_of_the_ranks_time_are_whole(tmp_path: Path, data: Path) -> None:
    for ranks, how in ((5, Circumstances()), (40, Circumstances(0.5)), (5, Circumstances(0.5, deaths=3.0))):
        outcome = simulate(setup(tmp_path, data, sigma=0.8), ranks, how)
        assert outcome.individuals == 18
        whole = ranks * (outcome.seconds - how.master)  # from the first trial's beginning on; times have milliseconds
        assert sum(outcome.spent.values()) == pytest.approx(whole, abs=0.01 * outcome.trained)


def test_utilisation_of_a_synchronous_ga(tmp_path: Path, data: Path) -> None:
    """Six at a time on four ranks, and the default: two rounds in each generation, of which not all is work."""
    outcome = simulate(setup(tmp_path, data), 4, Circumstances())
    rounds = outcome.seconds / 100
    assert outcome.trained == pytest.approx(outcome.utilisation * rounds * 4) and rounds == 6
    assert outcome.share("generation") + outcome.share("no_trial") == pytest.approx(1 - outcome.utilisation)


def test_more_ranks_than_individuals_have_no_trial(tmp_path: Path, data: Path) -> None:
    outcome = simulate(setup(tmp_path, data), 100, Circumstances())
    assert outcome.seconds == 300
    assert outcome.share("no_trial") >= 0.93 and outcome.share("master") == outcome.share("lost") == 0


@pytest.mark.parametrize("kind", ["ASYNC_GA", "GUIDED_GA"])
def test_64_ranks_wait_for_nothing_but_the_end(kind: str, tmp_path: Path, data: Path) -> None:
    if kind == "GUIDED_GA":
        pytest.importorskip("scipy")
    outcome = simulate(setup(tmp_path, data, 600.0, 0.8, runs.LIMITED[kind], trials=100), 64, Circumstances(0.06))
    assert outcome.individuals == 100
    assert outcome.utilisation + outcome.share("no_trial") > 0.99


def test_64_ranks_with_rungs_wait_for_nothing_but_the_end(tmp_path: Path, data: Path) -> None:
    outcome = simulate(stopping(tmp_path, data, runs.LIMITED["ASYNC_GA"], 0.5, trials=300), 64, Circumstances(1 / 7639))
    assert outcome.individuals == 300 and outcome.early > 100
    assert outcome.utilisation + outcome.share("no_trial") > 0.99


def test_a_limit_ends_it_there(tmp_path: Path, data: Path) -> None:
    outcome = simulate(setup(tmp_path, data), 2, Circumstances(hours=250 / 3600))
    assert outcome.seconds == pytest.approx(250) and outcome.stopped.startswith("after 0.069")
    assert outcome.trained == 4 and outcome.utilisation == pytest.approx(1)


def test_the_best_on_the_test_set_comes_last(tmp_path: Path) -> None:
    held_out = runs.small_data(tmp_path / "data", validation=40)
    path = runs.write_search(tmp_path / "x.search.prototxt", held_out, "fitness_set: VALIDATION", runs.RANDOM)
    experiment = search_file.load(str(path))
    outcome = simulate(Setup("x", experiment, Work(experiment), Times(100, 0, 0, ""), Chance(1)), 50, Circumstances())
    assert outcome.seconds == 200 and outcome.individuals == 18


def test_an_impossible_net_takes_no_time(tmp_path: Path, data: Path) -> None:
    made = setup(tmp_path, data)
    one = made.experiment.trial(3, made.experiment.space.default)
    assert made.train(one).seconds == 100

    class Impossible:
        is_known = True

        def __call__(self, genome: Any) -> float:
            return 0.0

    work: Any = Impossible()
    result = replace(made, work=work).train(one)
    assert (result.status, result.seconds) == (INVALID, 0)


# ---- times ----

def test_work_counts_training_and_tests(tmp_path: Path, data: Path) -> None:
    """cifar10_quick's own shapes: 32 x 32 x 32 of 5 x 5 x 3, then pooled to 16, 8 and 4, and two inner products."""
    made = setup(tmp_path, data, max_iter=8, test_interval=4, test_iter=2, batch_size=10)
    image = (32 * 32 * 32 * 75 + 16 * 16 * 32 * 800 + 8 * 8 * 64 * 800 + 64 * 16 * 64 + 640)
    assert made.work.cost(made.experiment.space.default) == 10 * image
    assert made.work(made.experiment.space.default) == image * (3 * 8 * 10 + 2 * 2 * 100)  # tests are of 100


def test_a_fit_finds_what_made_the_times() -> None:
    work = np.array([1.0, 2.0, 5.0, 9.0]) * 1e12
    assert fit(work, 3 + 2e-12 * work) == pytest.approx((3, 2e-12, 0), rel=1e-6, abs=1e-9)
    assert fit(work, np.full(4, 7.0)) == pytest.approx((7, 0, 0), abs=1e-9)  # neither is ever below 0
    assert fit(work, 2e-12 * work - 1) [0] == 0
    assert fit(np.zeros(3), np.array([1.0, 2.0, 3.0]))[:2] == pytest.approx((2, 0))


def test_a_fit_keeps_the_sum_and_says_the_spread() -> None:
    rng = np.random.RandomState(1)
    work = 1e12 * (1 + 9 * rng.random_sample(400))
    seconds = (3 + 2e-12 * work) * np.exp(0.3 * rng.standard_normal(400))
    a, b, sigma = fit(work, seconds)
    assert (a + b * work).sum() == pytest.approx(seconds.sum()) and sigma == pytest.approx(0.3, rel=0.1)
    drawn = [Times(a, b, sigma, "").seconds(1e12, np.random.RandomState(i)) for i in range(1000)]
    assert np.mean(drawn) == pytest.approx(a + b * 1e12, rel=0.05)  # the noise adds nothing


# ---- fitness ----

def landscape(*known: Known) -> Neighbours:
    return Neighbours(known, searches.REALS, "x")


def at(decay: float, momentum: float) -> Any:
    return searches.REALS.genome((decay, momentum))


def test_the_known_have_their_own_and_others_a_mean_by_distance() -> None:
    """Along momentum alone: 1/4 of the way from 0.2 to 0.6 the weights are as 1/1 to 1/9."""
    surface = landscape(Known(at(1e-3, 0.0), OK, (0.1,), 5), Known(at(1e-3, 0.0), OK, (0.3,), 5),
                        Known(at(1e-3, 0.8), OK, (0.6,), 5))
    rng = np.random.RandomState(0)
    assert surface(at(1e-3, 0.0), rng).values == pytest.approx((0.2,))
    assert surface(at(1e-3, 0.2), rng).values == pytest.approx(((9 * 0.2 + 0.6) / 10,))
    assert surface.error() == pytest.approx(0.4)


def test_whose_nearest_failed_fails_as_soon() -> None:
    surface = landscape(Known(at(1e-3, 0.0), CRASHED, None, 4.0), Known(at(1e-3, 0.9), OK, (0.6,), 50))
    rng = np.random.RandomState(0)
    found = surface(at(1e-3, 0.3), rng)
    assert (found.status, found.seconds) == (CRASHED, 4.0)
    assert surface(at(1e-3, 0.6), rng).values == pytest.approx((0.6,))


def test_nothing_is_better_than_the_best_known() -> None:
    rng = np.random.RandomState(2)
    points = [searches.REALS.from_unit(point) for point in rng.random_sample((60, 2))]
    surface = landscape(*(Known(point, OK, (float(rng.random_sample()),), 1) for point in points))
    best = max(surface(point, rng).values[0] for point in points)
    assert all(surface(searches.REALS.from_unit(point), rng).values[0] <= best for point in rng.random_sample((200, 2)))


# ---- from rung to rung ----

STOP = " stop {{ halving {{ first: 1 factor: 2 }} }}"


def stopping(path: Path, data: Path, kind: str, sigma: float = 0.0, **settings: int) -> Setup:
    """As `setup`, of a search with rungs; what is found is chance, and so are curves."""
    made = setup(path, data, 800.0, sigma, kind + STOP, max_iter=8, **settings)
    return replace(made, landscape=Chance(1, made.shares))


def test_one_rank_takes_the_iterations_of_all(tmp_path: Path, data: Path) -> None:
    """100 seconds an iteration; the one rank always has what it goes on with."""
    made = stopping(tmp_path, data, runs.LIMITED["RANDOM"], trials=20)
    assert list(made.rungs) == [1, 2, 4]
    outcome = simulate(made, 1, Circumstances())
    assert outcome.individuals == outcome.trained - 1 == 20 and 0 < outcome.early < 20
    assert outcome.seconds == pytest.approx(100 * outcome.iterations)
    assert 8 * (21 - outcome.early) + outcome.early <= outcome.iterations < 8 * 21
    all_whole = setup(tmp_path, data, 800.0, 0.0, runs.LIMITED["RANDOM"], trials=20, max_iter=8)
    full = simulate(all_whole, 1, Circumstances())
    assert full.early == 0 and full.iterations == pytest.approx(21 * 8)


def test_whoever_has_it_in_hand_goes_on_and_others_begin_anew(tmp_path: Path, data: Path) -> None:
    made = stopping(tmp_path, data, runs.LIMITED["RANDOM"], trials=20)
    whole = made.experiment.trial(3, made.experiment.space.default)
    cut = replace(whole, until=4)
    results = [made.train(one) for one in (replace(cut, until=1), replace(cut, continues=2), cut, whole,
                                           replace(whole, continues=2))]
    assert [one.seconds for one in results] == [100, 200, 400, 800, 400]
    assert [one.status for one in results] == [STOPPED, STOPPED, STOPPED, OK, OK]
    assert results[1].fitness == results[2].fitness != results[3].fitness == results[4].fitness
    assert [[at for at, *_ in one.curve] for one in results[:3]] == [[1], [1, 2, 4], [1, 2, 4]]
    assert [made.iterations(whole, one) for one in results] == [1, 2, 4, 8, 4]


def test_a_failure_comes_no_later_than_the_rung(tmp_path: Path, data: Path) -> None:
    made = stopping(tmp_path, data, runs.LIMITED["RANDOM"], trials=20)
    trial = made.experiment.trial(3, made.experiment.space.default)
    for after, until, seconds in ((30.0, 1, 30.0), (500.0, 1, 100.0), (500.0, None, 500.0)):
        failing: Any = Neighbours([Known(trial.genome, CRASHED, None, after)], made.experiment.space, "x")
        assert replace(made, landscape=failing).train(replace(trial, until=until)).seconds == seconds


@pytest.mark.parametrize("start, end", [(0.1, 0.8), (2.3, 0.5), (0.4, 0.4)])
def test_made_up_curves_go_from_the_start_to_the_end(start: float, end: float) -> None:
    shares = shares_of([250, 750, 2250], range(250, 4001, 250), 4000)
    assert len(shares) == 16 and shares[-1] == 1 and {1 / 16, 3 / 16, 9 / 16} < set(shares)
    curve = np.array(made_up(start, end, shares, np.random.RandomState(1)))
    assert curve[-1] == end and abs(curve[0] - end) < abs(start - end) or start == end
    assert ((np.diff(curve) * (end - start)) >= 0).all()
    assert shares_of([], [500], 4000) == made_up(start, end, (), np.random.RandomState(1)) == ()


def test_known_curves_are_taken_and_others_are_a_mean_of_theirs() -> None:
    curves = [((0.0, 0.0), (0.5, 0.1), (1.0, 0.2)), ((0.0, 0.2), (1.0, 0.6))]
    known = [Known(at(1e-3, momentum), OK, (curve[-1][1],), 5, curve) for momentum, curve in zip((0.0, 0.8), curves)]
    surface, rng = Neighbours(known, searches.REALS, "x", (0.25, 0.5, 1.0)), np.random.RandomState(0)
    assert surface(known[0].genome, rng).curve == pytest.approx((0.05, 0.1, 0.2))
    between = (9 * np.array([0.05, 0.1, 0.2]) + np.array([0.3, 0.4, 0.6])) / 10
    assert surface(at(1e-3, 0.2), rng).curve == pytest.approx(between)
    assert surface.said.endswith("curves of theirs")
    partly = Neighbours([known[0], known[1]._replace(curve=())], searches.REALS, "x", (0.5, 1.0))
    assert partly(known[0].genome, rng).curve[-1] == 0.2 and "curves made up" in partly.said


def test_trainings_that_were_stopped_are_known_as_far_as_they_came(tmp_path: Path) -> None:
    """Of a table, which does not say how far that was, only those that came to their ends."""
    folder, made, _ = rung_run.write(tmp_path)
    run = recorded.read(folder)
    expected = {status: sorted(rung_run.ENDS[one.last] or rung_run.MAX_ITER for one in made if one.status == status)
                for status in (OK, CRASHED, STOPPED)}
    export = csv_files.write(run, tmp_path)[0]
    for source in (folder, export):
        found = known(str(source), run.experiment)
        for status, ends in expected.items():
            wanted = ends if status != STOPPED or source == folder else []
            assert sorted(round(10 * one.seconds) for one in found if one.status == status) == wanted
        assert all(bool(one.curve) == (one.status != CRASHED and source == folder) for one in found)
        assert all(round(one.share * rung_run.MAX_ITER) == round(10 * one.seconds) for one in found if one.values)


def test_the_end_of_one_that_was_stopped_is_as_a_search_is_told_it() -> None:
    """Of three others at half of the way 0.1, 0.2 and 0.3, at their ends 0.3, 0.5 and 0.8: the median gain is 0.3, the
    median of the ends 0.5."""
    others = [Known(at(1e-3, momentum), OK, (end,), 5, ((0.0, 0.0), (0.5, half), (1.0, end)))
              for momentum, half, end in ((0.0, 0.1, 0.3), (0.2, 0.2, 0.5), (0.4, 0.3, 0.8))]
    rng = np.random.RandomState(0)
    for had, end in ((0.15, 0.45), (0.05, 0.35), (0.4, 0.5)):
        early = Known(at(1e-3, 0.8), STOPPED, (had,), 2, ((0.0, 0.1), (0.5, had)), 0.5)
        surface = Neighbours([*others, early], searches.REALS, "x", (0.0, 0.5, 0.75, 1.0))
        found = surface(early.genome, rng)
        assert found.values == pytest.approx([end]) and found.curve == pytest.approx((0.1, had, (had + end) / 2, end))
        assert "of 4 individuals" in surface.said and "; 1 stopped early, " in surface.said
    without = Neighbours([*(one._replace(curve=()) for one in others), early], searches.REALS, "x", (0.5, 1.0))
    assert "of 3 individuals" in without.said and "stopped early" not in without.said


def test_what_was_stopped_says_what_a_whole_training_takes(tmp_path: Path, data: Path) -> None:
    """Those of rung_run take a tenth of a second an iteration, wherever they end."""
    folder, _, _ = rung_run.write(tmp_path)
    run = recorded.read(folder)
    times = fitted(str(folder), run.experiment, Work(run.experiment, image_of(run)))
    counted = sum(result.status in (OK, STOPPED) for _, result in run.record.individuals())
    assert f"of {counted} trainings" in times.said and times.sigma == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("policy, stops", [('"fixed"', True), ('"poly" power: 1', False)])
def test_curve_decides_where_it_would_in_a_run(tmp_path: Path, data: Path, policy: str, stops: bool) -> None:
    """With a test pass after each of 20 iterations, which the rungs alone have not; and only where no rate falls. The
    median rule, which looks at those that came to their ends, too, stops nobody here before others."""
    solver, path = tmp_path / "solver.j2", tmp_path / "x.search.prototxt"
    quick = "solvers/quick.solver.prototxt.j2"
    solver.write_text((REPOSITORY / quick).read_text().replace('"fixed"', policy))
    kind = runs.RANDOM + " stop {{ curve {{ }} median {{ least: 30 }} }}"
    runs.write_search(path, data, kind=kind, trials=30, max_iter=20, test_interval=1)
    path.write_text(path.read_text().replace(quick, str(solver)))
    experiment = search_file.load(str(path))
    made = Setup("x", experiment, Work(experiment), Times(100.0, 0.0, 0.0, ""), Chance(1))
    made = replace(made, landscape=Chance(1, made.shares))
    assert (simulate(made, 1, Circumstances()).early > 0) == stops


# ---- the command ----

def test_a_row_for_each_search_and_number_of_ranks(menndl: Menndl, tmp_path: Path, data: Path) -> None:
    paths = [runs.write_search(tmp_path / f"{name}.search.prototxt", data, kind=kind)
             for name, kind in (("ga", runs.GA), ("steady", runs.LIMITED["ASYNC_GA"]))]
    assert menndl("simulate", *paths, "--ranks", 1, 3, "--out", tmp_path / "out") == 0
    lines = menndl.out.splitlines()
    assert [line.split()[:2] for line in lines[1:5]] == [["ga", "1"], ["ga", "3"], ["steady", "1"], ["steady", "3"]]
    assert "assumed: 18 billion multiply-adds a second" in menndl.out and "by chance" in menndl.out
    with open(tmp_path / "out" / "simulated.csv") as file:
        rows = list(csv.DictReader(file))
    busy = [float(row["hours"]) * float(row["utilisation"]) * int(row["ranks"]) for row in rows]
    assert busy[0] == pytest.approx(busy[1], rel=1e-3)  # a GA trains the same, on however many ranks
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "simulated.csv", "simulated_best.csv", "simulated.png", "simulated.svg", "simulated.pdf"}


def test_times_and_fitness_of_a_run(menndl: Menndl, tmp_path: Path, data: Path) -> None:
    """A table with as many seconds as there are billions of multiply-adds, and a run that it becomes."""
    search = runs.write_search(tmp_path / "x.search.prototxt", data)
    menndl.run(search, tmp_path / "run")
    found = menndl.json("simulate", search, "--ranks", 2, "--fitness", tmp_path / "run", "--accuracy", 0.1, "--times",
                        tmp_path / "run")["simulations"][0]
    best = menndl.json("best", tmp_path / "run")["best"][0]["accuracy"]
    assert found["best"] == pytest.approx(best)  # the same search meets the same individuals
    assert 0 < found["hours_to_0.1"] <= found["hours_to_best"] <= found["hours"]
    assert menndl("export", tmp_path / "run", "--to", "csv") == 0
    table = menndl.json("simulate", search, "--ranks", 2, "--fitness", tmp_path / "run" / "export" / "trials.csv")
    assert table["simulations"][0]["best"] == pytest.approx(best)


def test_times_are_fitted_to_a_table(tmp_path: Path, data: Path) -> None:
    made = setup(tmp_path, data)
    space = made.experiment.space
    points = [space.from_unit(point) for point in np.random.RandomState(1).random_sample((6, 6))]
    table = tmp_path / "table.csv"
    table.write_text("\n".join([",".join([*space.names, "accuracy", "seconds"]),
                                *(",".join(map(str, [*genome.values, 0.5, 2 + 3e-9 * made.work(genome)]))
                                  for genome in points)]))
    times = fitted(str(table), made.experiment, made.work)
    assert (times.fixed, times.per_multiply_add) == pytest.approx((2, 3e-9), rel=1e-4)


@pytest.mark.parametrize("arguments, said", [
    (["--accuracy", "0.5"], "--accuracy: when it is reached is not known without --fitness RUN"),
    (["--times", "nowhere"], "nowhere is not a run"), (["--fitness", "nowhere"], "nowhere is not a run"),
    (["--data", "nowhere"], "menndl data"), (["--ranks", "0"], "expected a whole number from 1"),
    (["--die", "-1"], "expected a number above 0"), (["--rate", "18", "--times", "x"], "not allowed with")])
def test_mistakes(arguments: List[str], said: str, menndl: Menndl, tmp_path: Path, data: Path) -> None:
    search = runs.write_search(tmp_path / "x.search.prototxt", data)
    try:
        code = menndl("simulate", search, "--ranks", 2, *arguments)
    except SystemExit as end:
        code = end.code
    assert code == 2
    if menndl.said:
        assert said in menndl.said


def test_a_search_along_gradients_is_not_simulated(menndl: Menndl, tmp_path: Path, data: Path) -> None:
    search = runs.write_gradients(tmp_path / "x.search.prototxt", data)
    assert menndl("simulate", search, "--ranks", 2) == 2 and "goes down gradients" in menndl.said


def test_a_table_without_a_gene(menndl: Menndl, tmp_path: Path, data: Path) -> None:
    search = runs.write_search(tmp_path / "x.search.prototxt", data)
    (tmp_path / "t.csv").write_text("kernel1,accuracy,seconds\n4,0.5,1\n")
    assert menndl("simulate", search, "--ranks", 2, "--fitness", tmp_path / "t.csv") == 2
    assert "t.csv:1: has no column kernel2, kernel3, output1, output2, output3" in menndl.said


def test_the_rate_is_what_is_assumed(tmp_path: Path, data: Path) -> None:
    made = setup(tmp_path, data)
    assert assumed(2.0, made.work).seconds(3e9, np.random.RandomState(0)) == pytest.approx(1.5)
    unknown: Any = SimpleNamespace(is_known=False)
    with pytest.raises(Exception, match="--times RUN takes that from a run"):
        assumed(None, unknown)
