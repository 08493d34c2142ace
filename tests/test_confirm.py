"""`menndl confirm`: new seeds, nothing twice, a search that is not disturbed, words that say no more than is known."""
from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any, Dict, List, Sequence

import pytest

from menndl_caffe import journal
from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.search_file import of_text
from menndl_caffe.experiment.sources import parts_of_data
from menndl_caffe.journal import Journal
from menndl_caffe.report.confirmation import confirmation, lacking
from menndl_caffe.report.page import page
from menndl_caffe.report.verdict import confirmation_dict, confirmation_text, confirmed_csv, verdict
from menndl_caffe.trial import CONFIRM, DEFAULT, TEST, Result, Trial
from tests.support import runs
from tests.support.in_process import Menndl, calls, cut, lines_of, results
from tests.support.searches import EVERY, PlayedFarm, play

FEW = ("-k", 2, "--seeds", 3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("data") / "data", validation=50)


@pytest.fixture
def noisy(local: Menndl, monkeypatch: pytest.MonkeyPatch) -> Menndl:
    """The fake trainer with results that the seed moves."""
    monkeypatch.setenv("FAKE_NOISE", "0.01")
    return local


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory, data: Path) -> List[str]:
    """The journal of a whole search of 18 individuals."""
    folder = tmp_path_factory.mktemp("whole")
    search = runs.write_search(folder / "s.search.prototxt", data)
    env = runs.environment(FAKE_NOISE="0.01", FAKE_SECONDS="0")
    process = runs.start(["run", search, "--out", folder / "run"], env=env)
    assert process.wait(runs.PATIENCE) == 0
    return lines_of(folder / "run")


@pytest.fixture
def run(lines: List[str], tmp_path: Path) -> Path:
    """That search in a folder of its own."""
    return cut(lines, tmp_path / "run")


def again(run: Path) -> List[Trial]:
    return [trial for trial in journal.read(run).trials.values() if trial.role == CONFIRM]


def confirmed(folder: Path) -> Any:
    found = confirmation(recorded.read(folder))
    assert found is not None
    return found


# ---- what is trained ----

def test_the_best_and_the_default_from_new_seeds(noisy: Menndl, run: Path) -> None:
    before = lines_of(run)
    assert noisy("confirm", run, *FEW) == 0, noisy.said
    assert lines_of(run)[:len(before)] == before, "only added to"
    record, trials = journal.read(run), again(run)
    best = [trial.genome for trial, _ in record.best(2)]
    default = recorded.read(run).space.default
    assert [trial.genome for trial in trials] == 3 * [*best, default], "one seed of all before the next"
    assert [trial.repetition for trial in trials] == [1] * 3 + [2] * 3 + [3] * 3
    assert [trial.id for trial in trials] == list(range(1_000_000, 1_000_009))
    seeds = [trial.seed for trial in record.trials.values() if trial.role != CONFIRM or trial in trials]
    assert len({trial.seed for trial in trials}) == 9
    assert not {trial.seed for trial in trials} & {trial.seed for trial in record.trials.values()
                                                   if trial.role != CONFIRM}, seeds
    assert {trial.max_iter for trial in trials} == {4} and all(trial.id in record.results for trial in trials)
    assert not any((run / "trials" / str(trial.id)).exists() for trial in trials), "few files"
    assert "Best 2 and the default trained again from new seeds: 4 iterations each" in noisy.out


def test_nothing_is_trained_twice(noisy: Menndl, run: Path) -> None:
    """More seeds, or more individuals, add what is missing; what is there already is shown."""
    noisy("confirm", run, *FEW)
    said, first = noisy.out, calls(run)
    assert noisy("confirm", run, *FEW) == 0 and noisy.out == said and calls(run) == first
    assert noisy("confirm", run, "-k", 3, "--seeds", 4) == 0
    assert calls(run)[:len(first)] == first
    record = journal.read(run)
    wanted = {trial.genome for trial, _ in record.best(3)} | {recorded.read(run).space.default}
    assert sorted((str(trial.genome), trial.repetition) for trial in again(run)) == sorted(
        (str(genome), repetition) for genome in wanted for repetition in (1, 2, 3, 4))
    assert len({trial.seed for trial in again(run)}) == 16


