"""From a NetParameter to layers that are wired, set up, and know who needs gradients: `Net::Init` (`net.cpp`)."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import torch

from menndl_caffe.errors import did_you_mean
from menndl_caffe.nets.layer_rules import LAYERS
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, LayerError, refuse_cudnn
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.shapes import (
    AUTOMATIC,
    check_size_in_place,
    check_wiring,
    loses_gradient,
    lost_gradient,
    with_bottoms,
)
from menndl_caffe.nets.upgrade import upgrade_net
from menndl_caffe.nets.wiring import Parameters, Wired, backward_of, insert_splits, layers_of_phase
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.layer import Layer, make_layer
from menndl_caffe.torchcaffe.log import log


@dataclass
class Node:
    """A layer with its blobs, and the numbers of these in `Graph.blobs`.

    `propagate_down[i]` says whether the gradient of bottom i is wanted, `needs_backward` whether any gradient is, and
    `loses_gradient` whether it is nonsense.
    """

    layer: Layer
    bottom_ids: List[int]
    top_ids: List[int]
    bottom: List[Blob]
    top: List[Blob]
    loss_weights: List[float]
    loses_gradient: bool
    propagate_down: List[bool] = field(default_factory=list)
    needs_backward: bool = False

    @property
    def name(self) -> str:
        """The layer's name."""
        return str(self.layer.param.name)

    def forward(self) -> List[torch.Tensor]:
        """Run the layer; its losses times their weights, scalars."""
        self.layer.reshape_if_needed(self.bottom, self.top)
        self.layer.forward(self.bottom, self.top)
        if not self.loss_weights:
            return []
        return [weighted(blob) for blob, weight in zip(self.top, self.loss_weights) if weight]

    def backward(self) -> None:
        """Compute the gradients that are wanted; ImpossibleNet where Caffe's would be nonsense."""
        if self.needs_backward:
            if self.loses_gradient and any(self.propagate_down + self.layer.propagates_to):
                raise ImpossibleNet(lost_gradient(self.layer.type), self.name)
            self.layer.backward(self.top, self.propagate_down, self.bottom)


@dataclass
class Learnable:
    """A parameter that a solver learns, and its rates: `layers` (and index there) of all that share it, owner first."""

    blob: Blob
    lr_mult: float
    decay_mult: float
    layers: List[Tuple[str, int]]


@dataclass
class Graph:
    """A net's layers in order, its blobs with their names and loss weights, and its learnable parameters."""

    nodes: List[Node] = field(default_factory=list)
    blobs: List[Blob] = field(default_factory=list)
    blob_names: List[str] = field(default_factory=list)
    loss_weights: List[float] = field(default_factory=list)
    learnable: List[Learnable] = field(default_factory=list)
    available: Dict[str, int] = field(default_factory=dict)  # tops that no layer has read yet, in order: the outputs


def build(net: Any, phase: int, level: int = 0, stages: Iterable[str] = ()) -> Graph:
    """The net in `phase`; ImpossibleNet, with layer and reason, where Caffe would abort."""
    graph = _Builder()
    wired_layers = insert_splits(layers_of_phase(upgrade_net(net), caffe_pb2.Phase.Name(phase), level, stages))
    for wired in wired_layers:
        graph.add(wired, phase)
    learns = [any(node.layer.propagates_to) for node in graph.nodes]
    for node, (runs, wanted) in zip(graph.nodes, backward_of(wired_layers, learns)):
        node.needs_backward, node.propagate_down = runs, wanted
    if net.force_backward:
        _force_backward(graph.nodes)
    return graph


