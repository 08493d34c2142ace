"""A run that begins from others: what it takes over, that it needs them no more, and that they are never its own."""
from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, Tuple

import pytest

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.genome import ChoiceGene, Genome, IntGene, RealGene, SearchSpace
from menndl_caffe.journal import Journal
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.objective import Objective
from menndl_caffe.report.page import page
from menndl_caffe.report.page.columns import columns
from menndl_caffe.report.page.facts import facts
from menndl_caffe.report.status import status_dict
from menndl_caffe.report.summary import generations
from menndl_caffe.run.warm_start import begun_with
from menndl_caffe.search import Problem, make
from menndl_caffe.trial import CRASHED, DIVERGED, OK, Earlier, Result, Trial
from tests.support import runs
from tests.support.in_process import Menndl, calls, cut, lines_of
from tests.support.searches import PLAIN
from tests.test_documents import described, section

# GA, 4 generations of 8; individuals were met again, and 4 diverged. kernel1 is from 3 to 8.
OLD = Path(__file__).with_name("journals") / "menndl-0.1-ga.jsonl"
GENES = ("kernel1", "output1", "kernel2", "output2", "kernel3", "output3")


def old_individuals() -> List[Dict[str, Any]]:
    """Of that journal: genes, id and result of the different individuals, in the order of their results."""
    lines = [json.loads(line) for line in OLD.read_text().splitlines()]
    trials = {line["id"]: line for line in lines if line["event"] == "trial" and line["role"] == "individual"}
    found: Dict[str, Dict[str, Any]] = {}
    for line in lines:
        if line["event"] == "result" and line["id"] in trials:
            genes = trials[line["id"]]["genes"]
            kept = {name: line[name] for name in ("id", "status", "fitness", "loss", "measures") if name in line}
            found.setdefault(json.dumps(genes), {"genes": genes, **kept})
    return list(found.values())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture
def menndl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Menndl:
    return Menndl(monkeypatch, capsys)


class Case:
    """A search that begins from earlier runs, by the name of their folders."""

    def __init__(self, folder: Path, data: Path, menndl: Menndl):
        self.folder, self.data, self.menndl = folder, data, menndl
        self.old = folder / "old"
        self.old.mkdir()
        shutil.copyfile(OLD, self.old / journal.NAME)

    def search(self, *earlier: Path, more: str = "", kind: str = runs.GA, **settings: int) -> Path:
        names = "".join(f'warm_start: "{folder}"\n' for folder in earlier)
        return runs.write_search(self.folder / "warm.search.prototxt", self.data, names + more, kind, **settings)

    def refused(self, *earlier: Path, more: str = "") -> str:
        """What is said of a search that cannot begin."""
        search = self.search(*earlier, more=more)
        assert self.menndl("run", search, "--out", self.folder / "run") == 2
        where = rf"menndl run: {re.escape(str(search))}:(\d+): warm_start\[\d\]: "
        match = re.search(where, self.menndl.said)
        assert match and search.read_text().splitlines()[int(match[1]) - 1].startswith("warm_start"), self.menndl.said
        return self.menndl.said[match.end():]


@pytest.fixture
def case(tmp_path: Path, data: Path, menndl: Menndl) -> Case:
    return Case(tmp_path, data, menndl)


# ---- what is taken over ----

def test_all_different_individuals_are_copied_and_the_best_is_tried_first(case: Case) -> None:
    """Of a journal of menndl 0.1."""
    known = old_individuals()
    assert len(known) == 25 and sum(one["status"] == "diverged" for one in known) == 4
    run = case.folder / "run"
    case.menndl.run(case.search(case.old), run)
    assert "25 different individuals are known\n" in case.menndl.said
    lines = [json.loads(line) for line in lines_of(run)]
    assert lines[0]["earlier"] == {str(case.old): 25}
    assert lines[1:26] == [{"event": "earlier", "run": str(case.old), **one} for one in known]
    assert [line["event"] for line in lines[26:28]] == ["trial", "result"]
    record = journal.read(run)
    assert record.trials[1].genome.as_dict() == max(known, key=lambda one: one["fitness"])["genes"]
    assert len(list(record.individuals())) == 18


def test_the_journals_page_has_every_field_and_no_other(case: Case) -> None:
    case.menndl.run(case.search(population=1, generations=1), case.folder / "new")
    case.menndl.run(case.search(case.folder / "new", population=1, generations=1), case.folder / "run")
    [line] = [line for line in map(json.loads, lines_of(case.folder / "run")) if line["event"] == "earlier"]
    assert set(described(section("journal.md", "earlier"))) == {*line} - {"event"}


