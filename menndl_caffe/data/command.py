"""`menndl data`: the databases and the mean of one of three data sets."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from menndl_caffe.arguments import whole
from menndl_caffe.text import say, show


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl data`."""
    command.add_argument("set", choices=("cifar10", "mnist", "synthetic"), help="which data")
    command.add_argument("--source", type=Path, metavar="PATH",
                         help="official archive or unpacked folder; default: download (cifar10)")
    command.add_argument("--out", type=Path, metavar="DIR", default=argparse.SUPPRESS,
                         help="folder to write (default: data/SET)")
    command.add_argument("--validation", type=whole(0), default=0, metavar="N",
                         help="also hold out the last N training images, for fitness_set: VALIDATION")
    command.add_argument("--force", action="store_true", help="write anew a set of menndl's that is already there")


def main(arguments: Any) -> None:
    """Write the set, and say what it is; progress goes to standard error."""
    from menndl_caffe.data import write

    out = getattr(arguments, "out", Path("data") / arguments.set)
    show(write(arguments.set, out, arguments.source, arguments.validation, arguments.force, say))
