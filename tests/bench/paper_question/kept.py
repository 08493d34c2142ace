"""The runs of the paper's question: each goes on from its journal beside this, and is kept there again.

So the work can be done in pieces, on one machine after the other. What says nothing of a result is left out of a kept
journal: the names of machines and of folders.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

from menndl_caffe import journal
from tests.bench.paper_question.searches import search_text
from tests.conftest import REPOSITORY

RUNS = Path(__file__).parent / "runs"
OF_A_MACHINE = ("command", "data_folder", "directory", "engine_found", "host", "platform", "search_file")
AGAIN = 75  # the exit code of a run that was stopped and goes on when it is started again


def run(name: str, data: Path, out: Path, options: List[str]) -> bool:
    """Begin a search or go on with it, and keep its journal; whether it is complete."""
    folder, kept = out / name, RUNS / name / journal.NAME
    if kept.exists() and not (folder / journal.NAME).exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(kept, folder / journal.NAME)
    search = out / f"{name}.search.prototxt"
    out.mkdir(parents=True, exist_ok=True)
    search.write_text(search_text(name, out))
    command = [sys.executable, "-m", "menndl_caffe.cli", "run", str(search), "--out", str(folder), "--data", str(data),
               "--engine", "torch", "--plain", *options]
    code = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}).returncode
    if (folder / journal.NAME).exists():
        keep(folder / journal.NAME, kept)
    if code not in (0, AGAIN):
        raise SystemExit(code)
    return code == 0


def keep(source: Path, kept: Path) -> None:
    """A journal without what is of a machine; a last line that is torn is left out."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    whole = source.read_text().rpartition("\n")[0].splitlines()
    kept.write_text("".join(json.dumps(_stripped(json.loads(line))) + "\n" for line in whole))


def _stripped(line: Dict[str, Any]) -> Dict[str, Any]:
    if line["event"] == "result":
        return {**line, "host": "node"}
    return {name: value for name, value in line.items() if name not in OF_A_MACHINE}
