"""The chain rule through the templates: of a gradient by the values that an individual's texts state, one by its genes.

| symbol | here | meaning |
|---|---|---|
| x | | a gene, or its natural logarithm where its scale is LOG |
| h | `step` | 0.01 of a logarithm, else near a thousandth of the gene's range, or of its value where that is more |
| s(x) | `stated` | the values that the texts state, see `stated` |
| E(s) | | validation loss; a training process, which knows no genes, gives dE/ds |
| dE/dx | `chain` | sum over s of dE/ds ds/dx |

ds/dx is a difference over five renderings, at x, x +- h/2 and x +- h, with an error of order h^4; the texts have all
digits of the shifted gene. Caffe holds its rates as float32. This makes an error of up to 4e-5 s where the gene is LOG,
else of 4e-4 s over the gene's range; but there h is a power of 2: of `momentum: {{ x }}` float32 mostly rounds all five
values alike, and the error falls out.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Collection, Dict, Iterator, List, Mapping, Sequence

from menndl_caffe.errors import UserError
from menndl_caffe.experiment.render import Rendered, Renderer
from menndl_caffe.experiment.sources import Sources
from menndl_caffe.genome import Gene, Genome, RealGene
from menndl_caffe.nets.shapes import ImpossibleNet, UnknownShape, located
from menndl_caffe.trial import Trial

DECAY, LR, MOMENTUM = "decay", "lr", "momentum"
KINDS = (DECAY, LR, MOMENTUM)  # of stated values: the first word of their names

LOG_STEP, LINEAR_STEP = 1e-2, 1e-3
KINK = 1e-3  # two one-sided quotients that differ by more of the slope are no derivative
ROUNDING = 2.0 ** -23  # of a product of two float32 numbers, relative
# What states them, in nets of today and of older Caffes and in solvers.
FIELDS = frozenset(("base_lr", "lr_mult", "blobs_lr", "momentum", "weight_decay", "decay_mult"))

Stated = Dict[str, float]


def stated(rendered: Rendered) -> Stated:
    """What the texts state of the training, by name, the parameters in Caffe's order:

    decay LAYER[I]   weight_decay * decay_mult of parameter I of this layer
    lr LAYER[I]      base_lr * lr_mult of it, what every lr_policy scales; as one value, as the decay is
    momentum         the solver's

    Of the training net's parameters that are learned (lr_mult is not 0); one that layers share is its first layer's.
    UserError where decays are not those of L2, where Caffe would refuse the net, where only Caffe knows its parameters,
    or where two layers of one name have some.
    """
    solver = rendered.solver.message
    if solver.regularization_type != "L2":
        raise rendered.solver.error(("regularization_type",), f"is {solver.regularization_type!r}; "
                                    "expected 'L2', for whose decay alone there are gradients")
    values: Stated = {}
    for parameter in _learnable(rendered):
        name = f"{parameter.layer}[{parameter.index}]"
        if f"{LR} {name}" in values:
            raise UserError(f"{rendered.net.file}: two layers are named {parameter.layer}; expected names of their own "
                            "for layers that learn")
        if parameter.lr_mult:
            values[f"{DECAY} {name}"] = solver.weight_decay * parameter.decay_mult
            values[f"{LR} {name}"] = solver.base_lr * parameter.lr_mult
    return {**values, MOMENTUM: solver.momentum}


def _learnable(rendered: Rendered) -> Sequence[Any]:
    try:
        with located(rendered.net):
            return rendered.shapes("TRAIN").learnable
    except (ImpossibleNet, UnknownShape) as error:
        raise UserError(str(error)) from None


@dataclass(frozen=True)
class Derivatives:
    """Gene -> name of a stated value that it moves -> d value / dx at one genome."""

    of: Mapping[str, Mapping[str, float]]

    def chain(self, gradient: Mapping[str, float]) -> Dict[str, float]:
        """Gene -> dE/dx, of dE/ds by the names of `stated`; KeyError where a gene moves one that is not given."""
        missing = {name for slopes in self.of.values() for name in slopes} - gradient.keys()
        if missing:
            raise KeyError(f"no derivative by {', '.join(sorted(missing))}, which genes move; "
                           f"there are {', '.join(sorted(gradient)) or 'none'}")
        return {gene: sum(gradient[name] * slope for name, slope in slopes.items())
                for gene, slopes in self.of.items()}


def derivatives(renderer: Renderer, trial: Trial, where: Sources, genes: Collection[str],
                allowed: Collection[str] = KINDS) -> Derivatives:
    """The derivatives of what the trial's texts state, by these genes; `allowed`: KINDS that a method has gradients by.

    UserError, with its line of the search file, for every gene that is no real_range, changes more than the KINDS or
    another than the allowed ones, or is at a kink; and as `stated`.
    """
    experiment = renderer.experiment
    around = _Neighbourhood(renderer, trial, where)
    of: Dict[str, Dict[str, float]] = {}
    wrong = []
    for i, gene in enumerate(experiment.space.genes):
        if gene.name in genes:
            try:
                of[gene.name] = around.slopes(gene, allowed)
            except _Refused as refused:
                wrong.append(str(experiment.document.error(("gene", i), f"{gene.name} {refused}")))
    if wrong:
        raise UserError("\n".join(wrong))
    return Derivatives(of)


class _Refused(ValueError):
    """A gene has no derivative; the text goes on where its name ends."""


class _Neighbourhood:
    """What the texts state at a trial's genome and at those beside it."""

    def __init__(self, renderer: Renderer, trial: Trial, where: Sources):
        self._renderer, self._trial, self._where = renderer, trial, where
        self._here = renderer.render(trial, where)
        self._stated = stated(self._here)

    def slopes(self, gene: Gene, allowed: Collection[str]) -> Dict[str, float]:
        """Of the stated values that the gene moves."""
        if not isinstance(gene, RealGene) or gene.size == 1:
            raise _Refused(f"is {gene.describe()}; expected a real_range, of more than one value, to differentiate by")
        value = float(self._trial.genome.as_dict()[gene.name])
        step = LOG_STEP if gene.log else _linear_step(max(gene.maximum - gene.minimum, abs(value)))
        points = [self._stated_at(gene, value, shift * step) for shift in (-1, -0.5, 0.5, 1)]
        points.insert(2, self._stated)
        slopes = {}
        for name in self._stated:
            values = [point[name] for point in points]
            if len(set(values)) > 1:
                if name.split(" ")[0] not in allowed:
                    raise _Refused(f"changes {name}; this method has gradients by {', '.join(allowed)} alone")
                slopes[name] = _slope(name, values, step)
        return slopes

    def _stated_at(self, gene: RealGene, value: float, shift: float) -> Stated:
        shifted = value * math.exp(shift) if gene.log else value + shift
        genome = _with(self._trial.genome, gene.name, shifted)
        try:
            there = self._renderer.render(replace(self._trial, genome=genome), self._where)
            changed = [*_other_changes(self._here.net.message, there.net.message),
                       *_other_changes(self._here.solver.message, there.solver.message)]
            if changed:
                raise _Refused(f"changes more than decays, learning rates and momentum: {', '.join(changed)}")
            values = stated(there)
        except UserError as error:
            raise _Refused(f"has no derivative at {value:g}: at {shifted:g} beside it: {error}") from None
        if values.keys() != self._stated.keys():
            raise _Refused(f"has no derivative at {value:g}: beside it other parameters are learned: "
                           f"{', '.join(sorted(values.keys() ^ self._stated.keys()))}")
        return values


