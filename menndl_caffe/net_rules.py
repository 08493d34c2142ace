"""Caffe's rules for a net as a whole: which layers a phase has, where Split layers come in, which parameters are shared.

Sources: `net.cpp` (FilterNet, StateMeetsRule, AppendParam), `insert_splits.cpp`, `upgrade_proto.cpp`.
"""
from __future__ import annotations

from collections import Counter
from math import prod
from typing import Collection, Dict, Iterable, List, NamedTuple, Optional, Tuple

from menndl_caffe.errors import did_you_mean
from menndl_caffe.layer_rules.blob import ImpossibleNet, Message, Shape, Shapes, UnknownShape, text
from menndl_caffe.proto import caffe_pb2

PHASES = {"TRAIN": caffe_pb2.TRAIN, "TEST": caffe_pb2.TEST}


class Placed(NamedTuple):
    """A layer and its place in `net.layer` (None for one that Caffe adds)."""

    layer: Message
    index: Optional[int]


class Wired(NamedTuple):
    """A layer with the blobs that it really reads and writes once Split layers are in."""

    layer: Message
    index: Optional[int]
    bottoms: Tuple[str, ...]
    tops: Tuple[str, ...]
    loss_weights: int


def layers_of_phase(net: Message, phase: str, level: int, stages: Iterable[str]) -> List[Placed]:
    """The layers that the phase includes, old `input` fields first (as `Net`'s constructor with phase, level, stages)."""
    if len(net.layers):
        raise UnknownShape("the net is in the format of before Caffe 1.0 (`layers`): upgrade_net_proto_text converts it")
    state = PHASES[phase], level, {*stages, *net.state.stage}
    placed = [Placed(layer, None) for layer in _input_layer(net)]
    return placed + [Placed(layer, i) for i, layer in enumerate(net.layer) if _is_included(layer, i, *state)]


def insert_splits(placed: List[Placed]) -> List[Wired]:
    """A top that is read n > 1 times (being a loss counts as one) goes through a Split layer with n tops of its own."""
    sources, uses, weighted = _uses(placed)
    wired: List[Wired] = []
    taken: Counter = Counter(top for top in weighted if uses[top] > 1)  # a loss takes the first of its split's tops
    for place, (layer, index) in enumerate(placed):
        bottoms = []
        for name, source in zip(layer.bottom, sources[place]):
            if uses[source] > 1:
                bottoms.append(_split_top(placed, source, name, taken[source]))
                taken[source] += 1
            else:
                bottoms.append(name)
        tops = tuple(layer.top)
        split = [(place, j) for j in range(len(tops)) if uses[place, j] > 1]
        loss_weights = 0 if any(top in weighted for top in split) else len(layer.loss_weight)
        wired.append(Wired(layer, index, tuple(bottoms), tops, loss_weights))
        wired += [_split_layer(placed, top, tops[top[1]], uses[top]) for top in split]
    return wired


class Parameters:
    """The learnable parameters met so far; those of one `ParamSpec.name` are one."""

    def __init__(self) -> None:
        self.count = 0
        self._owners: Dict[str, _Owner] = {}

    def add(self, layer: Message, shapes: Shapes) -> None:
        specs = layer.param
        if len(specs) > len(shapes):
            raise ImpossibleNet(f"has {len(specs)} param blocks for {len(shapes)} parameters")
        names = [spec.name for spec in specs]
        for index, shape in enumerate(shapes):
            name = names[index] if index < len(names) else ""
            owner = self._owners.get(name)
            if owner is not None:
                owner.share(specs[index], shape)
                continue
            self.count += prod(shape)
            if name:
                self._owners[name] = _Owner(layer.name, specs[index], shape)


class _Owner:
    """The layer whose parameter others share, and the rates that one of them has stated."""

    def __init__(self, layer: str, spec: Message, shape: Shape) -> None:
        self.layer, self.shape = layer, shape
        self.rates = {rate: getattr(spec, rate) for rate in ("lr_mult", "decay_mult") if spec.HasField(rate)}

    def share(self, spec: Message, shape: Shape) -> None:
        permissive = spec.share_mode == caffe_pb2.ParamSpec.PERMISSIVE
        if prod(shape) != prod(self.shape) if permissive else shape != self.shape:
            raise ImpossibleNet(f"parameter '{spec.name}' of shape {text(shape)} cannot be shared with layer {self.layer}, "
                                f"where it has shape {text(self.shape)}")
        for rate in ("lr_mult", "decay_mult"):
            if spec.HasField(rate) and self.rates.setdefault(rate, getattr(spec, rate)) != getattr(spec, rate):
                raise ImpossibleNet(f"shared parameter '{spec.name}' has {rate} {getattr(spec, rate):g} here and "
                                    f"{self.rates[rate]:g} before")


def _input_layer(net: Message) -> List[Message]:
    """The Input layer that Caffe makes of `input` with `input_shape` or `input_dim` (four for each)."""
    if not len(net.input) or not (len(net.input_shape) or len(net.input_dim)):
        return []
    layer = caffe_pb2.LayerParameter(name="input", type="Input", top=net.input)
    dims = [list(shape.dim) for shape in net.input_shape]
    dims = dims or [net.input_dim[i:i + 4] for i in range(0, len(net.input_dim) - 3, 4)]
    if len(dims) < len(net.input):
        raise ImpossibleNet(f"{len(net.input)} input fields, but shapes (input_shape, or four input_dim each) of {len(dims)}")
    for dim in dims[:len(net.input)]:
        layer.input_param.shape.add(dim=dim)
    return [layer]


def _is_included(layer: Message, index: int, phase: int, level: int, stages: Collection[str]) -> bool:
    include, exclude = layer.include, layer.exclude
    if len(include) and len(exclude):
        raise ImpossibleNet("has include and exclude rules: one kind only", layer.name, index)
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


Top = Tuple[int, int]  # place of a layer in the phase, and of one of its tops


def _uses(placed: List[Placed]) -> Tuple[List[List[Top]], Counter, Dict[Top, float]]:
    """The top that each bottom of each layer reads, how often each top is read, and the weights of those that are losses."""
    latest: Dict[str, Top] = {}
    sources: List[List[Top]] = []
    uses: Counter = Counter()
    weighted: Dict[Top, float] = {}
    for place, (layer, index) in enumerate(placed):
        for name in layer.bottom:
            if name not in latest:
                raise ImpossibleNet(f"unknown bottom '{name}'{did_you_mean(name, latest)}", layer.name, index)
        sources.append([latest[name] for name in layer.bottom])
        uses.update(sources[-1])
        latest.update((name, (place, j)) for j, name in enumerate(layer.top))
        for name, weight in zip(layer.top, layer.loss_weight):
            if weight:
                weighted[latest[name]] = weight
                uses[latest[name]] += 1
    return sources, uses, weighted


def _split_name(placed: List[Placed], top: Top, blob: str) -> str:
    return f"{blob}_{placed[top[0]].layer.name}_{top[1]}_split"


def _split_top(placed: List[Placed], top: Top, blob: str, index: int) -> str:
    return f"{_split_name(placed, top, blob)}_{index}"


def _split_layer(placed: List[Placed], top: Top, blob: str, times: int) -> Wired:
    tops = tuple(_split_top(placed, top, blob, index) for index in range(times))
    layer = caffe_pb2.LayerParameter(name=_split_name(placed, top, blob), type="Split", bottom=[blob], top=tops)
    return Wired(layer, None, (blob,), tops, 0)
