"""Real trainings of cifar10_quick: `cifar10_quick/table.csv`, which `make_table` wrote; see the README beside it.

486 genomes of six ordered genes, none left out and none fails; cost 1 - accuracy of the first seed, regret in points
against the best of these, which is partly luck. There is one data set: instances differ in the searches' seeds, in the
default and in the durations.
"""
from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Dict, List

from menndl_caffe.genome import Genome, IntGene, SearchSpace
from tests.bench.searches.problems.landscape import Landscape, rng

TABLE = Path(__file__).parents[1] / "cifar10_quick/table.csv"
GENES = ("kernel1", "output1", "kernel2", "output2", "kernel3", "output3")


def read() -> List[Dict[str, str]]:
    """The table's lines."""
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def _gene(name: str, values: List[int]) -> IntGene:
    return IntGene(name, values[0], values[-1], values[1] - values[0], values[0])


def make(name: str, instance: int) -> Landscape:
    """The one table, with a default of this instance."""
    lines = [line for line in read() if line["seed"] == "1"]
    genes = [_gene(gene, sorted({int(line[gene]) for line in lines})) for gene in GENES]
    errors = {tuple(int(line[gene]) for gene in GENES): 1 - float(line["accuracy"]) for line in lines}
    default = list(errors)[rng(name, instance, "default").randint(len(errors))]
    space = SearchSpace(tuple(replace(gene, default=value) for gene, value in zip(genes, default)))
    best = min(errors.values())

    def cost(genome: Genome) -> float:
        return errors[genome.values]

    return Landscape(name, instance, space, cost, lambda genome: 100 * (cost(genome) - best))
