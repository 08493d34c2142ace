"""What the commands' arguments have in common: their types, and those that several commands take."""
from __future__ import annotations

import argparse
import math
import re
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


_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_WITH_UNITS = re.compile("".join(rf"(?:(?P<{unit}>\d+(?:\.\d+)?){unit})?" for unit in _UNITS), re.IGNORECASE | re.ASCII)


def period(text: str) -> int:
    """The type of an argument that is a time to work in, in seconds: `7200`, `90m`, `1h30m`, `2:00:00`."""
    found, clock = _WITH_UNITS.fullmatch(text), re.fullmatch(r"(\d+):([0-5]\d):([0-5]\d)", text, re.ASCII)
    value = 0.0
    if clock:
        value = sum(int(part) * unit for part, unit in zip(clock.groups(), (3600, 60, 1)))
    elif found:
        value = sum(float(found[unit] or 0) * seconds for unit, seconds in _UNITS.items())
    elif text.isascii() and text.isdigit():
        value = int(text)
    if not 1 <= value < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r}; expected seconds, 1 or more, or a time such as 90m, 2h, 1h30m or "
                                         "2:00:00")
    return math.ceil(value)


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
    command.add_argument("search", metavar="SEARCH",
                         help="search file, such as solvers/paper.search.prototxt, or the folder of a run: its search, "
                              "data and engine")


def run_folder(text: str) -> Path:
    """The type of an argument that is a run: its folder, or the journal in it."""
    path = Path(text)
    return path.parent if path.name == "journal.jsonl" and path.is_file() else path


def add_run(command: argparse.ArgumentParser) -> None:
    """RUN, for the commands that read one run."""
    command.add_argument("run", type=run_folder, metavar="RUN", help="folder of the run, or its journal")


def add_time_limit(command: argparse.ArgumentParser) -> None:
    """--time-limit, for the commands that train and can be gone on with."""
    command.add_argument("--time-limit", type=period, metavar="TIME",
                         help="end this long after the process was started (7200, 90m, 2h, 1h30m, 2:00:00), everything "
                              "recorded, with exit code 75: the same command goes on; SIGTERM, SIGHUP, SIGUSR1, "
                              "SIGUSR2 and SIGXCPU do the same")


def add_json(command: argparse.ArgumentParser) -> None:
    """--json, for the commands whose answer a script may read."""
    command.add_argument("--json", action="store_true", help="print JSON")
