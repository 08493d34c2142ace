"""A run for other programs: tables for pandas, a study for optuna-dashboard, event files for TensorBoard.

`menndl export RUN --to csv|parquet|optuna|tensorboard`. All of it is made from the journal of a run, finished or going
on. As in the reports, generations are counted from 1; in the journal they are counted from 0.

    RUN/export/run.json                         the journal's first line: what was searched, with what, how to repeat it
    RUN/export/trials.csv, curves.csv           a row a trial; a row a test pass        (csv; parquet the same, typed)
    RUN/export/optuna.log                       optuna-dashboard RUN/export/optuna.log
    RUN/export/tensorboard/                     tensorboard --logdir RUN/export/tensorboard
"""
from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from menndl_caffe.errors import UserError

# Each module has `write(run, folder)`, which gives the paths of what it wrote, and `OPEN`, how to look at it.
FORMATS = {"csv": "csv_files", "parquet": "parquet_files", "optuna": "optuna_study", "tensorboard": "event_files"}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl export`."""
    command.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    command.add_argument("--to", choices=tuple(FORMATS), required=True,
                         help="csv or parquet: two tables, for pandas; optuna: a study, for optuna-dashboard; "
                              "tensorboard: event files")
    command.add_argument("--out", type=Path, metavar="DIR",
                         help="folder to write into, new or of an earlier export of this run (default: RUN/export)")


def main(arguments: Any) -> None:
    """Write one format and print the paths; UserError where a library is missing or the folder is not to be used."""
    from menndl_caffe.experiment import recorded  # here, since every command asks for the arguments above
    from menndl_caffe.export.folder import claim

    writer = _writer(arguments.to)
    run = recorded.read(arguments.run)
    folder = arguments.out or arguments.run / "export"
    try:
        claim(folder, run)
        paths = writer.write(run, folder)
    except OSError as error:
        raise UserError(f"cannot write {error.filename or folder}: {error.strerror or error}; "
                        "--out DIR takes another folder") from None
    print(*paths, sep="\n")
    print(writer.OPEN.format(*paths), file=sys.stderr)


def _writer(to: str) -> Any:
    try:
        return importlib.import_module(f"{__name__}.{FORMATS[to]}")
    except ImportError as error:
        raise UserError(f"--to {to} needs a library that is not here ({error}): "
                        f"`pip install 'menndl_caffe[{to}]'`") from None
