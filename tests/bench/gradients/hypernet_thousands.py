"""A decay for each of 7,850 weights by a hypernet: its gradient against the implicit one, and where it leads.

After the figure of section 4.3 of Lorraine and Duvenaud 2018. Images, trainings and judgement are those of `mnist`,
whose rows of the same seeds it is held against.
"""
from __future__ import annotations

from typing import Any, Dict, Iterator, List, NamedTuple, Sequence

import numpy as np

from menndl_caffe.trainer.groups import PER_NET, PER_WEIGHT
from menndl_caffe.trainer.hypergradient.implicit import Settings, estimate
from tests.bench.gradients import mnist
from tests.bench.gradients.hypernets import EACH, PAIRS, Setting, Writer, of_seed, problem_of, ranged
from tests.bench.gradients.nets import LINEAR
from tests.bench.gradients.results import PAGES, RESULTS, read
from tests.bench.gradients.trainings import START, Problem, with_decays
from tests.bench.pages import markdown

NAME = "hypernet_thousands"
TABLE, FIGURE = RESULTS / "hypernet_thousands.csv", PAGES / "hypernet_thousands.png"
SEEDS = (1,)
SETTINGS = {**EACH, "diagonal, larger steps": Setting("diagonal", 0.3, 1e-3, 0.05)}
LEGS = (100, 300, 1000, 3000)  # iterations of the hypernet after which its gradient is looked at
TOLERANCE = 1e-3  # of the implicit one
STEPS, BEFORE_EACH = 100, 10  # of z
EVERY = 10
AROUND, DOWN = "around", "down"


