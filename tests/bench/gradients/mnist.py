"""A linear net on MNIST: decays per blob and per weight by every method of `trainings`, against one decay.

The yardstick is one decay, the best of GRID on the validation images, trained on training and validation images.
"""
from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from menndl_caffe.data.mnist import images_of, read_files
from menndl_caffe.errors import UserError
from menndl_caffe.trainer.groups import PER_BLOB, PER_NET, PER_WEIGHT
from tests.bench.gradients.nets import LINEAR
from tests.bench.gradients.results import PAGES, RESULTS, fraction, read, said, spread
from tests.bench.gradients.trainings import (
    OUTER,
    Found,
    Images,
    Losses,
    Plain,
    Problem,
    by_drmad,
    by_hoag,
    by_t1t2,
    by_unrolled,
    descent,
)
from tests.bench.pages import markdown

NAME = "mnist"
TABLE, FIGURE = RESULTS / "mnist.csv", PAGES / "gradients_mnist.png"
SEEDS = (1, 2, 3, 4, 5)
TRAINED, HELD, TESTED, ITERATIONS = 1000, 1000, 4000, 300
GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
GRID_NAME, T1T2, UNROLLED, DRMAD, HOAG = "grid", "T1-T2", "UNROLLED", "DRMAD", "HOAG"
ESTIMATORS = {UNROLLED: by_unrolled, DRMAD: by_drmad, HOAG: by_hoag}
METHODS = ((GRID_NAME, PER_NET), *((method, kind) for kind in (PER_BLOB, PER_WEIGHT)
                                   for method in (T1T2, *ESTIMATORS)))
T10K = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


class Row(NamedTuple):
    """A method's decays after a step, and plain trainings with them."""

    seed: int
    method: str
    decays: str  # PER_NET, PER_BLOB, PER_WEIGHT
    step: int  # outer, from 1; the last is what counts
    cost: float  # gradients of 100 images, over those of a training; that with the decays found included
    validation: float
    test: float
    accuracy: float  # of the test images, as `test`
    test_of_both: float  # trained on the validation images as well; nan but for the last step
    decay: float  # geometric mean over the weights
    distrusted: int


def rows_of(problem: Problem, seed: int, outer: int = OUTER) -> Iterator[Row]:
    """All methods on one split of the images."""

    def row(method: str, kind: str, step: int, found: Found, last: bool, losses: Optional[Losses] = None) -> Row:
        losses = losses or problem.trained(found.decay)
        both = problem.trained_on_both(found.decay).test if last else np.nan
        return Row(seed, method, kind, step, found.gradients / problem.iterations + 1, *losses, both,
                   float(np.exp(np.log(found.decay).mean())), found.distrusted)

    size = problem.hand().size
    trained = {decay: problem.trained(np.full(size, decay)) for decay in GRID}
    best = min(GRID, key=lambda decay: trained[decay].validation)
    spent = (len(GRID) - 1) * problem.iterations
    yield row(GRID_NAME, PER_NET, 1, Found(np.full(size, best), spent, 0), True, trained[best])
    for kind in (PER_BLOB, PER_WEIGHT):
        yield row(T1T2, kind, 1, by_t1t2(problem, kind), True)
        for method, estimator in ESTIMATORS.items():
            for step, found in enumerate(descent(problem, kind, estimator, outer), 1):
                yield row(method, kind, step, found, step == outer)


def split(images: Images, seed: int, sizes: Sequence[int] = (TRAINED, HELD, TESTED)) -> List[Images]:
    """Training, validation and test images, in an order drawn by chance."""
    order = np.random.RandomState(seed).permutation(len(images.labels))
    ends = np.cumsum(sizes)
    return [Images(images.pixels[part], images.labels[part]) for part in np.split(order[:ends[-1]], ends[:-1])]


def images_in(arguments: Any) -> Images:
    """MNIST's 10,000 test images, which are all that is needed, from the folder `arguments.mnist`.

    UserError where they are not there or damaged.
    """
    if arguments.mnist is None:
        raise UserError(f"--mnist FOLDER is missing; expected the folder of {' and '.join(T10K)}, packed or not")
    found = images_of(read_files(arguments.mnist, T10K), "t10k")
    return Images(found.pixels.reshape(len(found.labels), -1) / 255, found.labels.astype(int))


