"""OPTUNA: every sampler goes on exactly after any call, hears of failures and repeats, and says what it cannot do."""
from __future__ import annotations

import json
import random
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import optuna
import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.genome import ChoiceGene, Genome, IntGene, RealGene, SearchSpace
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.objective import Objective
from menndl_caffe.search import KINDS, OtherTrial, Search, optuna_sampler
from menndl_caffe.search.sampling import RandomSearch
from menndl_caffe.trial import Result, Trial
from tests.support.landscapes import goes_on_exactly
from tests.test_cma_es import MIXED, REALS, best, drive, ellipsoid, problem, result, trials

NUMBERS = SearchSpace((RealGene("rate", 1e-4, 1.0, True, 0.1), IntGene("kernel", 1, 9, 2, 5),
                       IntGene("output", 16, 126, 2, 32)))
SMALL = SearchSpace((IntGene("kernel", 1, 4, 1, 2), ChoiceGene("pool", ("MAX", "AVE"), "MAX")))
GRID = {"search_space": {"kernel": [1, 2, 3, 4], "pool": ["MAX", "AVE"]}}
# sampler, arguments, a space for it, trials
EVERY: Sequence = [
    ("TPESampler", {}, MIXED, 40), ("TPESampler", {"multivariate": True, "constant_liar": True}, MIXED, 40),
    ("RandomSampler", {}, MIXED, 30), ("NSGAIISampler", {"population_size": 6}, MIXED, 40),
    ("NSGAIIISampler", {"population_size": 6}, MIXED, 40), ("CmaEsSampler", {"n_startup_trials": 3}, NUMBERS, 40),
    ("CmaEsSampler", {"with_margin": True, "popsize": 5}, NUMBERS, 40), ("QMCSampler", {"scramble": True}, NUMBERS, 30),
    ("GPSampler", {"n_startup_trials": 5}, NUMBERS, 10), ("GridSampler", GRID, SMALL, 8),
    ("BruteForceSampler", {}, SMALL, 8)]
IDS = [f"{name}-{len(arguments)}" for name, arguments, *_ in EVERY]


def search(space: SearchSpace, sampler: str = "TPESampler", arguments: Optional[Dict[str, Any]] = None, seed: int = 1,
           **known: Any) -> Search:
    settings = SimpleNamespace(sampler=sampler, arguments=json.dumps(arguments or {}))
    return optuna_sampler.make(problem(space, seed, **known), settings)


def some_fail(space: SearchSpace) -> Any:
    fitness = ellipsoid(space)
    return lambda genome: None if random.Random(str(genome)).random() < 0.2 else fitness(genome)


def study(of: Any) -> optuna.Study:
    return of._sampler._study