def test_a_larger_budget_has_seeds_and_a_verdict_of_its_own(noisy: Menndl, run: Path) -> None:
    noisy("confirm", run, *FEW)
    assert noisy("confirm", run, *FEW, "--iterations", 8) == 0
    assert [trial.max_iter for trial in again(run)] == [4] * 9 + [8] * 9
    assert len({trial.seed for trial in again(run)}) == 18
    assert "3 seeds each of 8 iterations" in " ".join(noisy.out.split())
    assert noisy("confirm", run, *FEW, "--iterations", 4) == 0 and "of 8 iterations" not in noisy.out


def test_it_goes_on_wherever_it_was_killed(noisy: Menndl, run: Path, tmp_path: Path) -> None:
    noisy("confirm", run, *FEW)
    whole, lines, printed = results(run), lines_of(run), noisy.out
    begun = next(i for i, line in enumerate(lines) if '"event": "resume"' in line)
    for kept in range(begun, len(lines), 6):
        stopped = cut(lines[:kept], tmp_path / str(kept))
        assert noisy("confirm", stopped, *FEW) == 0
        assert results(stopped) == whole and noisy.out == printed


@pytest.mark.parametrize("kind", [runs.GA, runs.LIMITED["ASYNC_GA"]], ids=["GA", "ASYNC_GA"])
def test_a_search_goes_on_as_if_nobody_had_confirmed(noisy: Menndl, tmp_path: Path, data: Path, kind: str) -> None:
    """Ids, genes, seeds, which have the ids in them here, and results; an individual that was cut off is left to it."""
    more = "reuse_results: false"
    search = runs.write_search(tmp_path / "s.search.prototxt", data, more, kind, population=3, generations=2, trials=6)
    noisy.run(search, tmp_path / "whole")
    lines, expected = lines_of(tmp_path / "whole"), runs.individuals(tmp_path / "whole")
    begun = [i for i, line in enumerate(lines) if '"role": "individual"' in line]
    middle = cut(lines[:begun[3] + 1], tmp_path / "middle")
    assert noisy("confirm", middle, "-k", 1, "--seeds", 2) == 0, noisy.said
    confirmed_then = again(middle)
    assert len(runs.individuals(middle)) == 3 and len(confirmed_then) == 4
    noisy.run(search, middle)
    assert runs.individuals(middle) == expected and again(middle) == confirmed_then


