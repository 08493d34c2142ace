"""A journal that menndl 0.1 has written: every reader reads it, and makes nothing up that it does not say."""
from __future__ import annotations

import argparse
import csv
import io
import json
import shutil
from pathlib import Path
from typing import Dict, List

import pytest

from menndl_caffe import cli
from menndl_caffe.export import command
from menndl_caffe.export.command import FORMATS
from menndl_caffe.journal import NAME

# GA, 4 generations of 8, complete; 7 individuals were met again, 4 diverged. Ranks 1 and 2 trained.
JOURNAL = Path(__file__).with_name("journals") / "menndl-0.1-ga.jsonl"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier") / "run"
    folder.mkdir()
    shutil.copyfile(JOURNAL, folder / NAME)
    return folder


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command says on standard output."""
    assert cli.main(list(map(str, arguments))) == 0
    return capsys.readouterr().out


def rows(path: Path) -> List[Dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_status(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = json.loads(printed(capsys, "status", run, "--json"))
    lines = [json.loads(line) for line in JOURNAL.read_text().splitlines()]
    failed = [line for line in lines if line["event"] == "result" and line["status"] != "ok"]
    again = [line for line in lines if "same_as" in line]
    assert (status["generation"], status["generations"], status["done"], status["total"]) == (4, 4, 32, 32)
    assert status["complete"] and status["failed"] == {"diverged": len(failed)} and status["reused"] == len(again)
    assert (status["best"]["id"], status["best"]["accuracy"], status["best"]["measures"]) == (27, 0.847, {})
    text = printed(capsys, "status", run)
    assert "generation  4 of 4\n" in text and "individuals 32 of 32 (100%)" in text and "state       complete" in text


def test_best(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = json.loads(printed(capsys, "best", run, "--json", "-n", 2))
    assert [(row["id"], row["generation"], row["accuracy"]) for row in best["best"]] == [(27, 4, 0.847), (5, 1, 0.843)]
    assert printed(capsys, "best", run).startswith("Best 5 of 32 individuals, ")


def test_report(run: Path, capsys: pytest.CaptureFixture[str], in_repository: Path) -> None:
    """What the nets cost is not in the journal: the templates, which are still the same, say it of the best ones."""
    printed(capsys, "report", run)
    folder = run / "report"
    table_3 = {row["parameter"]: row["default"] for row in rows(folder / "table_3.csv")}
    assert table_3["parameters"] == "145578" and table_3["multiply-adds (millions)"] == "12.4"  # cifar10_quick
    assert rows(folder / "best.csv")[-1]["memory"]
    assert {row["memory"] for row in rows(folder / "individuals.csv")} == {""}
    assert [row["generation"] for row in rows(folder / "generations.csv")] == ["1", "2", "3", "4"]
    assert "Complete: all 32 individuals are evaluated." in (folder / "report.html").read_text()


def test_watch(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = printed(capsys, "watch", run, "--once", "--plain")
    assert line.startswith("generation 4/4  32/32  best 0.8470  default 0.8020  failed 4") and "complete" in line
    (tmp_path / NAME).write_text("".join(JOURNAL.read_text().splitlines(keepends=True)[:20]))  # some are being trained
    from menndl_caffe.watch.picture import Watched

    watched = Watched(tmp_path)
    assert watched.picture is not None and watched.picture.doing == []  # nobody knows by whom


@pytest.mark.parametrize("to", FORMATS)
def test_exports(run: Path, to: str, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.main(parser.parse_args([str(run), "--to", to, "--out", str(tmp_path)]))
    assert json.loads((tmp_path / "run.json").read_text())["menndl"] == "0.1.0"
    if to == "csv":
        trials = rows(tmp_path / "trials.csv")
        assert len(trials) == 33 and {row["parameters"] for row in trials} == {""}
    assert len(list(tmp_path.iterdir())) > 1
