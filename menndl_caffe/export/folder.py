"""The folder of an export: nobody ever sees half of a file there, and nothing of anyone else's is overwritten."""
from __future__ import annotations

import json
from pathlib import Path

from menndl_caffe.errors import UserError
from menndl_caffe.experiment.recorded import SIZE, Run
from menndl_caffe.files import inside, write

RUN = "run.json"  # Run.line; says whose export a folder is


def claim(folder: Path, run: Run) -> None:
    """Make the folder, or take one with an earlier export of this run; UserError where it holds anything else."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        _check_is_of(folder, run)
    write(folder / RUN, json.dumps(run.line, indent=2) + "\n")


def _check_is_of(folder: Path, run: Run) -> None:
    try:
        with inside(folder, RUN) as file:
            then = json.load(file)
        size = {name: run.line[name] for name in SIZE if name in run.line}  # the run may have gone further since
        of_this_run = isinstance(then, dict) and {**then, **size} == run.line
    except (OSError, ValueError, RecursionError):
        raise UserError(f"{folder}: holds files that are no export of menndl's (it has no {RUN}); "
                        "expected a folder that is new, empty or of an earlier export of this run") from None
    if not of_this_run:
        raise UserError(f"{folder}: holds the export of another run; "
                        "expected a folder that is new, empty or of an earlier export of this run")
