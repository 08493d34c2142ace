"""`menndl export`: one format of a run for other programs."""
from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from menndl_caffe.arguments import add_run
from menndl_caffe.errors import UserError
from menndl_caffe.files import unlinked
from menndl_caffe.text import say, show

# Each module has `write(run, folder)`, which gives the paths of what it wrote, and `OPEN`, how to look at it.
FORMATS = {"csv": "csv_files", "parquet": "parquet_files", "optuna": "optuna_study", "tensorboard": "event_files"}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl export`."""
    add_run(command)
    command.add_argument("--to", choices=tuple(FORMATS), required=True,
                         help="csv or parquet: two tables, for pandas; optuna: a study, for optuna-dashboard; "
                              "tensorboard: event files")
    command.add_argument("--out", type=Path, metavar="DIR",
                         help="folder to write into, new or of an earlier export of this run (default: RUN/export)")


def main(arguments: Any) -> None:
    """Write one format and print the paths; UserError where a library is missing or the folder is not to be used."""
    from menndl_caffe.experiment import recorded
    from menndl_caffe.export.folder import claim

    writer = _writer(arguments.to)
    run = recorded.read(arguments.run)
    try:
        folder = arguments.out or unlinked(arguments.run, "export")
        claim(folder, run)
        paths = writer.write(run, folder)
    except OSError as error:
        raise UserError(f"cannot write {error.filename or arguments.out or arguments.run}: {error.strerror or error}; "
                        "--out DIR takes another folder") from None
    show("\n".join(map(str, paths)))
    say(writer.OPEN.format(*paths))


def _writer(to: str) -> Any:
    try:
        return importlib.import_module(f"menndl_caffe.export.{FORMATS[to]}")
    except ImportError as error:
        raise UserError(f"--to {to} needs a library that is not here ({error}): "
                        f"`pip install 'menndl_caffe[{to}]'`") from None
