"""`menndl init`: templates and a search file from a net and a solver that are there."""
from __future__ import annotations

import argparse
from typing import Any, List

from menndl_caffe.arguments import new_folder
from menndl_caffe.text import aligned, say, show

KINDS_TEXT = "kernels, filters, units, dropout, base_lr, weight_decay, momentum"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl init`."""
    command.add_argument("net", metavar="NET", help="the net's file, for both phases, such as train_test.prototxt")
    command.add_argument("solver", metavar="SOLVER", help="the solver's file")
    command.add_argument("--out", type=new_folder, required=True, metavar="FOLDER",
                         help="folder for the two templates and the search file; nothing in it is overwritten")
    command.add_argument("--data", metavar="DIR",
                         help="folder of the databases and the mean (default: that of the net's own databases)")
    command.add_argument("--genes", metavar="LIST",
                         help=f"only these, names or kinds with commas between them; kinds: {KINDS_TEXT}")


def main(arguments: Any) -> None:
    """Write the three files, and say what is in them and what is to be known."""
    from menndl_caffe.init.project import Project, write

    project = Project.of(arguments.net, arguments.solver, arguments.data,
                         arguments.genes.split(",") if arguments.genes else [])
    paths = write(project, arguments.out, _command(arguments))
    show(f"{', '.join(map(str, paths))}: {len(project.proposals)} genes")
    show(aligned([(one.gene.name, one.gene.describe(), f"default {one.gene.default}") for one in project.proposals],
                 left=(0, 1, 2)))
    for remark in project.remarks:
        say(f"note: {remark}")
    say(f"next: menndl check {paths[-1]}")


def _command(arguments: Any) -> str:
    """As it may be given again."""
    words: List[str] = ["menndl init", arguments.net, arguments.solver, "--out", str(arguments.out)]
    for option in ("data", "genes"):
        if getattr(arguments, option):
            words += [f"--{option}", getattr(arguments, option)]
    return " ".join(words)
