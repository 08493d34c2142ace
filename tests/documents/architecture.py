"""docs/architecture.svg: the rooms of the package on the lines of tests/test_architecture.py, and who imports whom.

Where an import can also be followed through other rooms it is not drawn, so that what is drawn can be followed by eye.
"""
from __future__ import annotations

from typing import Dict, Iterator, List, Mapping, Set, Tuple
from xml.sax.saxutils import quoteattr

from tests.documents.layered import Node, ordered, positions, ways
from tests.test_architecture import FILES, LAYERS, PACKAGE, room, rooms_imported

# Light fill and dark border, told apart by colour-blind people as well (after Okabe and Ito, 2008).
GROUPS = {
    "search": ("#dcebf7", "#0072b2", "the search", "genome objective trial search experiment init"),
    "caffe": ("#d5efe6", "#007a5a", "Caffe's nets and data", "nets data"),
    "training": ("#fdeacb", "#a86400", "training", "rank trainer torchcaffe"),
    "places": ("#f6e0ee", "#a8427f", "where and when it runs",
               "farm startup walltime run doctor cli completion simulate"),
    "record": ("#e9e4f5", "#5b4a9b", "what is kept and shown", "record journal writer report export save watch"),
    "base": ("#ececec", "#555555", "", "arguments compiled errors fields files text"),
}
PIPE = ("rank", "trainer")  # not an import: two processes
WIDTH, MARGIN, LEGEND = 900, 14, 656
ROW, BOX, GAP, LETTER, PORT = 66, 30, 18, 7.9, 11
Imports = Dict[str, Set[str]]
Edge = Tuple[str, str]
Places = Dict[Node, Tuple[float, float]]


def imports() -> Imports:
    """Room -> the other rooms that its files import."""
    found: Imports = {name: set() for row in LAYERS for name in row}
    for path in FILES:
        if room(path) != "__init__":
            found[room(path)] |= rooms_imported(path) - {room(path)}
    return found


def drawn(found: Imports) -> List[Edge]:
    """The imports that no other way leads along."""
    def reached(name: str) -> Set[str]:
        return {name}.union(*(reached(other) for other in found[name]))
    return sorted((name, other) for name, others in found.items() for other in others
                  if not any(other in reached(between) for between in others - {other}))


def picture() -> str:
    """The drawing as an SVG file's text. Each arrow says `data-from` and `data-to`."""
    rows = list(reversed(LAYERS))
    paths = ways(rows, drawn(imports()))
    order = ordered(rows, paths)
    places = positions(order, paths, {name: _width(name) for row in rows for name in row}, GAP, WIDTH - 2 * MARGIN)
    at = {node: (MARGIN + places[node], ROW * (row + 0.5)) for row, names in enumerate(order) for node in names}
    starts, ends = _ports(paths, at, 0), _ports(paths, at, -1)
    arrows = [_arrow(edge, starts[edge], [at[node] for node in path[1:-1]], ends[edge]) for edge, path in paths.items()]
    boxes = [_box(str(node), *at[node]) for names in order for node in names if isinstance(node, str)]
    return "\n".join([*_head(ROW * len(rows)), *_legend(), *arrows, _pipe(at), *boxes, "</svg>", ""])


def _ports(paths: Mapping[Edge, List[Node]], at: Places, end: int) -> Dict[Edge, Tuple[float, float]]:
    """Where each edge leaves its first box (end 0) or reaches its last one (end -1): side by side, and none crosses."""
    found: Dict[Edge, Tuple[float, float]] = {}
    for box in {path[end] for path in paths.values()}:
        edges = [edge for edge, path in paths.items() if path[end] == box]
        edges.sort(key=lambda edge: at[paths[edge][1 if end == 0 else -2]][0])
        step = min(PORT, (_width(str(box)) - 20) / max(1, len(edges) - 1))
        x, y = at[box]
        for i, edge in enumerate(edges):
            found[edge] = x + step * (i - (len(edges) - 1) / 2), y + (BOX / 2 if end == 0 else -BOX / 2 - 5)
    return found


