"""Genes, the space they span and the individuals in it: immutable values, no input or output.

| symbol | here | meaning |
|---|---|---|
| N_GENE | `len(space.genes)` | genes of an individual (paper, Table 1) |
| u | `u` | a point of the unit interval [0, 1); each gene maps it onto its range, uniformly in its own scale |
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Collection, Dict, Mapping, Sequence, Tuple, Union

from menndl_caffe.errors import UserError, did_you_mean

Value = Union[int, float, str]


@dataclass(frozen=True)
class IntGene:
    """Whole numbers `minimum, minimum + step, ...` up to `maximum` (paper, section 3.1: "a range and resolution")."""

    name: str
    minimum: int
    maximum: int
    step: int
    default: int

    @property
    def size(self) -> int:
        """Number of values."""
        return (self.maximum - self.minimum) // self.step + 1

    def from_unit(self, u: float) -> int:
        """The value at `u` in [0, 1): each with the same probability for uniform u."""
        return self.minimum + self.step * min(int(u * self.size), self.size - 1)

    def to_unit(self, value: Value) -> float:
        """The middle of the interval of u that maps to `value`."""
        return ((int(value) - self.minimum) // self.step + 0.5) / self.size

    def parse(self, text: str) -> int:
        """The value that `text` writes; ValueError where it writes none or one outside the range."""
        value = int(text)
        if not self.has(value):
            raise ValueError
        return value

    def has(self, value: Value) -> bool:
        """Whether it is one of the values."""
        return (isinstance(value, int) and self.minimum <= value <= self.maximum
                and (value - self.minimum) % self.step == 0)

    def describe(self) -> str:
        """The valid values, for messages: `a whole number from 16 to 126 in steps of 2`."""
        steps = f" in steps of {self.step}" if self.step > 1 else ""
        return f"a whole number from {self.minimum} to {self.maximum}{steps}"


@dataclass(frozen=True)
class RealGene:
    """Real numbers in [minimum, maximum], uniform in the value or in its logarithm, kept to six significant digits."""

    name: str
    minimum: float
    maximum: float
    log: bool
    default: float

    @property
    def size(self) -> float:
        """Number of values: infinite, unless the range is one value."""
        return math.inf if self.maximum > self.minimum else 1

    def from_unit(self, u: float) -> float:
        """The value at `u`, rounded so that it is the same number on every machine and reads well in a prototxt."""
        low, high = self._bounds()
        x = low + u * (high - low)
        rounded = float(f"{math.exp(x) if self.log else x:.6g}")
        return min(max(rounded, self.minimum), self.maximum)

    def to_unit(self, value: Value) -> float:
        """Inverse of `from_unit` but for the rounding; 0 in a range of one value."""
        low, high = self._bounds()
        x = math.log(float(value)) if self.log else float(value)
        return (x - low) / (high - low) if high > low else 0.0

    def _bounds(self) -> Tuple[float, float]:
        return (math.log(self.minimum), math.log(self.maximum)) if self.log else (self.minimum, self.maximum)

    def parse(self, text: str) -> float:
        """The value that `text` writes; ValueError where it writes none or one outside the range."""
        value = float(text)
        if not self.has(value):
            raise ValueError
        return value

    def has(self, value: Value) -> bool:
        """Whether it is one of the values."""
        return not isinstance(value, str) and self.minimum <= value <= self.maximum

    def describe(self) -> str:
        """The valid values, for messages."""
        return f"a number from {self.minimum:g} to {self.maximum:g}"


@dataclass(frozen=True)
class ChoiceGene:
    """One of several texts, each with the same probability."""

    name: str
    choices: Tuple[str, ...]
    default: str

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.choices)

    def from_unit(self, u: float) -> str:
        """The choice whose share of [0, 1) holds `u`."""
        return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]

    def to_unit(self, value: Value) -> float:
        """The middle of that share."""
        return (self.choices.index(str(value)) + 0.5) / len(self.choices)

    def parse(self, text: str) -> str:
        """`text` itself; ValueError where it is no choice."""
        if not self.has(text):
            raise ValueError
        return text

    def has(self, value: Value) -> bool:
        """Whether it is one of the values."""
        return value in self.choices

    def describe(self) -> str:
        """The valid values, for messages."""
        return "one of " + ", ".join(self.choices)


Gene = Union[IntGene, RealGene, ChoiceGene]


@dataclass(frozen=True)
class Genome:
    """An individual's genes: names and values in the order of the space. Equal genomes are equal and hash alike."""

    names: Tuple[str, ...]
    values: Tuple[Value, ...]

    def as_dict(self) -> Dict[str, Value]:
        """Name -> value, in gene order."""
        return dict(zip(self.names, self.values))

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in zip(self.names, self.values))


