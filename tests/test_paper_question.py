"""The searches of docs/results.md's paper's question: what each is, and that their kept journals go on."""
from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.experiment import Experiment
from menndl_caffe.nets import prototxt
from menndl_caffe.trial import INDIVIDUAL
from tests.bench.paper_question import found, kept, searches
from tests.bench.paper_question.figure import FIGURE
from tests.bench.paper_question.found import Finalist
from tests.bench.paper_question.searches import PLANS, RIVALS, TABLE_3
from tests.conftest import REPOSITORY
from tests.support import runs
from tests.support.in_process import Menndl, lines_of, results


def made(name: str, folder: Path) -> Experiment:
    path = folder / f"{name}.search.prototxt"
    path.write_text(searches.search_text(name, folder))
    return search_file.load(str(path))


@pytest.mark.parametrize("name", ["random", "ga"])
def test_rivals_differ_in_the_type_alone(in_repository: Path, tmp_path: Path, name: str) -> None:
    """And have no rungs; whose bests are confirmed is of another search."""
    night, rival = (made(one, tmp_path).message for one in ("night", name))
    assert rival.type == {"random": "RANDOM", "ga": "GA"}[name] and rival.limit.iterations == 50000
    for message in (night, rival):
        for field in ("type", "ga_param", "stop", "confirm"):
            message.ClearField(field)
    assert prototxt.dumps(night) == prototxt.dumps(rival)


def test_the_papers_rates_are_the_rivals(in_repository: Path, tmp_path: Path) -> None:
    """Table 1 but for the number of individuals."""
    rates = made("ga", tmp_path).message.ga_param
    assert (rates.crossover, rates.mutation) == pytest.approx((0.6, 0.05))


@pytest.fixture
def rivals(in_repository: Path, local: Menndl, tmp_path: Path) -> Path:
    """Runs over the six genes of 50,000 iterations, with a trainer that invents the accuracies."""
    runs.small_data(tmp_path / "data", validation=40)
    for name in RIVALS:
        made(name, tmp_path)
        search(local, tmp_path, name, name)
    return tmp_path


def search(local: Menndl, folder: Path, name: str, out: str) -> None:
    arguments = ("run", folder / f"{name}.search.prototxt", "--out", folder / out, "--data", folder / "data")
    assert local(*arguments) == 0, local.said


def test_finalists_are_the_rivals_bests_and_the_papers_set(rivals: Path) -> None:
    experiment = made("finalists", rivals)
    assert experiment.space.default.values == TABLE_3
    bests = [searches.best_of(rivals / name) for name in RIVALS]
    assert list(experiment.enqueued) == bests
    assert (experiment.message.limit.trials, experiment.message.confirm.best) == (2, 2)


def test_another_search_file_is_not_changed_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "night.search.prototxt"
    other.write_text(searches.NIGHT.read_text().replace("median { at: 400", "median { at: 200"))
    monkeypatch.setitem(PLANS, "random", PLANS["random"]._replace(base=other))
    with pytest.raises(UserError, match="expected .* once, found 0 times"):
        searches.search_text("random", tmp_path)


def test_a_kept_journal_goes_on(rivals: Path, local: Menndl) -> None:
    """Nothing of a machine is in it, and what it has is not trained again."""
    whole = rivals / "random"
    torn = rivals / "torn.jsonl"
    torn.write_text("".join(lines_of(whole)[:12]) + '{"event": "res')
    kept.keep(torn, rivals / "again" / journal.NAME)
    text = (rivals / "again" / journal.NAME).read_text()
    assert not re.search(rf"{rivals}|/", re.sub(r'"(net|solver)": "[^"]*"', "", text.partition("\n")[2]))
    assert str(rivals) not in text and len(text.splitlines()) == 12
    search(local, rivals, "random", "again")
    assert results(rivals / "again") == results(whole)
    first = [line for line in lines_of(rivals / "again") if json.loads(line).get("host") == "node"]
    assert len(first) == text.count('"result"')


def test_iterations_and_best_so_far(rivals: Path) -> None:
    of = {name: found.recorded.read(rivals / name) for name in RIVALS}
    for name, run in of.items():
        one = found.searched(name, run)
        roles = {trial.id: trial.role for trial in run.record.trials.values()}
        fitnesses = [result.fitness for result in run.record.results.values() if roles[result.id] == INDIVIDUAL]
        assert one.given == run.record.iterations == 4000 * len(fitnesses) == 52000 and one.stopped == 0
        assert one.best == max(fitnesses) and [best for _, best in one.steps] == sorted({best for _, best in one.steps})
        assert all(given == 4000 * (1 + fitnesses.index(best)) for given, best in one.steps)


def test_a_finalist_in_the_table(rivals: Path) -> None:
    genome = searches.best_of(rivals / "ga")
    default = Finalist("the default", genome, 0.69, (0.70, 0.71, 0.72))
    line = found.finalist_table([default, default._replace(label="one", values=(0.71, 0.72, 0.73))]).splitlines()[-1]
    # The mean of three, +- t_0.975(2) = 4.3027 times 0.01 / sqrt(3); of the difference t_0.975(4) = 2.7764, sqrt(2/3).
    assert line.endswith("| 0.7200 | 0.6952 to 0.7448 | 3 | +0.0100 | -0.0127 to +0.0327 |")


def test_the_kept_journals_are_whole(in_repository: Path) -> None:
    for name, run in found.runs().items():
        text = (kept.RUNS / name / journal.NAME).read_text()
        assert not any(f'"{field}": ' in text for field in kept.OF_A_MACHINE if field != "host")
        assert set(re.findall(r'"host": "(.*?)"', text)) <= {"node"}
        assert run.engine == "torch" and run.message.max_iter == 4000
        assert journal.read(kept.RUNS / name).run["data"].startswith("train 40,000 images")


def test_the_page_has_what_the_kept_journals_say(in_repository: Path) -> None:
    kept_runs, page = found.runs(), (REPOSITORY / "docs/results.md").read_text()
    assert found.search_table(found.compared(kept_runs)) in page
    finalists = found.finalists(kept_runs)
    if finalists:
        assert found.finalist_table(finalists) in page and f"({FIGURE.name})" in page
