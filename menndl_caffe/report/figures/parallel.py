"""Figure 2: all individuals in parallel coordinates, from their generation through the genes to their fitness."""
from __future__ import annotations

import math
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence, Tuple

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
NAMES, LEGEND, SIDE = 0.34, 0.42, 0.06  # inches: for level names of axes, the legend, the margins
SLANT, LONGEST = 40, 90.0  # degrees by which names are slanted that do not fit level; points that one may be long
STEP, MARGINS = -0.1, (0.04, 0.02)  # below the fitness axis to those without a fitness of its end; beyond all places
LETTERS, GAP, PAD = 30.0, 12.0, 5.0  # points: of a choice that is written level, least between axes, about a label
SUBSTEPS = 6  # steps in which a line goes through a pixel's width
DARKEST, GAMMA = 0.7, 0.3  # opacity where most lines meet, and its exponent elsewhere
FADED = 0.3  # share of it where labels are
Pairs = Sequence[Tuple[Trial, Result]]


class Axis(NamedTuple):
    """One of a row: the number of its gene, where it stands, and how much room its labels have to the right of it, in
    points. There all lines but the highlighted ones are pale, so that the labels can be read."""

    number: int
    x: float
    labels: float


def parallel_figure(run: Run) -> Figure:
    """One line an individual, those that `menndl best` lists highlighted, and the default, which has no generation.

    The fitness axis goes from the worst to the best of all that were trained to their ends; those that were stopped
    early end below it, and below these the failed. A gene's
    axis is its whole range, its values each in the middle of their share of it. Axes that do not fit side by side come
    in several rows, each of which ends with the fitness.
    """
    stages = run.stages
    everyone, best_ones = list(run.record.individuals()), listed(run)
    default = [pair for pair in [of_role(run, DEFAULT)] if pair]
    of_axes = _axis_genes(run, stages, everyone + default)
    below = _below(everyone + default)
    width, rows = _rows(of_axes, below)
    slanted = any(_collide(row, of_axes) for row in rows)
    names = NAMES + (_rise(of_axes) if slanted else 0.0)
    height = len(rows) * (HEIGHT + names) + LEGEND
    figure = Figure(figsize=(width, height))
    heights = [_heights(of_axes, stages, below, pairs) for pairs in (everyone, best_ones, default)]
    for number, row in enumerate(rows):
        bottom = height - (number + 1) * (HEIGHT + names)
        axes = figure.add_axes((0, bottom / height, 1, HEIGHT / height))
        axes.set_axis_off()
        numbers = [axis.number for axis in row]
        axes.set_ylim(min(below.values(), default=STEP) - MARGINS[0], 1 + MARGINS[1])
        _row(axes, row, of_axes, [some[:, numbers] if len(some) else some for some in heights], slanted)
        for end, place in below.items():
            axes.text(row[-1].x + PAD, place, end, va="center")
    _legend(figure, len(everyone), sets_text(run, len(best_ones)) if best_ones else "", bool(default))
    return figure


def _end(result: Result) -> str:
    """Of a training without a fitness of its end, how it ended."""
    return "" if result.finished else "failed" if result.failed else "stopped"


def _below(pairs: Pairs) -> Dict[str, float]:
    """Where those are that have no fitness of their ends, by `_end`."""
    ends = {_end(result) for _, result in pairs}
    met = [end for end in ("stopped", "failed") if end in ends]
    return {end: STEP * (k + 1) for k, end in enumerate(met)}


def _row(axes: Any, row: Sequence[Axis], of_axes: Sequence[Gene], heights: Sequence[np.ndarray], slanted: bool) -> None:
    everyone, best, default = heights
    end = axes.figure.get_figwidth() * 72
    limits = axes.get_ylim()
    axes.imshow(_painted(everyone, row, end, limits), extent=(0, end, *limits), aspect="auto", origin="lower")
    axes.set_xlim(0, end)
    x = [axis.x for axis in row]
    for line in best[::-1]:
        axes.plot(x, line, color=PURPLE, linewidth=1.1, zorder=3)
    for line in default:
        axes.plot(x, line, color=BLACK, linewidth=1.0, linestyle="--", zorder=4)
    for axis in row:
        _axis(axes, axis, of_axes[axis.number], slanted)


