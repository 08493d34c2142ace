"""A series that changes: sigmoid sample weights by gradient (after Bengio and Dugas 1999), against equal weights.

| symbol | here | meaning |
|---|---|---|
| v_t | `Series.values` | sum_k a_k v_{t-k} + e_t, e_t standard normal; k = 1 .. 3; a changes once, or never |
| t | | sample: v_t to be told from the 3 values before it; -1 .. 1 from the first to the last one trained on |
| s_t | `importance` | 1 / (1 + exp(-u (t - c))): the weight of sample t in the training loss |
| c, log u | `point` | where the weights rise, and how steeply: the two hyper-parameters |
| test error | `Row.test` | mean square error on 2,000 later values, where 1 is the noise |

dE/dc = -sum_t dE/ds_t s_t (1 - s_t) u and dE/dlog u = sum_t dE/ds_t s_t (1 - s_t) u (t - c), where dE/ds_t is (1) of
`least_squares`. E is the loss of the values between those trained on and those tested.
"""
from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from tests.bench.gradients.least_squares import LeastSquares, Samples, closed_form, descend, joined
from tests.bench.gradients.results import PAGES, RESULTS, fraction, read, said, spread
from tests.bench.pages import markdown

NAME = "series"
TABLE, FIGURE = RESULTS / "series.csv", PAGES / "gradients_series.png"
SEEDS = tuple(range(1, 21))
ORDER, TRAINED, HELD, TESTED = 3, 200, 50, 2000
CHANGES = {"changes": True, "does not change": False}
DECAY = 1e-4  # beside the loss; only there so that there is a solution when few samples weigh anything
START, LOW, HIGH = (0.0, np.log(2.0)), (-1.5, np.log(0.1)), (1.0, np.log(100.0))  # c, log u
EQUAL, SIGMOID, RECENT, KNOWN = "equal", "sigmoid", "recent", "known"
METHODS = {EQUAL: "equal weights", SIGMOID: "sigmoid weights, by descent", RECENT: "the latest 50 alone",
           KNOWN: "only what came after the change"}


class Row(NamedTuple):
    """A method on one series."""

    series: str  # of CHANGES
    seed: int
    method: str
    test: float  # trained on the first 200
    test_of_all: float  # trained on these and the 50 of validation
    validation: float  # mean square error of `test`'s weights on the 50
    gradients: int  # through the net; 0 where there was none
    change: float  # where the series changed, as t; nan where it did not
    where: float  # c
    steep: float  # u


class Series(NamedTuple):
    """What was drawn."""

    fit: Samples
    held: Samples
    test: Samples
    change: int  # the first sample of the second kind; 0 where there is one kind


