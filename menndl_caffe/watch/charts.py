"""Charts of text: a row of levels, and bars over several rows."""
from __future__ import annotations

from typing import List, Sequence, Tuple

BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.:-=+*#"
LABEL = 7  # columns left of the bars
GAP = 3  # columns of a bar from which one of them stays empty


def sampled(values: Sequence[float], width: int) -> List[float]:
    """At most `width` of the values, evenly spread, the last always among them."""
    n = min(len(values), width)
    return [values[(i + 1) * len(values) // n - 1] for i in range(n)]


def levels(values: Sequence[float], width: int, ascii: bool = False) -> str:
    """One character a value, its height between the smallest and the largest; equal values are in the middle."""
    shown = sampled(values, width)
    low, high = min(shown, default=0.0), max(shown, default=0.0)
    marks = ASCII if ascii else BLOCKS
    return "".join(marks[round((value - low) / (high - low) * 7) if high > low else 3] for value in shown)


def bars(points: Sequence[Tuple[int, float]], width: int, height: int, ascii: bool = False) -> List[str]:
    """One bar for each (iteration, value) over the iterations, `height` rows and one below; the first value is the
    lowest eighth of a row unless others lie below it."""
    values = sampled([value for _, value in points], width - LABEL)
    low, high = min(values), max(values)
    eighths = [1 + round((value - low) / (high - low) * (8 * height - 1)) if high > low else 4 * height
               for value in values]
    room = (width - LABEL) // len(values)
    rows = []
    for row in reversed(range(height)):
        label = _label(high) if row == height - 1 else _label(low) if row == 0 else ""
        cells = (_cell(eighth - 8 * row, ascii) for eighth in eighths)
        drawn = "".join(cell * (room - 1) + " " if room >= GAP else cell * room for cell in cells)
        rows.append(f"{label:>{LABEL - 1}} {drawn}".rstrip())
    first, last = f"{points[0][0]:,}", f"{points[-1][0]:,} iterations"
    return rows + [" " * LABEL + first + last.rjust(max(len(last) + 2, room * len(values) - len(first) - 1))]


def _label(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.4g}"


def _cell(eighths: int, ascii: bool) -> str:
    """One row of a bar that reaches so many eighths above the row's foot."""
    if eighths <= 0:
        return " "
    if ascii:
        return "#" if eighths >= 8 else "_" if eighths < 3 else "="
    return BLOCKS[min(eighths, 8) - 1]
