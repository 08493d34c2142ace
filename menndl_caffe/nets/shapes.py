"""Caffe's shape rules on a parsed net: every blob, parameters, memory and multiply-adds, known before training.

`infer` does on paper what `Net::Init` (`net.cpp`) does in memory. A net on which Caffe would abort raises
`ImpossibleNet` with the layer and the reason; one whose shapes are not in its file raises `UnknownShape`.
"""
from __future__ import annotations

from contextlib import contextmanager
from math import prod
from typing import Callable, Container, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from menndl_caffe.nets.layer_rules import LAYERS, Rule
from menndl_caffe.nets.layer_rules.blob import (
    ImpossibleNet,
    InPlace,
    LayerError,
    Message,
    Outcome,
    Shape,
    Shapes,
    UnknownShape,
    check_size,
    refuse_cudnn,
    text,
    unknown_type,
)
from menndl_caffe.nets.prototxt import Document
from menndl_caffe.nets.wiring import Parameter, Parameters, Wired, backward_of, insert_splits, layers_of_phase

__all__ = ["ImpossibleNet", "LayerShape", "NetShape", "UnknownShape", "infer", "located"]

FLOAT_BYTES = 4
AUTOMATIC = "(automatic)"  # Caffe's name for the top of a loss layer that has none

DatumShape = Callable[[Message], Tuple[int, int, int]]
Outcomes = Dict[Tuple[Optional[int], Shapes], Outcome]  # what a layer at a place in the file makes of these bottoms


class LayerShape(NamedTuple):
    """One layer of a net in one phase; `multiply_adds` of one forward pass of the batch."""

    name: str
    type: str
    bottoms: Dict[str, Shape]
    tops: Dict[str, Shape]
    params: Tuple[Shape, ...]
    multiply_adds: int


class NetShape(NamedTuple):
    """A net in one phase, with the Split layers that Caffe adds.

    `learnable` is what Caffe calls so: the parameters that a solver holds, batch norm's statistics among them.
    `memory` is in bytes and as in Caffe's log line "Memory required for data": the tops of all layers, in-place ones
    again, without gradients, parameters and work space.
    """

    blobs: Dict[str, Shape]
    layers: Tuple[LayerShape, ...]
    learnable: Tuple[Parameter, ...]
    memory: int

    @property
    def parameters(self) -> int:
        """Numbers that a solver holds, shared ones once."""
        return sum(prod(parameter.shape) for parameter in self.learnable)

    @property
    def multiply_adds(self) -> int:
        """Of convolutions and inner products, one forward pass of the batch; training costs about three times that."""
        return sum(layer.multiply_adds for layer in self.layers)


def infer(net: Message, phase: str, datum_shape: DatumShape, level: int = 0, stages: Iterable[str] = (),
          cpu: bool = False) -> NetShape:
    """The shapes of a NetParameter in phase "TRAIN" or "TEST"; `datum_shape` tells C, H, W of a Data layer's records.

    Files that a net names (databases, means, images) are not looked at, and the engine that a layer asks for only with
    `cpu`, for a net that is to run there. Phase TRAIN is taken to train: a layer whose gradient is nonsense in place is
    refused where that gradient is wanted.
    """
    return shapes_of(layers_of_phase(net, phase, level, stages), phase, datum_shape, cpu, {})


def shapes_of(layers_in_phase: List[Wired], phase: str, datum_shape: DatumShape, cpu: bool, met: Outcomes) -> NetShape:
    """The same of a phase's layers. `met`: what was worked out of this net in another phase; it is added to."""
    blobs: Dict[str, Shape] = {}
    layers: List[LayerShape] = []
    parameters = Parameters()
    wired_layers = insert_splits(layers_in_phase)
    for wired in wired_layers:
        try:
            if cpu:
                refuse_cudnn(wired.layer)
            layer = _layer_shape(wired, blobs, datum_shape, met)
            parameters.add(wired.layer, layer.params)
        except LayerError as error:
            bottoms = {name: blobs[name] for name in wired.bottoms}
            raise type(error)(with_bottoms(error.reason, bottoms), wired.layer.name, wired.place) from None
        blobs.update(layer.tops)
        layers.append(layer)
    if phase == "TRAIN":
        _check_gradients(wired_layers, layers)
    memory = FLOAT_BYTES * sum(prod(shape) for layer in layers for shape in layer.tops.values())
    return NetShape(blobs, tuple(layers), tuple(parameters.held), memory)