def test_who_met_the_best_of_it_again_trains_it_anew(case: Case) -> None:
    """Its fitness there was another one, and is never this run's best."""
    run = case.folder / "run"
    lines = [re.sub('"fitness": 0[.]84', '"fitness": 0.99', line) for line in lines_of(case.old)]
    old = cut(lines, case.folder / "better")
    case.menndl.run(case.search(old), run)
    record = journal.read(run)
    assert record.results[1].same_as is None and record.results[1].fitness < 0.9
    assert case.menndl.json("best", run)["best"][0]["accuracy"] < 0.9
    assert case.menndl.json("status", run)["best"]["accuracy"] < 0.9


def test_first_come_the_enqueued_then_the_best_then_those_drawn_by_chance(case: Case) -> None:
    enqueued = 'enqueue {{ gene {{ name: "kernel1" value: "{}" }} gene {{ name: "output3" value: "100" }} }}\n'
    more = enqueued.format(7) + enqueued.format(3) + "enqueue { }\n"
    best = max(old_individuals(), key=lambda one: one["fitness"])["genes"]
    default = dict(zip(GENES, (5, 32, 5, 32, 5, 64)))
    first = [{**default, "kernel1": 7, "output3": 100}, {**default, "kernel1": 3, "output3": 100}, default, best]
    case.menndl.run(case.search(), case.folder / "plain")
    drawn = [trial.genome.as_dict() for _, trial in sorted(journal.read(case.folder / "plain").trials.items())]
    for name, kind in (("ga", runs.GA), ("random", runs.RANDOM)):
        case.menndl.run(case.search(case.old, more=more, kind=kind), case.folder / name)
        trials = journal.read(case.folder / name).trials
        assert [trials[id].genome.as_dict() for id in (1, 2, 3, 4)] == first
    trials = journal.read(case.folder / "ga").trials
    assert [trials[id].genome.as_dict() for id in (5, 6)] == drawn[5:7], "no other individual is moved by it"


def test_individuals_of_another_space_are_left_out_and_counted(case: Case) -> None:
    search = case.search(case.old)
    search.write_text(search.read_text().replace("min: 1 max: 8", "min: 5 max: 8"))
    case.menndl.run(search, case.folder / "run")
    fit = [one for one in old_individuals() if one["genes"]["kernel1"] >= 5]
    assert 0 < len(fit) < 25
    assert (f"menndl run: warm_start {case.old}: {len(fit)} different individuals are known, {25 - len(fit)} are left "
            "out, whose genes or measures are not this search's\n") in case.menndl.said
    assert [one.genome.as_dict() for one in journal.read(case.folder / "run").earlier] == [
        one["genes"] for one in fit]


SPACE = SearchSpace((IntGene("a", 2, 8, 2, 4), RealGene("b", 0.1, 1, False, 0.5), ChoiceGene("c", ("5", "x"), "x")))


@pytest.mark.parametrize("genes, expected", [
    ({"a": 4, "b": 0.5, "c": "x"}, (4, 0.5, "x")), ({"c": "5", "b": 1, "a": 8}, (8, 1.0, "5")),
    ({"a": 4, "b": 0.123457, "c": 5}, (4, 0.123457, "5")), ({"a": "4", "b": "1e-1", "c": "x"}, (4, 0.1, "x")),
    ({"a": 3, "b": 0.5, "c": "x"}, None), ({"a": 10, "b": 0.5, "c": "x"}, None), ({"a": 4.5, "b": 0.5, "c": "x"}, None),
    ({"a": 4, "b": 1.1, "c": "x"}, None), ({"a": 4, "b": 0.5, "c": "y"}, None), ({"a": 4, "b": "x", "c": "x"}, None),
    ({"a": 4, "b": 0.5}, None), ({"a": 4, "b": 0.5, "c": "x", "d": 1}, None)])
def test_which_genomes_are_of_a_space(genes: Dict[str, Any], expected: Optional[Tuple[Any, ...]]) -> None:
    genome = Genome(tuple(genes), tuple(genes.values()))
    if expected is None:
        with pytest.raises(ValueError):
            SPACE.adopted(genome)
    else:
        assert SPACE.adopted(genome) == Genome(("a", "b", "c"), expected)
        assert list(map(type, SPACE.adopted(genome).values)) == [int, float, str]


def known(id: int, value: int, status: str = OK, fitness: float = 0.0, **more: Any) -> Earlier:
    return Earlier("old", SPACE.genome((value, 0.5, "x")), Result(id, status, fitness, **more))


