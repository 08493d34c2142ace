"""What can be said of an individual before it is trained: whether Caffe takes it, what it costs, what it gives out."""
from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any, Dict, List

from menndl_caffe.data import check_data
from menndl_caffe.errors import UserError, did_you_mean
from menndl_caffe.experiment import adaptive, hypergradient, hypernet
from menndl_caffe.experiment.classes import check_outputs
from menndl_caffe.experiment.measured import check_measured_alike, measured_on, needed_outputs
from menndl_caffe.experiment.render import Rendered, Renderer
from menndl_caffe.experiment.solver_check import check_solver, check_tested
from menndl_caffe.experiment.sources import Sources, datum_shape, sources
from menndl_caffe.genome import Genome
from menndl_caffe.nets import rates
from menndl_caffe.nets.shapes import DatumShape, ImpossibleNet, NetShape, UnknownShape, infer, located
from menndl_caffe.nets.upgrade import upgrade_net
from menndl_caffe.nets.wiring import layers_of_phase, outputs
from menndl_caffe.objective import ACCURACY, LOSS, MEASURES
from menndl_caffe.search import program, rungs_of
from menndl_caffe.trial import DEFAULT, HYPERGRADIENT, HYPERNET, TRAIN


def check(rendered: Rendered, image: DatumShape = datum_shape) -> NetShape:
    """The training net's shapes; UserError naming line, layer and rule where Caffe would refuse it in either phase, or
    where it has fewer outputs than its images have classes.

    `image` tells C, H, W of what a Data layer reads; UnknownShape where it or a layer cannot tell a shape.
    """
    try:
        with located(rendered.net):
            for phase in ("TEST", "TRAIN"):
                check_outputs(rendered.layers(phase), rendered.shapes(phase, image))
            return rendered.shapes("TRAIN", image)
    except ImpossibleNet as error:
        raise UserError(str(error)) from None


def measures(rendered: Rendered) -> Dict[str, float]:
    """`check` as far as it can see, and what it measured of the net:

    parameters      numbers that a solver holds, shared ones once
    multiply_adds   of convolutions and inner products, one image's way forward
    memory          bytes of a training batch's blobs, as in Caffe's log line "Memory required for data"

    Nothing where a layer of the user's own makes shapes that only Caffe itself will tell.
    """
    try:
        net = check(rendered)
    except UnknownShape:
        return {}
    return measures_of(net)


def measures_of(net: NetShape) -> Dict[str, float]:
    """The same of a net as it trains."""
    batch = next(iter(net.blobs.values()), ())[:1] or (1,)
    return {"parameters": net.parameters, "multiply_adds": net.multiply_adds // batch[0], "memory": net.memory}


def expected_cost(renderer: Renderer, where: Sources, genome: Genome, image: DatumShape = datum_shape) -> float:
    """Multiply-adds of a training batch's way forward: which of two takes longer. 0 where it cannot be known."""
    try:
        net = renderer.render(renderer.experiment.trial(0, genome), where).net.message
        return float(infer(net, "TRAIN", image).multiply_adds)
    except (UserError, ImpossibleNet, UnknownShape):
        return 0.0


def is_steady(renderer: Renderer, where: Sources, genome: Genome, iteration: int) -> bool:
    """Whether an individual's learning rate falls no more by far after an iteration: rates.is_steady."""
    trial = renderer.experiment.trial(0, genome)
    return rates.is_steady(renderer.render(trial, where).solver.message, iteration, trial.max_iter)


def check_experiment(renderer: Renderer) -> Rendered:
    """The default individual, rendered; UserError where the data, the templates, the default net and solver or an
    objective cannot work."""
    experiment = renderer.experiment
    where = sources(experiment, DEFAULT)
    rendered = renderer.render(experiment.trial(0, experiment.space.default), where)
    check_solver(rendered)
    check_tested(rendered, rungs_of(experiment.message))
    mean = Path(where.mean) if subtracts_mean(rendered.net.message) else None
    check_data(Path(where.train), Path(where.test), mean)
    measures(rendered)
    for i, objective in enumerate(experiment.objectives):
        wrong = _unmeasured(rendered, objective.measure)
        if wrong:
            raise experiment.document.error(("objective", i, "measure"), wrong)
    needed = needed_outputs(rendered, experiment.objectives, experiment.message.fitness)
    check_measured_alike(renderer, where, measured_on(rendered, needed))
    trained_by = program(experiment.message)
    if trained_by == HYPERGRADIENT:
        hypergradient.check(renderer, rendered, experiment.trial(0, experiment.space.default), where)
    elif trained_by == HYPERNET:
        hypernet.check(experiment, rendered)
    elif trained_by != TRAIN:
        adaptive.check(experiment, rendered)
    return rendered


def subtracts_mean(net: Any) -> bool:
    """Whether any layer of a net subtracts a mean image."""
    return any(layer.transform_param.mean_file for layer in upgrade_net(net).layer)


def _unmeasured(rendered: Rendered, measure: str) -> str:
    """Why a measure of the default net cannot be had; nothing where it can, or where `needed_outputs` says so."""
    if measure in MEASURES:
        try:
            check(rendered)
        except UnknownShape as unknown:
            return f"is {measure}, which cannot be known of the default net before it runs: {unknown}"
    elif measure not in (ACCURACY, LOSS):
        names = _scalars(rendered)
        if measure not in names:
            valid = {*names, ACCURACY, LOSS, *MEASURES}
            return (f"is {measure!r}; the outputs of the default net's TEST phase are {', '.join(names) or 'none'}"
                    f"{did_you_mean(measure, valid)}")
    return ""


def _scalars(rendered: Rendered) -> List[str]:
    """The test net's outputs that are one number, as far as their shapes are known."""
    names = outputs(layers_of_phase(rendered.net.message, "TEST", 0, ()))
    try:
        blobs = rendered.shapes("TEST").blobs
    except UnknownShape:
        return names
    return [name for name in names if prod(blobs[name]) == 1]