def _layer_shape(wired: Wired, blobs: Dict[str, Shape], datum_shape: DatumShape, met: Outcomes) -> LayerShape:
    layer = wired.layer
    rule = LAYERS.get(layer.type)
    if rule is None:
        raise ImpossibleNet(unknown_type(layer.type, LAYERS))
    tops = check_wiring(wired, rule, blobs)
    bottoms = {name: blobs[name] for name in wired.bottoms}
    shapes = tuple(bottoms.values())
    key = wired.place, (datum_shape(layer),) if layer.type == "Data" else shapes
    outcome = met.get(key) if wired.place is not None else None
    if outcome is None:
        outcome = met[key] = rule.shapes(key[1], layer)
        for name, shape in zip(tops, outcome.tops):
            check_size(shape, f"top '{name}'")
        for shape in outcome.params:
            check_size(shape, "a parameter")
        check_size_in_place(wired, shapes, outcome.tops)
    made = dict(zip(tops, outcome.tops))
    return LayerShape(layer.name, layer.type, bottoms, made, outcome.params, outcome.multiply_adds)


def check_wiring(wired: Wired, rule: Rule, blobs: Container[str]) -> Tuple[str, ...]:
    """The names of the tops, once they and the bottoms are known to fit the rule and the `blobs` before.

    `Layer::CheckBlobCounts`, `Net::AppendTop`; and in place nothing that Caffe computes as nonsense.
    """
    layer, tops = wired.layer, wired.tops or ((AUTOMATIC,) if rule.loss else ())
    for what, names, allowed in (("bottoms", wired.bottoms, rule.bottoms), ("tops", tops, rule.tops)):
        if len(names) not in allowed:
            raise ImpossibleNet(f"{layer.type} takes {_words(allowed)} {what}, not {len(names)}")
    for index, top in enumerate(wired.tops):
        if wired.bottoms[index:index + 1] == (top,):
            if rule.is_in_place(layer) is InPlace.NONSENSE:
                raise ImpossibleNet(f"{layer.type} does not work in place: its top must not be its bottom '{top}'")
        elif top in blobs or top in wired.tops[:index]:
            raise ImpossibleNet(f"top '{top}' exists already")
    if len(layer.propagate_down) not in (0, len(wired.bottoms)):
        raise ImpossibleNet(f"{len(layer.propagate_down)} propagate_down for {len(wired.bottoms)} bottoms")
    loss_weights = len(wired.loss_weights) or (1 if rule.loss else 0)
    if loss_weights not in (0, len(tops)):
        raise ImpossibleNet(f"loss_weight is given {loss_weights} times for {len(tops)} tops")
    return tops


def check_size_in_place(wired: Wired, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> None:
    """Refuse a layer that works in place and changes the size."""
    for name, before, top, after in zip(wired.bottoms, bottoms, wired.tops, tops):
        if name == top and prod(after) != prod(before):
            raise ImpossibleNet(f"works in place on '{name}', but makes {text(after)} of {text(before)}")


def loses_gradient(wired: Wired) -> bool:
    """Whether the layer works in place, and its gradient would be nonsense there."""
    return bool(wired.in_place) and LAYERS[wired.layer.type].is_in_place(wired.layer) is InPlace.NOT_ITS_GRADIENT


def lost_gradient(type_: str) -> str:
    """Why a backward pass of such a layer is refused."""
    return f"in place, Caffe's {type_} overwrites what its gradient is made of: give its top a name of its own"


def _check_gradients(wired_layers: Sequence[Wired], layers: Sequence[LayerShape]) -> None:
    if not any(map(loses_gradient, wired_layers)):
        return
    learns = [any(wired.learned(len(layer.params))) for wired, layer in zip(wired_layers, layers)]
    for wired, learned, backward in zip(wired_layers, learns, backward_of(wired_layers, learns)):
        if loses_gradient(wired) and backward.runs and (learned or any(backward.wanted)):
            raise ImpossibleNet(lost_gradient(wired.layer.type), wired.layer.name, wired.place)


def _words(allowed: range) -> str:
    """`2`, `1 to 2`, `at least 1`."""
    low, high = allowed[0], allowed[-1]
    if low == high:
        return str(low)
    return f"{low} to {high}" if high < 100 else f"at least {low}"


@contextmanager
def located(net: Document) -> Iterator[None]:
    """Within it, errors of layers say where in the net's file they are."""
    try:
        yield
    except LayerError as error:
        field = "layers" if len(net.message.layers) else "layer"  # of old nets, or of today's
        error.where = f"{net.file}:{net.line(() if error.place is None else (field, error.place))}"
        raise


def with_bottoms(reason: str, bottoms: Dict[str, Shape]) -> str:
    """The reason of an error, and the shapes of the layer's bottoms."""
    if not bottoms:
        return reason
    return f"{reason} (bottoms: {', '.join(f'{name} {text(shape)}' for name, shape in bottoms.items())})"
