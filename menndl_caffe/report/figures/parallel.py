"""Figure 2: all individuals in parallel coordinates, from their generation through the genes to their fitness."""
from __future__ import annotations

from typing import Any, List, Sequence, Tuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from menndl_caffe.experiment.recorded import Run, Stages
from menndl_caffe.genome import ChoiceGene, Gene, IntGene, RealGene, Value
from menndl_caffe.objective import Objective
from menndl_caffe.report.best import listed, sets_text
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
from menndl_caffe.report.summary import of_role
from menndl_caffe.trial import DEFAULT, Result, Trial

HEIGHT = 1.9  # inches of the axes
FAILED = -0.1  # where on the fitness axis those are that have none
LIMITS = (FAILED - 0.04, 1.02)
SUBSTEPS = 6  # steps in which a line goes through a pixel's width
DARKEST, GAMMA = 0.7, 0.3  # opacity where most lines meet, and its exponent elsewhere
Pairs = Sequence[Tuple[Trial, Result]]


def parallel_figure(run: Run) -> Figure:
    """One line an individual, those that `menndl best` lists highlighted, and the default, which has no generation.

    The fitness axis goes from the worst to the best of all that did not fail; failed ones end below it. A gene's
    axis is its whole range, its values each in the middle of their share of it.
    """
    stages = run.stages
    everyone, best_ones = list(run.record.individuals()), listed(run)
    default = [pair for pair in [of_role(run, DEFAULT)] if pair]
    of_axes = _axis_genes(run, stages, everyone + default)
    labels = [[tick_text(value) for value in ticks(gene)] for gene in of_axes]
    width, slanted = _room(of_axes, labels)
    figure = Figure(figsize=(width, HEIGHT + (0.75 if slanted else 0.45)), constrained_layout=True)
    axes = figure.add_subplot()
    axes.set_axis_off()
    heights = _heights(of_axes, stages, everyone)
    axes.imshow(_painted(heights, width), extent=(0, len(of_axes) - 1, *LIMITS), aspect="auto", origin="lower")
    axes.set_xlim(-0.1, len(of_axes) - 0.93)
    _highlight(axes, _heights(of_axes, stages, best_ones), _heights(of_axes, stages, default))
    for x, gene in enumerate(of_axes):
        _axis(axes, x, gene, 72 * width / len(of_axes), slanted)
    if any(result.failed for _, result in everyone + default):
        axes.text(len(of_axes) - 1 + 0.08, FAILED, "failed", va="center")
    _legend(axes, len(everyone), sets_text(run, len(best_ones)) if best_ones else "", bool(default))
    return figure


def _axis_genes(run: Run, stages: Stages, drawn: Pairs) -> List[Gene]:
    """The axes as genes: generation, the genes themselves, fitness of all that are drawn."""
    fitness = [result.fitness for _, result in drawn if not result.failed] or [0.0]
    return [IntGene(stages.name, 1, stages.until, 1, 1), *run.space.genes,
            _fitness_axis(run.fitness, min(fitness), max(fitness))]


def _fitness_axis(objective: Objective, low: float, high: float) -> RealGene:
    """Its upper end is the best."""
    return (_Downwards if objective.minimize else RealGene)(objective.measure, low, high, False, 0.0)


class _Downwards(RealGene):
    """Numbers of which the least is above."""

    def to_unit(self, value: Value) -> float:
        return 1 - super().to_unit(value)


def _room(of_axes: Sequence[Gene], labels: Sequence[Sequence[str]]) -> Tuple[float, bool]:
    """Width of the figure in inches, one column or two, and whether the axes' names must be slanted to fit."""
    widest = max((text_width(text) for gene, texts in zip(of_axes[:-1], labels) for text in texts
                  if not isinstance(gene, ChoiceGene)), default=0.0)
    width = COLUMN if (widest + 8) * len(of_axes) <= 72 * COLUMN else PAGE
    return width, max(text_width(gene.name) for gene in of_axes) + 4 > 72 * width / len(of_axes)


def _heights(of_axes: Sequence[Gene], stages: Stages, pairs: Pairs) -> np.ndarray:
    """Where individuals' lines cross the axes, shape (individuals, axes); NaN at the generation of one that has none.
    """
    def heights(trial: Trial, result: Result) -> List[float]:
        values = (stages.of(trial), *trial.genome.values, result.fitness)
        places = [float("nan") if value is None else position(gene, value) for gene, value in zip(of_axes, values)]
        return [*places[:-1], FAILED] if result.failed else places

    return np.array([heights(*pair) for pair in pairs])


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


def _highlight(axes: Any, best: np.ndarray, default: np.ndarray) -> None:
    for line in best[::-1]:
        axes.plot(line, color=PURPLE, linewidth=1.1, zorder=3)
    for line in default:
        axes.plot(line, color=BLACK, linewidth=1.0, linestyle="--", zorder=4)


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


def _legend(axes: Any, individuals: int, best: str, default: bool) -> None:
    lines: List[Any] = [(best, PURPLE, 1.1, "-")] if best else []
    lines += [("default", BLACK, 1.0, "--")] if default else []
    lines += [(f"all {individuals:,} individuals" if individuals > 1 else "the one individual", GREY, 0.4, "-")]
    handles = [Line2D([], [], color=color, linewidth=width, linestyle=style, label=label)
               for label, color, width, style in lines]
    axes.legend(handles=handles, frameon=False, ncol=3, loc="upper left", bbox_to_anchor=(-0.02, 0.02),
                handlelength=1.6, columnspacing=1.2, borderaxespad=0)
