"""The arguments that say what trains: --engine, --math, --threads."""
from __future__ import annotations

import argparse

from menndl_caffe.arguments import whole
from menndl_caffe.rank.engine import MATHS, NAMES


def add_engine(command: argparse.ArgumentParser) -> None:
    """The engine, its arithmetic, and the threads of a trainer."""
    command.add_argument("--engine", choices=NAMES,
                         help=f"what trains: real Caffe, or its twin on PyTorch (default: {NAMES[0]}, or a run's own)")
    command.add_argument("--math", choices=MATHS,
                         help="arithmetic of the torch engine; tf32 (GPU) and bf16 are coarser and faster "
                              f"(default: {MATHS[0]}, as Caffe's, or a run's own)")
    command.add_argument("--threads", type=whole(1), metavar="N",
                         help="BLAS threads of each trainer (default: 1, or a run's own)")
