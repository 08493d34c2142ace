"""Results of experiments: a CSV of one kind of row, and medians, quartiles and paired wins of its seeds."""
from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Type, TypeVar, get_type_hints

import numpy as np

from tests.conftest import REPOSITORY

RESULTS = Path(__file__).parent / "results"
PAGES = REPOSITORY / "docs"
Row = TypeVar("Row")  # a NamedTuple whose fields are str, int or float; nan is an empty field


def write(path: Path, rows: Iterable[Row], notes: Iterable[str]) -> None:
    """A line a row as soon as there is one, after the notes of where they come from."""
    with path.open("w", newline="", buffering=1) as file:
        file.writelines(f"# {note}\n" for note in notes)
        writer = csv.writer(file, lineterminator="\n")
        for number, row in enumerate(rows):
            if number == 0:
                writer.writerow(row._fields)  # type: ignore[attr-defined]
            writer.writerow(_written(row))


def _written(row: Any) -> List[str]:
    return [f"{value:.6g}" if isinstance(value, float) and value == value else "" if value != value else str(value)
            for value in row]


def read(path: Path, kind: Type[Row]) -> List[Row]:
    """Inverse of `write`, to six digits."""
    types = get_type_hints(kind)
    with path.open(newline="") as file:
        lines = csv.DictReader(line for line in file if not line.startswith("#"))
        return [kind(**{name: types[name](text or "nan") for name, text in line.items()}) for line in lines]


class Spread(NamedTuple):
    """Of some seeds."""

    median: float
    low: float  # the lower quartile
    high: float  # the upper one


def spread(values: Iterable[float]) -> Spread:
    """Median and quartiles."""
    low, median, high = np.quantile(list(values), (0.25, 0.5, 0.75))
    return Spread(float(median), float(low), float(high))


def said(values: Iterable[float], digits: int) -> str:
    """As tables have it: `1.20 [1.10, 1.31]`."""
    median, low, high = (f"{value:.{digits}f}" for value in spread(values))
    return f"{median} [{low}, {high}]"


def fraction(one: Dict[int, float], other: Dict[int, float]) -> str:
    """In how many seeds one is lower than the other, and of how many: `17 of 20`."""
    assert one.keys() == other.keys()
    return f"{sum(one[seed] < other[seed] for seed in one)} of {len(one)}"
