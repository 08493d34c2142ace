"""Decays of the blobs of two nets on MNIST: every method of `trainings` against searches that need no gradients.

All have the same images and begin with the same decays, or go by the same bounds; each may cost BUDGET trainings. Of
all decays that a method has trained with plainly, those with the lowest validation loss count.
"""
from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from menndl_caffe.genome import RealGene, SearchSpace
from menndl_caffe.trainer.groups import PER_BLOB, PER_NET, grouped
from menndl_caffe.trainer.train import Diverged
from tests.bench.gradients import nets
from tests.bench.gradients.mnist import GRID, images_in, split
from tests.bench.gradients.results import PAGES, RESULTS, fraction, read, said, spread
from tests.bench.gradients.trainings import (
    START,
    Estimator,
    Found,
    Images,
    Losses,
    Plain,
    Problem,
    by_drmad,
    by_hoag,
    by_hypernet,
    by_t1t2,
    by_unrolled,
    descent,
    warm_hoag,
)
from tests.bench.pages import markdown
from tests.bench.searches.ours import Ours

NAME = "searches"
TABLE, FIGURE = RESULTS / "searches.csv", PAGES / "gradients_searches.png"
BUDGET = 26  # trainings: 8 steps of UNROLLED, and a training with what they found


MLP, LENET = "mlp", "lenet"
SIZES = (300, 300, 2000)  # images to train on, of validation, to test on; of 14 x 14 pixels
NETS = {MLP: Plain(nets.MLP, 200, batch=50), LENET: Plain(nets.LENET, 150, batch=50, rate=0.02)}
SEEDS = {MLP: (1, 2, 3, 4, 5), LENET: (1, 2, 3)}
GRID_NAME, T1T2, HYPERNET = "grid", "T1-T2", "HYPERNET"
UNROLLED, DRMAD, HOAG, WARM = "UNROLLED", "DRMAD", "HOAG", "HOAG warm"
WITHOUT = GUIDED_GA, CMA_ES, RANDOM = "GUIDED_GA", "CMA_ES", "RANDOM"
DESCENTS = (UNROLLED, DRMAD, HOAG, WARM)
METHODS = ((GRID_NAME, PER_NET), *((method, PER_BLOB) for method in (*WITHOUT, T1T2, HYPERNET, *DESCENTS)))


class Row(NamedTuple):
    """Decays that a method came to, and plain trainings with them."""

    net: str
    seed: int
    method: str
    decays: str  # PER_NET or PER_BLOB
    step: int  # from 1: of a descent, or of the trainings of a search
    cost: float  # so far: gradients of a batch, over those of a training; all plain trainings included
    validation: float
    test: float
    accuracy: float  # of the test images, as `test`
    test_of_both: float  # trained on the validation images as well; nan but where `validation` is the method's lowest
    distrusted: int  # gradients so far that a search would not have used


class Tried(NamedTuple):
    """Decays of each weight, after what cost, and what a plain training with them gave."""

    decay: np.ndarray
    cost: float  # in trainings
    losses: Losses
    distrusted: int = 0


def rows_of(net: str, problem: Problem, methods: Sequence[Tuple[str, str]] = METHODS) -> Iterator[Row]:
    """Methods on one split of the images."""
    for method, kind in methods:
        tried = list(tried_by(problem, method, kind))
        best = min(tried, key=lambda each: each.losses.validation)
        both = problem.trained_on_both(best.decay).test
        for step, each in enumerate(tried, 1):
            yield Row(net, problem.seed, method, kind, step, each.cost, *each.losses, both if each is best else np.nan,
                      each.distrusted)


def tried_by(problem: Problem, method: str, kind: str) -> Iterator[Tried]:
    """What a method tries, as far as BUDGET goes."""
    if method == GRID_NAME:
        return _on_grid(problem)
    if method in WITHOUT:
        return _searched(problem, method, kind)
    if method in (T1T2, HYPERNET):
        return iter([_once(problem, by_t1t2(problem, kind) if method == T1T2 else by_hypernet(problem, kind))])
    estimators = {UNROLLED: by_unrolled, DRMAD: by_drmad, HOAG: by_hoag}
    return _descended(problem, kind, estimators.get(method) or warm_hoag(problem), method in (UNROLLED, DRMAD))


