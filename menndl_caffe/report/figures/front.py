"""The front: all individuals by two objectives, and those that no other one dominates."""
from __future__ import annotations

from itertools import combinations
from typing import Any, List, Sequence, Tuple

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.objective import values
from menndl_caffe.report.figures.style import BLACK, COLUMN, GREY, PURPLE, plain

Point = Tuple[float, ...]  # an individual's values, one for each objective


def front_figure(run: Run) -> Figure:
    """Every individual that was trained to its end, the front and the default; a panel for each pair of objectives."""
    pairs = list(combinations(range(len(run.objectives)), 2))
    figure = Figure(figsize=(COLUMN, 2.6 * len(pairs)), constrained_layout=True)
    everyone = _points(run, (result for _, result in run.record.individuals()))
    front = _points(run, (result for _, result in run.front()))
    default = _points(run, filter(None, [run.record.default()]))
    for axes, pair in zip(figure.subplots(len(pairs), squeeze=False)[:, 0], pairs):
        _scatter(axes, pair, everyone, GREY, "individuals", ".", 3)
        _scatter(axes, pair, front, PURPLE, f"front of {len(front)}", "o", 4)
        _scatter(axes, pair, default, BLACK, "default", "D", 4)
        if len(run.objectives) == 2 and front:
            axes.step(*zip(*sorted(front)), color=PURPLE, linewidth=0.8, zorder=2, where=_corner(run))
        for place, axis in zip(pair, (axes.xaxis, axes.yaxis)):
            axis.set_label_text(plain(run.objectives[place].label(run.fitness_set)))
            if not run.objectives[place].is_tested:
                axis.set_major_formatter(EngFormatter(sep=""))  # 1.5M: a power of ten would stand in the legend
    axes.legend(frameon=False, ncol=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, columnspacing=1)
    return figure


def _points(run: Run, results: Any) -> List[Point]:
    return [values(run.objectives, result) for result in results if result.finished]


def _scatter(axes: Any, pair: Tuple[int, int], points: Sequence[Point], color: str, label: str, marker: str,
             size: float) -> None:
    if points:
        x, y = ([point[place] for point in points] for place in pair)
        axes.plot(x, y, color=color, label=label, linestyle="", marker=marker, markersize=size, markeredgewidth=0)


def _corner(run: Run) -> str:
    """How a line from point to point goes around what the front dominates, from left to right."""
    return "post" if run.objectives[0].minimize else "pre"
