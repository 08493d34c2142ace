"""`menndl render`: the two Caffe files of one individual; and the arguments that name an individual and its search."""
from __future__ import annotations

import argparse
from typing import Any

from menndl_caffe.arguments import add_search, new_folder, whole
from menndl_caffe.text import large, memory, show


def add_overrides(command: argparse.ArgumentParser) -> None:
    """What takes the place of the search file's own: --seed, --data, --iterations."""
    command.add_argument("--seed", type=whole(0, 2**63 - 1), metavar="N",
                         help="random_seed in place of the search file's")
    command.add_argument("--data", metavar="DIR",
                         help="data folder in place of the search file's, such as a copy on a node's own disk")
    command.add_argument("--iterations", type=whole(1), metavar="N", help="max_iter in place of the search file's")


def add_individual(command: argparse.ArgumentParser) -> None:
    """SEARCH, the genes of one individual of it, and the overrides."""
    add_search(command)
    command.add_argument("--set", action="append", default=[], metavar="GENE=VALUE", dest="settings",
                         help="a gene that is not at its default; may be repeated")
    add_overrides(command)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl render`."""
    add_individual(command)
    command.add_argument("--out", type=new_folder, required=True, metavar="DIR", help="folder for the rendered files")


def main(arguments: Any) -> None:
    """Write the individual's net and solver, whatever they are and whether its data are here, and say how large the net
    is."""
    from menndl_caffe.experiment import recorded
    from menndl_caffe.experiment.appraise import check, measures_of
    from menndl_caffe.experiment.render import NET_FILE, SOLVER_FILE, Renderer, write_texts
    from menndl_caffe.experiment.sources import datum_shape_if_here, sources
    from menndl_caffe.nets.shapes import UnknownShape

    experiment = recorded.experiment_of(arguments.search, arguments.seed, arguments.data, arguments.iterations)
    renderer = Renderer(experiment)
    trial = experiment.trial(0, experiment.space.with_settings(arguments.settings))
    where = sources(experiment, trial.role, to_read=False)
    texts = renderer.texts(trial, where, str(arguments.out))
    write_texts(arguments.out, *texts)
    show(f"{arguments.out}/{NET_FILE} and {SOLVER_FILE}: {trial.genome}")
    try:
        net = check(renderer.parsed(*texts), datum_shape_if_here)
    except UnknownShape as unknown:
        show(f"its size is not known before it runs: {unknown}")
    else:
        show(f"{large(net.parameters)} parameters, {large(measures_of(net)['multiply_adds'])} multiply-adds an image, "
             f"{memory(net.memory)} of blobs of a training batch")
