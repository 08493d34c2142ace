"""On what an individual is measured: which outputs of its test net count, and on how many images; all on the same."""
from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any, Dict, FrozenSet, Mapping, Optional, Sequence

from menndl_caffe.errors import UserError, did_you_mean
from menndl_caffe.experiment.render import Rendered, Renderer
from menndl_caffe.experiment.sources import Sources
from menndl_caffe.genome import Genome
from menndl_caffe.nets.shapes import ImpossibleNet, UnknownShape, located
from menndl_caffe.nets.wiring import Wired, layers_of_phase
from menndl_caffe.objective import ACCURACY, LOSS, Objective

VALUES = 7  # of each gene that are tried before a search begins
# Layers that bring images, and where their settings are.
SOURCES = {"Data": "data_param", "HDF5Data": "hdf5_data_param", "ImageData": "image_data_param",
           "MemoryData": "memory_data_param", "WindowData": "window_data_param"}


@dataclass(frozen=True)
class NeededOutputs:
    """What a test pass must give out: for each objective that it measures, the name of that output, but of the loss;
    and the losses, of which one at least, with their weights. `accuracies`: those of `of` that are from 0 to 1."""

    of: Mapping[str, str] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)
    accuracies: FrozenSet[str] = frozenset()


def needed_outputs(rendered: Rendered, objectives: Sequence[Objective], fitness: str = "") -> NeededOutputs:
    """The test net's outputs that the objectives need; `fitness`: the top that is the accuracy.

    UserError where it has no such layers, where it has several accuracies of which none is named, or where one that
    counts is not what its layer made.
    """
    layers = layers_of_phase(rendered.net.message, "TEST", 0, ())
    needed = {objective.measure: objective.measure for objective in objectives
              if objective.is_tested and objective.measure != LOSS}
    makers = {wired.tops[0]: wired for wired in layers if wired.layer.type == "Accuracy" and wired.tops}
    if ACCURACY in needed:
        if not makers:
            what = "the fitness" if objectives[0].measure == ACCURACY else "an objective"
            raise UserError(f"{rendered.net.file}: has no layer of type Accuracy in phase TEST; it is {what}")
        needed[ACCURACY] = _that_counts(rendered, list(makers), fitness)
    accuracies = frozenset(makers).intersection(needed.values())
    _check_untouched(rendered, layers, accuracies)
    losses = {top: weight for wired in layers for top, weight in zip(wired.tops, _loss_weights(wired.layer))}
    if not losses:
        raise UserError(f"{rendered.net.file}: has no loss in phase TEST; "
                        f"{_a(objectives[0].measure)} counts only if the loss is finite")
    return NeededOutputs(needed, losses, accuracies)


def _that_counts(rendered: Rendered, tops: Sequence[str], fitness: str) -> str:
    """Of the tops of Accuracy layers, the one that is the accuracy."""
    if fitness and fitness not in tops:
        raise UserError(f"{rendered.net.file}: has no layer of type Accuracy with the top {fitness!r} in phase TEST, "
                        f"which is the fitness{did_you_mean(fitness, tops)}")
    if not fitness and len(tops) > 1:
        raise UserError(f"{rendered.net.file}: has {len(tops)} layers of type Accuracy in phase TEST, with the tops "
                        f"{', '.join(tops)}; expected fitness: \"{tops[0]}\" in the search file, or another of these")
    return fitness or tops[0]


def _check_untouched(rendered: Rendered, layers: Sequence[Wired], accuracies: FrozenSet[str]) -> None:
    """UserError where a layer reads or writes an accuracy after its own: what is given out is then another number."""
    made: Dict[str, Wired] = {}
    try:
        with located(rendered.net):
            for wired in layers:
                for name in accuracies.intersection((*wired.bottoms, *wired.tops)):
                    if name in made:
                        raise ImpossibleNet(f"takes '{name}' further, the accuracy that counts; expected that no layer "
                                            f"has it after {made[name].layer.name}", wired.layer.name, wired.place)
                    made[name] = wired
    except ImpossibleNet as error:
        raise UserError(str(error)) from None


