"""The numbers of a net and of a solver that a search may vary: a gene for each, with a range around its value.

    kernels     kernel_size of convolutions larger than 1x1; one that keeps the image's size goes on keeping it
    filters     num_output of convolutions, in multiples of their groups
    units       num_output of inner products
    dropout     dropout_ratio
    base_lr, weight_decay, momentum

Layers that give out classes, or whatever a loss compares, keep their num_output.
"""
from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import gcd
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Set, Tuple, Union

from menndl_caffe.genome import IntGene, RealGene, Value
from menndl_caffe.nets.prototxt import Document, PathOf
from menndl_caffe.nets.solver_rules import WITHOUT_MOMENTUM
from menndl_caffe.nets.upgrade import places, upgrade_net, upgrade_solver
from menndl_caffe.nets.wiring import layers_of_phase, outputs

KINDS = ("kernels", "filters", "units", "dropout", "base_lr", "weight_decay", "momentum")
# Layers whose own setting says how many channels they give out.
WITH_OUTPUTS = ("Convolution", "Deconvolution", "InnerProduct", "Embed", "RNN", "LSTM")
AROUND = 4  # by which a kernel may be smaller or larger
VALUES = 8  # so many steps are between no filters and those of the net


class Place(NamedTuple):
    """A number of a text that follows a gene: it is the gene; or with `times` a padding, times x (gene // 2)."""

    path: PathOf
    times: int = 0

    def expression(self, name: str) -> str:
        """As a template says it, for the gene of this name."""
        half = f"{name} // 2"
        return name if not self.times else half if self.times == 1 else f"{self.times} * ({half})"

    def value(self, gene: Value) -> Value:
        """The number for this value of the gene."""
        return self.times * (int(gene) // 2) if self.times else gene


@dataclass(frozen=True)
class Proposal:
    """A gene, which of KINDS it is, where it comes from, and the numbers that follow it."""

    gene: Union[IntGene, RealGene]
    kind: str
    origin: str
    places: Tuple[Place, ...]


def genes_of_net(net: Document) -> Tuple[List[Proposal], List[str]]:
    """The proposals for a net that is no V0 one, in its order, and what is to be said of those that are not made.

    Layers of one name in two phases, and layers that share a parameter, have their genes in common. ImpossibleNet for
    what cannot be upgraded or wired.
    """
    upgraded = upgrade_net(net.message)
    field = "layers" if len(net.message.layers) else "layer"
    names, fixed, multiple = _Names(), _compared(net.message), _all_groups(upgraded.layer)
    found: Dict[str, Proposal] = {}
    remarks: Dict[str, str] = {}
    for place, layer in zip(places(net.message, upgraded), upgraded.layer):
        if place is None:  # an Input layer that stands nowhere
            continue
        for proposal in _of_layer(layer, (field, place), names.of(layer), multiple, layer.name in fixed):
            name = proposal.gene.name
            before = found.setdefault(name, proposal)
            if before.gene != proposal.gene:
                remarks[name] = (f"no gene {name}: {before.origin}, but {proposal.origin}, which shares its name "
                                 "or its weights")
            elif before is not proposal:
                found[name] = replace(before, places=before.places + proposal.places)
    return [proposal for name, proposal in found.items() if name not in remarks], list(remarks.values())


def genes_of_solver(solver: Document) -> Iterator[Proposal]:
    """Those of the numbers that it states and that may be varied."""
    param = upgrade_solver(solver.message)
    for name in ("base_lr", "weight_decay"):
        value = _short(getattr(param, name))
        if value > 0 and solver.span((name,)):
            gene = RealGene(name, _short(value / 100), _short(value * 10), True, value)
            yield Proposal(gene, name, f"the solver's {name}", (Place((name,)),))
    momentum = _short(param.momentum)
    if solver.span(("momentum",)) and 0 <= momentum < 1 and param.type not in WITHOUT_MOMENTUM:
        gene = RealGene("momentum", min(0.5, momentum), max(0.99, momentum), False, momentum)
        yield Proposal(gene, "momentum", "the solver's momentum", (Place(("momentum",)),))


def _short(value: float) -> float:
    """As it was written, but for what follows after six digits; a message has 32 bits of it."""
    return float(f"{value:.6g}")


class _Names:
    """Of layers in genes: what of their own is a word, another for each."""

    def __init__(self) -> None:
        self._names: Dict[str, str] = {}
        self._sharing: Dict[str, str] = {}  # of a parameter: the first layer that has it

    def of(self, layer: Any) -> str:
        """The name of a layer, or of the first that shares a parameter with it."""
        shared = [self._sharing.setdefault(spec.name, layer.name) for spec in layer.param if spec.name]
        key = shared[0] if shared else layer.name
        if key not in self._names:
            word = re.sub(r"\W+", "_", key, flags=re.ASCII).strip("_")
            word = word if re.match(r"[A-Za-z_]", word) else f"layer_{word}"
            taken, number = set(self._names.values()), 2
            while word in taken:
                word, number = f"{word}_{number}", number + 1
            self._names[key] = word
        return self._names[key]


def _all_groups(layers: Iterable[Any]) -> int:
    """What all groups of a net divide, but for those of one channel a group."""
    multiple = 1
    for layer in layers:
        group = layer.convolution_param.group
        if group != layer.convolution_param.num_output:
            multiple = _common(multiple, group)
    return multiple


def _common(one: int, other: int) -> int:
    """The least common multiple."""
    return one * other // gcd(one, other)


def _of_layer(layer: Any, at: PathOf, name: str, multiple: int, is_fixed: bool) -> Iterator[Proposal]:
    if layer.type == "Convolution":
        yield from _of_kernel(layer, at, name)
        if not is_fixed:
            yield from _of_filters(layer, at, name, multiple)
    elif layer.type == "InnerProduct" and not is_fixed:
        units = layer.inner_product_param.num_output
        yield _counted(layer, (*at, "inner_product_param", "num_output"), f"{name}_units", "units", units, 1)
    elif layer.type == "Dropout" and layer.dropout_param.HasField("dropout_ratio"):
        ratio = _short(layer.dropout_param.dropout_ratio)
        if 0 < ratio < 1:
            gene = RealGene(f"{name}_dropout", min(0.1, ratio), max(0.8, ratio), False, ratio)
            yield Proposal(gene, "dropout", f"layer {layer.name}: dropout_ratio {ratio:g}",
                           (Place((*at, "dropout_param", "dropout_ratio")),))


def _of_kernel(layer: Any, at: PathOf, name: str) -> Iterator[Proposal]:
    param = layer.convolution_param
    if len(param.kernel_size) != 1 or param.kernel_size[0] < 2 or len(param.pad) > 1 or len(param.dilation) > 1:
        return
    size, dilation = param.kernel_size[0], (*param.dilation, 1)[0]
    place, said = Place((*at, "convolution_param", "kernel_size", 0)), f"layer {layer.name}: kernel_size {size}"
    low, high = max(1, size - AROUND), size + AROUND
    if size % 2 and list(param.pad) == [dilation * (size // 2)]:
        odd = IntGene(f"{name}_kernel", low, high, 2, size)
        pad = Place((*at, "convolution_param", "pad", 0), dilation)
        yield Proposal(odd, "kernels", f"{said}, its pad follows so that images keep their size", (place, pad))
    else:
        yield Proposal(IntGene(f"{name}_kernel", low, high, 1, size), "kernels", said, (place,))


def _of_filters(layer: Any, at: PathOf, name: str, multiple: int) -> Iterator[Proposal]:
    """None where there is a group for each: they follow the layer below."""
    param = layer.convolution_param
    filters, group = param.num_output, param.group
    if group == 1 or group < filters:
        common = _common(multiple, group)
        step = common if filters % common == 0 and common <= filters // 2 else group
        path = (*at, "convolution_param", "num_output")
        yield _counted(layer, path, f"{name}_filters", "filters", filters, step)


def _counted(layer: Any, path: PathOf, name: str, kind: str, count: int, multiple: int) -> Proposal:
    """A quarter to twice as many."""
    step = multiple * max(1, count // multiple // VALUES)
    low = count - (count - max(multiple, count // 4)) // step * step
    said = f"layer {layer.name}: num_output {count}" + f", in multiples of {multiple}" * (multiple > 1)
    return Proposal(IntGene(name, low, count + count // step * step, step, count), kind, said, (Place(path),))


def _compared(net: Any) -> Set[str]:
    """The layers whose outputs reach a loss, an accuracy or an output of the net in either phase, with no layer between
    that has outputs of its own."""
    return {name for phase in ("TRAIN", "TEST") for name in _last(layers_of_phase(net, phase, 0, ()))}


def _last(layers: Sequence[Any]) -> Iterator[str]:
    wanted = set(outputs(layers))
    for wired in reversed(layers):
        if not (wanted.intersection(wired.tops) or any(wired.loss_weights) or not wired.tops):
            continue
        wanted -= set(wired.tops) - set(wired.bottoms)
        if wired.layer.type in WITH_OUTPUTS:
            yield wired.layer.name
        else:
            wanted.update(wired.bottoms)
