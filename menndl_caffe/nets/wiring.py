"""Caffe's rules for a net as a whole: the layers of a phase, Split layers, shared parameters, who needs a gradient.

Sources: `net.cpp` (FilterNet, StateMeetsRule, AppendParam, Init), `insert_splits.cpp`.
"""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Collection, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from menndl_caffe.nets.layer_rules import LAYERS
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, Message, Shape, Shapes, text, unknown_bottom
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.upgrade import places, upgrade_net

RATES = "lr_mult", "decay_mult"
SUM = caffe_pb2.ParamSpec(lr_mult=0)  # what Caffe states for a sum that a layer keeps
PHASES = {"TRAIN": caffe_pb2.TRAIN, "TEST": caffe_pb2.TEST}


class Wired(NamedTuple):
    """A layer, in today's format, with the blobs that it reads and writes.

    `place` is its index in the net's `layer` or `layers`, whichever the file has; None for one that Caffe adds.
    """

    layer: Message
    place: Optional[int]
    bottoms: Tuple[str, ...]
    tops: Tuple[str, ...]
    loss_weights: Tuple[float, ...]

    @property
    def in_place(self) -> List[str]:
        """The tops that are the bottoms of the same number: the layer works in place on them."""
        return [top for bottom, top in zip(self.bottoms, self.tops) if bottom == top]

    def learned(self, parameters: int) -> List[bool]:
        """Of which of its parameters Caffe wants the gradient: what the net does not state counts, BatchNorm's too."""
        stated = self.layer.param
        return [index >= len(stated) or stated[index].lr_mult != 0 for index in range(parameters)]


class Backward(NamedTuple):
    """Whether a backward pass runs a layer, and of which of its bottoms it wants the gradient."""

    runs: bool
    wanted: List[bool]


def layers_of_phase(net: Message, phase: str, level: int, stages: Iterable[str]) -> List[Wired]:
    """The layers that the phase includes, in today's format (as pycaffe's Net(file, phase, level, stages))."""
    upgraded = upgrade_net(net)
    state = PHASES[phase], level, {*stages, *upgraded.state.stage}
    placed = zip(upgraded.layer, places(net, upgraded))
    layers = [_wired(layer, place) for layer, place in placed if _is_included(layer, place, *state)]
    if not layers:
        raise ImpossibleNet(f"the net has no layer in phase {phase}")
    return layers


def outputs(layers: Iterable[Wired]) -> List[str]:
    """The blobs that no layer reads, in the order of their making: what pycaffe's Net.outputs lists (Net::Init)."""
    unread: Dict[str, None] = {}
    for wired in layers:
        for name in wired.bottoms:
            unread.pop(name, None)
        unread.update(dict.fromkeys(wired.tops))
    return list(unread)


def insert_splits(layers: List[Wired]) -> List[Wired]:
    """A top that is read n > 1 times (being a loss counts as one) goes through a Split layer with n tops of its own."""
    sources, uses, weighted = _uses(layers)
    names = {top: _split_name(layers[top[0]], top[1]) for top, times in uses.items() if times > 1}
    if not names:
        return layers
    taken = Counter(weighted)  # a loss takes the first top of its split
    wired: List[Wired] = []
    for i, layer in enumerate(layers):
        bottoms = list(layer.bottoms)
        for j, source in enumerate(sources[i]):
            if source in names:
                bottoms[j] = f"{names[source]}_{taken[source]}"
                taken[source] += 1
        split = [(i, j) for j in range(len(layer.tops)) if (i, j) in names]
        loss_weights = () if weighted.intersection(split) else layer.loss_weights
        wired.append(Wired(layer.layer, layer.place, tuple(bottoms), layer.tops, loss_weights))
        wired += [_split_layer(names[i, j], layer.tops[j], uses[i, j], layer.loss_weights[j:j + 1]) for i, j in split]
    return wired


def backward_of(layers: Sequence[Wired], learns: Sequence[bool]) -> List[Backward]:
    """What a backward pass does at each layer; `learns`: whether it has a parameter that is learned.

    It runs above what is learned, as far as that leads to a loss; propagate_down has the last word on a bottom.
    """
    backwards: List[Backward] = []
    needed: Set[str] = set()  # blobs above something that is learned
    for wired, learned in zip(layers, learns):
        below = [name in needed for name in wired.bottoms]
        backwards.append(Backward(learned or any(below), list(wired.layer.propagate_down) or below))
        if backwards[-1].runs:
            needed.update(wired.tops)
    under_loss: Set[str] = set()
    skipped: Set[str] = set()
    for index, (wired, (runs, _)) in reversed(list(enumerate(zip(layers, backwards)))):
        if not (_is_loss(wired) or under_loss.intersection(wired.tops)):
            backwards[index] = Backward(False, [False] * len(wired.bottoms))
        else:
            under_loss.update(wired.bottoms)
            if runs and wired.tops and skipped.issuperset(wired.tops):
                backwards[index] = Backward(False, [False] * len(wired.bottoms))
        skipped.update(name for name, wanted in zip(wired.bottoms, backwards[index].wanted) if not wanted)
    return backwards


def _is_loss(wired: Wired) -> bool:
    return any(wired.loss_weights) if wired.loss_weights else LAYERS[wired.layer.type].loss