@dataclass(frozen=True)
class SearchSpace:
    """The genes in their order, and the ways into and out of the genomes that they span."""

    genes: Tuple[Gene, ...]

    @property
    def names(self) -> Tuple[str, ...]:
        """The genes' names in order."""
        return tuple(gene.name for gene in self.genes)

    @property
    def size(self) -> float:
        """Number of genomes; infinite where a gene is a range of reals."""
        sizes = [gene.size for gene in self.genes]
        return math.inf if math.inf in sizes else math.prod(sizes)  # whole ones may be too large to be floats

    @property
    def default(self) -> Genome:
        """The individual with every gene at its default: the network that the search starts from."""
        return self.genome(gene.default for gene in self.genes)

    def part(self, names: Collection[str]) -> SearchSpace:
        """The space of the genes of these names, in their order here."""
        return SearchSpace(tuple(gene for gene in self.genes if gene.name in names))

    def genome(self, values: Any) -> Genome:
        """The genome with these values, one for each gene in order."""
        return Genome(self.names, tuple(values))

    def from_unit(self, point: Sequence[float]) -> Genome:
        """The genome at a point of the unit cube, shape (N_GENE,)."""
        return self.genome(gene.from_unit(float(u)) for gene, u in zip(self.genes, point))

    def to_unit(self, genome: Genome) -> Tuple[float, ...]:
        """A point of the unit cube that maps to `genome`, shape (N_GENE,)."""
        return tuple(gene.to_unit(value) for gene, value in zip(self.genes, genome.values))

    def from_dict(self, values: Mapping[str, Value]) -> Genome:
        """The genome of a recorded mapping; KeyError where a gene is missing."""
        return self.genome(values[name] for name in self.names)

    def check(self, genome: Genome) -> None:
        """ValueError where it has other genes, or a value that is none here."""
        if genome.names != self.names:
            raise ValueError(f"its genes are {' '.join(genome.names)}; expected {' '.join(self.names)}")
        for gene, value in zip(self.genes, genome.values):
            if not gene.has(value):
                raise ValueError(f"its gene {gene.name} is {value!r}; expected {gene.describe()}")

    def adopted(self, genome: Genome) -> Genome:
        """A genome of another space as one of this; ValueError where it has other genes or a value that is none here.
        """
        values = genome.as_dict()
        if set(values) != set(self.names):
            raise ValueError
        return self.genome(gene.parse(str(values[gene.name])) for gene in self.genes)

    def with_settings(self, settings: Sequence[str]) -> Genome:
        """The default genome with `GENE=VALUE` settings from a command line; UserError names what is wrong."""
        values = self.default.as_dict()
        genes = {gene.name: gene for gene in self.genes}
        for setting in settings:
            name, equals, text = setting.partition("=")
            if not equals:
                example = f"{self.names[0]}={values[self.names[0]]}"
                raise UserError(f"--set {setting}: expected GENE=VALUE, for example {example}")
            if name not in genes:
                raise UserError(f"--set {setting}: unknown gene {name!r}{did_you_mean(name, genes)}")
            try:
                values[name] = genes[name].parse(text)
            except ValueError:
                raise UserError(f"--set {setting}: {name} takes {genes[name].describe()}") from None
        return self.from_dict(values)
