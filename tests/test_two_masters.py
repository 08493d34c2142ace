"""Two masters where no lock holds the second one off, and a journal that is changed while its search runs."""
from __future__ import annotations

import subprocess
from pathlib import Path
from typing import List, Tuple

import pytest

from menndl_caffe.journal import NAME
from tests.support import runs


def let_go(master: subprocess.Popen[bytes], held: Path, log: Path) -> Tuple[int, str]:
    """Exit code and words of a master whose trainer was held."""
    held.rename(held.with_name("let go"))
    return master.wait(runs.PATIENCE), log.read_text()


def test_the_first_of_two_masters_ends_when_the_second_has_written(search: Path, undisturbed: List,
                                                                   tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    with log.open("w") as file:
        first = runs.start_held(["run", search, "--out", run], tmp_path, log=file)
    (run / "lock").unlink()
    assert runs.start(["run", search, "--out", run]).wait(runs.PATIENCE) == 0
    whole = (run / NAME).read_bytes()
    code, said = let_go(first, tmp_path / "held", log)
    assert code == 2 and "another `menndl run`, or another program, writes it" in said and "Traceback" not in said
    assert (run / NAME).read_bytes() == whole and runs.individuals(run) == undisturbed


@pytest.mark.parametrize("ranks", [0, 2])
def test_a_replaced_journal_ends_the_search_and_the_same_command_goes_on(ranks: int, search: Path, undisturbed: List,
                                                                         tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    with log.open("w") as file:
        master = runs.start_held(["run", search, "--out", run], tmp_path, ranks, log=file)
    text = (run / NAME).read_bytes()
    (run / NAME).unlink()
    (run / NAME).write_bytes(text)
    code, said = let_go(master, tmp_path / "held", log)
    assert code == 2 and f"{run / NAME} is another file than the one that the search was writing" in said
    assert "Traceback" not in said and (run / NAME).read_bytes() == text
    assert runs.start(["run", search, "--out", run], ranks).wait(runs.PATIENCE) == 0
    assert runs.individuals(run) == undisturbed
