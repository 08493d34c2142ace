"""The paths of a search along gradients: validation loss and genes over the steps of each descent."""
from __future__ import annotations

from typing import Any, List, NamedTuple, Optional, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.report.descents import DISTRUSTED, FAILED, TRUSTED, Descent, leading, state
from menndl_caffe.report.figures.style import (
    BLACK,
    BLUE,
    COLUMN,
    GREEN,
    GREY,
    PAGE,
    PURPLE,
    RED,
    gene_scale,
    whole_numbers,
)
from menndl_caffe.search import descending

ROWS = 8  # panels above one another in one column; more genes take both columns of a page
LOSS, PANEL = 1.3, 0.78  # inches: heights
DECADE = 10.0  # losses that differ by more are shown on a logarithmic scale
EDGE = 0.94  # of a panel's height: where failures are marked that have no loss
LEGEND = 2  # columns, in one column of a page


class Style(NamedTuple):
    """How a descent is drawn."""

    color: str
    line: Any  # what matplotlib takes
    marker: str


STYLES = (Style(BLUE, "-", "o"), Style(RED, "--", "s"), Style(PURPLE, "-.", "^"), Style(GREEN, ":", "D"),
          Style(BLACK, "--", "v"))
OTHERS = Style(GREY, "-", ".")  # of more descents than there are styles, all but the best


def paths_figure(run: Run, found: Sequence[Descent]) -> Figure:
    """The loss of each step, and below it a panel for each gene that descends, a line a descent."""
    genes = descending(run.message, run.space).genes
    columns = 1 if len(genes) <= ROWS else 2
    rows = -(-len(genes) // columns)
    styles = _styles(found)
    handles = _legend(found, styles)
    above = 0.16 * -(-len(handles) // (columns * LEGEND)) + 0.35
    figure = Figure(figsize=(COLUMN if columns == 1 else PAGE, LOSS + PANEL * rows + above), constrained_layout=True)
    grid = figure.add_gridspec(1 + rows, columns, height_ratios=[LOSS, *[PANEL] * rows])
    top = figure.add_subplot(grid[0, :])
    _losses(top, run, found, styles)
    panels = [figure.add_subplot(grid[1 + place % rows, place // rows], sharex=top) for place in range(len(genes))]
    for axes, gene in zip(panels, genes):
        gene_scale(axes, gene)
        axes.set_title(gene.name, loc="left")
        for descent, style in zip(found, styles):
            _line(axes, descent, style, [float(trial.genome.as_dict()[gene.name]) for trial, _ in descent.steps])
    _label(panels, rows, max(len(descent.steps) for descent in found) if found else 1)
    top.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.12, 1.1), ncol=columns * LEGEND, frameon=False,
               borderaxespad=0, handlelength=2.6, columnspacing=1.2)
    return figure


def _styles(found: Sequence[Descent]) -> List[Style]:
    """Of each descent; where there are too many, the best have one of their own."""
    own = leading(found, len(STYLES))
    return [STYLES[own.index(place)] if place in own else OTHERS for place in range(len(found))]


def _losses(axes: Any, run: Run, found: Sequence[Descent], styles: Sequence[Style]) -> None:
    losses = [result.loss for descent in found for _, result in descent.steps if result.loss is not None]
    if losses and min(losses) > 0 and max(losses) > DECADE * min(losses):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    for descent, style in zip(found, styles):
        _line(axes, descent, style, [result.loss for _, result in descent.steps])
    axes.tick_params(labelbottom=False)
    axes.set_title(f"loss on the {run.fitness_set} set", loc="left")
    axes.margins(y=0.16)


def _line(axes: Any, descent: Descent, style: Style, values: Sequence[Optional[float]]) -> None:
    """A descent's line through all that has a value; marks by what became of the gradient. What has no value is marked
    at the upper edge."""
    steps = range(1, len(values) + 1)
    known = [(step, value) for step, value in zip(steps, values) if value is not None]
    axes.plot([step for step, _ in known], [value for _, value in known], color=style.color, linestyle=style.line,
              linewidth=1, zorder=2)
    for of_state, look in _marks(style).items():
        marked = [(step, value) for step, value, (_, result) in zip(steps, values, descent.steps)
                  if state(result) == of_state]
        seen = [pair for pair in marked if pair[1] is not None]
        axes.plot([step for step, _ in seen], [value for _, value in seen], linestyle="", zorder=3, **look)
        edge = [step for step, value in marked if value is None]
        if edge:
            axes.plot(edge, [EDGE] * len(edge), linestyle="", transform=axes.get_xaxis_transform(), **look)


def _marks(style: Style) -> Any:
    """What a step looks like, by what became of its gradient."""
    edge = {"color": style.color, "markeredgewidth": 0.8}
    return {TRUSTED: {**edge, "marker": style.marker, "markersize": 3},
            DISTRUSTED: {**edge, "marker": "o", "markersize": 4.5, "markerfacecolor": "white"},
            FAILED: {**edge, "marker": "x", "markersize": 4.5}}


def _legend(found: Sequence[Descent], styles: Sequence[Style]) -> List[Line2D]:
    """Every descent that has a style of its own, the others, and the marks that occur."""
    handles = [Line2D([], [], linestyle=style.line, linewidth=1, label=f"descent {descent.number}",
                      **_marks(style)[TRUSTED])
               for descent, style in zip(found, styles) if style != OTHERS]
    others = sum(style == OTHERS for style in styles)
    if others:
        handles.append(Line2D([], [], linestyle=OTHERS.line, linewidth=1, label=f"{others} other{'s' * (others > 1)}",
                              **_marks(OTHERS)[TRUSTED]))
    for of_state, text in ((DISTRUSTED, "gradient not trusted"), (FAILED, "failed")):
        if any(descent.count(of_state) for descent in found):
            handles.append(Line2D([], [], linestyle="", label=text, **_marks(STYLES[-1])[of_state]))
    return handles


def _label(panels: Sequence[Any], rows: int, longest: int) -> None:
    """The steps below the last panel of each column, and nowhere else."""
    lowest = {min(last, len(panels) - 1) for last in range(rows - 1, len(panels) + rows - 1, rows)}
    for place, axes in enumerate(panels):
        axes.set_xlim(0.7, longest + 0.3)
        axes.tick_params(labelbottom=place in lowest)
        if place in lowest:
            axes.set_xlabel("step of the descent")
        whole_numbers(axes.xaxis)