class Row(NamedTuple):
    """A hypernet after some iterations around the start, or the decays after some steps."""

    seed: int
    hypernet: str
    part: str  # AROUND or DOWN
    step: int  # iterations of the hypernet, or steps of z
    cosine: float  # of dE/dz with the implicit one
    one_step: float  # of -w dE/dw, T1-T2's direction at the weights that the hypernet writes, with the same
    predicted: float  # losses of these weights
    predicted_test: float
    validation: float  # of plain trainings with the last decays
    test: float
    test_of_both: float  # trained on the validation images as well
    cost: float  # gradients of 100 images, over those of a training; that with the decays found included


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Of the angle between two vectors."""
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def rows_of(problem: Problem, longer: int = 1, steps: int = STEPS) -> Iterator[Row]:
    """Of one split of the images; `longer`: so many times the iterations of the last leg."""
    start = np.full(problem.hand().size, np.log(START))
    reference = implicit(problem)
    for name, setting in SETTINGS.items():
        yield from _around(problem, name, setting, start, reference, longer)
        yield from _down(problem, name, setting, start, steps)


def implicit(problem: Problem) -> np.ndarray:
    """dE/dz at the start by the implicit function theorem."""
    hand = with_decays(problem, np.full(problem.hand().size, START))
    found = estimate(hand, Settings("IMPLICIT", TOLERANCE, *problem.batches))
    if found.distrust:
        print(f"seed {problem.seed}: {found.distrust}", flush=True)
    return found.by_decay * START


def _around(problem: Problem, name: str, setting: Setting, start: np.ndarray, reference: np.ndarray,
            longer: int) -> Iterator[Row]:
    writer, done = Writer(problem, PER_WEIGHT, setting, np.log(START)), 0
    for leg, iterations in enumerate((*LEGS[:-1], LEGS[-1] * longer)):
        writer.train(iterations - done, 100 * problem.seed + leg)
        done = iterations
        along = cosine(writer.gradient(start), reference)
        greedy = cosine(-writer.weights(start) * writer.by_weights(start), reference)
        losses = writer.predicted(start)
        yield Row(problem.seed, name, AROUND, iterations, along, greedy, losses.validation, losses.test, np.nan,
                  np.nan, np.nan, PAIRS * iterations / problem.iterations)


def _down(problem: Problem, name: str, setting: Setting, start: np.ndarray, steps: int) -> Iterator[Row]:
    writer, rows = Writer(problem, PER_WEIGHT, setting, np.log(START)), []

    def row(step: int, *losses: float) -> Row:
        cost = step * (BEFORE_EACH * PAIRS + 1) / problem.iterations + 1
        return Row(problem.seed, name, DOWN, step, np.nan, np.nan, *losses, cost)

    def tested(done: int) -> None:
        if done % EVERY == 0 and done < steps:
            now = writer.now()
            rows.append(row(done, now.validation, now.test, np.nan, np.nan, np.nan))

    z = writer.descend(BEFORE_EACH, steps, tested).z
    yield from rows
    predicted, trained = writer.predicted(z), problem.trained(writer.decay(z))
    yield row(steps, predicted.validation, predicted.test, trained.validation, trained.test,
              problem.trained_on_both(writer.decay(z)).test)


def run(arguments: Any) -> Iterator[Row]:
    """All rows; `arguments.mnist` is the folder of the files, `arguments.longer` as in `rows_of`."""
    images = mnist.images_in(arguments)
    for seed in SEEDS:
        with problem_of(images, LINEAR, seed, mnist.TRAINED, mnist.ITERATIONS) as problem:
            yield from rows_of(problem, arguments.longer)
        print(f"seed {seed}: done", flush=True)


def notes() -> Iterator[str]:
    """Where the rows come from."""
    yield "images, trainings and seeds as in mnist.csv"


def load() -> List[Row]:
    """The rows that are published."""
    return read(TABLE, Row)


# ---- the page ----

BESIDE = {"the best of a grid of 7": (mnist.GRID_NAME, PER_NET), "`T1T2`": (mnist.T1T2, PER_WEIGHT),
          "`UNROLLED`": (mnist.UNROLLED, PER_WEIGHT)}


def page(rows: Sequence[Row]) -> List[str]:
    """What docs/results.md has of it: cosines, and losses."""
    return [_cosines(rows), _losses(rows)]


def _cosines(rows: Sequence[Row]) -> str:
    steps = sorted({row.step for row in rows if row.part == AROUND})
    lines = []
    for name in SETTINGS:
        for field, direction in (("cosine", name), ("one_step", f"{name}: one step ahead")):
            of = {step: [row for row in rows if (row.hypernet, row.part, row.step) == (name, AROUND, step)]
                  for step in steps}
            lines.append([direction, *(ranged([getattr(row, field) for row in own], 2) for own in of.values())])
    return markdown(["hypernet", *(f"after {step:,}" for step in steps)], lines)


def _losses(rows: Sequence[Row]) -> str:
    fields = ("validation", "test", "test_of_both", "cost")
    lines = []
    for name, (method, kind) in BESIDE.items():
        own = [row for row in mnist.last(mnist.load(), method, kind) if row.seed in SEEDS]
        lines.append([name, "", "", *_said(own, fields)])
    for name in SETTINGS:
        last = [own[-1] for own in of_seed(rows, hypernet=name, part=DOWN)]
        lines.append([name, *_said(last, ("predicted", "predicted_test", *fields))])
    return markdown(["decays by", "predicted: validation", "test", "trained with them: validation", "test",
                     "test, trained on both", "cost"], lines)


def _said(rows: Sequence[Any], fields: Sequence[str]) -> List[str]:
    return [f"{np.median([row.cost for row in rows]):.1f}" if field == "cost"
            else ranged([getattr(row, field) for row in rows], 3) for field in fields]


def figure(rows: Sequence[Row]) -> Any:
    """Left: cosines. Right: what is predicted on the way, of validation and test images, and UNROLLED's."""
    from matplotlib.figure import Figure

    from menndl_caffe.report.figures.style import BLACK, BLUE, GREY, PAGE, PURPLE, RED

    result = Figure(figsize=(PAGE, 2.7), constrained_layout=True)
    cosines, losses = result.subplots(1, 2)
    for (name, colour), marker in zip(zip(SETTINGS, (BLUE, RED, PURPLE)), "os^"):
        steps, along = _medians(rows, name, AROUND, "step", "cosine")
        cosines.plot(steps, along, marker + "-", color=colour, label=name)
        for field, line in (("predicted", "-"), ("predicted_test", "--")):
            losses.plot(*_medians(rows, name, DOWN, "cost", field), line, color=colour)
    unrolled = [row for row in mnist.load() if (row.method, row.decays) == (mnist.UNROLLED, PER_WEIGHT)
                and row.seed in SEEDS]
    for field, line in (("validation", "-"), ("test", "--")):
        of_step: Dict[int, List[mnist.Row]] = {}
        for row in unrolled:
            of_step.setdefault(row.step, []).append(row)
        losses.plot([np.median([row.cost for row in own]) for own in of_step.values()],
                    [np.median([getattr(row, field) for row in own]) for own in of_step.values()], "D" + line,
                    color=BLACK, markersize=2.5, label=f"UNROLLED, {field}")
    cosines.axhline(0, color=GREY, linewidth=0.6)
    cosines.set_xscale("log")
    cosines.set_xlabel("iterations of the hypernet")
    cosines.set_ylabel("cosine with the implicit gradient")
    losses.set_xlabel("cost, plain trainings")
    losses.set_ylabel("loss")
    losses.set_ylim(0.15, 0.8)
    cosines.legend(frameon=False)
    losses.legend(frameon=False)
    return result


def _medians(rows: Sequence[Row], name: str, part: str, x: str, y: str) -> Any:
    own = [row for row in rows if (row.hypernet, row.part) == (name, part)]
    steps = sorted({row.step for row in own})
    return [[float(np.median([getattr(row, field) for row in own if row.step == step])) for step in steps]
            for field in (x, y)]
