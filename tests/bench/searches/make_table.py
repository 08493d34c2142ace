"""The table of cifar10_quick: every genome of a small grid trained on CIFAR-10, some of them with other seeds too.

    python -m tests.bench.searches.make_table --data DIR --out TABLE.csv

A line a training, in the order of training; a table that was begun is gone on with. Accuracies and losses are those of
the torch engine on one core; `seconds` are the engine's own, training and test.
"""
from __future__ import annotations

import argparse
import csv
import itertools
from pathlib import Path
from typing import Iterator, List, Set, TextIO, Tuple

import numpy as np

from menndl_caffe.genome import Genome, SearchSpace
from menndl_caffe.run.launch import Options, Parts

SEARCH = Path(__file__).parent / "cifar10_quick/grid.search.prototxt"
SEEDS = (1, 2, 3)  # the run's; a training's own seed is of it and the genome
REPEATED = 50  # genomes that are trained with every seed
RESULT = ("seed", "status", "accuracy", "loss", "seconds")

Line = Tuple[Genome, int]  # what is trained, the run's seed


def grid(space: SearchSpace) -> List[Genome]:
    """Every genome of a space of whole numbers, the last gene fastest."""
    values = [range(gene.minimum, gene.maximum + 1, gene.step) for gene in space.genes]
    return [space.genome(point) for point in itertools.product(*values)]


def lines(space: SearchSpace) -> Iterator[Line]:
    """All trainings in their order: the whole grid with the first seed, then the repeated ones with the others."""
    genomes = grid(space)
    for genome in genomes:
        yield genome, SEEDS[0]
    repeated = np.random.RandomState(0).permutation(len(genomes))[:REPEATED]
    for seed in SEEDS[1:]:
        for i in sorted(repeated):
            yield genomes[i], seed


def known(path: Path, space: SearchSpace) -> Set[Line]:
    """What a table already has."""
    if not path.exists():
        return set()
    with path.open(newline="") as file:
        return {(space.from_dict({name: int(line[name]) for name in space.names}), int(line["seed"]))
                for line in csv.DictReader(file)}


def train(parts: Parts, genomes: List[Genome], seed: int, file: TextIO) -> None:
    """A line for each genome; all of one run's seed."""
    writer, evaluator = csv.writer(file, lineterminator="\n"), parts.evaluator()
    for genome in genomes:
        result = evaluator.evaluate(parts.experiment.trial(0, genome), str(SEARCH.parent))
        loss = "" if result.loss is None else f"{result.loss:.5f}"
        writer.writerow([*genome.values, seed, result.status, result.fitness, loss, f"{result.engine_seconds:.2f}"])
        file.flush()
    evaluator.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder that `menndl data cifar10` wrote")
    parser.add_argument("--out", required=True, type=Path, help="table to write or to go on with")
    arguments = parser.parse_args()
    for seed in SEEDS:
        parts = Parts.of(Options(str(SEARCH), Path("."), "torch", seed=seed, data=arguments.data))
        space = parts.experiment.space
        done = known(arguments.out, space)
        with arguments.out.open("a") as file:
            if not file.tell():
                file.write(",".join((*space.names, *RESULT)) + "\n")
            left = [genome for genome, its in lines(space) if its == seed and (genome, its) not in done]
            train(parts, left, seed, file)


if __name__ == "__main__":
    main()
