"""Fitness by generation against the default."""
from __future__ import annotations

from typing import Any, Iterable, List, Optional, Sequence

from matplotlib.figure import Figure

from menndl_caffe.experiment.recorded import Run, Stages
from menndl_caffe.report.figures.style import BLACK, BLUE, COLUMN, GREY, RED, plain, whole_numbers
from menndl_caffe.report.summary import Generation
from menndl_caffe.trial import STOPPED, Result


def fitness_figure(run: Run, summaries: Sequence[Generation], stages: Stages, default: Optional[Result]) -> Figure:
    """Best and mean fitness by generation, against the default: at least one generation, the last perhaps incomplete.
    Those that were stopped early are hollow dots where they were then.
    """
    figure = Figure(figsize=(COLUMN, 2.5), constrained_layout=True)
    axes = figure.add_subplot()
    x = [row.number for row in summaries]
    axes.plot(x, _numbers(row.best_so_far for row in summaries), color=BLUE, label="best so far",
              drawstyle="steps-post")
    axes.plot(x, _numbers(row.best for row in summaries), color=BLUE, linestyle="", marker="o", markerfacecolor="white",
              label=f"best of {stages.name}")
    counted = "failures are 0" if run.fitness.worst is not None else "without failures"
    failures = f" ({counted})" if any(row.failed for row in summaries) else ""
    axes.plot(x, _numbers(row.mean for row in summaries), color=RED, linewidth=1, marker="s", markersize=2.5,
              label="mean" + failures)
    axes.vlines(x, _numbers(row.quartiles[0] for row in summaries), _numbers(row.quartiles[2] for row in summaries),
                color=RED, alpha=0.3, linewidth=3, label="quartiles")
    _stopped(axes, run, stages)
    if default is not None and not default.failed:
        axes.axhline(default.fitness, color=BLACK, linestyle="--", linewidth=1,
                     label=f"default {run.fitness.text(default.fitness)}")
    _label(axes, summaries[-1], stages, run.fitness.label(run.fitness_set))
    return figure


def _stopped(axes: Any, run: Run, stages: Stages) -> None:
    found = [(stages.of(trial), result.fitness) for trial, result in run.record.individuals()
             if result.status == STOPPED]
    if found:
        axes.plot(*zip(*found), color=GREY, linestyle="", marker="o", markersize=2, markeredgewidth=0.4,
                  markerfacecolor="none", zorder=1, label="stopped early")


def _numbers(values: Iterable[Optional[float]]) -> List[float]:
    """What matplotlib draws: NaN, a gap, for none."""
    return [float("nan") if value is None else value for value in values]


def _label(axes: Any, last: Generation, stages: Stages, fitness: str) -> None:
    incomplete = "" if last.complete else f" ({last.number} is incomplete: {last.evaluated} evaluated)"
    axes.set_xlabel(stages.name + incomplete)
    axes.set_ylabel(plain(fitness))
    axes.set_xlim(0.5, stages.until + 0.5)
    whole_numbers(axes.xaxis)
    axes.legend(frameon=False, ncol=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
