"""What simulations say: what the ranks' time went into, and the best fitness against hours."""
from __future__ import annotations

from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from matplotlib.figure import Figure

from menndl_caffe.report.figures.style import BLACK, BLUE, GREEN, GREY, PAGE, PURPLE, RED, plain

# Of each kind of time: its name, colour and hatching.
KINDS = {"busy": ("trains", BLUE, ""), "generation": ("generation's end", "#E69F00", "////"),
         "no_trial": ("no trial", "#DDDDDD", ""), "master": ("master", RED, "xxxx"), "lost": ("lost", PURPLE, "...."),
         "dead": ("dead", GREY, "\\\\\\\\")}
LINES = [(colour, style) for style in ("-", "--", ":") for colour in (BLUE, RED, GREEN, PURPLE, BLACK)]


class Simulated(NamedTuple):
    """One simulation as it is drawn."""

    name: str
    shares: Mapping[str, float]  # of the ranks' time by KINDS
    best: Sequence[Tuple[float, float]]  # hours, best fitness from then on; none where nothing is known of it


def simulated_figure(simulations: Sequence[Simulated], fitness: str, wanted: Optional[float] = None) -> Figure:
    """A bar for each, and where `fitness` is known a line for each, with the value that is `wanted`."""
    drawn = [one for one in simulations if one.best]
    height = 0.9 + max(0.22 * len(simulations), 1.6 if drawn else 0.0)
    figure = Figure(figsize=(PAGE, height), constrained_layout=True)
    axes: List[Any] = list(figure.subplots(1, 2 if drawn else 1, squeeze=False)[0])
    _bars(axes[0], simulations)
    if drawn:
        _lines(axes[1], drawn, fitness, wanted)
    return figure


def _bars(axes: Any, simulations: Sequence[Simulated]) -> None:
    places, left = range(len(simulations)), [0.0] * len(simulations)
    for kind, (label, colour, hatch) in KINDS.items():
        shares = [100 * one.shares.get(kind, 0.0) for one in simulations]
        if any(share >= 0.05 for share in shares):
            axes.barh(places, shares, 0.7, left=left, color=colour, hatch=hatch, edgecolor="white", linewidth=0.3,
                      label=label)
        left = [before + share for before, share in zip(left, shares)]
    axes.set_yticks(list(places))
    axes.set_yticklabels([plain(one.name) for one in simulations])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the ranks' time (%)")
    axes.legend(frameon=False, ncol=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)


def _lines(axes: Any, simulations: Sequence[Simulated], fitness: str, wanted: Optional[float]) -> None:
    for one, (colour, style) in zip(simulations, LINES * (1 + len(simulations) // len(LINES))):
        hours, best = zip(*one.best)
        axes.step(hours, best, where="post", color=colour, linestyle=style, linewidth=1, label=plain(one.name))
    if wanted is not None:
        axes.axhline(wanted, color=BLACK, linestyle="--", linewidth=0.6)
    axes.set_xscale("log")
    axes.set_xlabel("hours")
    axes.set_ylabel(plain(f"best {fitness}"))
    axes.legend(frameon=False, ncol=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