def draw(changes: bool, seed: int) -> Series:
    """A series, its samples in the order of time."""
    random = np.random.RandomState((int(changes), seed))
    change = int(random.randint(TRAINED // 4, 3 * TRAINED // 4)) if changes else 0
    before, after = stable(random), stable(random)
    values = list(random.standard_normal(ORDER))
    for sample in range(TRAINED + HELD + TESTED):
        slopes = before if sample < change else after
        values.append(float(slopes @ values[:-ORDER - 1:-1] + random.standard_normal()))
    inputs = np.array([values[number:number + ORDER][::-1] for number in range(len(values) - ORDER)])
    places = np.split(np.arange(len(inputs)), [TRAINED, TRAINED + HELD])
    fit, held, test = (Samples(inputs[place], np.array(values[ORDER:])[place]) for place in places)
    return Series(fit, held, test, change)


def stable(random: np.random.RandomState) -> np.ndarray:
    """The slopes a of a process whose three characteristic roots are drawn from -0.9 .. 0.9."""
    return -np.poly(random.uniform(-0.9, 0.9, ORDER))[1:]


def times(samples: int) -> np.ndarray:
    """t of the first samples."""
    return 2 * np.arange(samples) / (TRAINED - 1) - 1


def sigmoid(point: np.ndarray, samples: int) -> np.ndarray:
    """s_t of the first samples."""
    where, log_steep = point
    return np.asarray(1 / (1 + np.exp(-np.exp(log_steep) * (times(samples) - where))))


def descended(series: Series) -> Tuple[np.ndarray, int]:
    """c and log u where the validation loss is least, from START on, and the gradients taken through the net."""
    with tempfile.TemporaryDirectory() as folder:
        net = LeastSquares(Path(folder), series.fit, series.held)

        def loss(point: np.ndarray) -> Tuple[float, np.ndarray]:
            importance, steep = sigmoid(point, TRAINED), np.exp(point[1])
            found = net.at(np.full(ORDER, DECAY), importance)
            by_argument = found.by_importance * importance * (1 - importance)
            return found.loss, np.array([-steep * by_argument.sum(), steep * by_argument @ (times(TRAINED) - point[0])])

        return descend(loss, np.array(START), np.array(LOW), np.array(HIGH)), net.gradients


def rows_of(kind: str, seed: int) -> Iterator[Row]:
    """Every method on one series."""
    series = draw(CHANGES[kind], seed)
    everything = joined(series.fit, series.held)
    change = float(times(TRAINED)[series.change]) if series.change else np.nan

    def row(method: str, importance: np.ndarray, gradients: int = 0, where: float = np.nan,
            steep: float = np.nan) -> Row:
        """`importance`: of all samples, the first of which are those trained on."""
        first, last = (closed_form(part, np.full(ORDER, DECAY), importance[:len(part.targets)])
                       for part in (series.fit, everything))
        return Row(kind, seed, method, series.test.error(first), series.test.error(last), series.held.error(first),
                   gradients, change, where, steep)

    count = TRAINED + HELD
    yield row(EQUAL, np.ones(count))
    point, gradients = descended(series)
    yield row(SIGMOID, sigmoid(point, count), gradients, float(point[0]), float(np.exp(point[1])))
    latest = closed_form(series.held, np.full(ORDER, DECAY), np.ones(HELD))
    before = Samples(series.fit.inputs[-HELD:], series.fit.targets[-HELD:])
    earlier = closed_form(before, np.full(ORDER, DECAY), np.ones(HELD))
    yield Row(kind, seed, RECENT, series.test.error(earlier), series.test.error(latest), series.held.error(earlier), 0,
              change, np.nan, np.nan)
    yield row(KNOWN, (np.arange(count) >= series.change).astype(float))


def run(arguments: Any) -> Sequence[Row]:
    """All rows."""
    return [row for kind in CHANGES for seed in SEEDS for row in rows_of(kind, seed)]


def notes() -> Iterator[str]:
    """Where the rows come from."""
    yield f"series drawn by numpy's RandomState((0 or 1, seed)), seeds {SEEDS[0]} to {SEEDS[-1]}"


def load() -> List[Row]:
    """The rows that are published."""
    return read(TABLE, Row)


# ---- the page ----

Known = Dict[Tuple[str, str], List[Row]]
NEAR = 0.2  # of c to the change: a tenth of the samples trained on


def known(rows: Sequence[Row]) -> Known:
    """By kind of series and method."""
    return {(kind, method): [row for row in rows if (row.series, row.method) == (kind, method)]
            for kind in CHANGES for method in METHODS}


def page(rows: Sequence[Row]) -> List[str]:
    """What docs/results.md has of it: errors, in how many seeds sigmoid weights win, and what was found."""
    of = known(rows)
    cells = [(kind, field) for kind in CHANGES for field in ("test", "test_of_all")]
    head = [f"{kind}, {count}" for kind in CHANGES for count in (TRAINED, f"{TRAINED} + {HELD}")]

    def values(kind: str, field: str, method: str) -> Dict[int, float]:
        return {row.seed: getattr(row, field) for row in of[kind, method]}

    errors = [[METHODS[method], *(said(list(values(*cell, method).values()), 3) for cell in cells)]
              for method in METHODS]
    duels = [[METHODS[method], *(fraction(values(*cell, SIGMOID), values(*cell, method)) for cell in cells)]
             for method in METHODS if method != SIGMOID]
    return [markdown(["method", *head], errors), markdown(["sigmoid weights against", *head], duels), found(of)]


def found(of: Known) -> str:
    """In the page's words."""
    rows = of["changes", SIGMOID]
    near = sum(abs(row.where - row.change) <= NEAR for row in rows)
    gradients = spread([row.gradients for row in rows])
    return (f"c ended within {NEAR} of the change in {near} of {len(rows)}, at a bound in "
            f"{sum(row.where in (LOW[0], HIGH[0]) for row in rows)}; a descent took {gradients.median:.0f} gradients "
            f"[{gradients.low:.0f}, {gradients.high:.0f}].")


def figure(rows: Sequence[Row]) -> Any:
    """Left and middle: test errors of equal and of sigmoid weights, a point a series. Right: c and the change."""
    from matplotlib.figure import Figure

    from menndl_caffe.report.figures.style import BLUE, GREY, PAGE, RED

    result = Figure(figsize=(PAGE, 2.5), constrained_layout=True)
    of, panels = known(rows), result.subplots(1, 3)
    for axes, field, title in zip(panels, ("test", "test_of_all"), ("trained on 200", "on 200 + 50")):
        for kind, colour, marker in zip(CHANGES, (BLUE, RED), "ox"):
            equal, weighted = ([getattr(row, field) - 1 for row in of[kind, method]] for method in (EQUAL, SIGMOID))
            axes.plot(equal, weighted, marker, color=colour, label=kind)
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle="--")
        axes.set_xscale("symlog", linthresh=0.1)
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_xlabel("test error - 1, equal weights")
        axes.set_title(title, loc="left")
    panels[0].set_ylabel("test error - 1, sigmoid weights")
    panels[0].legend(frameon=False)
    panels[2].plot([row.change for row in of["changes", SIGMOID]], [row.where for row in of["changes", SIGMOID]], "o",
                   color=BLUE)
    panels[2].axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle="--")
    panels[2].set_xlabel("where the series changed, t")
    panels[2].set_ylabel("c")
    return result
