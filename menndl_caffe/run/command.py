"""`menndl run`: a search, alone or under a launcher of MPI."""
from __future__ import annotations

import argparse
from typing import Any

from menndl_caffe.arguments import add_search, add_time_limit, new_folder, whole
from menndl_caffe.experiment.command import add_overrides
from menndl_caffe.rank.arguments import add_engine
from menndl_caffe.text import show
from menndl_caffe.walltime import Walltime


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl run`."""
    add_search(command)
    command.add_argument("--out", type=new_folder, required=True, metavar="RUN",
                         help="folder of the run; one that exists is gone on with")
    add_engine(command)
    add_overrides(command)
    command.add_argument("--expect-ranks", type=whole(1), metavar="N",
                         help="stop at once unless the MPI world has N ranks")
    add_time_limit(command)
    command.add_argument("--plain", action="store_true", help="plain lines of progress also on a terminal")


def main(arguments: Any) -> None:
    """Run or go on with the search, and print its best individuals on the master."""
    walltime = Walltime(arguments.time_limit)  # first: a signal may come while the rest is loaded
    from menndl_caffe.experiment.recorded import Run
    from menndl_caffe.report.best import best_text
    from menndl_caffe.run.launch import Options, run

    record = run(Options(arguments.search, arguments.out, arguments.engine, arguments.math, arguments.seed,
                         arguments.data, arguments.iterations, arguments.expect_ranks, arguments.threads,
                         live=not arguments.plain), walltime)
    if record is not None:
        show(best_text(Run(arguments.out, record)))
