"""What the runs found: runs.csv, the table of docs/results.md, and its figure.

| symbol | here | meaning |
|---|---|---|
| best so far | `so_far` | the highest validation accuracy of the first n trainings |
| standard error | `standard_error` | sqrt(p (1 - p) / m): of an accuracy p on m images, for their being a sample |
| work | `work` | multiply-adds of a run's trainings: 3 for each of an image's way forward, 1 in a test pass |
| pooled standard deviation | `training_noise` | sqrt(mean of variances) of genomes trained several times each |
"""
from __future__ import annotations

import csv
import math
import statistics
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence, Tuple

from tests.bench import pages
from tests.conftest import REPOSITORY

TABLE = Path(__file__).parent / "runs.csv"
FIGURE = REPOSITORY / "docs/lenet_comparison.png"
COLUMNS = ("method", "seed", "work", "default", "test", "again", "accuracies")
AT = (10, 20, 40)  # trainings
IMAGES = 3000  # of validation, and as many of the test


class Method(NamedTuple):
    """Who is compared: its name on the page, and its lines of the search file."""

    label: str
    search: str


METHODS = {
    "cma-es-30": Method("CMA_ES of the paper",
                        'type: "CMA_ES"\ncma_es_param { population: 30 sigma: 0.2 }'),
    "random": Method("RANDOM", 'type: "RANDOM"'),
    "optuna-tpe": Method("OPTUNA, TPESampler", 'type: "OPTUNA"\noptuna_param { sampler: "TPESampler" }'),
    "optuna-gp": Method("OPTUNA, GPSampler", 'type: "OPTUNA"\noptuna_param { sampler: "GPSampler" }'),
    "guided-ga": Method("GUIDED_GA", 'type: "GUIDED_GA"\nguided_ga_param { rounds: 3 }'),
}


class Curve(NamedTuple):
    """A run. Accuracies are in [0, 1]: `accuracies` and `default` on the validation images, `test` and `again` on the
    test images."""

    method: str
    seed: int
    work: float  # 10^12 multiply-adds of all individuals, training and test
    default: float  # of the network in the middle of all ranges
    test: float  # of the best, in the training that made it the best
    again: Tuple[float, ...]  # of the best, trained again with other seeds
    accuracies: Tuple[float, ...]  # of all individuals in the order of asking; 0 for one that failed

    def so_far(self, n: int) -> float:
        """The best validation accuracy of the first n."""
        return max(self.accuracies[:n])


def write_table(curves: Iterable[Curve], notes: Iterable[str], path: Path = TABLE) -> None:
    """A line a run, after the notes of where they come from."""
    with path.open("w", newline="") as file:
        file.writelines(f"# {note}\n" for note in notes)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for curve in curves:
            writer.writerow([curve.method, curve.seed, f"{curve.work:.2f}", f"{curve.default:.4f}", f"{curve.test:.4f}",
                             _joined(curve.again), _joined(curve.accuracies)])


def _joined(accuracies: Sequence[float]) -> str:
    return " ".join(f"{accuracy:.4f}" for accuracy in accuracies)


def read_table(path: Path = TABLE) -> List[Curve]:
    """Inverse of `write_table`, but for the notes."""
    with path.open(newline="") as file:
        lines = csv.DictReader(line for line in file if not line.startswith("#"))
        return [Curve(line["method"], int(line["seed"]), float(line["work"]), float(line["default"]),
                      float(line["test"]), _split(line["again"]), _split(line["accuracies"])) for line in lines]


def _split(text: str) -> Tuple[float, ...]:
    return tuple(map(float, text.split()))


def by_method(curves: Iterable[Curve]) -> Dict[str, List[Curve]]:
    """In the order of METHODS."""
    curves = list(curves)
    return {method: [curve for curve in curves if curve.method == method] for method in METHODS}


def markdown(curves: Iterable[Curve]) -> str:
    """The table of the page: medians of the seeds, and their range, in percent."""
    head = ["method", *(f"after {n}" for n in AT), "test", "test, trained again", "work"]
    rows = [[f"`{METHODS[method].label}`", *(_spread([curve.so_far(n) for curve in of_it]) for n in AT),
             _spread([curve.test for curve in of_it]), _spread([statistics.mean(curve.again) for curve in of_it]),
             f"{statistics.median(curve.work for curve in of_it):.1f}"]
            for method, of_it in by_method(curves).items()]
    return pages.markdown(head, rows)


def _spread(accuracies: Sequence[float]) -> str:
    low, middle, high = (f"{100 * pick(accuracies):.1f}" for pick in (min, statistics.median, max))
    return f"{middle} [{low}, {high}]"


def noise(curves: Sequence[Curve]) -> str:
    """How far the numbers of the table are from exact, in the page's words."""
    best = statistics.median(curve.so_far(AT[-1]) for curve in curves)
    again = training_noise([curve.again for curve in curves])
    defaults = {curve.seed: curve.default for curve in curves}.values()
    return (f"The same genome trained with other seeds: standard deviation {100 * again:.1f} points (pooled over "
            f"{len(curves)} bests, {len(curves[0].again)} trainings of each); the middle of all ranges, with "
            f"{len(defaults)} seeds: {100 * statistics.mean(defaults):.1f}%, standard deviation "
            f"{100 * statistics.stdev(defaults):.1f} points. An accuracy of {100 * best:.1f}% has, on {IMAGES:,} "
            f"images, a standard error of {100 * standard_error(best, IMAGES):.1f} points.")


def training_noise(groups: Iterable[Sequence[float]]) -> float:
    """The pooled standard deviation of a genome's accuracies over training seeds."""
    return math.sqrt(statistics.mean(statistics.variance(group) for group in groups))


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy measured on so many images."""
    return math.sqrt(accuracy * (1 - accuracy) / images)


def draw_figure(curves: Sequence[Curve]) -> Any:
    """Validation error of the best so far against the number of trainings: a panel a method, its seeds thin, their
    median thick, beside the medians of all others in grey."""
    from matplotlib.figure import Figure

    from menndl_caffe.report.figures.style import PAGE

    figure = Figure(figsize=(PAGE, 2.4), constrained_layout=True)
    panels = figure.subplots(1, len(METHODS), sharex=True, sharey=True)
    medians = {method: _median(of_it) for method, of_it in by_method(curves).items()}
    for axes, (method, of_it) in zip(panels, by_method(curves).items()):
        _panel(axes, method, of_it, medians)
        axes.set_xlabel("trainings")
    panels[0].set_ylabel("validation error of the best so far, %")
    return figure


def _panel(axes: Any, method: str, curves: Sequence[Curve], medians: Dict[str, List[float]]) -> None:
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    from menndl_caffe.report.figures.style import BLUE, GREY

    for other, median in medians.items():
        if other != method:
            axes.step(range(1, len(median) + 1), median, where="post", color=GREY, linewidth=0.8, alpha=0.5)
    for curve in curves:
        axes.step(range(1, len(curve.accuracies) + 1), _errors(curve), where="post", color=BLUE, linewidth=0.6,
                  alpha=0.6)
    axes.step(range(1, len(medians[method]) + 1), medians[method], where="post", color=BLUE, linewidth=2)
    axes.set_title(METHODS[method].label, loc="left")
    axes.set_yscale("log")
    axes.set_yticks([5, 10, 20, 40, 80])
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks([1, *AT])


def _errors(curve: Curve) -> List[float]:
    return [100 * (1 - curve.so_far(n)) for n in range(1, len(curve.accuracies) + 1)]


def _median(curves: Sequence[Curve]) -> List[float]:
    return [statistics.median(errors) for errors in zip(*map(_errors, curves))]