def run(arguments: Any) -> Sequence[Row]:
    """All rows; `arguments.mnist` is the folder of the files."""
    images = images_in(arguments)
    rows: List[Row] = []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            fit, held, test = split(images, seed)
            rows += rows_of(Problem(Plain(LINEAR, ITERATIONS), Path(folder), fit, held, test, seed), seed)
        print(f"seed {seed}: done", flush=True)
    return rows


def notes() -> Iterator[str]:
    """Where the rows come from."""
    yield (f"MNIST's 10,000 test images in an order drawn by numpy's RandomState(seed): {TRAINED} to train on, "
           f"{HELD} for validation, {TESTED} to test on; {ITERATIONS} iterations")


def load() -> List[Row]:
    """The rows that are published."""
    return read(TABLE, Row)


# ---- the page ----

KINDS = {PER_NET: "1", PER_BLOB: "2", PER_WEIGHT: "7,850"}
NAMES = {GRID_NAME: "the best of a grid of 7"}


def last(rows: Sequence[Row], method: str, kind: str) -> List[Row]:
    """What counts of a method: its last step, seed by seed."""
    of_it = [row for row in rows if (row.method, row.decays) == (method, kind)]
    return [row for row in of_it if row.step == max(each.step for each in of_it)]


def page(rows: Sequence[Row]) -> List[str]:
    """What docs/results.md has of it."""
    yardstick = {row.seed: row.test_of_both for row in last(rows, GRID_NAME, PER_NET)}
    lines = [_line(last(rows, method, kind), yardstick) for method, kind in METHODS]
    return [markdown(["decays", "method", "validation loss", "test loss", "test accuracy, %", "cost",
                      "test loss, trained on both", "beats the yardstick", "distrusted"], lines)]


def _line(rows: Sequence[Row], yardstick: Dict[int, float]) -> List[str]:
    first = rows[0]
    is_yardstick = first.method == GRID_NAME
    both = said([row.test_of_both for row in rows], 3)
    return [KINDS[first.decays], NAMES.get(first.method, f"`{first.method}`"),
            said([row.validation for row in rows], 3), said([row.test for row in rows], 3),
            said([100 * row.accuracy for row in rows], 1), f"{spread([row.cost for row in rows]).median:.1f}",
            f"**{both}**: the yardstick" if is_yardstick else both,
            "" if is_yardstick else fraction({row.seed: row.test_of_both for row in rows}, yardstick),
            "" if first.method in (GRID_NAME, T1T2) else str(sum(row.distrusted for row in rows))]


def figure(rows: Sequence[Row]) -> Any:
    """Test loss after plain training against cost, medians of the seeds; left 2 decays, right 7,850."""
    from matplotlib.figure import Figure

    from menndl_caffe.report.figures.style import BLACK, BLUE, GREY, PAGE, PURPLE, RED

    result = Figure(figsize=(PAGE, 2.6), constrained_layout=True)
    styles = {T1T2: (RED, "D"), UNROLLED: (BLUE, "o"), DRMAD: (PURPLE, "v"), HOAG: (BLACK, "^")}
    grid = last(rows, GRID_NAME, PER_NET)
    panels = result.subplots(1, 2, sharey=True)
    for axes, kind in zip(panels, (PER_BLOB, PER_WEIGHT)):
        for method, (colour, marker) in styles.items():
            axes.plot(*zip(*_path(rows, method, kind)), color=colour, marker=marker, label=method, linewidth=0.8)
        for field, line, label in (("test", "--", "one decay"), ("test_of_both", ":", "the yardstick")):
            axes.axhline(spread([getattr(row, field) for row in grid]).median, color=GREY, linestyle=line, label=label,
                         linewidth=1)
        axes.set_xlabel("cost, plain trainings")
        axes.set_title(f"{KINDS[kind]} decays", loc="left")
        axes.set_xscale("log")
        axes.set_xticks([3, 10, 30, 100], ["3", "10", "30", "100"])
        axes.minorticks_off()
    panels[0].set_ylabel("test loss")
    result.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return result


def _path(rows: Sequence[Row], method: str, kind: str) -> Iterator[Tuple[float, float]]:
    of_it = [row for row in rows if (row.method, row.decays) == (method, kind)]
    for step in sorted({row.step for row in of_it}):
        now = [row for row in of_it if row.step == step]
        yield spread([row.cost for row in now]).median, spread([row.test for row in now]).median