@pytest.mark.parametrize("sampler, arguments, space, limit", EVERY, ids=IDS)
@pytest.mark.parametrize("slots", [1, 7])
def test_every_sampler_goes_on_exactly_after_any_call(sampler: str, arguments: Dict[str, Any], space: SearchSpace,
                                                      limit: int, slots: int) -> None:
    calls = drive(search(space, sampler, arguments), some_fail(space), limit, slots)
    assert len({trial.genome for trial in trials(calls)}) == len(trials(calls)) == limit
    for cut in range(3, len(calls), max(9, len(calls) // 5)):
        goes_on_exactly(search(space, sampler, arguments), calls, cut, 12)


@pytest.mark.parametrize("sampler, space", [("TPESampler", MIXED), ("CmaEsSampler", REALS)])
def test_it_learns(sampler: str, space: SearchSpace) -> None:
    """The median of three seeds is far better than random search's."""
    ours, chance = (
        np.median([best(drive(make(seed), ellipsoid(space), 150, 4, seed)) for seed in range(3)])
        for make in (lambda seed: search(space, sampler, seed=seed), lambda seed: RandomSearch(problem(space, seed))))
    assert ours > chance / 3 and chance < 0, (ours, chance)


@pytest.mark.parametrize("sampler, arguments", [("TPESampler", {}), ("GridSampler", GRID), ("BruteForceSampler", {}),
                                                ("NSGAIISampler", {})])
def test_a_small_space_is_met_once(sampler: str, arguments: Dict[str, Any]) -> None:
    made = search(SMALL, sampler, arguments)
    asked = trials(drive(made, ellipsoid(SMALL), 100, 3))
    assert len(asked) == len({trial.genome for trial in asked}) == made.total == 8
    assert made.finished and made.ask() is None


def test_a_repeat_is_told_at_once_and_costs_nothing() -> None:
    made = search(SMALL, "RandomSampler")
    drive(made, ellipsoid(SMALL), 7)
    values = {str(trial.params): trial.values for trial in study(made).trials}
    assert len(study(made).trials) > 7, "there were repeats"
    for trial in study(made).trials:
        assert trial.state == optuna.trial.TrialState.COMPLETE and trial.values == values[str(trial.params)]


def test_a_failure_is_told_as_the_worst_so_far_and_waits_for_the_first_success() -> None:
    made = search(REALS)
    asked = [made.ask() for _ in range(6)]
    for trial, value in zip(asked, [None, None, 0.5, 0.2, None, 0.1]):
        assert trial is not None
        made.tell(trial, result(trial, value))
        if trial.id == 2:
            assert not any(trial.state.is_finished() for trial in study(made).trials)
    assert [trial.values for trial in study(made).trials] == [[-0.5], [-0.5], [-0.5], [-0.2], [-0.2], [-0.1]]


def test_all_failed() -> None:
    assert len(trials(drive(search(MIXED), lambda genome: None, 30, 4))) == 30


def measured(trial: Trial, accuracy: float, parameters: float) -> Result:
    return Result(trial.id, "ok", accuracy, measures={"parameters": parameters})


BOTH = (Objective(), Objective("parameters", minimize=True))


@pytest.mark.parametrize("sampler", ["TPESampler", "NSGAIISampler", "NSGAIIISampler", "GPSampler", "RandomSampler"])
def test_several_objectives(sampler: str) -> None:
    made = search(NUMBERS, sampler, objectives=BOTH)
    for number in range(6):
        trial = made.ask()
        assert trial is not None
        made.tell(trial, measured(trial, number / 10, 100.0 - number) if number != 3 else result(trial, None))
    told = [trial.values for trial in study(made).trials]
    assert told == [[0, 100], [-0.1, 99], [-0.2, 98], [0, 100], [-0.4, 96], [-0.5, 95]]


def test_a_sampler_of_one_objective_is_refused_at_the_start() -> None:
    with pytest.raises(UserError, match="type OPTUNA: CmaEsSampler with arguments {} cannot search this: "):
        search(NUMBERS, "CmaEsSampler", objectives=BOTH)


def test_earlier_and_named_individuals() -> None:
    earlier = [*((REALS.from_unit([u] * 4), (-u,)) for u in (0.9, 0.3)), (REALS.from_unit([0.4] * 4), None)]
    named = [REALS.from_unit([u] * 4) for u in (0.1, 0.2)]
    made = search(REALS, earlier=earlier, first=named)
    asked = [made.ask() for _ in range(3)]
    assert [trial.genome for trial in asked if trial][:2] == named
    assert [trial.params["x0"] for trial in study(made).trials][:5] == pytest.approx([0.8, -0.4, -0.2, -0.8, -0.6])
    assert [trial.values for trial in study(made).trials][:4] == [[-0.9], [-0.3], [-0.3], None]
    trial = asked[2]
    assert trial is not None
    made.tell(trial, result(trial, None))
    assert study(made).trials[5].values == [-0.3], "the worst of the earlier run"
    assert search(REALS, earlier=earlier[2:]).ask() is not None


def test_the_record_is_believed_where_it_can_be_this_run() -> None:
    first = search(REALS).ask()
    assert first is not None
    elsewhere = replace(first, genome=REALS.from_unit([0.6] * 4))
    resumed: Any = search(REALS)
    resumed.asked(elsewhere)
    resumed.tell(elsewhere, result(elsewhere, 0.5))
    told = [(trial.params, trial.values) for trial in study(resumed).trials if trial.values]
    assert told == [(elsewhere.genome.as_dict(), [-0.5])]
    with pytest.raises(OtherTrial):
        search(REALS).asked(replace(first, seed=first.seed + 1))


def test_genomes_are_values_of_their_genes() -> None:
    for trial in trials(drive(search(MIXED), ellipsoid(MIXED), 30)):
        for gene, value in zip(MIXED.genes, trial.genome.values):
            assert gene.parse(str(value)) == value
            assert isinstance(gene, RealGene) or gene.from_unit(gene.to_unit(value)) == value


@pytest.mark.parametrize("sampler, arguments, said", [
    ("TPESamplr", {}, "optuna_param.sampler is 'TPESamplr'; did you mean TPESampler"),
    ("nsgaii", {}, "optuna_param.sampler is 'nsgaii'; did you mean NSGAIISampler"),
    ("BaseSampler", {}, "optuna_param.sampler is 'BaseSampler'"),
    ("PartialFixedSampler", {}, "optuna_param.sampler is 'PartialFixedSampler'"),
    ("TPESampler", {"multivariat": True}, "TPESampler with arguments {\"multivariat\": true} cannot search this: .*"
     "unexpected keyword argument 'multivariat'"),
    ("CmaEsSampler", {}, "CmaEsSampler knows numbers only and would draw pool by chance; type CMA_ES knows choices"),
    ("QMCSampler", {}, "QMCSampler knows numbers only and would draw pool by chance"),
    ("GridSampler", {"search_space": {"kernel": [1]}}, "GridSampler with arguments .* cannot search this: .*rate"),
    ("BruteForceSampler", {}, "BruteForceSampler with arguments {} cannot search this"),
])
def test_what_cannot_be_is_said_at_the_start(sampler: str, arguments: Dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"type OPTUNA: {said}"):
        search(MIXED, sampler, arguments)


def test_settings_are_checked_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)

    def wrong(arguments: str) -> List[str]:
        settings = menndl_pb2.OptunaParameter(sampler="any", arguments=arguments)
        return [expected for _, _, expected in KINDS["OPTUNA"].check(settings)]

    assert wrong("{}") == wrong('{"multivariate": true}') == []
    for arguments in ("", "{", "[1]", "multivariate=True"):
        assert wrong(arguments) == ["a JSON object, such as '{\"multivariate\": true}'"]
    assert wrong('{"seed": 1}') == ["no seed: random_seed is the run's"]
    with pytest.raises(UserError, match=r'type OPTUNA needs the package optuna: pip install "menndl_caffe\[optuna\]"'):
        search(REALS)


def test_optuna_is_quiet_and_its_own_settings_stay(capfd: pytest.CaptureFixture) -> None:
    before = optuna.logging.get_verbosity()
    drive(search(NUMBERS, "CmaEsSampler", {"with_margin": True}), ellipsoid(NUMBERS), 8)
    assert capfd.readouterr() == ("", "") and optuna.logging.get_verbosity() == before


def test_seeds_are_other_searches() -> None:
    def genomes(seed: int) -> List[Genome]:
        return [trial.genome for trial in trials(drive(search(MIXED, seed=seed), ellipsoid(MIXED), 5))]

    assert genomes(1) == genomes(1) != genomes(2)


def test_a_sampler_whose_library_is_missing_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """GPSampler would notice with its eleventh trial."""
    for module in [name for name in sys.modules if name.split(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match="type OPTUNA: GPSampler with arguments {} cannot search this: .*torch"):
        search(NUMBERS, "GPSampler")
