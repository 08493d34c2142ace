"""The numbers of Figure 3: how the values of each gene are spread in each generation."""
from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Sequence, Tuple, Union

import numpy as np

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.genome import ChoiceGene, Gene, RealGene
from menndl_caffe.report.summary import members_of
from menndl_caffe.text import as_csv

REACH = 1.5  # whiskers end at the last values within so many interquartile ranges of the box (Tukey), or at the box


@dataclass(frozen=True)
class Box:
    """A range's values in one generation: quartiles, whiskers, and the different values beyond them.

    All on the gene's own scale: those of a logarithmic range are of the logarithms.
    """

    generation: int  # 1, 2, ...
    individuals: int
    quartiles: Tuple[float, float, float]  # lower, median, upper
    whiskers: Tuple[float, float]
    outliers: Tuple[float, ...]  # different values, ascending
    outlying: int  # individuals that have one of them


@dataclass(frozen=True)
class Shares:
    """How many individuals of one generation have each choice; those that nobody has are left out."""

    generation: int
    individuals: int
    counts: Dict[str, int]


Spread = Union[Box, Shares]


def spreads(run: Run) -> Dict[str, List[Spread]]:
    """Gene name -> one Box (of a range) or Shares (of a choice) for every stage with a result, failures among them:
    they are members of the population too."""
    values = {number: [trial.genome.values for trial, _ in members] for number, members in members_of(run).items()}
    return {gene.name: [spread(gene, number, [genes[i] for genes in values[number]]) for number in sorted(values)]
            for i, gene in enumerate(run.space.genes)}


def spread(gene: Gene, generation: int, values: Sequence[Any]) -> Spread:
    """Of these values, at least one, of one gene in one generation."""
    if isinstance(gene, ChoiceGene):
        counts = Counter(values)
        return Shares(generation, len(values), {choice: counts[choice] for choice in gene.choices if counts[choice]})
    log = isinstance(gene, RealGene) and gene.log
    scaled = np.array([math.log(value) if log else float(value) for value in values])
    low, middle, high = (float(q) for q in np.percentile(scaled, [25, 50, 75]))
    beyond = (scaled < low - REACH * (high - low)) | (scaled > high + REACH * (high - low))
    raw = np.array(values, dtype=float)
    back = math.exp if log else float
    quartiles = (back(low), back(middle), back(high))
    # As matplotlib has it: quartiles lie between two values, and the last value within reach may be inside of the box.
    whiskers = (min(float(raw[~beyond].min()), quartiles[0]), max(float(raw[~beyond].max()), quartiles[2]))
    return Box(generation, len(values), quartiles, whiskers,
               tuple(np.unique(raw[beyond]).tolist()), int(beyond.sum()))


def spreads_csv(found: Dict[str, List[Spread]], unit: str) -> str:
    """One row for each box, and one for each choice that occurs in a generation."""
    return as_csv(["gene", unit, "individuals", "low_whisker", "lower_quartile", "median", "upper_quartile",
                   "high_whisker", "outlying", "choice", "count"], _rows(found))


def _rows(found: Dict[str, List[Spread]]) -> Iterator[List[Any]]:
    for name, of_gene in found.items():
        for item in of_gene:
            if isinstance(item, Shares):
                yield from ([name, item.generation, item.individuals, *[None] * 6, choice, count]
                            for choice, count in item.counts.items())
            else:
                low, high = item.whiskers
                yield [name, item.generation, item.individuals,
                       *(f"{value:.6g}" for value in (low, *item.quartiles, high)), item.outlying, None, None]
