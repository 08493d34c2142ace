"""Weights against losses: three ways to tell the loss at decays that were never trained with, from as much work.

After section 4.5 of Lorraine and Duvenaud 2018: ten decays, one for each output with its bias, which are drawn of p(z).

| name | what it knows | what it tells |
|---|---|---|
| `Gaussian process` | 25 (z, validation loss) of plain trainings | a loss |
| `hypernet, fitted` | the same 25, (z, weights) | weights, which have a loss |
| `hypernet, stochastic` | other z in each iteration, as many gradients as 25 trainings | weights, which have a loss |
"""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence

import numpy as np

from menndl_caffe.search.gaussian_process import GaussianProcess, fit
from menndl_caffe.trainer.groups import PER_UNIT
from menndl_caffe.trainer.plain import retrain
from tests.bench.gradients import mnist
from tests.bench.gradients.hypernets import PAIRS, Setting, Writer, of_seed, problem_of, ranged
from tests.bench.gradients.nets import LINEAR
from tests.bench.gradients.results import PAGES, RESULTS, read
from tests.bench.gradients.trainings import Problem
from tests.bench.pages import markdown

NAME = "hypernet_losses"
TABLE, FIGURE = RESULTS / "hypernet_losses.csv", PAGES / "hypernet_losses.png"
SEEDS = (1, 2)
KNOWN, ASKED = 25, 40  # decays
CENTRE, DEVIATION = -3.0, 1.5  # of p(z)
REACH = 3 * DEVIATION  # to either side of the centre: 0 .. 1 for the Gaussian process
STOCHASTIC = Setting("linear", DEVIATION, 1e-4)  # as the paper
FITTED = Setting("linear", DEVIATION, 1e-3)
FIT_ITERATIONS = 1000
PROCESS, HYPERNET, SAMPLED = METHODS = ("Gaussian process", "hypernet, fitted", "hypernet, stochastic")


class Row(NamedTuple):
    """Decays that were asked for."""

    seed: int
    method: str
    asked: int
    true: float  # validation loss of a plain training
    predicted: float


class Trained(NamedTuple):
    """Plain trainings."""

    z: np.ndarray  # shape (k, m)
    weights: np.ndarray  # shape (k, n)
    losses: np.ndarray  # of validation, shape (k,)


def trained(problem: Problem, z: np.ndarray) -> Trained:
    """With the decays of each row of z."""
    groups = Writer(problem, PER_UNIT, FITTED, CENTRE).groups
    weights, losses = [], []
    for own in z:
        hand = problem.hand(shown="judged")
        hand.decay = groups.spread(np.exp(own))
        retrain(hand, lambda iteration: None)
        weights.append(hand.take())
        losses.append(problem.judged(hand).validation)
    return Trained(z, np.array(weights), np.array(losses))


def rows_of(problem: Problem, known: int = KNOWN, asked: int = ASKED) -> Iterator[Row]:
    """Of one split of the images."""
    outputs = len(Writer(problem, PER_UNIT, FITTED, CENTRE).groups.names)
    z = np.random.RandomState(problem.seed).normal(CENTRE, DEVIATION, (known + asked, outputs))
    data, truth = trained(problem, z[:known]), trained(problem, z[known:])
    for method, predict in ((PROCESS, process(data)), (HYPERNET, fitted(problem, data)),
                            (SAMPLED, stochastic(problem, known))):
        for number, loss in enumerate(predict(truth.z)):
            yield Row(problem.seed, method, number, float(truth.losses[number]), float(loss))


Predict = Callable[[np.ndarray], np.ndarray]  # validation losses at the rows of z


def process(data: Trained) -> Predict:
    """The mean of the process that searches use."""
    mean, deviation, no_choices = data.losses.mean(), data.losses.std(), np.zeros(data.z.shape[1], bool)
    x, y = _coordinates(data.z), (data.losses - mean) / deviation
    model = GaussianProcess(x, y, no_choices, fit(x, y, no_choices))
    return lambda z: mean + deviation * model.mean(_coordinates(z))


def _coordinates(z: np.ndarray) -> np.ndarray:
    return (z - CENTRE) / (2 * REACH) + 0.5


