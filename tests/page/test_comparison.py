"""The page of several runs: what it shows is read back and held against the journals."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

import pytest

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded
from menndl_caffe.report.page import page
from menndl_caffe.report.page.comparison import different
from tests.support import big_journal, odd_runs
from tests.support.browser import WIDTHS, Tab


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> List[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [big_journal.write(folder / "first", population=30, generations=4, ranks=3, seed=1),
            big_journal.write(folder / "second", population=20, generations=3, ranks=2, seed=2),
            odd_runs.hostile(folder / "third")]


@pytest.fixture(scope="module")
def html(runs: List[Path]) -> Path:
    file = runs[0].parent / "comparison.html"
    file.write_bytes(page(list(map(recorded.read, runs))).encode())
    return file


def results(run: Path) -> List[Dict[str, Any]]:
    lines = [json.loads(line) for line in (run / journal.NAME).read_text().splitlines()]
    trials = {line["id"]: line for line in lines if line["event"] == "trial"}
    return [{**trials[line["id"]], **line} for line in lines if line["event"] == "result"]


def best(run: Path, n: int) -> List[Dict[str, Any]]:
    ok = [r for r in results(run) if r["role"] == "individual" and r["status"] == "ok"]
    first: Dict[Any, Dict[str, Any]] = {}
    for result in sorted(ok, key=lambda r: (-r["fitness"], r["id"])):
        first.setdefault(tuple(result["genes"].values()), result)
    return list(first.values())[:n]


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wrong_at_first_sight(chromium: Any, html: Path, width: int) -> None:
    opened = Tab(chromium, html, width)
    assert opened.faults() == []
    assert opened.page.locator("figure").count() == 2 + 6 + 5  # best so far, genes of paper.search, of the odd run
    opened.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_runs_without_results(chromium: Any, tmp_path: Path, width: int) -> None:
    some = [odd_runs.KINDS[kind](tmp_path / kind) for kind in ("empty", "failed", "one")]
    file = tmp_path / "some.html"
    file.write_bytes(page(list(map(recorded.read, some))).encode())
    opened = Tab(chromium, file, width)
    assert opened.faults() == []
    rows = opened.table("#summary table")
    assert [row[0] for row in rows] == ["empty", "failed", "one"]
    assert [row[3] for row in rows] == ["–", "–", "0.5000"] and rows[0][1] == "0 of 4"
    opened.close()


def test_the_summary(tab: Tab, runs: List[Path]) -> None:
    for row, run in zip(tab.table("#summary table"), runs):
        individuals = [r for r in results(run) if r["role"] == "individual"]
        top = best(run, 1)[0]
        default = next(r for r in results(run) if r["role"] == "default")
        assert row[0] == run.name and row[1].split()[0] == str(len(individuals))
        assert row[2] == str(sum(r["status"] != "ok" for r in individuals))
        assert row[3:6] == [f"{top['fitness']:.4f}", str(top["id"]), f"{default['fitness']:.4f}"]
        assert row[6] == f"{top['fitness'] - default['fitness']:+.4f}"


def test_the_best_side_by_side(tab: Tab, runs: List[Path]) -> None:
    rows = {row[0]: row[1:] for row in tab.table("#best table.side")}
    five = [best(run, 5) for run in runs[:2]]
    for name, default in (("kernel1", 5), ("output3", 64)):
        spans = [sorted({r["genes"][name] for r in some}) for some in five]
        texts = [f"{span[0]}-{span[-1]}" if len(span) > 1 else str(span[0]) for span in spans]
        assert rows[name] == [str(default), texts[0], str(default), texts[1], "", ""]
    for i, some in enumerate(five):
        assert rows["parameters"][2 * i] == "145,578"  # Caffe's cifar10_quick
        assert rows["accuracy"][2 * i + 1] == f"{some[-1]['fitness']:.4f}-{some[0]['fitness']:.4f}"
    assert rows["base_lr"][:4] == [""] * 4 and rows["base_lr"][4] == "0.001"


def test_best_so_far(tab: Tab, runs: List[Path]) -> None:
    for shown, run in zip(tab.page.evaluate("menndl.data.runs"), runs):
        highest, place, expected = 0.0, 0, []
        for result in results(run):
            place += result["role"] == "individual"
            if result["role"] == "individual" and result["status"] == "ok" and result["fitness"] > highest:
                highest = result["fitness"]
                expected.append((place, highest))
        assert [(step["evaluations"], step["fitness"]) for step in shown["steps"]] == expected
        assert shown["end"]["evaluations"] == place
        times = [step["time"] for step in shown["steps"]]
        assert times == sorted(times) and times[-1] <= shown["end"]["time"]


def test_genes_of_the_best(tab: Tab, runs: List[Path]) -> None:
    genes = {gene["name"]: gene for gene in tab.page.evaluate("menndl.data.genes")}
    for i in (0, 1):
        expected = [r["genes"]["output1"] for r in best(runs[i], 50)]
        assert genes["output1"]["values"][i] == expected
        assert genes["pool"]["values"][i] == [] and genes["pool"]["defaults"][i] is None
    pool = genes["pool"]
    assert [pool["choices"][k] for k in pool["values"][2]] == [r["genes"]["pool"] for r in best(runs[2], 50)]


def test_what_runs_have_in_common_stands_once(tab: Tab, runs: List[Path]) -> None:
    rows = {row[0]: row[1:] for row in tab.table("#facts table")}
    assert rows["random seed"] == ["1", "2", "9"]
    assert rows["fitness"] == ["accuracy on the test set"]
    assert rows["search"][0].startswith("GA: population 30, generations 4")


def test_text_stays_text(tab: Tab) -> None:
    assert "</script><script>hacked=1</script>" in tab.text("#facts")
    assert tab.page.evaluate("typeof hacked") == "undefined"


def test_names_tell_runs_apart() -> None:
    assert different([Path("/a/x"), Path("/a/y")]) == ["x", "y"]
    assert different([Path("/a/x/run"), Path("/a/y/run")]) == ["x/run", "y/run"]
    assert different([Path("/a/run"), Path("/a/run")]) == ["run (1)", "run (2)"]
    assert different([Path("/run"), Path("/a/run")]) in (["//run", "a/run"], ["/run", "a/run"])


def test_a_gene_of_another_range_or_kind(tmp_path: Path) -> None:
    from menndl_caffe.genome import ChoiceGene, IntGene, RealGene
    from menndl_caffe.report.page.comparison import _spread

    wide = _spread([IntGene("g", 1, 8, 1, 5), None, RealGene("g", 0.5, 20.0, False, 1.0)], [[1, 8], [], [0.5]])
    assert (wide["kind"], wide["low"], wide["high"]) == ("linear", 0.5, 20.0)
    assert wide["values"] == [[1, 8], [], [0.5]] and wide["defaults"] == [5, None, 1.0]
    mixed = _spread([ChoiceGene("g", ("a", "b"), "b"), IntGene("g", 1, 8, 1, 5)], [["a"], [7, 5]])
    assert mixed["choices"] == ["a", "b", "5", "7"]
    assert mixed["values"] == [[0], [3, 2]] and mixed["defaults"] == [1, 2]


def test_a_run_that_has_not_begun_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / journal.NAME).write_text('{"event": "run", "sea')
    runs = [odd_runs.one(tmp_path / "one"), tmp_path / "torn"]
    with pytest.raises(UserError, match="torn: the journal has no first line"):
        page(list(map(recorded.read, runs)))
