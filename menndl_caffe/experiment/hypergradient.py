"""Trials of the program "hypergradient": what the trainer is told beside the texts, and its answer by the genes."""
from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Dict, Tuple

from menndl_caffe import search
from menndl_caffe.data import describe
from menndl_caffe.errors import UserError
from menndl_caffe.experiment.derivatives import DECAY, KINDS, Derivatives, derivatives
from menndl_caffe.experiment.experiment import Experiment
from menndl_caffe.experiment.render import Rendered, Renderer
from menndl_caffe.experiment.sources import Sources
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.nets.wiring import layers_of_phase
from menndl_caffe.trial import Trial

ALL_KINDS = ("UNROLLED",)  # methods with a gradient by learning rates and momentum, too


def method(message: Any) -> str:
    """Its name, of a SearchParameter."""
    settings = search.learning(message).hypergradient_param
    return str(settings.Method.Name(settings.method))


def asked_of_trainer(rendered: Rendered, trial: Trial, message: Any) -> Dict[str, Any]:
    """The settings of a request (docs/trainer.md); UserError where the net does not read its images by Data layers."""
    settings: Dict[str, Any] = {"method": method(message), "batches": batches_of(rendered)}
    return settings if trial.tolerance is None else {**settings, "tolerance": trial.tolerance}


def by_genes(renderer: Renderer, trial: Trial, where: Sources) -> Derivatives:
    """What turns the trainer's answer into a gradient by the genes; UserError for genes that have none."""
    experiment = renderer.experiment
    allowed = KINDS if method(experiment.message) in ALL_KINDS else (DECAY,)
    return derivatives(renderer, trial, where, search.descending(experiment.message, experiment.space).names, allowed)


def check(renderer: Renderer, rendered: Rendered, trial: Trial, where: Sources) -> None:
    """UserError where the default net, a gene, or the data's parts make gradients impossible."""
    check_held_out(renderer.experiment)
    by_genes(renderer, trial, where)
    asked_of_trainer(rendered, trial, renderer.experiment.message)


def check_held_out(experiment: Experiment) -> None:
    """UserError where the gradient would be that of the loss on the test set."""
    if experiment.message.fitness_set != menndl_pb2.SearchParameter.VALIDATION:
        raise experiment.document.error(("fitness_set",), "is TEST; expected VALIDATION: a gradient of the loss on the "
                                        "test set would make that a part of the training")


def batches_of(rendered: Rendered) -> Dict[str, int]:
    """What a trainer is told of the images; UserError where the net does not read them by Data layers."""
    train, train_period = _batches(rendered, "TRAIN")
    _, validation_period = _batches(rendered, "TEST")
    return {"train": train, "validation": rendered.solver.message.test_iter[0], "train_period": train_period,
            "validation_period": validation_period}


def _batches(rendered: Rendered, phase: str) -> Tuple[int, int]:
    """Batches of an epoch, the last of them going on with the first images, and after how many the images come again.
    """
    layers = [placed.layer for placed in layers_of_phase(rendered.net.message, phase, 0, ())]
    readers = [layer.data_param for layer in layers if layer.type == "Data"]
    if not readers:
        raise UserError(f"{rendered.net.file}: has no layer of type Data in phase {phase}; a gradient needs to know "
                        "how many images there are")
    records, size = describe(Path(readers[0].source)).records, readers[0].batch_size
    return math.ceil(records / size), records // math.gcd(records, size)
