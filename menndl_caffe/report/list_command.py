"""`menndl list`: the runs in a folder and in those below it."""
from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from menndl_caffe.arguments import add_json
from menndl_caffe.text import show


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl list`."""
    command.add_argument("folder", type=Path, nargs="?", default=Path("."), metavar="FOLDER",
                         help="where to look for runs (default: here)")
    add_json(command)


def main(arguments: Any) -> None:
    """Print them, for people or as JSON."""
    from menndl_caffe.report.listing import listed, table

    rows = listed(arguments.folder, time.time())
    show(json.dumps(rows, indent=2) if arguments.json else table(rows, arguments.folder))
