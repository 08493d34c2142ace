"""`menndl` in this process with the fake trainer, for tests that start many small runs one after the other."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Sequence

import pytest

from menndl_caffe import cli, journal
from tests.support import runs

OF_THE_MOMENT = ("started", "seconds", "engine_seconds", "given", "host")


class Menndl:
    """Gives the exit code of a command; `said` is what the last one wrote, on standard output and error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        monkeypatch.setenv("MENNDL_TRAINER", runs.FAKE_TRAINER)
        monkeypatch.setenv("FAKE_SECONDS", "0")
        monkeypatch.setenv("FAKE_FAILURES", "")
        monkeypatch.chdir(runs.REPOSITORY)
        self._capsys, self.said, self.out = capsys, "", ""

    def __call__(self, *arguments: object) -> int:
        self._capsys.readouterr()
        try:
            code = cli.main(list(map(str, arguments)))
        except SystemExit as end:  # argparse's
            code = int(end.code or 0)
        self.out, error = self._capsys.readouterr()
        self.said = self.out + error
        return code

    def run(self, search: Path, run: Path) -> None:
        """Run or go on with a search to its end."""
        assert self("run", search, "--out", run) == 0, self.said

    def json(self, *arguments: object) -> Any:
        """What a command prints with --json."""
        assert self(*arguments, "--json") == 0, self.said
        return json.loads(self.out)


def lines_of(run: Path) -> List[str]:
    """The journal's lines, each with its end."""
    return (run / journal.NAME).read_text().splitlines(keepends=True)


def cut(lines: Sequence[str], run: Path) -> Path:
    """A run's folder whose journal has these lines."""
    run.mkdir()
    (run / journal.NAME).write_text("".join(lines))
    return run


def calls(run: Path) -> List[Dict[str, Any]]:
    """The lines of trials and results, without what another start of the same would say otherwise."""
    events = map(json.loads, lines_of(run))
    return [{name: value for name, value in line.items() if name not in OF_THE_MOMENT}
            for line in events if line["event"] in ("trial", "result")]


def results(run: Path) -> List[Dict[str, Any]]:
    """Of those the results."""
    return [call for call in calls(run) if call["event"] == "result"]


def check_cuts(menndl: Menndl, search: Path, folder: Path) -> None:
    """After every fifth line of its journal a search goes on to the results that it has uncut."""
    menndl.run(search, folder / "run")
    lines, expected = lines_of(folder / "run"), results(folder / "run")
    for kept in range(1, len(lines), 5):
        again = cut(lines[:kept], folder / str(kept))
        menndl.run(search, again)
        assert results(again) == expected