def test_a_search_knows_them_the_fittest_first_and_the_failed_last() -> None:
    problem = Problem(SPACE, 1, lambda genome, generation: None, objectives=[  # type: ignore[arg-type, return-value]
        Objective(), Objective("loss", minimize=True)])
    earlier = [known(1, 2, CRASHED), known(2, 4, fitness=0.5, loss=2.0), known(3, 6, fitness=0.75, loss=1.5),
               known(4, 8, DIVERGED), known(5, 2, fitness=0.5, loss=1.0)]
    begun = begun_with(problem, [SPACE.default], earlier)
    assert [(genome.values[0], costs) for genome, costs in begun.earlier] == [
        (6, (-0.75, 1.5)), (4, (-0.5, 2.0)), (2, (-0.5, 1.0)), (2, None), (8, None)]
    assert begun.first == [SPACE.default, SPACE.genome((6, 0.5, "x"))]
    assert begun_with(problem, [earlier[2].genome], earlier).first == [earlier[2].genome], "not twice"
    assert begun_with(problem, [], [earlier[0]]).first == [] == begun_with(problem, [], []).first


@pytest.mark.parametrize("kind", PLAIN)
def test_every_type_tries_the_first_first_and_knows_the_earlier(kind: str) -> None:
    """Trials are numbered as they are tried, but within a generation, of which the longest goes first."""
    def new_trial(genome: Genome, generation: Optional[int]) -> Trial:
        made.append(Trial(len(made), genome, 1, 10, generation))
        return made[-1]

    made: List[Trial] = []
    earlier = [known(1, 2, CRASHED), known(2, 4, fitness=0.5), known(3, 6, fitness=0.75)]
    first = [SPACE.genome((8, 1.0, "5")), SPACE.genome((2, 0.25, "x"))]
    search = make(menndl_pb2.SearchParameter(type=kind), begun_with(Problem(SPACE, 1, new_trial), first, earlier))
    asked = [trial for trial in (search.ask() for _ in range(5)) if trial]
    assert [trial.genome for trial in made[:3]] == [*first, earlier[2].genome] and len(asked) == 5
    for trial in asked:
        search.tell(trial, Result(trial.id, OK, 0.5, 1.0))


def test_several_runs_and_what_differs_in_them(case: Case) -> None:
    """The one before was trained as this one; what the old one had, its first line says."""
    before, run = case.folder / "before", case.folder / "run"
    case.menndl.run(case.search(kind=runs.RANDOM, trials=3), before)
    first, *rest = lines_of(case.old)
    other = {**json.loads(first), "engine": "torch", "templates": {"net": 64 * "0", "solver": 64 * "1"}}
    other["search"] = other["search"].replace("max_iter: 4", "max_iter: 400\nfitness_set: VALIDATION")
    old = cut([json.dumps(other) + "\n", *rest], case.folder / "other")
    case.menndl.run(case.search(old, before), run)
    warnings = [line for line in case.menndl.said.splitlines() if "warning" in line]
    assert len(warnings) == 1 and warnings[0].startswith(f"menndl run: warning: warm_start {old} may not compare: its ")
    parts = warnings[0].split(": its ", 1)[1].split("; its ")
    assert {part.split(" is ")[0] for part in parts} == {"max_iter", "fitness_set", "engine", "data", "mean",
                                                         "net template", "solver template"} - same(run, first)
    assert "max_iter is 400, this one's is 4" in parts
    counts = json.loads(lines_of(run)[0])["earlier"]
    assert counts == {str(old): 25, str(before): 3}


def test_another_objective_is_no_difference(case: Case) -> None:
    """What was measured does not depend on what was sought."""
    before = case.folder / "before"
    case.menndl.run(case.search(kind=runs.RANDOM, trials=3), before)
    case.menndl.run(case.search(before, more='objective { measure: "loss" minimize: true }\n'), case.folder / "run")
    assert "3 different individuals are known" in case.menndl.said and "warning" not in case.menndl.said
    best = min(journal.read(before).individuals(), key=lambda pair: pair[1].loss or 0.0)[0]
    assert journal.read(case.folder / "run").trials[1].genome == best.genome


def same(run: Path, first: str) -> Set[str]:
    """What an image set drawn here and now has in common with the old one's."""
    now, then = json.loads(lines_of(run)[0]), json.loads(first)
    return {name for name in ("data", "mean") if now[name] == then[name]}