def fitted(problem: Problem, data: Trained) -> Predict:
    """A hypernet whose weights are nearest to the known ones, in the mean of their squares."""
    writer = Writer(problem, PER_UNIT, FITTED, CENTRE)
    for _ in range(FIT_ITERATIONS):
        writer.hypernet.step((writer.hypernet.weights(data.z) - data.weights) / len(data.z))
    return _through(writer)


def stochastic(problem: Problem, known: int) -> Predict:
    """A hypernet that was trained by algorithm 2 with the gradients of `known` trainings."""
    writer = Writer(problem, PER_UNIT, STOCHASTIC, CENTRE)
    writer.train(known * problem.iterations // PAIRS, problem.seed)
    return _through(writer)


def _through(writer: Writer) -> Predict:
    return lambda z: np.array([writer.predicted(own).validation for own in z])


def run(arguments: Any) -> Iterator[Row]:
    """All rows; `arguments.mnist` is the folder of the files."""
    images = mnist.images_in(arguments)
    for seed in SEEDS:
        with problem_of(images, LINEAR, seed, mnist.TRAINED, mnist.ITERATIONS) as problem:
            yield from rows_of(problem)
        print(f"seed {seed}: done", flush=True)


def notes() -> Iterator[str]:
    """Where the rows come from."""
    yield "images and trainings as in mnist.csv; decays drawn by numpy's RandomState(seed), 25 and then those asked for"


def load() -> List[Row]:
    """The rows that are published."""
    return read(TABLE, Row)


# ---- the page ----

def measures(rows: Sequence[Row]) -> Dict[str, float]:
    """Of one method and seed."""
    true, predicted = (np.array([getattr(row, field) for row in rows]) for field in ("true", "predicted"))
    ranks = [values.argsort().argsort() for values in (true, predicted)]
    return {"mean of predicted - true": float((predicted - true).mean()),
            "mean distance": float(np.abs(predicted - true).mean()),
            "too low, of 100": float(100 * (predicted < true).mean()),
            "rank correlation": float(np.corrcoef(*ranks)[0, 1]),
            "true at the predicted best": float(true[predicted.argmin()]), "the best": float(true.min())}


def page(rows: Sequence[Row]) -> List[str]:
    """What docs/results.md has of it."""
    digits = {"too low, of 100": 0, "rank correlation": 2}
    lines, head = [], list(measures(rows[:2]))
    for method in METHODS:
        of = [measures(own) for own in of_seed(rows, method=method)]
        lines.append([method, *(ranged([each[name] for each in of], digits.get(name, 3)) for name in head)])
    return [markdown(["method", *head], lines)]


def figure(rows: Sequence[Row]) -> Any:
    """Above: predicted against true. Below: how often they are how far apart. A column each, all seeds."""
    from matplotlib.figure import Figure

    from menndl_caffe.report.figures.style import BLUE, GREEN, GREY, PAGE, RED

    result = Figure(figsize=(PAGE, 3.6), constrained_layout=True)
    panels = result.subplots(2, 3, sharex="row", sharey="row")
    true = [row.true for row in rows]
    low, high = min(true), max(true)
    room = 0.5 * (high - low)
    for column, (method, colour) in enumerate(zip(METHODS, (RED, GREEN, BLUE))):
        own = [row for row in rows if row.method == method]
        scatter, counts = panels[:, column]
        scatter.plot([row.true for row in own], [row.predicted for row in own], ".", color=colour, markersize=2)
        scatter.axline((low, low), slope=1, color=GREY, linewidth=0.8)
        scatter.set_ylim(low - 0.3 * room, high + room)
        scatter.set_title(method, loc="left")
        scatter.set_xlabel("true loss")
        counts.hist(np.clip([row.predicted - row.true for row in own], -room, room), bins=40, range=(-room, room),
                    color=colour)
        counts.axvline(0, color=GREY, linewidth=0.8)
    panels[1, 1].set_xlabel("predicted - true loss; those beyond are at the ends")
    panels[0, 0].set_ylabel("predicted loss")
    panels[1, 0].set_ylabel("decays")
    return result
