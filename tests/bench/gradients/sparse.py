"""Sparse linear regression, a decay for each input (after Bengio 2000), against one decay and least squares.

| symbol | here | meaning |
|---|---|---|
| x | `inputs` | 40 inputs, standard normal |
| y | `targets` | w'x + e, e standard normal; 20 slopes w are normal with standard deviation 0.5, the other 20 are 0 |
| N | `samples` | how many train, and how many more are the validation set |
| test error | `Row.test` | mean square error on 5,000 more samples: 1 is the noise alone |

Decays are in the units of Caffe's weight_decay, beside a loss that is half the mean square error. What was found with
N samples serves for all 2 N with half the decay: the same beside a sum of squares, as twice as many samples say as much
against it.
"""
from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from tests.bench.gradients.least_squares import LeastSquares, Samples, closed_form, descend, joined
from tests.bench.gradients.results import PAGES, RESULTS, fraction, read, said, spread
from tests.bench.pages import markdown

NAME = "sparse"
TABLE, FIGURE = RESULTS / "sparse.csv", PAGES / "gradients_sparse.png"
SEEDS, SIZES = tuple(range(1, 21)), (60, 120, 240)
INPUTS, RELEVANT, TESTED = 40, 20, 5000
START, LOWEST, HIGHEST = 0.1, 1e-6, 1e6  # decays
FOLDS, GRID = 10, np.logspace(-4, 1, 31)
LEAST, ONE, EACH, RIDGE, KNOWN = "least squares", "one decay", "a decay each", "ridge", "known"
METHODS = {LEAST: "least squares", RIDGE: "one decay, by 10-fold cross-validation", ONE: "one decay, by descent",
           EACH: "a decay for each input, by descent", KNOWN: "least squares of the relevant inputs alone"}


class Row(NamedTuple):
    """A method on one drawn problem."""

    samples: int
    seed: int
    method: str
    test: float  # trained on the training samples
    test_of_all: float  # trained on training and validation samples
    validation: float  # mean square error of `test`'s weights on the validation samples
    gradients: int  # through the net; 0 where there was none
    relevant: float  # geometric mean of the decays of the relevant inputs
    irrelevant: float


class Problem(NamedTuple):
    """What was drawn: the first RELEVANT inputs have slopes."""

    fit: Samples
    held: Samples
    test: Samples


def draw(samples: int, seed: int) -> Problem:
    """A problem, with its test samples; another number of samples is another problem."""
    random = np.random.RandomState((samples, seed))
    slopes = np.concatenate([random.normal(0, 0.5, RELEVANT), np.zeros(INPUTS - RELEVANT)])

    def some(count: int) -> Samples:
        inputs = random.standard_normal((count, INPUTS))
        return Samples(inputs, inputs @ slopes + random.standard_normal(count))

    return Problem(some(samples), some(samples), some(TESTED))


def rows_of(samples: int, seed: int) -> Iterator[Row]:
    """Every method on one problem."""
    problem = draw(samples, seed)
    fit, held, test = problem
    everything = joined(fit, held)

    def row(method: str, decay: np.ndarray, of_all: np.ndarray, gradients: int = 0, of: slice = slice(None)) -> Row:
        first, last = _trained(fit, decay, of), _trained(everything, of_all, of)
        means = [float(np.exp(np.log(part).mean())) if part.all() else np.nan
                 for part in (decay[:RELEVANT], decay[RELEVANT:])]
        return Row(samples, seed, method, test.error(first), test.error(last), held.error(first), gradients, *means)

    none = np.zeros(INPUTS)
    yield row(LEAST, none, none)
    yield row(RIDGE, np.full(INPUTS, cross_validated(fit)), np.full(INPUTS, cross_validated(everything)))
    for method, count in ((ONE, 1), (EACH, INPUTS)):
        decay, gradients = descended(problem, count)
        yield row(method, decay, decay / 2, gradients)
    yield row(KNOWN, none, none, of=slice(RELEVANT))


def _trained(samples: Samples, decay: np.ndarray, of: slice) -> np.ndarray:
    weights = np.zeros(INPUTS)
    weights[of] = closed_form(Samples(samples.inputs[:, of], samples.targets), decay[of], np.ones(len(samples.targets)))
    return weights


def descended(problem: Problem, decays: int) -> Tuple[np.ndarray, int]:
    """The decay of each input where the validation loss is least, and the gradients that were taken through the net.

    `decays`: INPUTS, or 1 for all.
    """
    equal = np.ones(len(problem.fit.targets))
    with tempfile.TemporaryDirectory() as folder:
        net = LeastSquares(Path(folder), problem.fit, problem.held)

        def loss(logs: np.ndarray) -> Tuple[float, np.ndarray]:
            decay = np.broadcast_to(np.exp(logs), (INPUTS,))
            found = net.at(decay, equal)
            by_log = found.by_decay * decay
            return found.loss, by_log if decays > 1 else by_log.sum(keepdims=True)

        low, high = (np.full(decays, np.log(bound)) for bound in (LOWEST, HIGHEST))
        logs = descend(loss, np.full(decays, np.log(START)), low, high)
        return np.broadcast_to(np.exp(logs), (INPUTS,)), net.gradients


def cross_validated(samples: Samples) -> float:
    """The decay of GRID with the least mean square error over FOLDS parts, each left out once."""
    parts = np.arange(len(samples.targets)) % FOLDS

    def error(decay: float) -> float:
        total = 0.0
        for part in range(FOLDS):
            inside, outside = (Samples(samples.inputs[chosen], samples.targets[chosen])
                               for chosen in (parts != part, parts == part))
            weights = closed_form(inside, np.full(INPUTS, decay), np.ones(len(inside.targets)))
            total += outside.error(weights) * len(outside.targets)
        return total

    return float(min(GRID, key=error))