def test_a_run_that_began_from_another_gives_its_own_individuals_alone(case: Case) -> None:
    case.menndl.run(case.search(case.old, kind=runs.RANDOM, trials=3), case.folder / "second")
    case.menndl.run(case.search(case.folder / "second", kind=runs.RANDOM, trials=3), case.folder / "third")
    assert len(journal.read(case.folder / "third").earlier) == 3


# ---- the other run is needed once ----

def test_a_run_goes_on_without_the_other_folder(case: Case) -> None:
    search, whole = case.search(case.old), case.folder / "whole"
    case.menndl.run(search, whole)
    lines = lines_of(whole)
    shutil.rmtree(case.old)
    for kept in (26, 27, 40, len(lines)):
        run = cut(lines[:kept], case.folder / f"cut-{kept}")
        case.menndl.run(search, run)
        assert "warm_start" not in case.menndl.said
        assert runs.individuals(run) == runs.individuals(whole) and lines_of(run)[:kept] == lines[:kept]
    case.menndl.run(case.search(case.old, generations=4), whole)
    assert len(runs.individuals(whole)) == 24


@pytest.mark.parametrize("kept", [0, 1, 2, 9, -1, 0])
def test_a_run_that_died_over_the_copying_completes_it(case: Case, kept: int) -> None:
    """Exactly, though the other run went on meanwhile; its last line was torn."""
    search, whole = case.search(case.old, population=2, generations=1), case.folder / "whole"
    lines = lines_of(case.old)
    (case.old / journal.NAME).write_text("".join(lines[:40]))
    case.menndl.run(search, whole)
    head = 1 + len(journal.read(whole).earlier)
    assert 13 < head < 26
    run = cut([*lines_of(whole)[:kept % head], lines_of(whole)[kept % head][:30]], case.folder / "run")
    if kept:
        (case.old / journal.NAME).write_text("".join(lines))
    case.menndl.run(search, run)
    assert lines_of(run)[1:head] == lines_of(whole)[1:head] and calls(run) == calls(whole)


def test_cut_anywhere_in_its_head_a_journal_is_completed(tmp_path: Path) -> None:
    first = {"search": "x", "engine": "caffe", "started": 1e9}
    earlier = [known(1, 2, fitness=0.5, loss=1.25), known(2, 4, CRASHED), known(3, 6, fitness=0.25)]
    with Journal(tmp_path, fsync=False) as writer:
        writer.begin(first, earlier)
    path = tmp_path / journal.NAME
    whole = path.read_bytes()
    assert whole.count(b"\n") == 4
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        with Journal(tmp_path, fsync=False) as writer:
            lines = whole[:size].count(b"\n")
            assert writer.record.lacking == (4 - lines if lines else 0)
            writer.begin(first, earlier)
            assert writer.record == journal.read(tmp_path) and writer.record.earlier == earlier
        written = path.read_bytes()
        assert written[:len(whole)] == whole
        assert written[len(whole):].count(b"\n") == (lines > 0), "a resume line, unless all was begun anew"


@pytest.mark.parametrize("change", ["gone", "others", "fewer"])
def test_copying_cannot_be_completed_from_another_run(case: Case, change: str) -> None:
    search, run = case.search(case.old), case.folder / "run"
    case.menndl.run(search, case.folder / "whole")
    cut(lines_of(case.folder / "whole")[:9], run)
    lines = lines_of(case.old)
    if change == "gone":
        shutil.rmtree(case.old)
    elif change == "fewer":
        (case.old / journal.NAME).write_text("".join(lines[:30]))
    else:
        (case.old / journal.NAME).write_text("".join(re.sub('"fitness": 0[.]8', '"fitness": 0.7', line)
                                                     for line in lines))
    before = lines_of(run)
    assert case.menndl("run", search, "--out", run) == 2
    said = f"{run} was stopped when it copied the individuals of {case.old}, which has others now; give another --out"
    assert (f"{case.old} is not a run" if change == "gone" else said) in case.menndl.said
    assert lines_of(run) == before


RUN_LINE = '{"event": "run", "search": "x", "engine": "y", "started": 1%s}'
TRIAL_LINE = '{"event": "trial", "role": "default", "id": 0, "generation": null, "genes": {"a": 1}, ' \
             '"seed": 1, "max_iter": 1}'


