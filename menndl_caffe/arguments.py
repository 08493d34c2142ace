"""What the commands' arguments have in common: their types, and those that several commands take."""
from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Callable


def whole(low: int, high: int = 2**31 - 1) -> Callable[[str], int]:
    """The type of an argument that is a whole number from `low` to `high`."""
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from {low} to {high}")
        return value
    return convert


def seconds(text: str) -> float:
    """The type of an argument that is an interval: 0.1 seconds to a day."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.1 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r}; expected seconds from 0.1 to 86400")
    return value


def new_folder(text: str) -> Path:
    """The type of an argument that is a folder to be made or to be written into."""
    path = Path(text)
    try:
        blocked = any(place.exists() and not place.is_dir() for place in (path, *path.parents))
    except (OSError, ValueError) as error:  # a name that is too long, or a null byte
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a folder: {error}") from None
    if blocked:
        raise argparse.ArgumentTypeError(f"{text!r} is a file; expected a folder, new or not")
    return path


def add_search(command: argparse.ArgumentParser) -> None:
    """SEARCH, for the commands that begin with a search file."""
    command.add_argument("search", metavar="SEARCH", help="search file, such as solvers/paper.search.prototxt")


def add_run(command: argparse.ArgumentParser) -> None:
    """RUN, for the commands that read one run."""
    command.add_argument("run", type=Path, metavar="RUN", help="folder of the run")


def add_json(command: argparse.ArgumentParser) -> None:
    """--json, for the commands whose answer a script may read."""
    command.add_argument("--json", action="store_true", help="print JSON")
