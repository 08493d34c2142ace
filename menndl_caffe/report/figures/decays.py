"""The decays that the best individuals learned: which they are, the way there, and what a hypernet predicted of it."""
from __future__ import annotations

import math
from typing import Any, Dict, Iterable, List, Sequence, Tuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.report.decays import QUANTILES, Decays
from menndl_caffe.report.figures.style import (
    BLACK,
    BLUE,
    GREY,
    PAGE,
    PURPLE,
    RED,
    plain,
    shortened,
)

ROW, NAME, LINE = 1.05, 0.13, 0.17  # inches: the least height of a row, of a name in it, of a line of the legend
NAME_WIDTH, WIDTH = 52, 380  # points: of a name, and of the titles of a row
ENTRIES = 4  # of the legend side by side
DECADE = 10.0  # losses that differ by more are shown on a logarithmic scale
PALE = 0.25  # opacity of a range
STATED: Dict[str, Any] = {"color": BLACK, "linestyle": "--", "linewidth": 0.8, "zorder": 1.5}  # above bars, below dots
MEASURED: Dict[str, Any] = {"color": RED, "marker": "s", "markersize": 4, "linestyle": ""}
PREDICTED: Dict[str, Any] = {"color": PURPLE, "marker": "D", "markersize": 4, "markerfacecolor": "white",
                             "linestyle": ""}


