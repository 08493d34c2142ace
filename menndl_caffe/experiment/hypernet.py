"""Trials whose program is "hypernet": the net that writes the weights, and what else the trainer is told.

The hypernet's template names how many `decays` and `weights` there are. The trainer alone knows: what is learned is
what the engine makes of the net, and which weights share a decay is the trainer's rule. So in the text that it is sent
these two names stand as they do in the template, and it puts its numbers in their place.
"""
from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple

from menndl_caffe.errors import UserError
from menndl_caffe.experiment.derivatives import DECAY, stated
from menndl_caffe.experiment.experiment import TEMPLATES, Experiment
from menndl_caffe.experiment.hypergradient import batches_of, check_held_out
from menndl_caffe.experiment.render import Rendered
from menndl_caffe.experiment.sources import datum_shape
from menndl_caffe.experiment.template import Template
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2, menndl_pb2
from menndl_caffe.nets.shapes import ImpossibleNet, UnknownShape, infer, located
from menndl_caffe.search import learning, program
from menndl_caffe.trial import HYPERNET, Trial

NET, SOLVER = "hypernet", "hypernet solver"  # its templates
SOLVER_FILE = "templates/hypernet/solver.prototxt.j2"
SIZES = ("decays", "weights")  # what the trainer knows
SAMPLE = 2  # as many of each, to see whether the template makes a hypernet


def templates(experiment: Experiment) -> Dict[str, Path]:
    """The hypernet's and its solver's, of a search that has a hypernet; UserError where there is no such file."""
    if program(experiment.message) != HYPERNET:
        return {}
    document, name = experiment.document, learning(experiment.message).hypernet_param.net
    inner = ("inner",) * experiment.message.HasField("inner")
    line = document.line((*inner, "hypernet_param", "net"))
    return {NET: experiment.places.find(name, f"{document.file}:{line}: hypernet template"),
            SOLVER: experiment.places.find(SOLVER_FILE, "template of the hypernet's solver")}


def template_files(experiment: Experiment) -> Dict[str, Path]:
    """All templates of a search, by their kind; UserError where one is not there."""
    return {**{kind: experiment.template(kind) for kind in TEMPLATES}, **templates(experiment)}


def template_names(experiment: Experiment) -> Dict[str, str]:
    """The same as the search names them."""
    names = {kind: getattr(experiment.message, kind) for kind in TEMPLATES}
    if program(experiment.message) != HYPERNET:
        return names
    return {**names, NET: learning(experiment.message).hypernet_param.net, SOLVER: SOLVER_FILE}


def asked_of_trainer(experiment: Experiment, rendered: Rendered, trial: Trial) -> Dict[str, Any]:
    """The settings of a request (docs/trainer.md).

    UserError where the net does not read its images by Data layers or has no decay, or a template cannot be rendered.
    """
    settings, centre = learning(experiment.message).hypernet_param, _centre(rendered)
    net, solver = _texts(experiment, centre, trial, {name: _Later(name) for name in SIZES})
    return {"groups": menndl_pb2.AdaptiveParameter.Groups.Name(settings.groups),
            "method": settings.Method.Name(settings.method), "net": net, "solver": solver, "centre": centre,
            "deviation": settings.deviation, "iterations": settings.iterations, "steps": settings.steps,
            "rate": settings.rate, "seed": trial.seed, "batches": batches_of(rendered)}


def check(experiment: Experiment, rendered: Rendered) -> None:
    """UserError where the default net, the data's parts or the templates make it impossible to learn by a hypernet."""
    check_held_out(experiment)
    trial = experiment.trial(0, experiment.space.default)
    asked_of_trainer(experiment, rendered, trial)
    text, _ = _texts(experiment, _centre(rendered), trial, {name: SAMPLE for name in SIZES})
    net = prototxt.parse(text, caffe_pb2.NetParameter, f"{templates(experiment)[NET]} (rendered)")
    if not net.message.force_backward:
        raise net.error(("force_backward",), "is false; expected true: a hypernet has no loss, so that without it "
                        "nothing is learned")
    try:
        with located(net):
            blobs = infer(net.message, "TRAIN", datum_shape).blobs
    except (ImpossibleNet, UnknownShape) as error:
        raise UserError(str(error)) from None
    pairs = learning(experiment.message).hypernet_param.pairs
    for name, size in zip(("z", "w"), SIZES):
        if tuple(blobs.get(name, ())) != (pairs, SAMPLE):
            found = tuple(blobs[name]) if name in blobs else "not there"
            raise UserError(f"{net.file}: with {SAMPLE} decays and as many weights the blob {name!r} is {found}; "
                            f"expected {(pairs, SAMPLE)}: pairs, {size}")


class _Later:
    """A number that the trainer puts in: until then its name stands in the text, as it does in the template. There is
    no reckoning with it: `{{ 2 * decays }}` is refused."""

    def __init__(self, name: str):
        self._name = name

    def __str__(self) -> str:
        return f"{{{{ {self._name} }}}}"


def _centre(rendered: Rendered) -> float:
    """The mean of the logarithms of the decays that the texts state; UserError where all are 0."""
    logs = [math.log(value) for name, value in stated(rendered).items() if name.startswith(f"{DECAY} ") and value > 0]
    if not logs:
        raise rendered.solver.error(("weight_decay",), "no learned weight has a decay; expected weight_decay > 0, and "
                                    "decay_mult > 0 where it counts")
    return sum(logs) / len(logs)


def _texts(experiment: Experiment, centre: float, trial: Trial, sizes: Mapping[str, Any]) -> Tuple[str, str]:
    """The hypernet and its solver."""
    message, files = experiment.message, templates(experiment)
    settings, mode = learning(message).hypernet_param, message.SolverMode.Name(message.solver_mode)
    net = {"pairs": settings.pairs, "mean": centre, "deviation": settings.deviation, **sizes}
    solver = {"rate": settings.net_rate, "random_seed": trial.seed, "solver_mode": mode}
    return Template(files[NET]).render(net), Template(files[SOLVER]).render(solver)
