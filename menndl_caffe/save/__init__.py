"""`menndl best RUN --save DIR`: one of the best individuals with trained weights, in files as Caffe's users know them.

A run keeps no weights. But an individual's seed determines its training, so it is trained once more here, with the
run's own search, templates, data and engine, and its test passes are held against the recorded ones.

    DIR/train_test.prototxt, solver.prototxt, deploy.prototxt, weights.caffemodel, mean.binaryproto, README.md
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What `--save` adds to the arguments of `menndl best`, which has RUN and -n already."""
    command.add_argument("--save", type=Path, metavar="DIR",
                         help="train the best individual (with -n N: the Nth best) once more, and write its net, "
                              "solver, deploy net and weights into this new folder")
    command.add_argument("--data", type=Path, metavar="DIR", help="with --save: the run's data, where they have moved")


def main(arguments: Any) -> None:
    """`menndl best RUN --save DIR`; progress goes to standard error."""
    from menndl_caffe.save.individual import save

    print(save(arguments.run, arguments.save, arguments.n or 1, arguments.data,
               lambda text: print(text, file=sys.stderr, flush=True)))
