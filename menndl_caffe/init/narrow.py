"""Ranges narrowed to what Caffe's shape rules allow, as far as the size of the images is known."""
from __future__ import annotations

from dataclasses import replace
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from menndl_caffe.genome import IntGene, Value
from menndl_caffe.init.genes import Proposal
from menndl_caffe.nets.prototxt import PathOf
from menndl_caffe.nets.shapes import DatumShape, ImpossibleNet, UnknownShape, infer


def narrowed(net: Any, proposals: Sequence[Proposal], image: DatumShape) -> Tuple[List[Proposal], List[str]]:
    """The proposals whose values near their default and at both ends make possible nets, each alone, and all kernels at
    their largest together; and what is said of those that have no such range.

    `image` tells C, H, W of what a Data layer reads. ImpossibleNet where the net itself is; UnknownShape where the
    shapes are not in its file.
    """
    for phase in ("TRAIN", "TEST"):
        infer(net, phase, image)
    kept, remarks = [], []
    for proposal in proposals:
        one, why = _alone(net, proposal, image)
        if one is None:
            remarks.append(f"no gene {proposal.gene.name} ({proposal.origin}): with another value, {why}")
        else:
            kept.append(one)
    return _together(net, kept, image), remarks


def _alone(net: Any, proposal: Proposal, image: DatumShape) -> Tuple[Optional[Proposal], str]:
    """With ends that are possible while all other genes are at their defaults; else None and the reason."""
    gene = proposal.gene
    if not isinstance(gene, IntGene):
        return proposal, ""

    def why_not(value: int) -> str:
        return _why_not(net, {proposal: value}, image)

    near = [value for value in (gene.default - gene.step, gene.default + gene.step)
            if gene.minimum <= value <= gene.maximum]
    reasons = [why_not(value) for value in near]
    if all(reasons):
        return None, reasons[0] if reasons else "it has no other"
    low, high = gene.minimum, gene.maximum
    while low < gene.default and why_not(low):
        low += gene.step
    while high > gene.default and why_not(high):
        high -= gene.step
    return replace(proposal, gene=replace(gene, minimum=low, maximum=high)), ""


def _together(net: Any, proposals: Sequence[Proposal], image: DatumShape) -> List[Proposal]:
    """With kernels that are possible when all are at their largest; a gene for which nothing is left is dropped."""
    kept = list(proposals)
    while True:
        kernels = {one: one.gene.maximum for one in kept if one.kind == "kernels" and isinstance(one.gene, IntGene)}
        if not _why_not(net, kernels, image):
            return [one for one in kept if one.gene.size > 1]
        kept = [_smaller(one) if one in kernels else one for one in kept]


def _smaller(proposal: Proposal) -> Proposal:
    gene = proposal.gene
    assert isinstance(gene, IntGene)
    return replace(proposal, gene=replace(gene, maximum=max(gene.default, gene.maximum - gene.step)))


def _why_not(net: Any, values: Mapping[Proposal, Value], image: DatumShape) -> str:
    """Why the net with these genes is impossible; nothing where it is not, or where that is not known."""
    changed = type(net)()
    changed.CopyFrom(net)
    for proposal, value in values.items():
        for place in proposal.places:
            _set(changed, place.path, place.value(value))
    try:
        infer(changed, "TRAIN", image)  # phase TEST has the same but for accuracies
    except ImpossibleNet as error:
        return str(error)
    except UnknownShape:
        pass
    return ""


def _set(message: Any, path: PathOf, value: Value) -> None:
    """Set the number at a path, `("layer", 2, "convolution_param", "pad", 0)`, that is there."""
    *way, last = path
    for step in way:
        message = message[step] if isinstance(step, int) else getattr(message, step)
    if isinstance(last, int):
        message[last] = value
    else:
        setattr(message, last, value)


def guessed(known: DatumShape) -> DatumShape:
    """The shape that is known of the images of a Data layer, else three channels of its crop_size; UnknownShape where
    it crops none."""
    def shape(layer: Any) -> Tuple[int, int, int]:
        try:
            return known(layer)
        except UnknownShape:
            size = layer.transform_param.crop_size
            if not size:
                raise
            return 3, size, size
    return shape
