"""Fitness by generation against the default."""
from __future__ import annotations

from typing import Any, Optional, Sequence

from matplotlib.figure import Figure

from menndl_caffe.experiment.recorded import Stages
from menndl_caffe.report.figures.style import BLACK, BLUE, COLUMN, RED, whole_numbers
from menndl_caffe.report.summary import Generation
from menndl_caffe.trial import Result


def fitness_figure(summaries: Sequence[Generation], stages: Stages, default: Optional[Result], images: str) -> Figure:
    """Best and mean fitness by generation, against the default: at least one generation, the last perhaps incomplete.
    `images` names the set on which accuracy is measured."""
    figure = Figure(figsize=(COLUMN, 2.5), constrained_layout=True)
    axes = figure.add_subplot()
    x = [row.number for row in summaries]
    axes.plot(x, [row.best_so_far for row in summaries], color=BLUE, label="best so far")
    axes.plot(x, [row.best for row in summaries], color=BLUE, linestyle="", marker="o", markerfacecolor="white",
              label=f"best of {stages.name}")
    failures = " (failures are 0)" if any(row.failed for row in summaries) else ""
    axes.plot(x, [row.mean for row in summaries], color=RED, linewidth=1, marker="s", markersize=2.5,
              label="mean" + failures)
    axes.vlines(x, [row.quartiles[0] for row in summaries], [row.quartiles[2] for row in summaries],
                color=RED, alpha=0.3, linewidth=3, label="quartiles")
    if default is not None and not default.failed:
        axes.axhline(default.fitness, color=BLACK, linestyle="--", linewidth=1,
                     label=f"default {default.fitness:.4f}")
    _label(axes, summaries[-1], stages, images)
    return figure


def _label(axes: Any, last: Generation, stages: Stages, images: str) -> None:
    incomplete = "" if last.complete else f" ({last.number} is incomplete: {last.evaluated} evaluated)"
    axes.set_xlabel(stages.name + incomplete)
    axes.set_ylabel(f"accuracy on the {images} set")
    axes.set_xlim(0.5, stages.until + 0.5)
    whole_numbers(axes.xaxis)
    axes.legend(frameon=False, ncol=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
