"""`menndl best`: the best individuals as a table, or one of them with its weights in a folder."""
from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from menndl_caffe.arguments import add_json, add_run, whole
from menndl_caffe.errors import UserError
from menndl_caffe.text import say, show


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl best`."""
    add_run(command)
    command.add_argument("-n", type=whole(1), metavar="N",
                         help="how many individuals (default: 5, or the whole front); with --save: which one of them "
                              "(default: 1)")
    command.add_argument("--save", type=Path, metavar="DIR",
                         help="train the best individual (with -n N: the Nth best) once more, and write its net, "
                              "solver, deploy net and weights into this new folder")
    command.add_argument("--data", type=Path, metavar="DIR", help="with --save: the run's data, where they have moved")
    add_json(command)


def main(arguments: Any) -> None:
    """Print the table, or with --save train and write; progress goes to standard error."""
    if arguments.save:
        from menndl_caffe.save.individual import save

        return show(save(arguments.run, arguments.save, arguments.n or 1, arguments.data, say))
    from menndl_caffe.experiment import recorded
    from menndl_caffe.report.best import best_dict, best_text

    if arguments.data:
        raise UserError("--data goes with --save")
    run, n = recorded.read(arguments.run), arguments.n
    show(json.dumps(best_dict(run, n), indent=2) if arguments.json else best_text(run, n))
