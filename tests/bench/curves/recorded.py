"""Learning curves of trainings that were all trained to their ends: from a journal, and as the small file beside this.

The file: a line each, the first the iterations of all test passes; then an individual's genes, multiply-adds of a batch
on its way forward, and accuracy and loss of each pass.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

from menndl_caffe import journal

HERE = Path(__file__).parent / "curves.jsonl"


class Recorded(NamedTuple):
    """One training."""

    genes: Dict[str, Any]
    multiply_adds: float
    curve: Tuple[Tuple[int, float, float], ...]

    @property
    def fitness(self) -> float:
        """Of its end."""
        return self.curve[-1][1]


def of_journal(run: Path) -> List[Recorded]:
    """The individuals of a run that came to their ends, by id."""
    return [Recorded(trial.genome.as_dict(), result.measures["multiply_adds"], tuple(result.curve))
            for trial, result in journal.read(run).individuals() if result.finished]


def write(curves: List[Recorded], file: Path = HERE) -> None:
    """Keep them as the small file."""
    lines: List[Any] = [[iteration for iteration, *_ in curves[0].curve]]
    for one in curves:
        _, accuracies, losses = zip(*one.curve)
        lines.append({"genes": one.genes, "multiply_adds": one.multiply_adds, "accuracy": accuracies, "loss": losses})
    file.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


def read(file: Path = HERE) -> List[Recorded]:
    """Those of the small file."""
    iterations, *lines = map(json.loads, file.read_text().splitlines())
    return [Recorded(line["genes"], line["multiply_adds"], tuple(zip(iterations, line["accuracy"], line["loss"])))
            for line in lines]