def decays_figure(run: Run, found: Sequence[Decays]) -> Figure:
    """A row for each individual, at least one: its decays, their way, and where there are such, the predictions."""
    columns = 3 if any(decays.predicted for decays in found) else 2
    handles = _legend(found)
    heights = [LINE * -(-len(handles) // ENTRIES), *(max(ROW, NAME * len(one.named) + 0.4) for one in found)]
    figure = Figure(figsize=(PAGE, sum(heights) + 0.3), constrained_layout=True)
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    top = figure.add_subplot(grid[0, :])
    top.set_axis_off()
    top.legend(handles=handles, loc="lower left", ncol=ENTRIES, frameon=False, borderaxespad=0, handlelength=2)
    rows = [[figure.add_subplot(grid[row, column]) for column in range(columns)] for row in range(1, len(heights))]
    limits = whole_decades(_all_decays(found))
    for decays, axes in zip(found, rows):
        _distribution(axes[0], decays)
        _path(axes[1], decays, limits)
        reached = run.fitness.text(decays.result.fitness)
        count = decays.learned["count"]
        for place, title in enumerate((f"individual {decays.trial.id}: {run.fitness.measure} {reached}",
                                       f"{count:,} decay{'s' * (count > 1)}, {decays.learned['groups']}")):
            axes[place].set_title(shortened(title, WIDTH / columns), loc="left")
        if columns == 3:
            _predictions(axes[2], decays)
    _label(rows, found, limits)
    return figure


def whole_decades(values: Iterable[float]) -> Tuple[float, float]:
    """The powers of ten around these values, which are above 0."""
    known = list(values)
    low, high = math.floor(math.log10(min(known)) - 1e-3), math.ceil(math.log10(max(known)) + 1e-3)
    return 10.0 ** low, 10.0 ** high


def _all_decays(found: Sequence[Decays]) -> List[float]:
    return [value for decays in found for value in (
        *decays.stated, *decays.learned["quantiles"], *decays.named.values(),
        *(decays.histogram.edges if decays.histogram and not decays.named else ()),
        *(value for _, *values in decays.learned["curve"] for value in values), *(at for at, _ in decays.predicted))]


def _distribution(axes: Any, decays: Decays) -> None:
    """The decays by name where they are few; else of how many weights they are; else the journal's quantiles."""
    if decays.named:
        names = list(decays.named)
        axes.plot(list(decays.named.values()), range(len(names)), color=BLUE, marker="o", linestyle="")
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_yticks(range(len(names)))
        ends = (shortened(name[::-1], NAME_WIDTH)[::-1] for name in names)  # the blob is at the end
        axes.set_yticklabels(list(map(plain, ends)))
    elif decays.histogram:
        axes.stairs(decays.histogram.weights, decays.histogram.edges, color=BLUE, fill=True)
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.set_ylabel("weights")
    else:
        _quantiles(axes, decays.learned["quantiles"])
    for stated in decays.stated:
        axes.axvline(stated, **STATED)


def _quantiles(axes: Any, quantiles: Sequence[float]) -> None:
    """The range, the quartiles and the median of the groups' decays."""
    axes.plot([quantiles[0], quantiles[-1]], [0.5, 0.5], color=BLUE, linewidth=1)
    if len(quantiles) == len(QUANTILES):
        axes.plot([quantiles[1], quantiles[3]], [0.5, 0.5], color=BLUE, linewidth=5, solid_capstyle="butt")
        axes.plot([quantiles[2]], [0.5], color="white", marker="|", markersize=5)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_ylabel("quantiles")


def _path(axes: Any, decays: Decays, limits: Tuple[float, float]) -> None:
    """Mean and range of the groups' decays."""
    at, mean, lowest, highest = zip(*decays.learned["curve"])
    axes.set_yscale("log")
    axes.fill_between(at, lowest, highest, color=BLUE, alpha=PALE, linewidth=0)
    axes.plot(at, mean, color=BLUE, linewidth=1, marker="." if len(at) == 1 else "")
    for stated in decays.stated:
        axes.axhline(stated, **STATED)
    axes.set_ylim(*limits)
    axes.yaxis.set_major_locator(LogLocator(numticks=4))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("decay")


def _predictions(axes: Any, decays: Decays) -> None:
    """The validation loss as the hypernet predicts it, and what was measured."""
    if not decays.predicted:
        axes.set_axis_off()
        return
    at, losses = zip(*decays.predicted)
    line = "-" if decays.is_curve else ""
    axes.plot(at, losses, color=PURPLE if decays.is_curve else GREY, linestyle=line, linewidth=1,
              marker="" if decays.is_curve else ".", markersize=3)
    mean, predicted = decays.learned["mean"], decays.learned["predicted"]["loss"]
    axes.plot([mean], [predicted], **PREDICTED)
    known = [*losses, predicted]
    if decays.result.loss is not None:
        axes.plot([mean], [decays.result.loss], **MEASURED)
        known.append(decays.result.loss)
    if min(known) > 0 and max(known) > DECADE * min(known):
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_title("validation loss", loc="left")


def _label(rows: Sequence[Sequence[Any]], found: Sequence[Decays], limits: Tuple[float, float]) -> None:
    """The horizontal axes, with numbers below the last row alone."""
    longest = max(decays.learned["curve"][-1][0] for decays in found)
    for row in rows:
        for axes in (row[0], *row[2:]):
            axes.set_xscale("log")
            axes.set_xlim(*limits)
            axes.xaxis.set_major_locator(LogLocator(numticks=5))
            axes.xaxis.set_minor_locator(NullLocator())
        row[1].set_xlim(0, longest)
        row[1].xaxis.set_major_locator(MaxNLocator(4, integer=True))
        for axes in row:
            axes.tick_params(labelbottom=row is rows[-1])
    for axes, label in zip(rows[-1], ("decay", found[-1].unit, "decay")):
        axes.set_xlabel(label)


def _legend(found: Sequence[Decays]) -> List[Any]:
    """What occurs."""
    handles: List[Any] = [Line2D([], [], label="stated", **STATED)] if any(one.stated for one in found) else []
    handles.append(Line2D([], [], color=BLUE, linewidth=1, label="geometric mean"))
    if any(one.learned["count"] > 1 for one in found):
        handles.append(Patch(color=BLUE, alpha=PALE, linewidth=0, label="range"))
    predictions = [one for one in found if one.predicted]
    if any(one.is_curve for one in predictions):
        handles.append(Line2D([], [], color=PURPLE, linewidth=1, label="predicted"))
    if not all(one.is_curve for one in predictions):
        handles.append(Line2D([], [], color=GREY, linestyle="", marker=".", label="predicted, of one batch each"))
    if predictions:
        handles += [Line2D([], [], label="predicted in the end", **PREDICTED),
                    Line2D([], [], label="measured", **MEASURED)]
    return handles