def _on_grid(problem: Problem) -> Iterator[Tried]:
    size = problem.hand().size
    for number, value in enumerate(GRID, 1):
        decay = np.full(size, value)
        yield Tried(decay, number, problem.trained(decay))


def _once(problem: Problem, found: Found) -> Tried:
    return Tried(found.decay, found.gradients / problem.iterations + 1, problem.trained(found.decay))


class Decays(NamedTuple):
    """Decays that are Searched, by their validation loss."""

    space: SearchSpace
    accuracy: bool = False


def _searched(problem: Problem, method: str, kind: str) -> Iterator[Tried]:
    groups = grouped(problem.hand().parameters, kind)
    genes = (RealGene(name, *problem.bounds, log=True, default=START) for name in groups.names)
    contestant = Ours(method, Decays(SearchSpace(tuple(genes))), problem.seed, slots=1)
    for cost in range(1, BUDGET + 1):
        asked = contestant.ask()
        assert asked is not None, "one slot, and all are told"
        number, genome = asked
        decay = groups.spread(np.array(genome.values, float))
        try:
            losses = problem.trained(decay)
        except Diverged:
            contestant.tell(number, None)
            continue
        contestant.tell(number, losses.validation)
        yield Tried(decay, cost, losses)


def _descended(problem: Problem, kind: str, estimator: Estimator, trains: bool) -> Iterator[Tried]:
    """As long as one more step like the last fits in. `trains`: an estimate has the plain training in it, so that only
    the last decays have to be trained with beside it; else those of each step."""
    before = 0.0
    with suppress(Diverged):
        for step, found in enumerate(descent(problem, kind, estimator, BUDGET), 1):
            cost = found.gradients / problem.iterations + (1 if trains else step)
            yield Tried(found.decay, cost, problem.trained(found.decay), found.distrusted)
            if cost + (cost - before - trains * (step == 1)) > BUDGET:
                return
            before = cost


def run(arguments: Any) -> Iterator[Row]:
    """All rows: those of TABLE, where there is one, and what is missing there. `arguments.mnist` is the folder of the
    files."""
    return _completed(load() if TABLE.exists() else [], halved(images_in(arguments)))


def _completed(known: Sequence[Row], images: Images) -> Iterator[Row]:
    yield from known
    done = {(row.net, row.seed, row.method) for row in known}
    for net, seed in ((net, seed) for net, seeds in SEEDS.items() for seed in seeds):
        missing = [(method, kind) for method, kind in METHODS if (net, seed, method) not in done]
        with tempfile.TemporaryDirectory() as folder:
            yield from rows_of(net, Problem(NETS[net], Path(folder), *split(images, seed, SIZES), seed), missing)
        print(f"{net}, seed {seed}: done", flush=True)


def halved(images: Images) -> Images:
    """The means of 2 x 2 pixels."""
    side = int(images.pixels.shape[1] ** 0.5) // 2
    return Images(images.pixels.reshape(-1, side, 2, side, 2).mean(axis=(2, 4)).reshape(-1, side * side), images.labels)


def notes() -> Iterator[str]:
    """Where the rows come from."""
    yield (f"MNIST's 10,000 test images in an order drawn by numpy's RandomState(seed): {SIZES[0]} to train on, "
           f"{SIZES[1]} for validation, {SIZES[2]} to test on, of 14 x 14 pixels")
    for net, plain in NETS.items():
        yield f"{net}: {plain.iterations} iterations of {plain.batch} images, learning rate {plain.rate:g}"


def load() -> List[Row]:
    """The rows that are published."""
    return read(TABLE, Row)


# ---- the page ----

TITLES = {MLP: "one hidden layer, 4 decays", LENET: "LeNet, 8 decays"}
HEAD = ("method", "validation loss", "test loss", "test accuracy, %", "cost", "of which to the best",
        "test loss, trained on both", "beats the yardstick", "test loss below `GUIDED_GA`'s", "distrusted")


def of_method(rows: Sequence[Row], method: str) -> Dict[int, List[Row]]:
    """A method's rows, by their seed."""
    of_it = [row for row in rows if row.method == method]
    return {seed: [row for row in of_it if row.seed == seed] for seed in sorted({row.seed for row in of_it})}


