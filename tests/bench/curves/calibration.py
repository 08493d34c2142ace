"""How far the extrapolation of learning curves may be believed: forecasts against what trainings came to."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence

import numpy as np

from menndl_caffe.objective import Objective
from menndl_caffe.search.curve import LOWEST, forecast
from tests.bench.curves.recorded import Recorded

ODDS = (0.5, 0.9)  # of the intervals
COLUMN = 2.6  # inches


class Forecasts(NamedTuple):
    """Of all trainings at one iteration, accuracies; each of shape (trainings,)."""

    iteration: int
    mean: np.ndarray
    below: np.ndarray  # the forecast's probability of an accuracy below the real one
    low: np.ndarray  # of the interval that has 0.9
    high: np.ndarray


def forecasts(curves: Sequence[Recorded], iteration: int) -> Forecasts:
    """From what each has until `iteration`."""
    rows = []
    for number, one in enumerate(curves):
        t, accuracy = (np.array(each) for each in zip(*((at, accuracy) for at, accuracy, _ in one.curve
                                                        if 0 < at <= iteration)))
        found = forecast(t, -accuracy, one.curve[-1][0], np.random.RandomState([1, number]), LOWEST[Objective()])
        order = np.argsort(-found.costs)
        ranked, weights = -found.costs[order], np.cumsum(found.weights[order])
        low, high = (ranked[min(np.searchsorted(weights, odds), len(ranked) - 1)] for odds in (0.05, 0.95))
        rows.append((-(found.weights @ found.costs), 1 - found.below(-one.fitness), low, high))
    return Forecasts(iteration, *map(np.array, zip(*rows)))


def numbers(found: Forecasts, curves: Sequence[Recorded]) -> Dict[str, Any]:
    """What of them is said in a table."""
    error = found.mean - np.array([one.fitness for one in curves])
    inside = {f"inside {odds:.0%}": float(np.mean(np.abs(found.below - 0.5) <= odds / 2)) for odds in ODDS}
    return {"iteration": found.iteration, "trainings": len(curves), "mean absolute error": float(np.abs(error).mean()),
            "median error": float(np.median(error)), **inside,
            "median width of 90%": float(np.median(found.high - found.low))}


def figure(found: List[Forecasts], curves: Sequence[Recorded], file: Path) -> None:
    """A panel for each iteration: what was forecast, with the interval of 0.9, against what came."""
    from matplotlib.figure import Figure

    real = np.array([one.fitness for one in curves])
    drawn = Figure(figsize=(COLUMN * len(found), COLUMN + 0.4), constrained_layout=True)
    for axes, one in zip(drawn.subplots(1, len(found), sharey=True), found):
        outside = (real < one.low) | (real > one.high)
        for which, colour, label in ((~outside, "#4477aa", "inside"), (outside, "#cc3311", "outside")):
            axes.vlines(real[which], one.low[which], one.high[which], colors=colour, linewidth=0.6, alpha=0.6)
            axes.plot(real[which], one.mean[which], ".", color=colour, markersize=4, label=label)
        axes.axline((0.1, 0.1), slope=1, color="black", linewidth=0.8, linestyle="--")
        axes.set(xlabel=f"accuracy at iteration {curves[0].curve[-1][0]:,}", ylim=(0, 1))
        axes.text(0.03, 0.97, f"from the first {one.iteration:,}", transform=axes.transAxes, va="top")
    drawn.axes[0].set_ylabel("forecast, with 90% interval")
    drawn.axes[-1].legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.93), title="90% interval")
    drawn.savefig(file, dpi=150)
