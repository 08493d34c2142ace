"""Figure 3: the values of each gene by generation, as box plots; of choices, how many individuals have each."""
from __future__ import annotations

from typing import Any, Mapping, Sequence

from matplotlib.figure import Figure

from menndl_caffe.experiment.recorded import Stages
from menndl_caffe.genome import ChoiceGene, Gene, SearchSpace
from menndl_caffe.report.boxes import Box, Shares, Spread
from menndl_caffe.report.figures.style import BLACK, BLUE, COLUMN, GREY, PAGE, RED, gene_scale, tick_text, whole_numbers

ROWS = 10  # panels above one another in one column; more genes take both columns of a page
PANEL = 0.78  # inches
LEGEND = ("quartiles", "median", "outliers", "default")
BOX = 0.36  # half the width of a box, in generations


def genes_figure(found: Mapping[str, Sequence[Spread]], space: SearchSpace, stages: Stages) -> Figure:
    """One panel a gene over the generations: `found` is what `boxes.spreads` says."""
    columns = 1 if len(space.genes) <= ROWS else 2
    rows = -(-len(space.genes) // columns)
    figure = Figure(figsize=(COLUMN if columns == 1 else PAGE, PANEL * rows + 0.5), constrained_layout=True)
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).T.flatten()
    for axes, gene in zip(panels, space.genes):
        draw: Any = _choices if isinstance(gene, ChoiceGene) else _boxes
        draw(axes, gene, found[gene.name])
        axes.set_title(gene.name, loc="left")
        axes.axhline(_height(gene, gene.default), color=RED, linestyle="--", linewidth=0.8, label="default", zorder=1)
    for axes in panels[len(space.genes):]:
        axes.set_visible(False)
    for last in range(rows - 1, len(panels), rows):
        _label(panels[min(last, len(space.genes) - 1)], stages)
    _legend(panels[0], panels, space)
    return figure


def _height(gene: Gene, value: Any) -> float:
    """A choice's place on its axis, or the value itself."""
    return float(gene.choices.index(value)) if isinstance(gene, ChoiceGene) else float(value)


def _boxes(axes: Any, gene: Any, found: Sequence[Box]) -> None:
    gene_scale(axes, gene)
    x = [box.generation for box in found]
    lows, middles, highs = zip(*(box.quartiles for box in found))
    axes.vlines(x, [box.whiskers[0] for box in found], lows, color=GREY, linewidth=0.6)
    axes.vlines(x, highs, [box.whiskers[1] for box in found], color=GREY, linewidth=0.6)
    for end in (0, 1):
        caps = [box.whiskers[end] for box in found]
        axes.hlines(caps, [i - BOX / 2 for i in x], [i + BOX / 2 for i in x], color=GREY, linewidth=0.6)
    axes.bar(x, [high - low for low, high in zip(lows, highs)], 2 * BOX, lows, color="#CFE3F1", edgecolor=BLUE,
             linewidth=0.5, label="quartiles")
    axes.hlines(middles, [i - BOX for i in x], [i + BOX for i in x], color=BLACK, linewidth=1.2, zorder=3,
                label="median")
    outliers = [(box.generation, value) for box in found for value in box.outliers]
    axes.plot([x for x, _ in outliers], [y for _, y in outliers], linestyle="", marker="o", markersize=1.6,
              markeredgewidth=0.4, markerfacecolor="none", markeredgecolor=GREY, rasterized=True, label="outliers")


def _choices(axes: Any, gene: ChoiceGene, found: Sequence[Shares]) -> None:
    """A dot for each choice in each generation; its area is the share of individuals that have it."""
    dots = [(shares.generation, gene.choices.index(choice), count / shares.individuals)
            for shares in found for choice, count in shares.counts.items()]
    x, y, share = zip(*dots)
    axes.scatter(x, y, s=[36 * s for s in share], color=BLUE, linewidths=0, zorder=3)
    axes.set_yticks(range(len(gene.choices)))
    axes.set_yticklabels(list(map(tick_text, gene.choices)))
    axes.set_ylim(-0.6, len(gene.choices) - 0.4)


def _label(axes: Any, stages: Stages) -> None:
    axes.set_xlabel(stages.name)
    axes.set_xlim(0.3, stages.until + 0.7)
    axes.tick_params(labelbottom=True)
    whole_numbers(axes.xaxis)


def _legend(top: Any, panels: Any, space: SearchSpace) -> None:
    """One for all panels, above the top one: that of the first range, else of a choice."""
    first = next((axes for axes, gene in zip(panels, space.genes) if not isinstance(gene, ChoiceGene)), top)
    handles = dict(zip(*reversed(first.get_legend_handles_labels())))
    names = [name for name in LEGEND if name in handles]
    top.legend([handles[name] for name in names], names, loc="lower left", bbox_to_anchor=(-0.1, 1.25),
               ncol=len(LEGEND), frameon=False, borderaxespad=0, handlelength=1.4, columnspacing=1.2)
