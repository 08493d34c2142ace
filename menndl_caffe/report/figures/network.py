"""Figure 1: a net drawn from its prototxt, the values that the search sets marked."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Sequence, Tuple

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from menndl_caffe.report.figures.style import BLACK, COLUMN, GREY, RED, plain, shortened, text_width
from menndl_caffe.report.nets import UNKNOWN_GENE
from menndl_caffe.report.network import Layer, shape_text

# All in points.
WIDTH = 72 * COLUMN
LINE, PAD, BETWEEN = 9.5, 3.0, 9.0  # a line of text, a box's inner margin, between two boxes
LANE, EDGE = 5.0, 3.0  # from one line beside the boxes to the next; the figure's margin
SPACE = 5.0  # between two words

Word = Tuple[str, bool, str]  # text, whether the search sets it, colour where it does not


@dataclass
class Box:
    """A layer and those that work in place on its tops; `reads` are the boxes whose blobs it reads."""

    lines: List[List[Word]]
    output: str
    learns: bool
    reads: List[int] = field(default_factory=list)
    top: float = 0.0  # points below the figure's upper edge

    @property
    def height(self) -> float:
        """Of all its lines."""
        return LINE * len(self.lines) + 2 * PAD


def network_figure(rows: Sequence[Layer]) -> Figure:
    """At least one layer. Boxes in the order of the file, one below the other; what is not read by the next box goes
    down beside them."""
    lanes = _lanes(_boxes(rows, WIDTH))
    left = EDGE + LANE * (1 + max(lanes.values(), default=-1))
    boxes = _boxes(rows, WIDTH - left - EDGE - 2 * PAD)
    y = EDGE
    for box in boxes:
        box.top = y
        y += box.height + BETWEEN
    figure = Figure(figsize=(COLUMN, (y - BETWEEN + LINE + 2 * EDGE) / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(72 * figure.get_figheight(), 0)
    for number, box in enumerate(boxes):
        _draw(axes, box, left)
        for source in box.reads:
            _connect(axes, boxes[source], box, left, lanes.get((source, number)))
    compared = any(UNKNOWN_GENE in setting.genes for row in rows for setting in row.settings)
    key = "not the same in the default and the best" if compared else "set by the search"
    axes.text(left, y - BETWEEN + EDGE + LINE / 2, key, color=RED, weight="bold", va="center")
    return figure


def _boxes(rows: Sequence[Layer], room: float) -> List[Box]:
    """The boxes with their lines broken to fit into `room` points."""
    boxes: List[Box] = []
    makers: Dict[str, int] = {}  # blob -> the box that made it
    for row in rows:
        in_place = [makers[top] for top in row.tops if top in row.bottoms and top in makers]
        if in_place:
            boxes[in_place[0]].lines += _lines(row, room, "")
            continue
        reads = sorted({makers[bottom] for bottom in row.bottoms if bottom in makers})
        output = shape_text(row.output, " × ")
        boxes.append(Box(_lines(row, room, output), output, bool(row.parameters), reads))
        makers.update(dict.fromkeys(row.tops, len(boxes) - 1))
    return boxes


def _lines(row: Layer, room: float, output: str) -> List[List[Word]]:
    """Name and type on the first line, which leaves room for the output's shape; settings below."""
    first: List[Word] = [(plain(row.name), False, BLACK), (plain(row.type), bool(row.genes), GREY)]
    lines = [first] if _width(first) + text_width(output) + SPACE <= room else [first[:1], first[1:]]
    words: List[Word] = []
    for setting in row.settings:
        pair: List[Word] = [(setting.name, False, GREY), (plain(setting.value), bool(setting.genes), BLACK)]
        if words and _width(words + pair) > room:
            lines.append(words)
            words = []
        words = words + pair
    return [*lines, words] if words else lines


def _width(words: Sequence[Word]) -> float:
    return sum(text_width(text, weight="bold" if marked else "normal") + SPACE for text, marked, _ in words)


def _draw(axes: Any, box: Box, left: float) -> None:
    face = "#E8F1F8" if box.learns else "white"
    axes.add_patch(FancyBboxPatch((left, box.top), WIDTH - left - EDGE, box.height, linewidth=0.6, edgecolor=BLACK,
                                  boxstyle="round,pad=0,rounding_size=2", facecolor=face))
    right = WIDTH - EDGE - PAD
    axes.text(right, box.top + PAD + LINE / 2, box.output, ha="right", va="center")
    for number, words in enumerate(box.lines):
        x, y = left + PAD, box.top + PAD + LINE * (number + 0.5)
        for text, marked, color in words:
            weight = "bold" if marked else "normal"
            axes.text(x, y, shortened(text, right - x), color=RED if marked else color, weight=weight, va="center")
            x += text_width(text, weight=weight) + (SPACE if marked or color != GREY else SPACE - 2)


def _lanes(boxes: Sequence[Box]) -> Dict[Tuple[int, int], int]:
    """A lane for every blob that passes a box, the shortest ways nearest to the boxes; those of one blob share it."""
    ends: Dict[int, int] = {}
    for number, box in enumerate(boxes):
        for source in box.reads:
            if source < number - 1:
                ends[source] = number
    lanes: Dict[int, int] = {}
    for source, end in sorted(ends.items(), key=lambda item: item[1] - item[0]):
        taken = {lane for other, lane in lanes.items() if other < end and source < ends[other]}
        lanes[source] = next(lane for lane in range(len(ends)) if lane not in taken)
    return {(source, number): lanes[source] for number, box in enumerate(boxes) for source in box.reads
            if source < number - 1}


def _connect(axes: Any, source: Box, target: Box, left: float, lane: Any) -> None:
    arrow = {"arrowstyle": "-|>,head_width=0.12,head_length=0.3", "linewidth": 0.7, "color": BLACK, "shrinkA": 0,
             "shrinkB": 0}
    if lane is None:
        middle = (left + WIDTH - EDGE) / 2
        axes.annotate("", (middle, target.top), (middle, source.top + source.height), arrowprops=arrow)
        return
    x, start, end = left - LANE * (lane + 1), source.top + source.height - PAD - 2, target.top + PAD + 2
    axes.plot([left, x, x], [start, start, end], color=BLACK, linewidth=0.7, solid_joinstyle="round")
    axes.annotate("", (left, end), (x, end), arrowprops=arrow)
