"""One decay: what a hypernet predicts over all of it, and on its way from both sides, against plain trainings.

After the figures of sections 4.1 and 4.2 of Lorraine and Duvenaud 2018. The true loss at a decay is that of a plain
training with it.
"""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence

import numpy as np

from menndl_caffe.trainer.groups import PER_NET
from tests.bench.gradients import mnist
from tests.bench.gradients.hypernets import PAPER_DEVIATION, Setting, Writer, of_seed, problem_of, ranged
from tests.bench.gradients.nets import LINEAR
from tests.bench.gradients.results import PAGES, RESULTS, read
from tests.bench.gradients.trainings import Images, Problem
from tests.bench.pages import markdown

NAME = "hypernet_curve"
TABLE, FIGURE = RESULTS / "hypernet_curve.csv", PAGES / "hypernet_curve.png"
SEEDS = (1, 2)
TRAINED, ITERATIONS = 100, 1000
GRID = tuple(np.linspace(-7, 0, 15))  # of z
GLOBAL_NAME, ITERATIONS_GLOBAL = "global", 2000
GLOBAL = Setting("global", 1.75, 1e-4)  # two deviations around the middle reach both ends
LOCAL = {"local, 0.3": Setting("linear", 0.3, 1e-2), "local, 0.0032": Setting("linear", PAPER_DEVIATION, 1e-2)}
STARTS, STEPS, BEFORE_EACH = (GRID[0], GRID[-1]), 120, 10
EVERY = 20  # steps, after which a prediction is held against a training


class Row(NamedTuple):
    """A prediction and the truth."""

    seed: int
    method: str
    start: float  # of z, of a local hypernet
    step: int  # of z so far
    z: float
    predicted: float  # validation loss of what the hypernet writes
    true: float  # of a plain training with decay e^z


def rows_of(problem: Problem, steps: int = STEPS, iterations: int = ITERATIONS_GLOBAL) -> Iterator[Row]:
    """Of one split of the images."""

    def true(z: float) -> float:
        return problem.trained(np.full(size, np.exp(z))).validation

    whole = Writer(problem, PER_NET, GLOBAL, float(np.mean(GRID)))
    size = len(whole.groups.of_weight)
    whole.train(iterations, problem.seed)
    for z in GRID:
        yield Row(problem.seed, GLOBAL_NAME, np.nan, 0, z, whole.predicted(np.array([z])).validation, true(z))
    for name, setting in LOCAL.items():
        for start in STARTS:
            for step, z, predicted in path(problem, setting, start, steps):
                yield Row(problem.seed, name, start, step, z, predicted, true(z))


def path(problem: Problem, setting: Setting, start: float, steps: int) -> Iterator[Any]:
    """Some steps of algorithm 3, the last included: their number, z, and the predicted validation loss."""
    writer = Writer(problem, PER_NET, setting, start)
    predicted: Dict[int, float] = {}

    def tested(done: int) -> None:
        if (done - 1) % EVERY == 0:
            predicted[done - 1] = writer.now().validation

    learned = writer.descend(BEFORE_EACH, steps, tested)
    for step, loss in predicted.items():
        yield step, float(learned.path[step][0][0]), loss
    yield steps, float(learned.z[0]), writer.predicted(learned.z).validation


def run(arguments: Any) -> Iterator[Row]:
    """All rows; `arguments.mnist` is the folder of the files."""
    images: Images = mnist.images_in(arguments)
    for seed in SEEDS:
        with problem_of(images, LINEAR, seed, TRAINED, ITERATIONS) as problem:
            yield from rows_of(problem)
        print(f"seed {seed}: done", flush=True)


def notes() -> Iterator[str]:
    """Where the rows come from."""
    yield (f"MNIST's 10,000 test images in an order drawn by numpy's RandomState(seed): {TRAINED} to train on, "
           f"{mnist.HELD} for validation; {ITERATIONS} iterations")


def load() -> List[Row]:
    """The rows that are published."""
    return read(TABLE, Row)


