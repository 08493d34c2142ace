"""The figure: the best so far of each search, and what new seeds say of the bests."""
from __future__ import annotations

from typing import Any, Sequence

from tests.bench.paper_question.found import Finalist, Searched
from tests.conftest import REPOSITORY

FIGURE = REPOSITORY / "docs/paper_question.png"


def draw_figure(searches: Sequence[Searched], finalists: Sequence[Finalist]) -> Any:
    """Validation accuracy of the best so far against iterations, beside the finalists' test accuracies."""
    from matplotlib.figure import Figure

    from menndl_caffe.report.figures.style import PAGE

    figure = Figure(figsize=(PAGE, 2.6), constrained_layout=True)
    left, right = figure.subplots(1, 2)
    _best_so_far(left, searches)
    _from_new_seeds(right, finalists)
    return figure


def _best_so_far(axes: Any, searches: Sequence[Searched]) -> None:
    from menndl_caffe.report.figures.style import BLUE, GREY, PURPLE, RED

    for one, (colour, style) in zip(searches, ((BLUE, "-"), (RED, "--"), (PURPLE, ":"))):
        iterations, best = zip(*one.steps, (one.given, one.best))
        axes.step([n / 1000 for n in iterations], best, where="post", color=colour, linestyle=style,
                  label=one.label.replace("`", ""))
    axes.axhline(searches[0].default, color=GREY, linewidth=0.8, linestyle="-.", label="the default")
    axes.set_xlim(left=0)
    axes.set_xlabel("training iterations given, thousands")
    axes.set_ylabel("validation accuracy of the best so far")
    axes.legend(frameon=False, loc="best")


def _from_new_seeds(axes: Any, finalists: Sequence[Finalist]) -> None:
    from menndl_caffe.report.figures.style import BLACK, BLUE, GREY

    for place, one in enumerate(finalists):
        axes.plot(one.values, [place] * len(one.values), "o", color=BLUE, alpha=0.5, markeredgewidth=0)
        mean = one.mean
        assert mean is not None
        low, high = mean.interval or (mean.mean, mean.mean)
        axes.plot([low, high], [place, place], color=BLACK, linewidth=0.8)
        axes.plot(mean.mean, place, "|", color=BLACK, markersize=9)
    default = finalists[0].mean
    assert default is not None
    axes.axvline(default.mean, color=GREY, linewidth=0.8, linestyle="-.", zorder=0)
    values = [value for one in finalists for value in one.values]
    margin = 0.3 * (max(values) - min(values))  # what is wider of an interval of two values says nothing more
    axes.set_xlim(min(values) - margin, max(values) + margin)
    axes.set_yticks(range(len(finalists)))
    axes.set_yticklabels([one.label.replace("`", "") for one in finalists])
    axes.invert_yaxis()
    axes.set_xlabel("test accuracy, trainings from new seeds")
