"""Figure 2: all individuals in parallel coordinates, from their generation through the genes to their fitness."""
from __future__ import annotations

from typing import Any, List, Sequence, Tuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from menndl_caffe.genome import ChoiceGene, Gene, IntGene, RealGene, SearchSpace
from menndl_caffe.journal import Record
from menndl_caffe.report.figures.style import (
    BLACK,
    COLUMN,
    DPI,
    GREY,
    PAGE,
    PURPLE,
    position,
    shortened,
    text_width,
    tick_text,
    ticks,
)
from menndl_caffe.report.summary import best_trained, counted, of_role
from menndl_caffe.trial import DEFAULT, OK, Result, Trial

HEIGHT = 1.9  # inches of the axes
FAILED = -0.1  # where on the fitness axis those are that have none
LIMITS = (FAILED - 0.04, 1.02)
SUBSTEPS = 6  # steps in which a line goes through a pixel's width
DARKEST, GAMMA = 0.7, 0.3  # opacity where most lines meet, and its exponent elsewhere
Pairs = Sequence[Tuple[Trial, Result]]


def parallel_figure(record: Record, space: SearchSpace, best: int, unit: str) -> Figure:
    """One line an individual, the `best` different ones highlighted, and the default, which has no generation.

    The fitness axis goes from the worst to the best of all that did not fail; failed ones end below it. A gene's
    axis is its whole range, its values each in the middle of their share of it.
    """
    everyone, best_ones = list(record.individuals()), best_trained(record)[:best]
    default = [pair for pair in [of_role(record, DEFAULT)] if pair]
    of_axes = _axis_genes(record, space, everyone + default, unit)
    labels = [[tick_text(value) for value in ticks(gene)] for gene in of_axes]
    width, slanted = _room(of_axes, labels)
    figure = Figure(figsize=(width, HEIGHT + (0.75 if slanted else 0.45)), constrained_layout=True)
    axes = figure.add_subplot()
    axes.set_axis_off()
    heights = np.array([_heights(of_axes, *pair) for pair in everyone])
    axes.imshow(_painted(heights, width), extent=(0, len(of_axes) - 1, *LIMITS), aspect="auto", origin="lower")
    axes.set_xlim(-0.1, len(of_axes) - 0.93)
    _highlight(axes, of_axes, best_ones, default)
    for x, gene in enumerate(of_axes):
        _axis(axes, x, gene, 72 * width / len(of_axes), slanted)
    if any(result.status != OK for _, result in everyone + default):
        axes.text(len(of_axes) - 1 + 0.08, FAILED, "failed", va="center")
    _legend(axes, len(everyone), len(best_ones), bool(default))
    return figure


def _axis_genes(record: Record, space: SearchSpace, drawn: Pairs, unit: str) -> List[Gene]:
    """The axes as genes: generation, the genes themselves, fitness of all that are drawn."""
    fitness = [result.fitness for _, result in drawn if result.status == OK] or [0.0]
    return [IntGene(unit, 1, record.run["generations"], 1, 1), *space.genes,
            RealGene("accuracy", min(fitness), max(fitness), False, 0.0)]


def _room(of_axes: Sequence[Gene], labels: Sequence[Sequence[str]]) -> Tuple[float, bool]:
    """Width of the figure in inches, one column or two, and whether the axes' names must be slanted to fit."""
    widest = max((text_width(text) for gene, texts in zip(of_axes[:-1], labels) for text in texts
                  if not isinstance(gene, ChoiceGene)), default=0.0)
    width = COLUMN if (widest + 8) * len(of_axes) <= 72 * COLUMN else PAGE
    return width, max(text_width(gene.name) for gene in of_axes) + 4 > 72 * width / len(of_axes)


def _heights(of_axes: Sequence[Gene], trial: Trial, result: Result) -> List[float]:
    """Where an individual's line crosses the axes; NaN at the generation of one that has none."""
    generation = counted(trial.generation)
    values = (generation, *trial.genome.values, result.fitness)
    places = [float("nan") if value is None else position(gene, value) for gene, value in zip(of_axes, values)]
    return places if result.status == OK else [*places[:-1], FAILED]


def _painted(heights: np.ndarray, width: float) -> np.ndarray:
    """The lines of all individuals as one RGBA image, its first row at the bottom: the more lines cross a pixel, the
    darker it is. `heights` has shape (individuals, axes)."""
    rows, gaps = int(HEIGHT * DPI), heights.shape[1] - 1
    columns = int(width * DPI / (gaps + 1))  # of a gap
    y = (heights - LIMITS[0]) / (LIMITS[1] - LIMITS[0]) * rows
    steps = (np.arange(columns * SUBSTEPS) + 0.5) / (columns * SUBSTEPS)
    counts = np.array([np.bincount((y[:, gap] + t * (y[:, gap + 1] - y[:, gap])).astype(int), minlength=rows)
                       for gap in range(gaps) for t in steps])
    density = counts.reshape(gaps * columns, SUBSTEPS, rows).sum(axis=1).T / SUBSTEPS
    image = np.zeros((*density.shape, 4), dtype=np.uint8)
    dense = np.percentile(density[density > 0], 99.5)
    image[..., 3] = 255 * DARKEST * np.minimum(density / dense, 1) ** GAMMA
    return image


def _highlight(axes: Any, of_axes: Sequence[Gene], best: Pairs, default: Pairs) -> None:
    x = np.arange(len(of_axes))
    for pair in reversed(best):
        axes.plot(x, _heights(of_axes, *pair), color=PURPLE, linewidth=1.1, zorder=3)
    for pair in default:
        axes.plot(x, _heights(of_axes, *pair), color=BLACK, linewidth=1.0, linestyle="--", zorder=4)


def _axis(axes: Any, x: int, gene: Gene, room: float, slanted: bool) -> None:
    """A vertical line from 0 to 1 with ticks, and its name above; `room` points to the next one."""
    axes.plot([x, x], [0, 1], color=BLACK, linewidth=0.6, zorder=5)
    share = 72 * HEIGHT / len(gene.choices) if isinstance(gene, ChoiceGene) else 0.0  # of one choice, in points
    for value in ticks(gene):
        y, text = position(gene, value), tick_text(value)
        axes.plot([x, x + 0.05], [y, y], color=BLACK, linewidth=0.6, zorder=5)
        axes.text(x + 0.08, y, shortened(text, max(share, room) - 6) if share else text, va="center", zorder=6,
                  rotation=90 if share > room else 0,
                  bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.4})
    side, angle = ("left", 40) if slanted else ("center", 0)
    axes.text(x, 1.05, gene.name, ha=side, va="bottom", rotation=angle, rotation_mode="anchor")


def _legend(axes: Any, individuals: int, best: int, default: bool) -> None:
    lines: List[Any] = [(f"best {best} sets" if best > 1 else "best set", PURPLE, 1.1, "-")] if best else []
    lines += [("default", BLACK, 1.0, "--")] if default else []
    lines += [(f"all {individuals:,} individuals" if individuals > 1 else "the one individual", GREY, 0.4, "-")]
    handles = [Line2D([], [], color=color, linewidth=width, linestyle=style, label=label)
               for label, color, width, style in lines]
    axes.legend(handles=handles, frameon=False, ncol=3, loc="upper left", bbox_to_anchor=(-0.02, 0.02),
                handlelength=1.6, columnspacing=1.2, borderaxespad=0)