# ---- the page ----

def _at_best(rows: Sequence[Row], by: Callable[[Row], float]) -> Row:
    return min(rows, key=by)


def ends(rows: Sequence[Row]) -> Dict[str, List[Row]]:
    """Where each method comes to rest, seed by seed; of the curve, where it is lowest."""
    found = {GLOBAL_NAME: [_at_best(own, lambda row: row.predicted) for own in of_seed(rows, method=GLOBAL_NAME)]}
    for name in LOCAL:
        for start in STARTS:
            found[f"{name}, from {start:g}"] = [own[-1] for own in of_seed(rows, method=name, start=start)]
    return found


def page(rows: Sequence[Row]) -> List[str]:
    """What docs/results.md has of it."""
    best = {own[0].seed: _at_best(own, lambda row: row.true) for own in of_seed(rows, method=GLOBAL_NAME)}
    lines = [["trainings alone: the best of 15", ranged([row.z for row in best.values()], 1), "",
              ranged([row.true for row in best.values()], 3), ""]]
    for name, own in ends(rows).items():
        above = [100 * (row.true / best[row.seed].true - 1) for row in own]
        lines.append([name, ranged([row.z for row in own], 1), ranged([row.predicted for row in own], 3),
                      ranged([row.true for row in own], 3), ranged(above, 1)])
    return [markdown(["hypernet", "ends at z", "predicted there", "true there", "above the best of 15, %"], lines),
            _apart(rows)]


def _apart(rows: Sequence[Row]) -> str:
    apart = [np.mean([abs(row.predicted - row.true) for row in own]) for own in of_seed(rows, method=GLOBAL_NAME)]
    signed = [np.mean([row.predicted - row.true for row in own]) for own in of_seed(rows, method=GLOBAL_NAME)]
    return (f"Over the 15 decays the global hypernet's predictions are {ranged(apart, 3)} from the truth, in the mean "
            f"of a seed; with their signs {ranged(signed, 3)}.")


def figure(rows: Sequence[Row]) -> Any:
    """Of all seeds: left the curve, in the middle the paths, right what was predicted on them."""
    from matplotlib.figure import Figure

    from menndl_caffe.report.figures.style import BLACK, BLUE, PAGE, RED

    result = Figure(figsize=(PAGE, 2.5), constrained_layout=True)
    curve, paths, losses = result.subplots(1, 3)
    first = next(of_seed(rows, method=GLOBAL_NAME))
    seed = first[0].seed
    for axes, own in ((curve, first), (losses, first)):
        axes.plot([row.z for row in own], [row.true for row in own], "o-", color=BLACK, markersize=2.5, linewidth=0.8,
                  label="true")
    curve.plot([row.z for row in first], [row.predicted for row in first], color=BLUE, label="global hypernet")
    for (name, colour), line in zip(zip(LOCAL, (BLUE, RED)), ("-", "--")):
        for start in STARTS:
            for own in of_seed(rows, method=name, start=start):
                label = name if start == STARTS[0] and own[0].seed == seed else None
                paths.plot([row.step for row in own], [row.z for row in own], line, color=colour, label=label,
                           linewidth=1.4 if own[0].seed == seed else 0.4)
            own = next(of_seed(rows, method=name, start=start))
            losses.plot([row.z for row in own], [row.predicted for row in own], line, marker=".", color=colour,
                        linewidth=0.8)
    for axes in (curve, losses):
        axes.set_xlabel("z, logarithm of the decay")
    curve.set_ylabel("validation loss")
    curve.set_title(f"over all decays, seed {seed}", loc="left")
    paths.set_title("from both sides, all seeds", loc="left")
    losses.set_title(f"predicted on the way, seed {seed}", loc="left")
    paths.set_xlabel("steps of z")
    paths.set_ylabel("z")
    losses.set_ylim(*curve.get_ylim())
    for axes in (curve, paths):
        axes.legend(frameon=False)
    return result
