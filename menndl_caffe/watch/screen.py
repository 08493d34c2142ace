"""A run on a screen: rows of text that fit into its columns and rows."""
from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Sequence

from rich.text import Text

from menndl_caffe.genome import Value
from menndl_caffe.report.rungs import stopped_text
from menndl_caffe.report.status import confirmed_text, generation_text, individuals_text
from menndl_caffe.report.summary import fitness
from menndl_caffe.text import duration, gene_text, printable
from menndl_caffe.trial import YARDSTICK
from menndl_caffe.watch.charts import bars, levels
from menndl_caffe.watch.picture import Picture
from menndl_caffe.watch.ranks import Doing

NAMES = 13  # columns of the names at the left
WIDE = 120  # from so many columns on the ranks have the right half
TALL = 34  # from so many rows on some are left empty
CHART_COLUMNS, CHART_ROWS = 72, (3, 8)
RANK_COLUMNS = 38  # for what one rank does
NAME, VALUE, WARNING, LINE = "dim", "bold", "bold yellow", "cyan"


class Screen:
    """Room for so many columns and rows; `ascii` where the terminal knows no other characters."""

    def __init__(self, columns: int, rows: int, ascii: bool = False):
        self._columns, self._rows, self._ascii = columns, rows, ascii
        self._wide = columns >= WIDE
        self._left = columns // 2 if self._wide else columns
        self._gap = [Text()] * (rows >= TALL)

    def show(self, run: Path, picture: Optional[Picture], now: float) -> List[Text]:
        """The rows at the time `now`, in seconds since the epoch; without a picture the run has not begun."""
        head = [self._row("run", (str(run), VALUE))]
        if picture is None:
            return [*head, self._row("", "has not begun: its journal has no first line yet")]
        head += self._gap + self._progress(picture, now) + self._gap
        parts = [self._best(picture), self._generations(picture), self._failures(picture.status)]
        free = self._rows - len(head) - sum(len(part) + len(self._gap) for part in parts)
        parts.append(self._curve(picture, free if self._wide else free // 2))
        body = self._joined(parts)
        if self._wide:
            right = self._ranks(picture, now, self._columns - self._left, self._rows - len(head))
            body = self._beside(body, right)
        else:
            body += self._gap
            body += self._ranks(picture, now, self._columns, self._rows - len(head) - len(body))
        return (head + body)[:self._rows]

    def _joined(self, parts: Iterable[List[Text]]) -> List[Text]:
        rows: List[Text] = []
        for part in filter(None, parts):
            rows += (self._gap if rows else []) + part
        return rows

    def _beside(self, left: Sequence[Text], right: Sequence[Text]) -> List[Text]:
        rows = []
        for one, other in zip_longest(left, right, fillvalue=Text()):
            cell = one.copy()
            cell.truncate(self._left - 2, overflow=self._overflow, pad=True)
            rows.append(self._text(cell, "  ", other))
        return rows

    @property
    def _overflow(self) -> Any:
        return "crop" if self._ascii else "ellipsis"

    def _text(self, *parts: Any) -> Text:
        return Text.assemble(*map(_printable, parts), no_wrap=True, overflow=self._overflow)

    def _row(self, name: str, *parts: Any) -> Text:
        return self._text((f"{name:<{NAMES}}", NAME), *parts)

    def _progress(self, picture: Picture, now: float) -> List[Text]:
        status = picture.status
        name, begun, count = "generation", generation_text(status), f"  {individuals_text(status)}"
        if not begun:
            name, begun, count = "individuals", individuals_text(status), ""
        bar = self._bar(status, len(begun) + len(count)) if status["total"] else []
        return [self._row(name, (begun, VALUE), *bar, count), self._row("speed", *self._speed(picture, now))]

    def _bar(self, status: Dict[str, Any], taken: int) -> List[Any]:
        """The share of all individuals that is done, in what a row has beside the columns that are taken."""
        room = max(5, min(self._columns, WIDE) - NAMES - taken - 2)
        full = room * status["done"] // status["total"]
        line, rest = "#." if self._ascii else "━─"
        return ["  ", (line * full, LINE), (rest * (room - full), NAME)]

    def _speed(self, picture: Picture, now: float) -> List[Any]:
        status = picture.status
        speed, left = status["trials_per_hour"], status["seconds_left"]
        parts: List[Any] = [] if speed is None else [(f"{speed:,.0f}", VALUE), " trials/h   "]
        if status["complete"]:
            return [*parts, ("complete", VALUE)]
        if left is not None:
            parts += [(duration(left), VALUE), " left   "]
        return [*parts, (picture.silence(now), WARNING if picture.is_quiet(now) else "")]

    def _best(self, picture: Picture) -> List[Text]:
        best, default, test = (picture.status[name] for name in ("best", "default", "test"))
        if best is None:
            return [self._row("best", "no individual has succeeded yet")]
        reached, before = fitness(best), fitness(default) if default else None
        parts: List[Any] = [(picture.fitness.text(reached), VALUE)]
        if reached is not None and before is not None:
            parts.append(f"  default {picture.fitness.text(before)} ({picture.fitness.signed(reached - before)})")
        generation = f", generation {best['generation']}" if best["generation"] else ""
        parts.append((f"  trial {best['id']:,}{generation}", NAME))
        rows = [self._row("best", *parts), *self._genes(best["genes"], picture.defaults)]
        if test is not None and fitness(test) is not None:
            figure = picture.fitness.text(fitness(test))
            rows.append(self._row("on test set", (figure, VALUE), "  unbiased by the search"))
        yardstick = picture.status.get(YARDSTICK)
        if yardstick is not None and fitness(yardstick) is not None:
            figure = picture.fitness.text(fitness(yardstick))
            rows.append(self._row(YARDSTICK, (figure, VALUE), "  the default on the test set, trained on all images"))
        said = confirmed_text(picture.status)
        return rows + [self._row("confirmed", said)] * bool(said)

    def _genes(self, best: Dict[str, Value], defaults: Dict[str, Value]) -> List[Text]:
        """The default's values and the best's, as many genes in a row as fit."""
        arrow = "->" if self._ascii else "→"
        rows: List[str] = []
        for name, default in defaults.items():
            old, new = gene_text(default), gene_text(best[name])
            text = f"{name} {new}" if new == old else f"{name} {old}{arrow}{new}"
            if rows and len(rows[-1]) + 2 + len(text) <= self._left - NAMES:
                rows[-1] += "  " + text
            else:
                rows.append(text)
        return [self._row("" if i else "genes", row) for i, row in enumerate(rows)]

    def _generations(self, picture: Picture) -> List[Text]:
        """A level for each generation or group of individuals, and the first and last value."""
        rows = []
        for name, values in (("best so far", picture.best_so_far), ("mean", picture.mean)):
            if values:
                ends = "  {} to {}".format(*map(picture.fitness.text, (values[0], values[-1])))
                columns = self._left - NAMES - len(ends)
                rows.append(self._row(name, (levels(values, columns, self._ascii), LINE), ends))
        return rows

    def _failures(self, status: Dict[str, Any]) -> List[Text]:
        failed, last = status["failed"], status["last_failure"]
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(failed.items()))
        rows = [self._row("failed", f"{sum(failed.values()):,}" + (f": {kinds}" if kinds else ""))]
        if last:
            rows.append(self._row("  the last", f"trial {last['id']:,} {last['status']}: {last['reason']}"))
        if "stopped" in status:
            rows.append(self._row("stopped", stopped_text(status["stopped"])))
        return rows

    def _curve(self, picture: Picture, rows: int) -> List[Text]:
        """What the best measured over its training, in at most so many rows; nothing where they are too few."""
        fewest, most = CHART_ROWS
        if not picture.curve or rows <= fewest:
            return []
        points = [(iteration, value) for iteration, value, _ in picture.curve]
        chart = bars(points, min(self._left - NAMES, CHART_COLUMNS), min(rows - 1, most), self._ascii)
        return [self._row("" if i else "best's curve", (row, LINE if i < len(chart) - 1 else ""))
                for i, row in enumerate(chart)]

    def _ranks(self, picture: Picture, now: float, columns: int, rows: int) -> List[Text]:
        """What the ranks do, those first that do it longest, as many as there is room for."""
        if picture.status["complete"] or not picture.doing:
            return []
        head = self._training(picture, now)
        across = max(1, (columns + 2) // (RANK_COLUMNS + 2))
        down = min(max(0, rows - len(head)), -(-len(picture.doing) // across))
        longest_first = sorted(picture.doing, key=lambda doing: (doing.trial is None, doing.since, doing.rank))
        cells = [self._rank(doing, now) for doing in longest_first]
        return head + [self._text("  ".join(cells[i:down * across:down])) for i in range(down)]

    def _training(self, picture: Picture, now: float) -> List[Text]:
        training = sum(doing.trial is not None for doing in picture.doing)
        busy = f"{training:,} of {picture.slots or len(picture.doing):,} have a recorded trial"
        if picture.is_quiet(now):
            busy += ", if the run still goes on"
        rows = [self._row("ranks", busy)]
        if picture.seconds:
            low, middle, high, longest = map(duration, picture.seconds)
            rows.append(self._row("  a training", f"takes {low} to {high}, the median {middle}, the longest {longest}"))
        return rows

    def _rank(self, doing: Doing, now: float) -> str:
        """Rank, host, trial, for how long."""
        what = "none recorded" if doing.trial is None else f"trial {doing.trial:,}"
        host = doing.host.partition(".")[0]
        return f"{doing.rank:>5} {host:<8.8} {what:<13} {duration(max(0.0, now - doing.since)):>9}"


def _printable(part: Any) -> Any:
    """A text, or one with its style, as a terminal may be told it; a Text was made of such."""
    if isinstance(part, tuple):
        return printable(part[0]), part[1]
    return printable(part) if isinstance(part, str) else part
