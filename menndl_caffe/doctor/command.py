"""`menndl doctor`: what works on this machine, or with --mpi for the ranks of this job."""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from menndl_caffe.arguments import add_json, whole
from menndl_caffe.errors import UserError
from menndl_caffe.rank.engine import NAMES
from menndl_caffe.text import show


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl doctor`."""
    command.add_argument("--mpi", action="store_true",
                         help="under the launcher of a job: a table of its ranks, and what is wrong with their places; "
                              "exit code 1 where a run would fail")
    command.add_argument("--expect-ranks", type=whole(1), metavar="N",
                         help="with --mpi: exit code 2 unless the MPI world has N ranks")
    command.add_argument("--data", type=Path, metavar="DIR", help="with --mpi: look at this data folder on each rank")
    command.add_argument("--search", metavar="SEARCH",
                         help="with --mpi: look at this search file and its templates on each rank")
    command.add_argument("--engine", choices=NAMES,
                         help=f"with --mpi: what shall train (default: {NAMES[0]})")
    add_json(command)


def main(arguments: Any) -> None:
    """Print what was found; with --mpi rank 0 does, and exit code 1 says that a run would fail."""
    from menndl_caffe.doctor import machine

    if arguments.mpi:
        world = machine.examine_world(arguments.expect_ranks, arguments.engine or NAMES[0], arguments.data,
                                      arguments.search)
        if world is not None:
            show(json.dumps(world.as_dict(), indent=2) if arguments.json else world)
            sys.exit(0 if world.works else 1)
        return
    if arguments.expect_ranks or arguments.data or arguments.search or arguments.engine:
        raise UserError("--expect-ranks, --data, --search and --engine are about the ranks of a job: add --mpi, under "
                        "a launcher")
    findings = machine.examine()
    as_json = [finding._asdict() for finding in findings]
    show(json.dumps(as_json, indent=2) if arguments.json else machine.table(findings))