@dataclass
class Parameter:
    """A parameter that a solver holds, one however many layers share it: the first of them, its index there, its rates.

    The rates are those that any of the layers states, which must not differ (`Net::AppendParam`).
    """

    layer: str
    index: int
    shape: Shape
    stated: Dict[str, float]  # of RATES

    @property
    def lr_mult(self) -> float:
        """Times the solver's rate it is the parameter's own; 0: it is not learned."""
        return float(self.stated.get("lr_mult", 1))

    @property
    def decay_mult(self) -> float:
        """Times the solver's weight_decay it is the parameter's own."""
        return float(self.stated.get("decay_mult", 1))

    def share(self, spec: Message, shape: Shape) -> None:
        """Let another layer share it, with what that states; ImpossibleNet where this does not fit."""
        permissive = spec.share_mode == caffe_pb2.ParamSpec.PERMISSIVE
        if prod(shape) != prod(self.shape) if permissive else shape != self.shape:
            raise ImpossibleNet(f"parameter '{spec.name}' has shape {text(shape)} here and {text(self.shape)} in layer "
                                f"{self.layer}, which shares it")
        for rate in RATES:
            if spec.HasField(rate) and self.stated.setdefault(rate, getattr(spec, rate)) != getattr(spec, rate):
                raise ImpossibleNet(f"shared parameter '{spec.name}' has {rate} {getattr(spec, rate):g} here and "
                                    f"{self.stated[rate]:g} before")


class Parameters:
    """The parameters met so far, `held` in Caffe's order; those of one `ParamSpec.name` are one."""

    def __init__(self) -> None:
        self.held: List[Parameter] = []
        self._named: Dict[str, Parameter] = {}

    def add(self, layer: Message, shapes: Shapes) -> None:
        """Take in a layer's parameters of these shapes, but for those that it shares with earlier layers."""
        if len(layer.param) > len(shapes):
            raise ImpossibleNet(f"has {len(layer.param)} param blocks for {len(shapes)} parameters")
        unstated = SUM if layer.type in LAYERS and LAYERS[layer.type].sums else caffe_pb2.ParamSpec()
        for index, shape in enumerate(shapes):
            spec = layer.param[index] if index < len(layer.param) else unstated
            if spec.name in self._named:
                self._named[spec.name].share(spec, shape)
                continue
            stated = {rate: getattr(spec, rate) for rate in RATES if spec.HasField(rate)}
            self.held.append(Parameter(layer.name, index, shape, stated))
            if spec.name:
                self._named[spec.name] = self.held[-1]


def _wired(layer: Message, place: Optional[int]) -> Wired:
    return Wired(layer, place, tuple(layer.bottom), tuple(layer.top), tuple(layer.loss_weight))


def _is_included(layer: Message, place: Optional[int], phase: int, level: int, stages: Collection[str]) -> bool:
    include, exclude = layer.include, layer.exclude
    if len(include) and len(exclude):
        raise ImpossibleNet("has include and exclude rules: one kind only", layer.name, place)
    if len(include):
        return any(_meets(rule, phase, level, stages) for rule in include)
    return not any(_meets(rule, phase, level, stages) for rule in exclude)


def _meets(rule: Message, phase: int, level: int, stages: Collection[str]) -> bool:
    return not (
        (rule.HasField("phase") and rule.phase != phase)
        or (rule.HasField("min_level") and level < rule.min_level)
        or (rule.HasField("max_level") and level > rule.max_level)
        or any(stage not in stages for stage in rule.stage)
        or any(stage in stages for stage in rule.not_stage)
    )


Top = Tuple[int, int]  # number of a layer among those of the phase, and of one of its tops


def _uses(layers: List[Wired]) -> Tuple[List[List[Top]], Dict[Top, int], Set[Top]]:
    """The tops that each layer's bottoms read, how often each top is read, and the tops with a loss_weight."""
    latest: Dict[str, Top] = {}
    sources: List[List[Top]] = []
    uses: Dict[Top, int] = Counter()
    weighted: Set[Top] = set()
    for i, (layer, place, bottoms, tops, loss_weights) in enumerate(layers):
        for bottom in bottoms:
            if bottom not in latest:
                raise ImpossibleNet(unknown_bottom(bottom, latest), layer.name, place)
        sources.append([latest[bottom] for bottom in bottoms])
        for source in sources[-1]:
            uses[source] += 1
        for j, top in enumerate(tops):
            latest[top] = (i, j)
        for top, weight in zip(tops, loss_weights):
            if weight:
                weighted.add(latest[top])
                uses[latest[top]] += 1
    return sources, uses, weighted


def _split_name(wired: Wired, top: int) -> str:
    return f"{wired.tops[top]}_{wired.layer.name}_{top}_split"


def _split_layer(name: str, blob: str, times: int, loss_weight: Tuple[float, ...]) -> Wired:
    """A Split layer; where the blob is a loss, its first top is the loss now."""
    tops = [f"{name}_{index}" for index in range(times)]
    loss_weights = (*loss_weight, *[0.0] * (times - 1)) if any(loss_weight) else ()
    split = caffe_pb2.LayerParameter(name=name, type="Split", bottom=[blob], top=tops, loss_weight=loss_weights)
    return _wired(split, None)