def run(arguments: Any) -> Sequence[Row]:
    """All rows."""
    return [row for samples in SIZES for seed in SEEDS for row in rows_of(samples, seed)]


# ---- the page ----

Known = Dict[Tuple[int, str], List[Row]]


def known(rows: Sequence[Row]) -> Known:
    """By size and method."""
    return {(samples, method): [row for row in rows if (row.samples, row.method) == (samples, method)]
            for samples in SIZES for method in METHODS}


def table(rows: Sequence[Row]) -> str:
    """Test errors: medians and quartiles of the seeds."""
    of = known(rows)
    lines = [[METHODS[method], *(said([getattr(row, field) for row in of[samples, method]], 2) for samples in SIZES
                                 for field in ("test", "test_of_all"))] for method in METHODS]
    return markdown(["method", *(f"{train}" for samples in SIZES for train in (samples, f"{samples} + {samples}"))],
                    lines)


def details(rows: Sequence[Row]) -> str:
    """What the descents found."""
    of = known(rows)

    def line(samples: int) -> List[str]:
        each, one = of[samples, EACH], of[samples, ONE]
        return [f"{samples} + {samples}", said([row.validation for row in one], 2),
                said([row.validation for row in each], 2),
                *(f"{spread(values).median:.2g}" for values in ([row.relevant for row in each],
                                                                [row.irrelevant for row in each])),
                fraction({row.seed: row.relevant for row in each}, {row.seed: row.irrelevant for row in each}),
                *(f"{spread([row.gradients for row in found]).median:.0f}" for found in (one, each))]

    return markdown(["samples", "validation error, one decay", "a decay each", "decay, relevant", "irrelevant",
                     "larger in", "gradients, one decay", "a decay each"], map(line, SIZES))


def duels(rows: Sequence[Row]) -> str:
    """In how many seeds a decay each has the lower test error."""
    of = known(rows)

    def against(samples: int, other: str, field: str) -> str:
        return fraction(*({row.seed: getattr(row, field) for row in of[samples, method]} for method in (EACH, other)))

    return markdown(["a decay each against", *(f"{train}" for samples in SIZES
                                               for train in (samples, f"{samples} + {samples}"))],
                    [[METHODS[other], *(against(samples, other, field) for samples in SIZES
                                        for field in ("test", "test_of_all"))] for other in (LEAST, RIDGE, ONE)])


def page(rows: Sequence[Row]) -> List[str]:
    """What docs/results.md has of it."""
    return [table(rows), duels(rows), details(rows)]


def figure(rows: Sequence[Row]) -> Any:
    """Test errors against the number of samples, then the decays of the two kinds of inputs, a line a seed."""
    from matplotlib.figure import Figure

    from menndl_caffe.report.figures.style import PAGE

    result = Figure(figsize=(PAGE, 2.9), constrained_layout=True)
    few, many, decays = result.subplots(1, 3)
    of = known(rows)
    for axes, field, title in ((few, "test", "trained on the training samples"),
                               (many, "test_of_all", "and on the validation samples")):
        _errors(axes, of, field)
        axes.set_title(title, loc="left")
        axes.sharey(few)
    few.set_ylabel("test error (1 is the noise)")
    result.legend(*few.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    _decays(decays, of)
    return result


def _errors(axes: Any, of: Known, field: str) -> None:
    from menndl_caffe.report.figures.style import BLACK, BLUE, GREY, PURPLE, RED

    styles = {LEAST: (GREY, "s"), RIDGE: (PURPLE, "v"), ONE: (BLACK, "^"), EACH: (BLUE, "o"), KNOWN: (RED, "D")}
    for number, (method, (colour, marker)) in enumerate(styles.items()):
        spreads = [spread(getattr(row, field) for row in of[samples, method]) for samples in SIZES]
        places = np.arange(len(SIZES)) + (number - 2) * 0.08
        axes.errorbar(places, [each.median for each in spreads],
                      [[each.median - each.low for each in spreads], [each.high - each.median for each in spreads]],
                      color=colour, marker=marker, linewidth=0.8, label=METHODS[method])
    axes.set_xticks(range(len(SIZES)), list(map(str, SIZES)))
    axes.set_xlabel("training samples")


def _decays(axes: Any, of: Known) -> None:
    from menndl_caffe.report.figures.style import BLUE, GREY

    for number, samples in enumerate(SIZES):
        for row in of[samples, EACH]:
            axes.plot([3 * number, 3 * number + 1], [row.relevant, row.irrelevant], color=BLUE, marker="o",
                      markersize=2, linewidth=0.6)
    axes.axhline(START, color=GREY, linewidth=0.8, linestyle="--")
    axes.set_yscale("log")
    axes.set_xticks([3 * number + part for number in range(len(SIZES)) for part in (0, 1)], ["rel.", "irr."] * 3)
    axes.set_xlabel("inputs; " + ", ".join(map(str, SIZES)) + " samples")
    axes.set_title("a decay each, geometric mean", loc="left")


def notes() -> Iterator[str]:
    """Where the rows come from."""
    yield f"problems drawn by numpy's RandomState((samples, seed)), seeds {SEEDS[0]} to {SEEDS[-1]}"


def load() -> List[Row]:
    """The rows that are published."""
    return read(TABLE, Row)
