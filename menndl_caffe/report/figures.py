"""The figures of a run. The only module that imports matplotlib."""
from __future__ import annotations

import io
from typing import Any, Dict, Optional, Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from menndl_caffe.report.summary import Generation
from menndl_caffe.trial import OK, Result

# Colours that people with any colour vision can tell apart (Okabe and Ito); lines and markers differ as well.
BEST, MEAN, DEFAULT = "#0072B2", "#D55E00", "#000000"
COLUMN = (3.5, 2.6)  # inches: one column of a two-column page
STYLE: Dict[Any, Any] = {
    "font.size": 8, "legend.fontsize": 7, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "lines.linewidth": 1.4, "lines.markersize": 3.5,
    "savefig.dpi": 300, "svg.fonttype": "none", "svg.hashsalt": "menndl"}


def fitness(kind: str, summaries: Sequence[Generation], planned: int, default: Optional[Result], images: str) -> bytes:
    """`fitness_figure` as a file of this kind, `png` or `svg`; the same numbers give the same bytes."""
    file = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure = fitness_figure(summaries, planned, default, images)
        figure.savefig(file, format=kind, metadata={"svg": {"Date": None}, "png": {"Software": None}}[kind])
    return file.getvalue()


def fitness_figure(summaries: Sequence[Generation], planned: int, default: Optional[Result], images: str) -> Figure:
    """Best and mean fitness by generation, against the default: at least one generation of the `planned` ones, the
    last perhaps incomplete. `images` names the set on which accuracy is measured."""
    figure = Figure(figsize=COLUMN, constrained_layout=True)
    axes = figure.add_subplot()
    x = [row.number for row in summaries]
    axes.plot(x, [row.best_so_far for row in summaries], color=BEST, label="best so far")
    axes.plot(x, [row.best for row in summaries], color=BEST, linestyle="", marker="o", markerfacecolor="white",
              label="best of generation")
    failures = " (failures are 0)" if any(row.failed for row in summaries) else ""
    axes.plot(x, [row.mean for row in summaries], color=MEAN, linewidth=1, marker="s", markersize=2.5,
              label="mean" + failures)
    axes.vlines(x, [row.quartiles[0] for row in summaries], [row.quartiles[2] for row in summaries],
                color=MEAN, alpha=0.3, linewidth=3, label="quartiles")
    if default is not None and default.status == OK:
        axes.axhline(default.fitness, color=DEFAULT, linestyle="--", linewidth=1,
                     label=f"default {default.fitness:.4f}")
    _label(axes, summaries[-1], planned, images)
    return figure


def _label(axes: Any, last: Generation, planned: int, images: str) -> None:
    incomplete = "" if last.complete else f" ({last.number} is incomplete: {last.evaluated} evaluated)"
    axes.set_xlabel("generation" + incomplete)
    axes.set_ylabel(f"accuracy on the {images} set")
    axes.set_xlim(0.5, planned + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.legend(frameon=False, ncol=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
