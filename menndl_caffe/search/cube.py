"""Genomes as points of the unit cube, many at a time: arrays of shape (individuals, N_GENE).

A gene with n values has them in the middles of n equal parts of [0, 1]; real numbers lie in their own scale.
"""
from __future__ import annotations

from typing import Sequence

import numpy as np

from menndl_caffe.genome import ChoiceGene, Genome, SearchSpace

Points = np.ndarray  # float64 of shape (individuals, N_GENE), in [0, 1]


class Cube:
    """What the genes of a space have in common, as arrays of shape (N_GENE,)."""

    def __init__(self, space: SearchSpace):
        self._space = space
        self.sizes = np.array([gene.size for gene in space.genes], float)  # values of each gene, infinite for reals
        self.choices = np.array([isinstance(gene, ChoiceGene) for gene in space.genes])
        self.stepped = np.isfinite(self.sizes)
        self._steps = np.where(self.stepped, self.sizes, 1.0)

    @property
    def genes(self) -> int:
        """N_GENE."""
        return len(self.sizes)

    def points(self, genomes: Sequence[Genome]) -> Points:
        """Where genomes lie."""
        return np.array([self._space.to_unit(genome) for genome in genomes]).reshape(-1, self.genes)

    def genome(self, point: np.ndarray) -> Genome:
        """The genome at a point, shape (N_GENE,)."""
        return self._space.from_unit(point.tolist())

    def levels(self, points: Points) -> Points:
        """Of genes with steps the number of the value: 0, 1, ...; of reals the point itself."""
        return np.where(self.stepped, np.minimum(np.floor(points * self._steps), self._steps - 1), points)

    def at_levels(self, levels: Points) -> Points:
        """Inverse of `levels`: points in the middles of their values' parts."""
        return np.where(self.stepped, (levels + 0.5) / self._steps, levels)

    def coordinates(self, points: Points) -> Points:
        """For distances: numbers from 0 to 1, both ends reached; of choices the number of the value."""
        levels = self.levels(points)
        return np.where(self.stepped & ~self.choices, levels / np.maximum(self._steps - 1, 1), levels)

    def spread(self, number: int, shift: np.ndarray) -> np.ndarray:
        """Point `number` = 0, 1, ... of a sequence that fills the cube evenly from the beginning, from `shift` on.

        An additive recurrence with the powers of 1/phi, phi the root of x^(N_GENE + 1) = x + 1 (Roberts 2018). It needs
        no tables, and can be gone on with for ever.
        """
        phi = 2.0
        for _ in range(60):
            phi = (1 + phi) ** (1 / (self.genes + 1))
        return (shift + (number + 1) * phi ** -np.arange(1.0, self.genes + 1)) % 1.0
