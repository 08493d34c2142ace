"""The folder of an export: nobody ever sees half of a file there, and nothing of anyone else's is overwritten."""
from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Iterator

from menndl_caffe.errors import UserError
from menndl_caffe.experiment.recorded import Run

RUN = "run.json"  # the journal's first line; says whose export a folder is


def claim(folder: Path, run: Run) -> None:
    """Make the folder, or take one with an earlier export of this run; UserError where it holds anything else."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        _check_is_of(folder, run)
    with replacing(folder / RUN) as aside:
        aside.write_text(json.dumps(run.line, indent=2) + "\n")


def _check_is_of(folder: Path, run: Run) -> None:
    try:
        of_this_run = json.loads((folder / RUN).read_text()) == run.line
    except (FileNotFoundError, ValueError):
        raise UserError(f"{folder}: holds files that are no export of menndl's (it has no {RUN}); "
                        "expected a folder that is new, empty or of an earlier export of this run") from None
    if not of_this_run:
        raise UserError(f"{folder}: holds the export of another run; "
                        "expected a folder that is new, empty or of an earlier export of this run")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write a file or a folder to; in the end, unless an error came, it becomes `path`."""
    aside, earlier = (path.with_name(f".{path.name}.{which}.{os.getpid()}") for which in ("new", "old"))
    try:
        yield aside
        if aside.is_dir() and path.exists():  # a folder takes the place of a file, but not of a folder
            os.replace(path, earlier)
        os.replace(aside, path)
    finally:
        for left in (aside, earlier):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)
