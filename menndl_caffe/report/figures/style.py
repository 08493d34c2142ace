"""What all figures share: sizes, colours, fonts, and how they become files."""
from __future__ import annotations

import functools
import io
from typing import Any, Callable, Dict, Iterator, List, Tuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import LogLocator, MaxNLocator

from menndl_caffe.genome import ChoiceGene, Gene, IntGene, RealGene
from menndl_caffe.text import gene_text, printable

# Colours that people with any colour vision can tell apart (Okabe and Ito); lines and markers differ as well.
BLUE, RED, PURPLE, BLACK, GREY = "#0072B2", "#D55E00", "#8E2A7B", "#000000", "#666666"
GREEN = "#009E73"
COLUMN, PAGE = 3.3, 6.9  # inches: one column of a page, and both
FONT = 7  # points, the smallest
DPI = 300
STYLE: Dict[Any, Any] = {
    "font.size": FONT, "axes.labelsize": 8, "legend.fontsize": FONT, "axes.titlesize": FONT, "axes.titlepad": 2,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6, "xtick.major.width": 0.6,
    "ytick.major.width": 0.6, "xtick.major.size": 2.5, "ytick.major.size": 2.5, "lines.linewidth": 1.4,
    "lines.markersize": 3.5, "savefig.dpi": DPI, "svg.fonttype": "none", "svg.hashsalt": "menndl", "pdf.fonttype": 42}
METADATA: Dict[str, Dict[str, Any]] = {
    "png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None, "Producer": None, "Creator": None}}
APART = 0.6  # of the distance between two of `count` ticks: those that are nearer to one of the ends are left out


def files_of(name: str, draw: Callable[[], Figure]) -> Iterator[Tuple[str, bytes]]:
    """A figure as name.png, name.svg and name.pdf; the same numbers give the same bytes."""
    with matplotlib.rc_context(STYLE):
        figure = draw()
        for kind, metadata in METADATA.items():
            file = io.BytesIO()
            figure.savefig(file, format=kind, metadata=metadata)
            yield f"{name}.{kind}", file.getvalue()
            if hasattr(figure, "set_layout_engine"):  # what was laid out once need not be again
                figure.set_layout_engine("none")


@functools.cache
def text_width(text: str, size: float = FONT, weight: str = "normal") -> float:
    """In points, as matplotlib's own font has it."""
    if not text.strip():
        return 0.0
    text = printable(text).replace(r"\$", "S").replace("$", "S")  # as wide, and no formula
    return float(TextPath((0, 0), text, size=size, prop=FontProperties(weight=weight)).get_extents().width)


def plain(text: str) -> str:
    """A text of the run's own as it is drawn: matplotlib takes what stands between two dollars for a formula."""
    return printable(text).replace("$", r"\$")


def shortened(text: str, width: float) -> str:
    """As much of a text as fits into so many points."""
    if text_width(text) <= width:
        return text
    while len(text) > 1 and text_width(text + "…") > width:
        text = text[:-1]
    return text + "…"


def position(gene: Gene, value: Any) -> float:
    """Where on an axis from 0 to 1 a value stands; whole numbers and choices in the middle of their share of it."""
    if isinstance(gene, IntGene):
        return float((value - gene.minimum) / gene.step + 0.5) / gene.size
    return gene.to_unit(value)


def ticks(gene: Gene, count: int = 4) -> List[Any]:
    """The values to write at a gene's axis: all of few, else both ends and about `count` round ones between."""
    if isinstance(gene, ChoiceGene):
        return list(gene.choices)
    if isinstance(gene, IntGene) and gene.size <= 2 * count:
        return [gene.minimum + i * gene.step for i in range(gene.size)]
    last = gene.from_unit(1 - 1e-9) if isinstance(gene, IntGene) else gene.maximum
    between = [value for value in _round_values(gene, last, count)
               if APART / count < position(gene, value) < 1 - APART / count] if last > gene.minimum else []
    return [gene.minimum, *between, *([last] if last > gene.minimum else [])]


def _round_values(gene: Any, last: float, count: int) -> List[Any]:
    if isinstance(gene, RealGene) and gene.log:
        return list(LogLocator(numticks=count + 2).tick_values(gene.minimum, last))
    whole = isinstance(gene, IntGene)
    found = MaxNLocator(count, integer=whole, steps=[1, 2, 5, 10]).tick_values(gene.minimum, last)
    return [int(value) if whole else float(value) for value in found]


def tick_text(value: Any) -> str:
    """A tick's label."""
    return plain(gene_text(value))


def gene_scale(axes: Any, gene: Any) -> None:
    """The gene's own scale and range, set before anything is drawn, so that there is nothing to be guessed."""
    if isinstance(gene, RealGene) and gene.log:
        axes.set_yscale("log")
        axes.minorticks_off()
    axes.set_ylim(*_limits(gene))
    values = ticks(gene, 3)
    axes.set_yticks(values)
    axes.set_yticklabels([tick_text(value) for value in values])


def _limits(gene: Any) -> Any:
    """The gene's range and a little more."""
    if isinstance(gene, RealGene) and gene.log:
        margin = max((gene.maximum / gene.minimum) ** 0.06, 1.1)
        return gene.minimum / margin, gene.maximum * margin
    margin = 0.06 * (gene.maximum - gene.minimum) or 1.0
    return gene.minimum - margin, gene.maximum + margin


def whole_numbers(axis: Any) -> None:
    """Ticks of a generation axis."""
    axis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
