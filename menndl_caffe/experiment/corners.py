"""The space of a search looked at before it is searched: its corners and random genomes, rendered and checked."""
from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from menndl_caffe.errors import UserError
from menndl_caffe.experiment.appraise import check, measures_of
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.experiment.solver_check import check_solver
from menndl_caffe.experiment.sources import Sources
from menndl_caffe.genome import Genome, SearchSpace
from menndl_caffe.nets.shapes import UnknownShape

LOWEST, HIGHEST = 0.0, 1.0  # ends of a gene's unit interval


class Named(NamedTuple):
    """A genome and what it is: `conv1_kernel=9`, `all genes at their largest`."""

    what: str
    genome: Genome


def corners(space: SearchSpace) -> Iterator[Named]:
    """Each gene at either end, the others at their defaults; and all genes at one end."""
    default = space.default.as_dict()
    for gene in space.genes:
        for end in (LOWEST, HIGHEST):
            value = gene.from_unit(end)
            if value != gene.default:
                yield Named(f"{gene.name}={value}", space.from_dict({**default, gene.name: value}))
    for end, what in ((LOWEST, "smallest (or first)"), (HIGHEST, "largest (or last)")):
        yield Named(f"all genes at their {what}", space.from_unit([end] * len(space.genes)))


def random_genomes(space: SearchSpace, count: int, seed: int) -> List[Genome]:
    """So many, uniform in the genes' own scales; the same for the same seed."""
    rng = np.random.RandomState(seed & 0xFFFFFFFF)
    return [space.from_unit(rng.random_sample(len(space.genes)).tolist()) for _ in range(count)]


@dataclass(frozen=True)
class Look:
    """What was seen of one genome: why it is impossible ("" where it is not), what its net measures as in
    appraise.measures, and the multiply-adds of a training batch's way forward (0: not known)."""

    genome: Genome
    why_not: str = ""
    measures: Mapping[str, float] = field(default_factory=dict)
    batch_cost: int = 0


def look(renderer: Renderer, where: Sources, genome: Genome) -> Look:
    """Render a genome, and check its solver and its net."""
    try:
        rendered = renderer.render(renderer.experiment.trial(0, genome), where)
        check_solver(rendered)
        net = check(rendered)
    except UserError as error:
        return Look(genome, str(error).split("\n")[0])
    except UnknownShape:
        return Look(genome)
    return Look(genome, measures=measures_of(net), batch_cost=net.multiply_adds)


class Reason(NamedTuple):
    """Why genomes are impossible, in the words of the first of them, and how many have a like reason."""

    words: str
    often: int
    example: Genome


def reasons(looks: Iterable[Look]) -> List[Reason]:
    """The most frequent first; alike are those that differ by numbers alone, but for layers' names."""
    counts: Dict[str, int] = Counter()
    first: Dict[str, Look] = {}
    for one in looks:
        if one.why_not:
            kind = _kind(one.why_not)
            counts[kind] += 1
            first.setdefault(kind, one)
    ordered = sorted(counts, key=lambda kind: (-counts[kind], kind))
    return [Reason(first[kind].why_not, counts[kind], first[kind].genome) for kind in ordered]


def _kind(reason: str) -> str:
    layer = re.search(r"layer (\S+):", reason)
    named, rest = (layer[1], reason[layer.end():]) if layer else ("", reason)
    return f"{named} {re.sub(r'[0-9][0-9.x]*', '#', rest)}"


def spread(looks: Sequence[Look], measure: str) -> Optional[Tuple[float, float]]:
    """The least and the most of a measure among those that are possible; None where none is known."""
    values = [one.measures[measure] for one in looks if measure in one.measures]
    return (min(values), max(values)) if values else None