def _axis_genes(run: Run, stages: Stages, drawn: Pairs) -> List[Gene]:
    """The axes as genes: generation, the genes themselves, fitness of all that are drawn."""
    fitness = [result.fitness for _, result in drawn if result.finished] or [0.0]
    return [IntGene(stages.name, 1, stages.until, 1, 1), *run.space.genes,
            _fitness_axis(run.fitness, min(fitness), max(fitness))]


def _fitness_axis(objective: Objective, low: float, high: float) -> RealGene:
    """Its upper end is the best."""
    return (_Downwards if objective.minimize else RealGene)(objective.measure, low, high, False, 0.0)


class _Downwards(RealGene):
    """Numbers of which the least is above."""

    def to_unit(self, value: Value) -> float:
        return 1 - super().to_unit(value)


def _rows(of_axes: Sequence[Gene], below: Iterable[str]) -> Tuple[float, List[List[Axis]]]:
    """Width of the figure in inches, one column or two, and the axes row by row: as few rows as there is room for."""
    labels = [_label_width(gene) for gene in of_axes]
    beside = [*map(text_width, below), text_width(of_axes[-1].name) * math.cos(math.radians(SLANT))]
    labels[-1] = max(labels[-1], *(width + PAD for width in beside))
    last, inner = len(of_axes) - 1, range(len(of_axes) - 1)
    for width, count in ((COLUMN, 1), *((PAGE, count) for count in range(1, len(of_axes)))):
        size = -(-len(inner) // count)
        numbers = [[*inner[first:first + size], last] for first in range(0, len(inner), size)]
        room = 72 * (width - 2 * SIDE)
        if all(sum(labels[i] for i in row) + GAP * len(row) <= room for row in numbers) or size == 1:
            break
    return width, [_placed(row, labels, room) for row in numbers]


def _placed(numbers: Sequence[int], labels: Sequence[float], room: float) -> List[Axis]:
    """Axes from the left side to the right one, as far apart as there is room for."""
    lead = text_width("mmm") / 2  # half of a name that stands out to the left
    gap = max(room - lead - sum(labels[i] for i in numbers), 0.0) / max(len(numbers) - 1, 1)
    x, found = 72 * SIDE + lead, []
    for number in numbers:
        found.append(Axis(number, x, labels[number]))
        x += labels[number] + gap
    return found


def _label_width(gene: Gene) -> float:
    """Of the widest label of an axis; what is too wide stands upright."""
    widest = max(text_width(tick_text(value)) for value in ticks(gene))
    return (text_width("Mg") if _is_upright(gene) else widest) + PAD


def _is_upright(gene: Gene) -> bool:
    return isinstance(gene, ChoiceGene) and max(map(text_width, gene.choices)) > LETTERS


def _collide(row: Sequence[Axis], of_axes: Sequence[Gene]) -> bool:
    """Whether the names of neighbours would, above their axes' middles."""
    widths = [text_width(of_axes[axis.number].name) for axis in row]
    return any((one + other) / 2 + PAD > right.x - left.x
               for one, other, left, right in zip(widths, widths[1:], row, row[1:]))


def _heights(of_axes: Sequence[Gene], stages: Stages, below: Dict[str, float], pairs: Pairs) -> np.ndarray:
    """Where individuals' lines cross the axes, shape (individuals, axes); NaN at the generation of one that has none.
    """
    def heights(trial: Trial, result: Result) -> List[float]:
        values = (stages.of(trial), *trial.genome.values, result.fitness)
        places = [float("nan") if value is None else position(gene, value) for gene, value in zip(of_axes, values)]
        return places if result.finished else [*places[:-1], below[_end(result)]]

    return np.array([heights(*pair) for pair in pairs])


def _painted(heights: np.ndarray, row: Sequence[Axis], width: float, limits: Tuple[float, float]) -> np.ndarray:
    """The lines of all individuals as one RGBA image of so many points, its first row at the bottom: the more lines
    cross a pixel, the darker it is. `heights` has shape (individuals, axes)."""
    rows, scale = int(HEIGHT * DPI), DPI / 72
    density = np.zeros((rows, int(width * scale)))
    y = (heights - limits[0]) / (limits[1] - limits[0]) * rows
    for gap, (left, right) in enumerate(zip(row, row[1:])):
        for column in range(int(left.x * scale), int(right.x * scale)):
            steps = (column - left.x * scale + (np.arange(SUBSTEPS) + 0.5) / SUBSTEPS) / ((right.x - left.x) * scale)
            places = y[:, gap, None] + np.clip(steps, 0, 1) * (y[:, gap + 1] - y[:, gap])[:, None]
            density[:, column] = np.bincount(places.astype(int).ravel(), minlength=rows) / SUBSTEPS
    image = np.zeros((*density.shape, 4), dtype=np.uint8)
    dense = np.percentile(density[density > 0], 99.5) if density.any() else 1.0
    opacity = DARKEST * np.minimum(density / dense, 1) ** GAMMA
    for axis in row:
        opacity[:, int(axis.x * scale):int((axis.x + axis.labels - PAD / 2) * scale)] *= FADED
    image[..., 3] = 255 * opacity
    return image


def _axis(axes: Any, axis: Axis, gene: Gene, slanted: bool) -> None:
    """A vertical line from 0 to 1 with ticks, labels that stand on these, and its name above."""
    axes.plot([axis.x, axis.x], [0, 1], color=BLACK, linewidth=0.6, zorder=5)
    low, high = axes.get_ylim()
    share = 72 * HEIGHT / (high - low) / len(gene.choices) if isinstance(gene, ChoiceGene) else 0.0
    upright = _is_upright(gene)
    for value in ticks(gene):
        y, text = position(gene, value), tick_text(value)
        axes.plot([axis.x, axis.x + 2.5], [y, y], color=BLACK, linewidth=0.6, zorder=5)
        axes.text(axis.x + (1.5 if upright else 3), y, shortened(text, share - 4) if upright else text, zorder=6,
                  va="center" if upright else "bottom", rotation=90 if upright else 0)
    end = axes.get_xlim()[1]
    name = shortened(gene.name, min(LONGEST, (end - axis.x) / math.cos(math.radians(SLANT)))) if slanted else gene.name
    half = text_width(name) / 2  # a name stands above its axis as far as the figure has room
    x = axis.x if slanted else min(max(axis.x, half + 1), end - half - 1)
    axes.text(x, 1.09, name, ha="left" if slanted else "center", va="bottom", rotation=SLANT if slanted else 0,
              rotation_mode="anchor")


def _rise(of_axes: Sequence[Gene]) -> float:
    """How high slanted names are, in inches."""
    longest = min(max(text_width(gene.name) for gene in of_axes), LONGEST)
    return longest * math.sin(math.radians(SLANT)) / 72


def _legend(figure: Figure, individuals: int, best: str, default: bool) -> None:
    lines: List[Any] = [(best, PURPLE, 1.1, "-")] if best else []
    lines += [("default", BLACK, 1.0, "--")] if default else []
    lines += [(f"all {individuals:,} individuals" if individuals > 1 else "the one individual", GREY, 0.4, "-")]
    handles = [Line2D([], [], color=color, linewidth=width, linestyle=style, label=label)
               for label, color, width, style in lines]
    figure.legend(handles=handles, frameon=False, ncol=3, loc="lower left", bbox_to_anchor=(0.01, 0.0),
                  handlelength=1.6, columnspacing=1.2, borderaxespad=0.2)