def _shown(name: str) -> str:
    return f"{name}/" if (PACKAGE / name).is_dir() else name


def _width(name: str) -> float:
    return LETTER * len(_shown(name)) + 18


def _colours(name: str) -> Tuple[str, str]:
    for fill, border, _, names in GROUPS.values():
        if name in names.split():
            return fill, border
    raise KeyError(f"{name} is a new room: give it a group in {__name__}.GROUPS")


def _box(name: str, x: float, y: float) -> str:
    fill, border = _colours(name)
    width = _width(name)
    return (f'<rect x="{x - width / 2:.1f}" y="{y - BOX / 2:.1f}" width="{width:.1f}" height="{BOX}" rx="6" '
            f'fill="{fill}" stroke="{border}"/><text class="room" x="{x:.1f}" y="{y + 4.5:.1f}">{_shown(name)}</text>')


def _arrow(edge: Edge, start: Tuple[float, float], passed: List[Tuple[float, float]], end: Tuple[float, float]) -> str:
    """From the lower edge of one box, past the boxes of the rows between, to the upper edge of the other."""
    beside = [stop for x, y in passed for stop in ((x, y - BOX / 2), (x, y + BOX / 2))]
    return (f'<path data-from={quoteattr(edge[0])} data-to={quoteattr(edge[1])} '
            f'd="{" ".join(_curve([start, *beside, end]))}" stroke="{_colours(edge[0])[1]}" marker-end="url(#head)"/>')


def _curve(stops: List[Tuple[float, float]]) -> Iterator[str]:
    """Straight down beside a box, and a bow from one row to the next that leaves and arrives upright."""
    yield "M{:.1f},{:.1f}".format(*stops[0])
    for (x, y), (to_x, to_y) in zip(stops, stops[1:]):
        middle = (y + to_y) / 2
        yield f"L{to_x:.1f},{to_y:.1f}" if x == to_x else \
            f"C{x:.1f},{middle:.1f} {to_x:.1f},{middle:.1f} {to_x:.1f},{to_y:.1f}"


def _pipe(at: Places) -> str:
    """The dashed line between the two ends of the pipe, which stand on one row."""
    (x, y), (to_x, _) = at[PIPE[0]], at[PIPE[1]]
    down, deep = y + BOX / 2, y + BOX / 2 + 20
    return (f'<path d="M{x:.1f},{down:.1f} C{x:.1f},{deep:.1f} {to_x:.1f},{deep:.1f} {to_x:.1f},{down + 4:.1f}" '
            f'stroke="{_colours(PIPE[0])[1]}" stroke-dasharray="4 3" marker-end="url(#head)"/>')


def _head(height: int) -> Iterator[str]:
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
           'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13">')
    yield "<title>The rooms of menndl_caffe and their imports</title>"
    yield ('<defs><marker id="head" viewBox="0 0 8 8" refX="3" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
           '<path d="M0,0.5 L8,4 L0,7.5 z" fill="#444"/></marker></defs>')
    yield "<style>path[stroke] { fill: none; stroke-width: 1.3 } .room { text-anchor: middle; fill: #111 } " \
          ".said { font-family: DejaVu Sans, Helvetica, Arial, sans-serif; fill: #333 }</style>"
    yield f'<rect width="{WIDTH}" height="{height}" fill="white"/>'


def _legend() -> Iterator[str]:
    """To the right of all rooms."""
    for i, text in enumerate(("An arrow: imports. It is left out where", "others lead to the same room.",
                              "Dashed: a pipe to another process.")):
        yield f'<text class="said" x="{LEGEND}" y="{32 + 19 * i}">{text}</text>'
    for i, (fill, border, text, _) in enumerate(group for group in GROUPS.values() if group[2]):
        y = 98 + 26 * i
        yield (f'<rect x="{LEGEND}" y="{y}" width="18" height="18" rx="4" fill="{fill}" stroke="{border}"/>'
               f'<text class="said" x="{LEGEND + 28}" y="{y + 14}">{text}</text>')
