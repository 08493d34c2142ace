"""`make clean` removes what can be made again, and no run."""
from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Tuple

import pytest

from tests.conftest import REPOSITORY

MAKEFILE = (REPOSITORY / "Makefile").read_text()


def clean(folder: Path) -> Tuple[int, str]:
    """Exit code and words of `make clean` in this folder."""
    done = subprocess.run(["make", "-f", REPOSITORY / "Makefile", "clean"], cwd=folder, text=True, capture_output=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("build/venv/bin", "runs/paper"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "runs" / "paper" / "journal.jsonl").write_text("months\n")
    return tmp_path


def test_runs_stay(folder: Path) -> None:
    code, _ = clean(folder)
    assert code == 0 and not (folder / "build").exists()
    assert (folder / "runs" / "paper" / "journal.jsonl").read_text() == "months\n"


@pytest.mark.parametrize("place", ["build/run", "build/container-run/split"])
def test_a_run_of_an_earlier_version_or_of_ones_own_keeps_everything(folder: Path, place: str) -> None:
    """They were in build/ before."""
    (folder / place).mkdir(parents=True)
    (folder / place / "journal.jsonl").write_text("months\n")
    code, said = clean(folder)
    assert code == 2 and f"there are runs in build/; move them elsewhere: {place}/journal.jsonl" in said
    assert (folder / "build" / "venv" / "bin").exists() and (folder / place / "journal.jsonl").exists()


def test_no_target_has_its_runs_in_build() -> None:
    folders = re.findall(r"\bOUT\s*\??= (\S+)$", MAKEFILE, re.M)
    assert len(folders) == 7 and all(folder.startswith("runs/") for folder in folders)
    for document in [REPOSITORY / "README.md", REPOSITORY / ".ci" / "run", *REPOSITORY.glob("docs/*.md")]:
        assert not re.findall(r"OUT=build|RUN=build|build/run\b", document.read_text()), document