class _Builder(Graph):
    """Adds one layer after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._latest: Dict[str, int] = {}
        self._parameters = Parameters()
        self._shared: Dict[str, Learnable] = {}

    def add(self, wired: Wired, phase: int) -> None:
        """Make, check and set up a layer; its blobs and parameters join the graph's."""
        param = layer_parameter(wired, phase)
        try:
            if mode.device().type == "cpu":
                refuse_cudnn(param)
            if param.type in LAYERS:
                check_wiring(wired, LAYERS[param.type], self._latest)
            node = self._node(make_layer(param), wired)
            before = [blob.shape for blob in node.bottom]
            node.layer.setup(node.bottom, node.top)
            node.layer.reshape(node.bottom, node.top)
            check_size_in_place(wired, before, [blob.shape for blob in node.top])
            self._add_parameters(node, wired)
        except LayerError as error:
            shapes = {name: self.blobs[self._latest[name]].shape for name in wired.bottoms}
            raise type(error)(with_bottoms(error.reason, shapes), param.name, wired.place) from None
        self._set_loss_weights(node)
        self.nodes.append(node)

    def _node(self, layer: Layer, wired: Wired) -> Node:
        bottoms, tops = list(layer.param.bottom), list(layer.param.top)
        bottom_ids = [self._latest[name] for name in bottoms]
        for name in bottoms:
            self.available.pop(name, None)
        top_ids = [self._top(name, bottoms[index:index + 1] == [name]) for index, name in enumerate(tops)]
        if not tops and layer.rule.loss:
            top_ids = [self._new_blob(AUTOMATIC)]  # not an output of the net
        return Node(layer, bottom_ids, top_ids, [self.blobs[i] for i in bottom_ids], [self.blobs[i] for i in top_ids],
                    list(layer.param.loss_weight), loses_gradient(wired))

    def _top(self, name: str, in_place: bool) -> int:
        """The number of the top's blob: its bottom's where the layer works in place."""
        if not in_place:
            self._latest[name] = self._new_blob(name)
        index = self._latest[name]
        self.available[name] = index
        return index

    def _new_blob(self, name: str) -> int:
        self.blobs.append(Blob())
        self.blob_names.append(name)
        self.loss_weights.append(0.0)
        return len(self.blobs) - 1

    def _set_loss_weights(self, node: Node) -> None:
        """Caffe keeps the loss weight in the loss's gradient, where backward finds it (`Layer::SetLossWeights`)."""
        weights = node.loss_weights or [0.0] * len(node.top)  # of a blob that is changed in place, the last one counts
        for blob, index, weight in zip(node.top, node.top_ids, weights):
            self.loss_weights[index] = weight
            if weight:
                blob.grad.fill_(weight)

    def _add_parameters(self, node: Node, wired: Wired) -> None:
        layer = node.layer
        layer.propagates_to = wired.learned(len(layer.blobs))
        specs = list(layer.param.param)
        self._parameters.add(layer.param, tuple(blob.shape for blob in layer.blobs))
        for index, blob in enumerate(layer.blobs):
            spec = specs[index] if index < len(specs) else caffe_pb2.ParamSpec()
            learnable = self._shared.get(spec.name) if spec.name else None
            if learnable is None:
                learnable = Learnable(blob, spec.lr_mult, spec.decay_mult, [])
                self.learnable.append(learnable)
                if spec.name:
                    self._shared[spec.name] = learnable
            else:
                _share(learnable, layer, index, spec)
            learnable.layers.append((layer.param.name, index))


def total(losses: Sequence[torch.Tensor]) -> torch.Tensor:
    """The loss of a pass, a scalar: these scalars added one after the other, as Caffe does."""
    return sum(losses[1:], losses[0]) if losses else torch.zeros(())


def weighted(loss: Blob) -> torch.Tensor:
    """A loss times its weight, which its gradient holds; of one with several numbers, the sum."""
    product = loss.value * loss.grad
    return product.sum() if loss.shape else product


def layer_parameter(wired: Wired, phase: int) -> Any:
    """The layer's message as Caffe holds it: with split blobs' names, the phase, and a loss's weight."""
    param = caffe_pb2.LayerParameter()
    param.CopyFrom(wired.layer)
    for field_name, values in (("bottom", wired.bottoms), ("top", wired.tops), ("loss_weight", wired.loss_weights)):
        param.ClearField(field_name)
        getattr(param, field_name).extend(values)
    if not param.HasField("phase"):
        param.phase = phase
    rule = LAYERS.get(param.type)
    if rule is not None and rule.loss and not wired.loss_weights:
        param.loss_weight.append(1)
    return param


def _share(learnable: Learnable, layer: Layer, index: int, spec: Any) -> None:
    """Parameters of one name are one: numbers and gradients, and the rates that any of them states."""
    blob = layer.blobs[index]
    if blob.shape == learnable.blob.shape:
        layer.blobs[index] = learnable.blob
    else:  # share_mode PERMISSIVE: as many numbers in another shape
        blob.share(learnable.blob)
    if spec.HasField("lr_mult"):
        learnable.lr_mult = spec.lr_mult
    if spec.HasField("decay_mult"):
        learnable.decay_mult = spec.decay_mult


def _force_backward(nodes: List[Node]) -> None:
    for node in nodes:
        node.needs_backward = True
        node.layer.propagates_to = [True] * len(node.layer.blobs)
        node.propagate_down = [wanted or node.layer.allows_force_backward(index)
                               for index, wanted in enumerate(node.propagate_down)]


def find_layer(nodes: List[Node], name: Optional[str], default: int) -> int:
    """Place of the layer of this name; ValueError, with near names, where there is none."""
    if name is None:
        return default
    names = [node.name for node in nodes]
    if name not in names:
        raise ValueError(f"no layer '{name}' in this net{did_you_mean(name, names)}")
    return names.index(name)


def log_shapes(graph: Graph) -> None:
    """Caffe's last lines about a new net."""
    for name in sorted(graph.available):
        log(f"This network produces output {name}", source="net.cpp:242")
    log("Network initialization done.", source="net.cpp:255")