def best(rows: Sequence[Row], method: str) -> Dict[int, Row]:
    """What counts of it."""
    return {seed: min(tried, key=lambda row: row.validation) for seed, tried in of_method(rows, method).items()}


def page(rows: Sequence[Row]) -> List[str]:
    """What docs/results.md has of it: a table for each net."""
    return [markdown(HEAD, [_line([row for row in rows if row.net == net], method) for method, _ in METHODS])
            for net in SEEDS]


def _line(rows: Sequence[Row], method: str) -> List[str]:
    found = best(rows, method)
    yardstick, rival = (best(rows, other) for other in (GRID_NAME, GUIDED_GA))
    last = [tried[-1] for tried in of_method(rows, method).values()]
    both = said([row.test_of_both for row in found.values()], 3)

    def wins(field: str, other: Dict[int, Row]) -> str:
        return fraction(*({seed: getattr(row, field) for seed, row in each.items()} for each in (found, other)))

    is_grid = method == GRID_NAME
    return ["one decay, the best of 7" if is_grid else "`HOAG`, warm" if method == WARM else f"`{method}`",
            *(said([getattr(row, field) for row in found.values()], 3) for field in ("validation", "test")),
            said([100 * row.accuracy for row in found.values()], 1),
            f"{spread([row.cost for row in last]).median:.1f}",
            f"{spread([row.cost for row in found.values()]).median:.1f}",
            f"**{both}**: the yardstick" if is_grid else both,
            "" if is_grid else wins("test_of_both", yardstick),
            "" if method == GUIDED_GA else wins("test", rival),
            f"{sum(row.distrusted for row in last)} of {sum(row.step for row in last)}" if method in DESCENTS else ""]


def figure(rows: Sequence[Row]) -> Any:
    """Validation and test loss of the best so far against cost, medians of the seeds; a row a net."""
    from matplotlib.figure import Figure

    from menndl_caffe.report.figures.style import BLACK, BLUE, GREEN, GREY, PAGE, PURPLE, RED

    result = Figure(figsize=(PAGE, 0.4 + 2.1 * len(SEEDS)), constrained_layout=True)
    styles = {GUIDED_GA: (RED, "-", ""), CMA_ES: (GREEN, "-", ""), RANDOM: (GREY, "-", ""), T1T2: (RED, "", "D"),
              HYPERNET: (GREEN, "", "s"), UNROLLED: (BLUE, "-", "o"), DRMAD: (PURPLE, "-", "v"),
              HOAG: (BLACK, "-", "^"), WARM: (BLACK, ":", "^")}
    panels = result.subplots(len(SEEDS), 2, sharex=True, squeeze=False)
    for (left, right), net in zip(panels, SEEDS):
        of_net = [row for row in rows if row.net == net]
        for axes, measure in ((left, "validation"), (right, "test")):
            for method, (colour, line, marker) in styles.items():
                axes.plot(*path(of_net, method, measure), color=colour, linestyle=line, marker=marker, label=method,
                          linewidth=0.8, markersize=4, drawstyle="steps-post" if method in WITHOUT else "default")
            one = [getattr(row, measure) for row in best(of_net, GRID_NAME).values()]
            axes.axhline(spread(one).median, color=GREY, linestyle="--", linewidth=0.8, label="one decay, best of 7")
            axes.set_ylabel(f"{measure} loss of the best so far")
            seen = [value for method in styles
                    for value in path(of_net, method, measure)[1][-1 if method in WITHOUT else 0:]]
            axes.set_ylim(min(seen) - 0.1 * np.ptp(seen), max(seen) + 0.1 * np.ptp(seen))  # searches begin far above
        left.set_title(TITLES[net], loc="left")
    for axes in panels[-1]:
        axes.set_xlabel("cost, plain trainings")
    result.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return result


def path(rows: Sequence[Row], method: str, measure: str) -> Tuple[List[float], List[float]]:
    """Costs, and the measure of the best so far by validation: medians of the seeds, step by step where all have it."""
    tried = list(of_method(rows, method).values())
    costs, values = [], []
    for step in range(1, 1 + min(map(len, tried), default=0)):
        now = [min(each[:step], key=lambda row: row.validation) for each in tried]
        costs.append(spread([each[step - 1].cost for each in tried]).median)
        values.append(spread([getattr(row, measure) for row in now]).median)
    return costs, values