@pytest.mark.parametrize("kind", EVERY)
def test_every_type_of_search_is_undisturbed(tmp_path: Path, kind: str) -> None:
    """With trials of the role in the middle of its journal, a search asks and is told what it was without them."""
    whole, middle = tmp_path / "whole", tmp_path / "middle"
    expected = play(whole, kind, 1, PlayedFarm(3, [], random.Random(1), 3))
    lines, order = lines_of(whole), [call.id for call in expected if isinstance(call, Result) and call.same_as is None]
    cut(lines[:len(lines) // 2], middle)
    genome = next(call for call in expected if isinstance(call, Trial)).genome
    new = [Trial(1_000_000 + i, genome, i, 10, role=CONFIRM, repetition=1 + i) for i in range(2)]
    with Journal(middle, fsync=False) as writer:
        for trial in new:
            writer.add_trial(trial, 0)
            writer.add_result(Result(trial.id, "ok", 0.5, 1.0))
    resumed = play(middle, kind, 1, PlayedFarm(3, order, random.Random(1), 3))
    assert [call for call in resumed if call.id < 1_000_000] == expected
    assert [call for call in resumed if isinstance(call, Trial) and call.role == CONFIRM] == new


def test_where_the_validation_set_is_fitted_the_test_set_decides(noisy: Menndl, tmp_path: Path, data: Path) -> None:
    search = runs.write_search(tmp_path / "s.search.prototxt", data, "fitness_set: VALIDATION")
    noisy.run(search, tmp_path / "run")
    message = recorded.read(tmp_path / "run").message
    assert parts_of_data(message, CONFIRM) == parts_of_data(message, TEST) != parts_of_data(message, DEFAULT)
    assert noisy("confirm", tmp_path / "run", *FEW) == 0
    said = " ".join(noisy.out.split())
    assert "accuracy on the test set" in said and "3 seeds each on the test set" in said
    assert "on the validation set from one training each" in said


def test_learned_decays_are_those_that_were_learned(noisy: Menndl, tmp_path: Path, data: Path) -> None:
    noisy.run(runs.write_adaptive(tmp_path / "s.search.prototxt", data, trials=3), tmp_path / "run")
    assert noisy("confirm", tmp_path / "run", "-k", 1, "--seeds", 2) == 0, noisy.said
    record = journal.read(tmp_path / "run")
    (best, result), *_ = record.best(1)
    learned = [trial for trial in again(tmp_path / "run") if trial.genome == best.genome]
    assert {(trial.program, trial.decays_of, trial.decays) for trial in learned} == {
        ("retrain", best.id, result.learned["sha256"])}
    assert {trial.program for trial in again(tmp_path / "run") if trial not in learned} == {"train"}


def test_under_mpi(run: Path, tmp_path: Path) -> None:
    with open(tmp_path / "log", "wb") as log:
        environment = runs.environment(FAKE_NOISE="0.01", FAKE_FAILURES="", FAKE_SECONDS="0.05")
        process = runs.start(["confirm", run, *FEW, "--expect-ranks", 2], 2, environment, log)
        assert process.wait(runs.PATIENCE) == 0, (tmp_path / "log").read_text()
    assert len(again(run)) == 9 and "confirmed:" in (tmp_path / "log").read_text()


# ---- asked for in the search file ----

CONFIRMED = "confirm { best: 2 seeds: 3 }"


def test_a_search_may_end_with_it(noisy: Menndl, tmp_path: Path, data: Path) -> None:
    search = runs.write_search(tmp_path / "s.search.prototxt", data, CONFIRMED)
    noisy.run(search, tmp_path / "run")
    assert len(again(tmp_path / "run")) == 9 and "confirmed:  " in noisy.out and "one training each" in noisy.out
    status = noisy.json("status", tmp_path / "run")
    assert status["complete"] and status["to_confirm"] == 0 and status["confirmed"]["holds"] in (True, False)
    lines = lines_of(tmp_path / "run")
    noisy("best", cut(lines[:-1], tmp_path / "handed out"))
    assert "1 of these trainings has no result yet." in noisy.out
    for missing, to_confirm in ((1, 1), (9, 5), (len(lines) - 4, 9)):
        stopped = cut(lines[:-missing], tmp_path / str(missing))
        status = noisy.json("status", stopped)
        assert not status["complete"] and status["to_confirm"] == to_confirm, missing
        assert lacking(recorded.read(stopped)) == to_confirm
        noisy("status", stopped)
        assert f"confirmed   not yet; trainings from new seeds to come: {to_confirm}" in noisy.out
    assert noisy("watch", stopped, "--once") == 0 and "complete" not in noisy.out


def test_no_rank_waits_for_the_test_of_the_best(tmp_path: Path, data: Path) -> None:
    """Two train, and so the first from a new seed is given before the best one's test has its result."""
    search = runs.write_search(tmp_path / "s.search.prototxt", data, f"fitness_set: VALIDATION {CONFIRMED}")
    process = runs.start(["run", search, "--out", tmp_path / "run"], ranks=3)
    assert process.wait(runs.PATIENCE) == 0
    after = calls(tmp_path / "run")
    after = after[next(place for place, line in enumerate(after) if line.get("role") == TEST):]
    assert [line.get("role") for line in after[:2]] == [TEST, CONFIRM]


def test_what_is_asked_for_may_change(noisy: Menndl, run: Path, tmp_path: Path, data: Path) -> None:
    """Added later, or made larger: only what is missing is trained."""
    search = tmp_path / "s.search.prototxt"
    for more, expected in ((CONFIRMED, 9), (CONFIRMED.replace("3", "4"), 12), ("", 12)):
        noisy.run(runs.write_search(search, data, more), run)
        assert len(again(run)) == expected
    assert noisy("confirm", run, "--plain") == 0 and len(again(run)) == 30, "5 and the default, 5 seeds"


@pytest.mark.parametrize("more, said", [
    ("confirm { best: 0 }", "confirm.best: is 0; expected 1 to 100000"),
    ("confirm { seeds: 1 }", "confirm.seeds: is 1; expected 2 to 100000"),
    ("confirm { iterations: 3 }", "confirm.iterations: is 3; expected max_iter, 4, or more, or 0 for as many as that"),
    ('confirm { } objective { measure: "parameters" minimize: true }', "no seed changes"),
])
def test_what_cannot_be_asked_for(local: Menndl, tmp_path: Path, data: Path, more: str, said: str) -> None:
    search = runs.write_search(tmp_path / "s.search.prototxt", data, more)
    assert local("run", search, "--out", tmp_path / "run") == 2 and said in local.said


# ---- what cannot be confirmed ----

def test_mistakes(noisy: Menndl, run: Path, tmp_path: Path, lines: List[str]) -> None:
    alone = cut(lines[:3], tmp_path / "alone")
    begun = cut(lines[:1], tmp_path / "begun")
    for arguments, said in (
            ([tmp_path / "none"], "is not a run: it has no journal.jsonl"),
            ([begun], "the default has no result yet"),
            ([alone], "no individual but the default's own genes has succeeded so far"),
            ([run, "--iterations", 3], "--iterations 3: the run has trained 4 iterations; expected as many or more"),
            ([run, "--data", tmp_path / "gone"], "--data DIR says where they are now")):
        assert noisy("confirm", *arguments) == 2 and said in noisy.said, noisy.said
    for arguments in (["--seeds", 1], ["-k", 0]):
        assert noisy("confirm", run, *arguments) == 2
    assert lines_of(run) == lines and not (tmp_path / "none").exists()


def test_where_nothing_but_the_default_is_found(noisy: Menndl, tmp_path: Path, data: Path) -> None:
    """A search that ends with it ends well, and is complete."""
    search = runs.write_search(tmp_path / "s.search.prototxt", data, CONFIRMED)
    search.write_text(re.sub(r"int_range \{.*?\} default: (\d+)", r"int_range { min: \1 max: \1 } default: \1",
                             search.read_text()))
    noisy.run(search, tmp_path / "run")
    status = noisy.json("status", tmp_path / "run")
    assert status["complete"] and status["to_confirm"] == 0 and not again(tmp_path / "run")
    assert noisy("confirm", tmp_path / "run") == 2
    assert "no individual but the default's own genes has succeeded so far" in noisy.said


def test_while_the_search_goes_on(noisy: Menndl, run: Path) -> None:
    with Journal(run):
        assert noisy("confirm", run) == 2
    assert "is being written by process" in noisy.said and "wait for it" in noisy.said
    assert not again(run)


def test_when_time_is_up(noisy: Menndl, run: Path) -> None:
    assert noisy("confirm", run, "--time-limit", 1) == 75, "this process is older"
    assert "the same command goes on" in noisy.said


# ---- what is said ----

def told(run: Path, best: Sequence[Any], default: Sequence[Any], second: Sequence[Any] = ()) -> Path:
    """A journal in which trainings from new seeds gave this: an accuracy, or a status."""
    record = journal.read(run)
    (first, _), (other, _), *_ = record.best(2)
    genomes = {first.genome: best, other.genome: second, recorded.read(run).space.default: default}
    id = 1_000_000
    with open(run / journal.NAME, "a") as file:
        for genome, results in genomes.items():
            for repetition, result in enumerate(results, 1):
                trial = Trial(id, genome, id, 4, role=CONFIRM, repetition=repetition)
                ok: Dict[str, Any] = {"status": "ok", "fitness": result, "loss": 1.0}
                line = ok if type(result) is float else {"status": result, "fitness": 0.0, "reason": "so"}
                for event in ({"event": "trial", **trial.as_dict()}, {"event": "result", "id": id, **line}):
                    file.write(json.dumps(event) + "\n")
                id += 1
    return run


WORDS = [
    # Means 0.346 and 0.299, variances 0.0001 each: e^2 = 2 x 0.0001 / 3, nu = 4, t = 2.776.
    ([0.336, 0.346, 0.356], [0.289, 0.299, 0.309],
     "holds: 0.3460 against 0.2990, +0.0470 (95%: +0.0243 to +0.0697), 3 seeds each"),
    ([0.289, 0.299, 0.309], [0.336, 0.346, 0.356],
     "does not hold: 0.2990 against 0.3460, -0.0470 (95%: -0.0697 to -0.0243), 3 seeds each: the best is worse than "
     "the default"),
    ([0.30, 0.40], [0.29, 0.35, 0.31], "the difference may be chance"),
    ([0.70, 0.98], [0.10, 0.30], "to +1.0000), 2 seeds each: the difference may be chance"),
    ([0.346, "diverged", 0.356], [0.289, 0.299], "holds only where it trains: 0.3510 against 0.2940"),
    ([0.346, "diverged", 0.356], [0.289, 0.299], "; 1 of 3 trainings of the best failed (1 diverged) and is left out"),
    ([0.346, 0.356], [0.289, 0.299, "timeout", "crashed"],
     "; 2 of 4 trainings of the default failed (1 crashed, 1 timeout) and are left out"),
    ([0.346, "diverged"], [0.289, 0.299], "no verdict yet: two results of the best and two of the default are needed"),
]


@pytest.mark.parametrize("best, default, said", WORDS)
def test_the_words_of_the_verdict(run: Path, best: Sequence[Any], default: Sequence[Any], said: str) -> None:
    assert said in verdict(confirmed(told(run, best, default)))


def test_everybody_says_the_same(noisy: Menndl, run: Path) -> None:
    before = noisy.json("best", run)
    assert before["confirmed"] is None and "standard_error" not in before["difference"]
    for command in ("best", "status"):
        noisy(command, run)
        assert "one training each; `menndl confirm RUN` tells whether the difference holds" in noisy.out
        assert "95%" not in noisy.out and "±" not in noisy.out
    told(run, [0.336, 0.346, 0.356], [0.289, 0.299, 0.309], [0.36, 0.35, 0.34])
    said = "holds: 0.3460 against 0.2990, +0.0470 (95%: +0.0243 to +0.0697), 3 seeds each"
    for command in ("best", "status"):
        noisy(command, run)
        assert said in " ".join(noisy.out.split()) and "menndl confirm" not in noisy.out
    assert noisy.json("best", run)["confirmed"] == noisy.json("status", run)["confirmed"]
    first = confirmed_csv(confirmed(run)).splitlines()[1].split(",")
    # t_0.975(2) = 4.303 times 0.01 / sqrt(3) on both sides of the mean.
    assert first[-10:] == ["3", "0", "0.3460", "0.3212", "0.3708", "0.0470", "0.0243", "0.0697", "0.002259", "0.3480"]
    shown = page([recorded.read(run)])
    assert "best from new seeds" in shown and "95%: +0.0243 to +0.0697, 3 seeds each" in shown and "±" not in shown


def test_the_numbers_of_a_verdict(run: Path) -> None:
    found = confirmation_dict(confirmed(told(run, [0.336, 0.346, 0.356], [0.289, 0.299, 0.309], [0.36, 0.35, 0.34])))
    first, second = found["best"]
    assert (found["holds"], found["fitness_set"], found["iterations"]) == (True, "test", 4)
    assert first["values"] == [0.336, 0.346, 0.356] and first["search"] == journal.read(run).best(1)[0][1].fitness
    assert first["difference"]["value"] == pytest.approx(0.047)
    assert first["difference"]["chance_no_better"] == pytest.approx(0.00226, abs=1e-5)  # F(-5.756; 4)
    # Of 0.346 and 0.35 with v = 0.0001 / 3 each nothing is left but their mean.
    assert first["expected"] == second["expected"] == pytest.approx(0.348)
    assert confirmation_text(recorded.read(run), confirmed(run)).count("0.3480") == 3


def test_a_newer_best_is_not_taken_for_confirmed(noisy: Menndl, run: Path, tmp_path: Path, data: Path) -> None:
    told(run, [0.336, 0.346, 0.356], [0.289, 0.299, 0.309])
    noisy.run(runs.write_search(tmp_path / "s.search.prototxt", data, generations=6), run)
    best = journal.read(run).best(1)[0][0]
    assert best.generation is not None and best.generation > 2, "a better one came"
    assert f"individual {best.id} is the best now and is not among them" in " ".join(noisy.out.split())


def test_its_role_is_read_again() -> None:
    trial = Trial(1_000_000, of_text(runs.SEARCH.format(kind="ga_param { }", data="x", batch_size=1, test_iter=1,
                                                        test_interval=1, max_iter=1, more=""), "x").space.default,
                  5, 10, role=CONFIRM, repetition=2)
    assert Trial.from_dict(trial.as_dict()) == trial and trial.as_dict()["repetition"] == 2
    with pytest.raises(ValueError, match="repetition"):
        Trial.from_dict({**trial.as_dict(), "repetition": 0})
