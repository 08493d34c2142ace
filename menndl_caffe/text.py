"""Texts for people: tables, numbers and durations as they read in them, and what a terminal may be told."""
from __future__ import annotations

import contextlib
import csv
import io
import sys
from typing import Any, Collection, Iterable, NamedTuple, Optional, Sequence


def fixed(value: Optional[float], digits: int = 4) -> str:
    """A number with so many decimals; nothing for none."""
    return "" if value is None else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def large(number: float) -> str:
    """A count as one says it: `9,812`, `146 thousand`, `1.4 million`, `12 billion`. Tables and files have it exact."""
    if number < 10_000:
        return f"{number:,.0f}"
    names, power = ("", "thousand", "million", "billion", "trillion"), 1
    while power < 4 and round(number / 1000**power) >= 1000:
        power += 1
    value = number / 1000**power
    return f"{value:.1f} {names[power]}" if round(value, 1) < 10 else f"{value:,.0f} {names[power]}"


def memory(size: float) -> str:
    """Bytes: `8.0 MB`, `1.2 GB`."""
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"


def rough(seconds: float) -> str:
    """A duration that is an estimate: `0.4 s`, `45 s`, `2.5 min`, `12 min`, `3.1 h`, `4.2 days`."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.{1 if seconds < 570 else 0}f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:,.1f} days"


def gene_text(value: Any) -> str:
    """A gene's value: real numbers to four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def interval(low: str, high: str) -> str:
    """`3-4`, or `4` when both are the same; `1e-05 to 0.01` where a dash would mislead."""
    if low == high:
        return low
    return f"{low} to {high}" if "-" in low + high else f"{low}-{high}"


def aligned(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Rows of equal length in columns, flush right but for the columns `left`."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) if i in left else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows)


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV as Python's csv module writes it, lines ended by a newline; None is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def printable(text: str, lines: bool = False) -> str:
    """The text with what cannot be seen written out, `\\u202e`: what moves a terminal's cursor, turns the direction of
    writing, or is half of a surrogate pair. With `lines`, newlines and tabs stay."""
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(letter if letter.isprintable() or letter in kept else f"\\u{ord(letter):04x}" for letter in text)


def say(text: str) -> None:
    """Lines on standard error, if that is still there. All that is told leaves here or by `show`, as `printable`."""
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(printable(text, lines=True), file=sys.stderr, flush=True)


def show(text: object) -> None:
    """Lines on standard output: a command's answer."""
    print(printable(str(text), lines=True), flush=True)


class HowFar(NamedTuple):
    """How far a search is, for one line; None is what it does not have, or not yet."""

    done: int
    total: Optional[int]
    generation: Optional[int]  # the last one begun: 1, 2, ...
    generations: Optional[int]
    best: Optional[str]  # fitness
    default: Optional[str]
    failed: int
    trials_per_hour: Optional[float]
    ending: str  # `0:27 left`, `complete`
    confirmed: str = ""  # `confirmed 7/30`
    stopped: int = 0  # of those done, early

    def __str__(self) -> str:
        """`generation 2/3  7/12  best 0.7400  default 0.7000  failed 2  560 trials/h  0:27 left`"""
        of_all, of_generations = (f"/{planned}" if planned else "" for planned in (self.total, self.generations))
        has_generations = bool(self.generation or self.generations)
        return "  ".join(filter(None, (
            f"generation {self.generation or 0}{of_generations}" if has_generations else "",
            f"{'' if has_generations else 'individuals '}{self.done}{of_all}",
            f"best {self.best}" if self.best else "",
            f"default {self.default}" if self.default else "",
            f"stopped {self.stopped}" if self.stopped else "",
            f"failed {self.failed}" if self.failed else "",
            self.confirmed,
            "" if self.trials_per_hour is None else f"{self.trials_per_hour:.0f} trials/h",
            self.ending)))