@pytest.mark.parametrize("number, line, at, expected", [
    (2, '{"event": "earlier", "genes": {"a": 1}, "id": 1, "status": "ok", "fitness": 0.5}', 2, "'run' is missing"),
    (2, '{"event": "earlier", "run": "x", "genes": {}, "id": 1, "status": "ok", "fitness": 0.5}', 2, "'genes' is"),
    (2, '{"event": "earlier", "run": "x", "genes": {"a": 1}, "id": 1, "status": "ok"}', 2, "'fitness' is missing"),
    (2, TRIAL_LINE, 2, "2 individuals of earlier runs are missing before the first trial"),
    (1, RUN_LINE % ', "earlier": {"old": 1}', 3, "the first line promises fewer"),
    (1, RUN_LINE % "", 2, "the first line promises fewer"),
    (1, RUN_LINE % ', "earlier": {"old": "2"}', 1, "field 'earlier' is"),
    (1, RUN_LINE % ', "earlier": 2', 1, "field 'earlier' is 2; expected folders with whole numbers, 1 or more")])
def test_damage_is_named(tmp_path: Path, number: int, line: str, at: int, expected: str) -> None:
    with Journal(tmp_path, fsync=False) as writer:
        writer.begin({"search": "x", "engine": "caffe", "started": 1e9}, [known(1, 2, fitness=0.5), known(2, 4)])
    lines = lines_of(tmp_path)
    lines[number - 1] = line + "\n"
    (tmp_path / journal.NAME).write_text("".join(lines))
    with pytest.raises(UserError, match=f"{journal.NAME}:{at}: damaged: .*{re.escape(expected)}"):
        journal.read(tmp_path)


# ---- what is refused ----

def test_runs_that_cannot_be_begun_from(case: Case) -> None:
    assert case.refused(case.folder / "nowhere").startswith(f"{case.folder / 'nowhere'} is not a run: it has no ")
    assert case.refused(case.folder / "run").startswith(f"{case.folder / 'run'} is this run itself")
    assert case.refused(case.folder / "old" / ".." / "run").endswith("expected the folder of an earlier one\n")
    cut([], case.folder / "empty")
    assert "the run has not begun" in case.refused(case.old, case.folder / "empty")
    begun = cut(lines_of(case.old)[:3], case.folder / "begun")
    assert case.refused(begun) == (f"{begun}: none of its 0 individuals with a result fits the genes of this search: "
                                   f"{' '.join(GENES)}\n")
    other = cut([line.replace('"kernel1":', '"kernel_1":').replace(r'\"kernel1\"', r'\"kernel_1\"')
                 for line in lines_of(case.old)], case.folder / "other")
    assert f"{other}: none of its 25 individuals with a result fits" in case.refused(case.old, other)
    assert case.refused(case.old, case.old).startswith(f"'{case.old}' stands there twice")
    assert not (case.folder / "run" / journal.NAME).read_text()


def test_another_warm_start_is_another_run(case: Case) -> None:
    case.menndl.run(case.search(case.old), case.folder / "run")
    assert case.menndl("run", case.search(), "--out", case.folder / "run") == 2
    assert "its warm_start[0] is " in case.menndl.said


# ---- what the readers say ----

@pytest.fixture
def run(case: Case) -> Run:
    case.menndl.run(case.search(case.old), case.folder / "run")
    return recorded.read(case.folder / "run")


def test_status_report_and_watch_tell_where_it_began(case: Case, run: Run) -> None:
    text = f"25 individuals of {case.old}"
    assert case.menndl("status", run.folder) == 0 and f"warm start  {text}\n" in case.menndl.out
    status = case.menndl.json("status", run.folder)
    assert status["earlier"] == {str(case.old): 25} and (status["done"], status["total"]) == (18, 18)
    assert dict(facts(run, status_dict(run, 0.0)))["known from the beginning"] == text
    assert case.menndl("best", run.folder) == 0 and case.menndl.out.startswith("Best 5 of 18 individuals, ")
    assert case.menndl("watch", run.folder, "--once", "--plain") == 0
    assert case.menndl.out.startswith("generation 3/3  18/18  ")


def test_report_and_exports_have_this_runs_individuals_alone(case: Case, run: Run) -> None:
    assert len(columns(run)["id"]) == 1 + 18 and sum(row.evaluated for row in generations(run)) == 18
    assert "Complete: all 18 individuals are evaluated." in page([run])
    assert case.menndl("export", run.folder, "--to", "csv", "--out", case.folder / "export") == 0
    assert len((case.folder / "export" / "trials.csv").read_text().splitlines()) == 1 + 1 + 18


def test_a_run_from_nothing_says_nothing_of_it(case: Case) -> None:
    case.menndl.run(case.search(population=1, generations=1), case.folder / "run")
    run = recorded.read(case.folder / "run")
    assert "earlier" not in run.line and run.earlier == ""
    assert case.menndl("status", run.folder) == 0 and "warm start" not in case.menndl.out
