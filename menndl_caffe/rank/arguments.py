"""The arguments that say what trains: --engine, --math, --threads."""
from __future__ import annotations

import argparse

from menndl_caffe.arguments import whole
from menndl_caffe.rank.engine import MATHS, NAMES


def add_engine(command: argparse.ArgumentParser) -> None:
    """The engine, its arithmetic, and the threads of a trainer."""
    command.add_argument("--engine", default=NAMES[0], choices=NAMES,
                         help="what trains: real Caffe, or its twin on PyTorch (default: %(default)s)")
    command.add_argument("--math", default=MATHS[0], choices=MATHS,
                         help="arithmetic of the torch engine; tf32 (GPU) and bf16 are coarser and faster "
                              "(default: %(default)s, as Caffe's)")
    command.add_argument("--threads", type=whole(1), default=1, metavar="N",
                         help="BLAS threads of each trainer (default: %(default)s)")