@dataclass(frozen=True)
class Measured:
    """On what a test pass measures: how many images (None: Caffe alone knows), and the settings of the layers that
    bring them and of those that count, by name and as text. How images are transformed is the individual's own."""

    images: Optional[int]
    settings: Mapping[str, str]

    def unlike(self, default: Measured) -> str:
        """How it is another than the default's, as the end of a sentence about an individual; nothing where it is not.
        """
        if None not in (self.images, default.images) and self.images != default.images:
            return f"is measured on {self.images:,} images, the default on {default.images:,}; expected as many"
        names = {**self.settings, **default.settings}
        changed = [name for name in names if self.settings.get(name) != default.settings.get(name)]
        return f"is measured otherwise than the default, by {' and '.join(changed)}" if changed else ""


def measured_on(rendered: Rendered, outputs: NeededOutputs) -> Measured:
    """Of an individual whose net Caffe takes; UserError where it has no test_iter, or where an accuracy that counts is
    always 1."""
    if min(rendered.solver.message.test_iter, default=0) < 1:
        raise rendered.solver.error(("test_iter",), "is missing or below 1; the fitness is measured on so many batches")
    layers = [wired.layer for wired in layers_of_phase(rendered.net.message, "TEST", 0, ())]
    counting = [layer for layer in layers
                if layer.type == "Accuracy" and outputs.accuracies.intersection(layer.top[:1])]
    settings = {f"accuracy_param of layer {layer.name}": str(layer.accuracy_param) for layer in counting}
    for layer in layers:
        if layer.type in SOURCES:
            source = type(layer)()
            source.CopyFrom(layer)
            source.ClearField("transform_param")
            getattr(source, SOURCES[layer.type]).ClearField("batch_size")
            settings[f"the source of layer {layer.name}"] = str(source)
    return Measured(_images(rendered, counting), settings)


def _images(rendered: Rendered, counting: Sequence[Any]) -> Optional[int]:
    try:
        net = rendered.shapes("TEST")
    except UnknownShape:
        return None
    for layer in counting:
        scores, labels = (net.blobs[name] for name in layer.bottom)
        classes = prod(scores) // prod(labels)
        if layer.accuracy_param.top_k >= classes:
            raise UserError(f"{rendered.net.file}: layer {layer.name}: top_k {layer.accuracy_param.top_k} of {classes} "
                            "classes counts every image as right; expected less")
    counted = (net.blobs[layer.bottom[0]] for layer in counting)
    batch = next(counted, next(iter(net.blobs.values()), ()))[:1]
    return rendered.solver.message.test_iter[0] * batch[0] if batch else None


def check_measured_alike(renderer: Renderer, where: Sources, default: Measured) -> None:
    """UserError naming its line for every gene of which one of VALUES values changes on what all are measured."""
    experiment, wrong = renderer.experiment, []
    for i, gene in enumerate(experiment.space.genes):
        count = int(min(gene.size, VALUES))
        for value in (gene.from_unit((j + 0.5) / count) for j in range(count)):
            genome = experiment.space.from_dict({**experiment.space.default.as_dict(), gene.name: value})
            unlike = _unlike(renderer, where, genome, default)
            if unlike:
                said = f"{gene.name} is no gene of a search: who has {gene.name}={value} {unlike}"
                wrong.append(str(experiment.document.error(("gene", i), said)))
                break
    if wrong:
        raise UserError("\n".join(wrong))


def _unlike(renderer: Renderer, where: Sources, genome: Genome, default: Measured) -> str:
    """As Measured.unlike; nothing of a net that is impossible."""
    experiment = renderer.experiment
    try:
        rendered = renderer.render(experiment.trial(0, genome), where)
        outputs = needed_outputs(rendered, experiment.objectives, experiment.message.fitness)
        return measured_on(rendered, outputs).unlike(default)
    except (UserError, ImpossibleNet):
        return ""


def _a(measure: str) -> str:
    return "an accuracy" if measure == ACCURACY else f"the {measure}"


def _loss_weights(layer: Any) -> Sequence[float]:
    """A weight for each top, none for tops that are no loss (layer.hpp, SetLossWeights; loss_layer.cpp)."""
    default: Sequence[float] = (1.0,) if layer.type.endswith("Loss") else ()
    return layer.loss_weight or default
