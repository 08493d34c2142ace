"""On what an individual is measured: which outputs of its test net count."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, Mapping, Sequence

from menndl_caffe.errors import UserError
from menndl_caffe.experiment.render import Rendered
from menndl_caffe.nets.shapes import ImpossibleNet, located
from menndl_caffe.nets.wiring import Wired, layers_of_phase
from menndl_caffe.objective import ACCURACY, LOSS, Objective


@dataclass(frozen=True)
class NeededOutputs:
    """What a test pass must give out: for each objective that it measures, the name of that output, but of the loss;
    and the losses, of which one at least, with their weights. `accuracies`: those of `of` that are from 0 to 1."""

    of: Mapping[str, str] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)
    accuracies: FrozenSet[str] = frozenset()


def needed_outputs(rendered: Rendered, objectives: Sequence[Objective]) -> NeededOutputs:
    """The test net's outputs that the objectives need; UserError where it has no such layers, or where an accuracy that
    counts is not what its layer made."""
    layers = layers_of_phase(rendered.net.message, "TEST", 0, ())
    needed = {objective.measure: objective.measure for objective in objectives
              if objective.is_tested and objective.measure != LOSS}
    makers = {wired.tops[0]: wired for wired in layers if wired.layer.type == "Accuracy" and wired.tops}
    if ACCURACY in needed:
        if not makers:
            what = "the fitness" if objectives[0].measure == ACCURACY else "an objective"
            raise UserError(f"{rendered.net.file}: has no layer of type Accuracy in phase TEST; it is {what}")
        needed[ACCURACY] = next(iter(makers))
    accuracies = frozenset(makers).intersection(needed.values())
    _check_untouched(rendered, layers, accuracies)
    losses = {top: weight for wired in layers for top, weight in zip(wired.tops, _loss_weights(wired.layer))}
    if not losses:
        raise UserError(f"{rendered.net.file}: has no loss in phase TEST; "
                        f"{_a(objectives[0].measure)} counts only if the loss is finite")
    return NeededOutputs(needed, losses, accuracies)


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


def _a(measure: str) -> str:
    return "an accuracy" if measure == ACCURACY else f"the {measure}"


def _loss_weights(layer: Any) -> Sequence[float]:
    """A weight for each top, none for tops that are no loss (layer.hpp, SetLossWeights; loss_layer.cpp)."""
    default: Sequence[float] = (1.0,) if layer.type.endswith("Loss") else ()
    return layer.loss_weight or default
