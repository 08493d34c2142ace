"""`menndl evaluate`: one individual trained, without a search around it."""
from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Dict

from menndl_caffe.arguments import new_folder
from menndl_caffe.experiment.command import add_individual
from menndl_caffe.files import write
from menndl_caffe.rank.arguments import add_engine
from menndl_caffe.text import say, show


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl evaluate`."""
    add_individual(command)
    command.add_argument("--out", type=new_folder, metavar="DIR", help="folder for the rendered files and the log")
    add_engine(command)


def main(arguments: Any) -> None:
    """Train the individual, and print its result as JSON."""
    from menndl_caffe.experiment.sources import sources
    from menndl_caffe.run.launch import Options, Parts
    from menndl_caffe.run.trial_files import LOG

    parts = Parts.of(Options(arguments.search, Path("."), arguments.engine, arguments.math, arguments.seed,
                             arguments.data, arguments.iterations, threads=arguments.threads))
    experiment = parts.experiment
    trial = experiment.trial(0, experiment.space.with_settings(arguments.settings))
    evaluator = parts.evaluator()
    say(f"{trial.genome}: {trial.max_iter} iterations on {parts.engine.name} ({parts.engine.found}), seed {trial.seed}")
    try:
        result = evaluator.evaluate(trial, str(arguments.out or "."))
    finally:
        evaluator.close()
    if arguments.out:
        parts.renderer.render(trial, sources(experiment, trial.role), str(arguments.out)).write(arguments.out)
        write(arguments.out / LOG, result.log)
    record: Dict[str, Any] = {"genes": trial.genome.as_dict(), "seed": trial.seed, "max_iter": trial.max_iter,
                              **result.as_dict()}
    show(json.dumps({name: value for name, value in record.items() if name != "id"}))
