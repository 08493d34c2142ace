"""A decay for each weight of nets of one, two and three layers, by a hypernet, against the best single decay.

After the second figure of section 4.4 of Lorraine and Duvenaud 2018, whose nets these are.
"""
from __future__ import annotations

from typing import Any, Iterator, List, NamedTuple, Sequence

import numpy as np

from menndl_caffe.trainer.groups import PER_WEIGHT
from tests.bench.gradients import mnist
from tests.bench.gradients.hypernets import EACH, Setting, Writer, of_seed, problem_of, ranged
from tests.bench.gradients.nets import DENSE, LINEAR, LOSS, NEURON, XAVIER
from tests.bench.gradients.results import PAGES, RESULTS, read
from tests.bench.gradients.trainings import START, Problem
from tests.bench.pages import markdown

NAME = "hypernet_deeper"
TABLE, FIGURE = RESULTS / "hypernet_deeper.csv", PAGES / "hypernet_deeper.png"
SEEDS = (1,)
HIDDEN = 100
STEPS, BEFORE_EACH = 100, 5
EVERY = 10
GRID = "grid"


def layers(hidden: int) -> str:
    """A net of so many hidden layers of HIDDEN units of ReLU."""
    text, bottom = "", "data"
    for number in range(hidden):
        name, bottom = f"hidden{number}", f"active{number}"
        text += DENSE.format(name=name, bottom=f"active{number - 1}" if number else "data", outputs=HIDDEN,
                             filler=XAVIER) + NEURON.format(name=bottom, kind="ReLU", bottom=name)
    return text + DENSE.format(name="score", bottom=bottom, outputs=10, filler=XAVIER) + LOSS


NETS = {"784-10": LINEAR, "784-100-10": layers(1), "784-100-100-10": layers(2)}


class Row(NamedTuple):
    """Decays, and plain trainings with them."""

    seed: int
    net: str
    method: str
    step: int  # of z; the last is what counts
    predicted: float  # losses of what the hypernet writes
    predicted_test: float
    validation: float  # of plain trainings
    test: float
    test_of_both: float  # trained on the validation images as well


def rows_of(problem: Problem, net: str, steps: int = STEPS) -> Iterator[Row]:
    """Of one net on one split of the images."""
    size = problem.hand().size
    trained = {decay: problem.trained(np.full(size, decay)) for decay in mnist.GRID}
    best = min(mnist.GRID, key=lambda decay: trained[decay].validation)
    yield Row(problem.seed, net, GRID, 0, np.nan, np.nan, *trained[best][:2],
              problem.trained_on_both(np.full(size, best)).test)
    for name, setting in EACH.items():
        yield from _down(problem, net, name, setting, steps)


def _down(problem: Problem, net: str, name: str, setting: Setting, steps: int) -> Iterator[Row]:
    writer, rows = Writer(problem, PER_WEIGHT, setting, np.log(START)), []

    def tested(done: int) -> None:
        if done % EVERY == 0 and done < steps:
            rows.append(Row(problem.seed, net, name, done, *writer.now()[:2], np.nan, np.nan, np.nan))

    z = writer.descend(BEFORE_EACH, steps, tested).z
    yield from rows
    decay = writer.decay(z)
    yield Row(problem.seed, net, name, steps, *writer.predicted(z)[:2], *problem.trained(decay)[:2],
              problem.trained_on_both(decay).test)


def run(arguments: Any) -> Iterator[Row]:
    """All rows; `arguments.mnist` is the folder of the files, `arguments.longer`: so many times the steps."""
    images = mnist.images_in(arguments)
    for seed in SEEDS:
        for name, net in NETS.items():
            with problem_of(images, net, seed, mnist.TRAINED, mnist.ITERATIONS) as problem:
                yield from rows_of(problem, name, STEPS * arguments.longer)
            print(f"seed {seed}, {name}: done", flush=True)


def notes() -> Iterator[str]:
    """Where the rows come from."""
    yield "images, trainings and seeds as in mnist.csv"


def load() -> List[Row]:
    """The rows that are published."""
    return read(TABLE, Row)


# ---- the page ----

def page(rows: Sequence[Row]) -> List[str]:
    """What docs/results.md has of it."""
    lines = []
    for net in NETS:
        for method, name in ((GRID, "the best of a grid of 7"), *((each, each) for each in EACH)):
            own = [each[-1] for each in of_seed(rows, net=net, method=method)]
            said = [ranged([getattr(row, field) for row in own], 3) for field in Row._fields[4:]]
            lines.append([net, name, *(["", "", *said[2:]] if method == GRID else said)])
    return [markdown(["net", "decays", "predicted: validation", "test", "trained with them: validation", "test",
                      "test, trained on both"], lines)]


def figure(rows: Sequence[Row]) -> Any:
    """What is predicted on the way, and the best single decay's: a panel a net, medians of the seeds."""
    from matplotlib.figure import Figure

    from menndl_caffe.report.figures.style import BLUE, GREY, PAGE, RED

    result = Figure(figsize=(PAGE, 2.3), constrained_layout=True)
    panels = result.subplots(1, len(NETS), sharey=True)
    for axes, net in zip(panels, NETS):
        grid = [row for row in rows if (row.net, row.method) == (net, GRID)]
        for (name, colour), marker in zip(zip(EACH, (BLUE, RED)), "os"):
            own = [row for row in rows if (row.net, row.method) == (net, name)]
            steps = sorted({row.step for row in own})
            predicted = [np.median([row.predicted for row in own if row.step == step]) for step in steps]
            axes.plot(steps, predicted, color=colour, label=name, linewidth=1)
            axes.plot(steps[-1], np.median([row.validation for row in own if row.step == steps[-1]]), marker,
                      color=colour, clip_on=False, label="trained with its decays")
        axes.axhline(np.median([row.validation for row in grid]), color=GREY, linestyle="--", linewidth=0.8,
                     label="the best single decay")
        axes.set_title(net, loc="left")
        axes.set_xlabel("steps of z")
        axes.set_ylim(0.3, 0.7)
    panels[0].set_ylabel("validation loss")
    result.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return result