def _with(genome: Genome, name: str, value: float) -> Genome:
    return Genome(genome.names, tuple({**genome.as_dict(), name: value}.values()))


def _linear_step(size: float) -> float:
    return 2.0 ** round(math.log2(LINEAR_STEP * size))


def _slope(name: str, values: Sequence[float], step: float) -> float:
    """The derivative at the middle of five values in steps of step / 2; _Refused where they do not lie on one curve."""
    a, b, c, d, e = values
    slope = (8 * (d - b) - (e - a)) / (6 * step)
    below, above = (3 * c - 4 * b + a) / step, (4 * d - 3 * c - e) / step
    noise = 11 * ROUNDING * max(map(abs, values)) / step  # the most that it can make of above - slope
    if max(abs(below - slope), abs(above - slope)) > KINK * abs(slope) + noise:
        raise _Refused(f"is at a kink: the derivative of {name} by it is {below:.4g} below and {above:.4g} above")
    return slope


def _other_changes(here: Any, there: Any) -> Iterator[str]:
    """The fields, but for FIELDS, in which two messages differ, as `layer conv1: convolution_param.num_output`."""
    ours, theirs = _fields(here), _fields(there)
    for name in sorted((ours.keys() | theirs.keys()) - FIELDS):
        one, other = ours.get(name, []), theirs.get(name, [])
        if len(one) != len(other):
            yield name
        for i, (inner, outer) in enumerate(zip(one, other)):
            if inner == outer:
                continue
            if not hasattr(inner, "ListFields"):
                yield name
            else:
                place = f"layer {inner.name}: " if name in ("layer", "layers") else _place(name, i, len(one))
                yield from (place + field for field in _other_changes(inner, outer))


def _fields(message: Any) -> Dict[str, List[Any]]:
    """Name -> values of the fields that a message has."""
    return {field.name: list(value) if hasattr(value, "extend") else [value] for field, value in message.ListFields()}


def _place(name: str, number: int, of: int) -> str:
    return f"{name}." if of == 1 else f"{name}[{number}]."
