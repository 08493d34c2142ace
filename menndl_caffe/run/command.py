"""`menndl run`: a search, alone, on ranks of its own, or under a launcher of MPI."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Optional

from menndl_caffe.arguments import add_search, add_time_limit, new_folder, whole
from menndl_caffe.errors import UserError
from menndl_caffe.experiment.command import add_overrides
from menndl_caffe.rank.arguments import add_engine
from menndl_caffe.text import show
from menndl_caffe.walltime import Walltime


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl run`."""
    add_search(command)
    command.add_argument("--out", type=new_folder, metavar="RUN",
                         help="folder of the run; an existing run is resumed (default: SEARCH, where that is a run)")
    add_engine(command)
    add_overrides(command)
    add_ranks(command)


def add_ranks(command: argparse.ArgumentParser) -> None:
    """What commands that train on many ranks have in common: how many there shall be, how long, what is shown."""
    command.add_argument("--ranks", type=whole(1), metavar="N",
                         help="train on N ranks, which are started here by mpirun; 1 needs no MPI (default: 1; on a "
                              "terminal one for each core, unless the search computes on a GPU)")
    command.add_argument("--expect-ranks", type=whole(1), metavar="N",
                         help="under a launcher (mpirun, srun): stop at once unless the MPI world has N ranks")
    add_time_limit(command)
    command.add_argument("--plain", action="store_true", help="plain lines of progress also on a terminal")


def main(arguments: Any) -> None:
    """Run or go on with the search, and print its best individuals on the master."""
    arguments.out = arguments.out or _run_of(arguments.search)
    _search(arguments, on_ranks(arguments, arguments.search))


def on_ranks(arguments: Any, search: str) -> Optional[int]:
    """Start the ranks of a command that has `add_ranks`, for a search file or a run, and end as they do. Where there
    are none to be started: how many there must be, where that is known."""
    from menndl_caffe.farm import launched_size, launcher

    launched = launched_size() > 0
    ranks = 1 if launched else arguments.ranks or _ranks(arguments, search)
    if ranks > 1:
        words = launcher.command()
        if words:
            sys.exit(launcher.launch(words, ranks))
        launcher.alone()
    expected: Optional[int] = arguments.expect_ranks or (arguments.ranks if launched else None)
    return expected


def _run_of(search: str) -> Path:
    """The folder of the run that is resumed by its name, or by that of its own copy of the search file."""
    from menndl_caffe.experiment import recorded
    from menndl_caffe.experiment.places import Places

    folder = Path(search) if recorded.is_run(search) else Places.of_search_file(Path(search)).run
    if folder is not None:
        return folder
    raise UserError("the following arguments are required: --out; see `menndl run --help`")


def _ranks(arguments: Any, search: str) -> int:
    """How many ranks there are to be where the user does not say it."""
    from menndl_caffe.experiment import recorded
    from menndl_caffe.farm import launcher
    from menndl_caffe.nets.proto import menndl_pb2

    if arguments.expect_ranks or not sys.stderr.isatty():
        return 1
    message = recorded.experiment_of(search, None, None, None).message
    on_gpu = message.solver_mode == menndl_pb2.SearchParameter.GPU
    return 1 if on_gpu else launcher.all_cores(arguments.threads or 1)


def _search(arguments: Any, expected: Optional[int]) -> None:
    walltime = Walltime(arguments.time_limit)  # first: a signal may come while the rest is loaded
    from menndl_caffe.experiment.recorded import Run
    from menndl_caffe.report.best import best_text
    from menndl_caffe.run.launch import Options, run

    record = run(Options(arguments.search, arguments.out, arguments.engine, arguments.math, arguments.seed,
                         arguments.data, arguments.iterations, expected, arguments.threads,
                         live=not arguments.plain), walltime)
    if record is not None:
        show(best_text(Run(arguments.out, record)))
