"""`menndl confirm`: whether what a run has found holds against new seeds."""
from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from menndl_caffe.arguments import add_json, add_run, whole
from menndl_caffe.run.command import add_ranks, on_ranks
from menndl_caffe.text import show
from menndl_caffe.walltime import Walltime

MOST = 100_000  # as in a search file


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl confirm`."""
    add_run(command)
    command.add_argument("-k", type=whole(1, MOST), metavar="K", dest="best",
                         help="how many of the best individuals; the default comes beside them (default: what the "
                              "search file says, else 5)")
    command.add_argument("--seeds", type=whole(2, MOST), metavar="N",
                         help="trainings of each, every one from a new seed; recorded ones count (default: what the "
                              "search file says, else 5)")
    command.add_argument("--iterations", type=whole(1), metavar="N",
                         help="training iterations, the run's or more (default: what the search file says, else the "
                              "run's)")
    command.add_argument("--data", type=Path, metavar="DIR", help="the run's data, where they have moved")
    command.add_argument("--threads", type=whole(1), metavar="N",
                         help="BLAS threads of each trainer (default: the run's)")
    command.add_argument("--trial-timeout", type=whole(1), metavar="SECONDS",
                         help="give a training up after so long; one of more iterations than the run's has more time, "
                              "in proportion (default: never)")
    add_ranks(command)
    add_json(command)


def main(arguments: Any) -> None:
    """Train what is missing, alone or on ranks, and print the verdict on the master."""
    expected = on_ranks(arguments, str(arguments.run))
    walltime = Walltime(arguments.time_limit)  # first: a signal may come while the rest is loaded
    from menndl_caffe.experiment.recorded import Run
    from menndl_caffe.report.confirmation import confirmation
    from menndl_caffe.report.verdict import confirmation_dict, confirmation_text
    from menndl_caffe.run.confirming import Asked, confirm

    asked = Asked(arguments.best, arguments.seeds, arguments.iterations, arguments.data, arguments.threads,
                  arguments.trial_timeout)
    done = confirm(arguments.run, asked, expected, not arguments.plain, walltime)
    if done is None:
        return
    record, iterations = done
    run = Run(arguments.run, record)
    found = confirmation(run, iterations)
    assert found is not None, "each of them has a result now"
    show(json.dumps(confirmation_dict(found), indent=2) if arguments.json else confirmation_text(run, found))
