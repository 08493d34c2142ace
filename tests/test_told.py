"""What a run says, whatever its journal holds: no letter that moves a terminal's cursor, or that nobody can print."""
from __future__ import annotations

import ast
import json
import unicodedata
from pathlib import Path
from typing import List

import pytest

from menndl_caffe import cli
from menndl_caffe.experiment import recorded
from menndl_caffe.journal import NAME
from menndl_caffe.report import figures
from menndl_caffe.report.boxes import spreads
from menndl_caffe.report.files import write_report
from menndl_caffe.report.nets import Nets
from menndl_caffe.report.network import network
from menndl_caffe.run.progress import Progress
from menndl_caffe.trial import DIVERGED, Result, failure
from menndl_caffe.watch.picture import Watched
from menndl_caffe.watch.screen import Screen
from tests.conftest import REPOSITORY
from tests.support import mixed_run
from tests.support.odd_runs import HOSTILE
from tests.test_text import UNSEEN

BAD = "\x1b[2J\x07\x9b31m" + HOSTILE
CHOICE = "\x1b]0;taken\x07"
OWN_PROGRAMS = ("torchcaffe", "trainer", "nets/proto")  # that speak to a trainer's pipe, or as Caffe does


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Every text that can be anything is hostile, choices and names of templates too."""
    folder = tmp_path / "run \x1b[31m"
    mixed_run.write(tmp_path).rename(folder)
    lines = [json.loads(line) for line in (folder / NAME).read_text().splitlines()]
    search = lines[0]["search"].replace('"MAX"', r'"\033]0;taken\007"').replace("net.j2", r"\033[31mnet.j2")
    told = ("engine", "data", "host", "command", "platform", "engine_found", "menndl", "math")
    path = BAD.replace("\0", "").replace("\ud800", "\udc80")
    lines[0].update(dict.fromkeys(told, BAD), data_folder=path, search_file=path, search=search, versions={BAD: [BAD]},
                    templates={BAD: BAD}, earlier={BAD: 1})
    for line in lines:
        if line["event"] == "trial":
            line["genes"]["pool"] = line["genes"]["pool"].replace("MAX", CHOICE)
        elif line["event"] == "result":
            line.update(host=BAD, **({"reason": BAD} if line["status"] != "ok" else {}))
    lines.insert(1, {"event": "earlier", "run": BAD, "genes": lines[1]["genes"], "id": 1, "status": "ok",
                     "fitness": 0.5})
    (folder / NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def unseen(text: str) -> List[str]:
    return [letter for letter in text if letter not in "\n\t" and unicodedata.category(letter) in UNSEEN]


@pytest.mark.parametrize("words", [
    "status RUN", "status RUN --json", "best RUN", "best RUN --json", "best RUN --save OUT", "watch RUN --plain --once",
    "export RUN --to csv --out OUT", "report RUN --watch --port 3 --host \x1b[2J", "report \x1b[2J", "status RUN \x1b",
    "run \x1b[2J.prototxt --out OUT", "render \x1b --out OUT", "evaluate RUN/journal.jsonl",
    "data cifar10 --source \x1b", "doctor --data \x1b"])
def test_no_command_passes_on_what_nobody_can_see(words: str, run: Path, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"RUN": str(run), "OUT": str(tmp_path / "out \x1b[2J"), "RUN/journal.jsonl": str(run / NAME)}
    try:
        cli.main([places.get(word, word) for word in words.split(" ")])
    except SystemExit:
        pass
    told = capsys.readouterr()
    assert told.out + told.err and not unseen(told.out + told.err)


def test_a_damaged_journal_is_told_of(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open(run / NAME, "a") as file:
        file.write(json.dumps({"event": BAD}) + "\n")
    assert cli.main(["status", str(run)]) == 2
    assert not unseen(capsys.readouterr().err)


def test_no_row_of_the_screen_has_it(run: Path) -> None:
    watched = Watched(run)
    for columns, rows in ((80, 24), (200, 60)):
        assert not unseen("".join(row.plain for row in Screen(columns, rows).show(run, watched.picture, 5000.0)))


def test_nor_has_what_is_written_to_a_file(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menndl_caffe.report.files._figures", lambda *_: iter(()))
    assert cli.main(["export", str(run), "--to", "csv", "--out", str(tmp_path / "out")]) == 0
    assert r"\u001b" in (tmp_path / "out" / "trials.csv").read_text()
    write_report(recorded.read(run), lambda text: None, tmp_path / "report")
    texts = (".csv", ".txt", ".md", ".tex", ".html")
    tables = [path for path in (tmp_path / "report").iterdir() if path.suffix in texts]
    assert len(tables) > 5 and not [path for path in tables if unseen(path.read_text())]


def test_figures_take_any_text_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """matplotlib reads formulas between dollars, and cannot measure what has no glyph."""
    odd = "$^$\u202e"
    monkeypatch.setattr(mixed_run, "NET", mixed_run.NET.replace('"conv"', f'"{odd}"'))
    monkeypatch.setattr(mixed_run, "SEARCH", mixed_run.SEARCH.replace('value: "no"', f'value: "no" value: "{odd}"'))
    run = recorded.read(mixed_run.write(tmp_path, [(*row[:2], (*row[2][:4], odd), row[3]) for row in mixed_run.TRIALS]))
    drawn = network(Nets(run), run.record.trials[5], None)
    assert any(layer.name == odd for layer in drawn)
    for draw in (lambda: figures.network_figure(drawn), lambda: figures.parallel_figure(run),
                 lambda: figures.genes_figure(spreads(run), run.space, run.stages)):
        content = next(file for file in figures.files_of("x", draw) if file[0] == "x.svg")[1]
        assert r"$^$\u2" in content.decode()  # of which a narrow figure shows the beginning


def test_progress_tells_of_a_failure(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trial = recorded.read(run).record.trials[1]
    Progress(4, 2, None)(trial, Result(1, DIVERGED, reason=BAD), False)
    assert "diverged" in (said := capsys.readouterr().err) and not unseen(said)


def test_a_reason_is_one_line_that_can_be_printed() -> None:
    assert not unseen(failure(1, DIVERGED, f"one\ntwo {BAD}").reason.replace("\n", "\x00"))


def test_all_that_is_told_leaves_by_one_of_two_doors() -> None:
    """`say` and `show` of text.py; no other place prints."""
    package = REPOSITORY / "menndl_caffe"
    printing = {str(path.relative_to(package)) for path in package.rglob("*.py")
                for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name) and node.id == "print"}
    assert {path for path in printing if not path.startswith(OWN_PROGRAMS)} == {"text.py"}
