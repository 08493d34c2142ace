"""cifar10_quick: decays and momentum by UNROLLED within GUIDED_GA, against GUIDED_GA with all genes, at equal cost.

Both as a user has them: `menndl run --engine torch`, with fitness on held-out images and the best on the test set. A
training is ITERATIONS of 100 images. What a gradient costs is in the journal (`gradients`, of 100 images each).
"""
from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.trial import DEFAULT, INDIVIDUAL, TEST, YARDSTICK
from tests.bench.gradients.results import RESULTS, read
from tests.bench.pages import markdown
from tests.conftest import REPOSITORY

NAME = "within"
TABLE, FIGURE = RESULTS / "within.csv", None  # its table says it all
SEEDS = (1,)
ITERATIONS, TRAININGS = 100, 40  # 4,000 iterations in all
LAYERS = ("conv1", "conv2", "conv3", "ip1", "ip2")
DECAYS = tuple(f"decay_{layer}" for layer in LAYERS)
ALL, WITHIN = "all genes", "within"
STEPS = 4  # of a descent
COST = 5  # trainings that one with its gradient takes, about
KINDS = {ALL: (f"limit {{ trials: {TRAININGS} }}", TRAININGS),
         WITHIN: (f"limit {{ trials: {TRAININGS // COST} }}\ninner {{ steps: {STEPS} "
                  + " ".join(f'gene: "{name}"' for name in (*DECAYS, "momentum")) + " }", TRAININGS // COST)}
SEARCH = """\
net: "{folder}/train_test.prototxt.j2"
solver: "{folder}/solver.prototxt.j2"
type: "GUIDED_GA"
{kind}
gene {{ name: "kernel1" int_range {{ min: 1 max: 8 }} default: 5 }}
gene {{ name: "output1" int_range {{ min: 16 max: 64 step: 2 }} default: 32 }}
gene {{ name: "kernel2" int_range {{ min: 2 max: 5 }} default: 5 }}
gene {{ name: "output2" int_range {{ min: 16 max: 64 step: 2 }} default: 32 }}
gene {{ name: "kernel3" int_range {{ min: 2 max: 5 }} default: 5 }}
gene {{ name: "output3" int_range {{ min: 16 max: 126 step: 2 }} default: 64 }}
{decays}
gene {{ name: "momentum" real_range {{ min: 0 max: 0.98 }} default: 0.9 }}
constant {{ name: "batch_size" value: "100" }}
constant {{ name: "pad" value: "2" }}
constant {{ name: "test_iter" value: "50" }}
constant {{ name: "test_interval" value: "{iterations}" }}
constant {{ name: "test_initialization" value: "false" }}
data: "{data}"
fitness_set: VALIDATION
max_iter: {iterations}
random_seed: {seed}
"""


class Row(NamedTuple):
    """A search."""

    seed: int
    kind: str  # ALL or WITHIN
    trials: int
    cost: float  # gradients of 100 images, over those of a training
    distrusted: int
    validation: float  # accuracy of the best
    test: float
    default: float  # on the validation set
    yardstick: float  # nan where the search has none


def write_templates(folder: Path) -> None:
    """cifar10_quick's, with a decay for the weights of each layer and a momentum as genes."""
    net = (REPOSITORY / "templates/cifar10_quick/train_test.prototxt.j2").read_text()
    for layer in LAYERS:
        net = re.sub(rf'(  name: "{layer}"\n(?:.*\n)*?    lr_mult: 1\n)((?:.*\n)*?    lr_mult: 2\n)',
                     rf"\1    decay_mult: {{{{ decay_{layer} }}}}\n\2    decay_mult: 0\n", net, count=1)
    solver = (REPOSITORY / "solvers/quick.solver.prototxt.j2").read_text()
    solver = solver.replace("momentum: 0.9", "momentum: {{ momentum }}").replace("decay: 0.004", "decay: 1")
    (folder / "train_test.prototxt.j2").write_text(net)
    (folder / "solver.prototxt.j2").write_text(solver)


def search(folder: Path, data: Path, kind: str, seed: int) -> Path:
    """The search file, beside its templates."""
    decays = "\n".join(f'gene {{ name: "{name}" real_range {{ min: 1e-5 max: 0.3 scale: LOG }} default: 0.004 }}'
                       for name in DECAYS)
    path = folder / f"{kind.replace(' ', '_')}_{seed}.search.prototxt"
    path.write_text(SEARCH.format(folder=folder, kind=KINDS[kind][0], decays=decays, iterations=ITERATIONS, data=data,
                                  seed=seed))
    return path


def row_of(run: Path, seed: int, kind: str) -> Row:
    """What the journal says of a search that has ended."""
    record = journal.read(run)
    results = [(trial, record.results[id]) for id, trial in record.trials.items()]
    members = [result for trial, result in results if trial.role == INDIVIDUAL]
    ends: Dict[str, float] = {trial.role: result.fitness for trial, result in results}
    spent = sum(1 + float(result.gradient_by.get("gradients", 0)) / ITERATIONS
                for result in members if result.same_as is None)
    return Row(seed, kind, len(members), spent, sum("distrust" in result.gradient_by for result in members),
               max(result.fitness for result in members), ends[TEST], ends[DEFAULT], ends.get(YARDSTICK, float("nan")))


def run(arguments: Any) -> Sequence[Row]:
    """All rows; `arguments.cifar` is a folder of `menndl data cifar10 --validation 5000`. Runs that are there go on."""
    if arguments.cifar is None:
        raise UserError("--cifar FOLDER is missing; expected what `menndl data cifar10 --validation 5000` wrote")
    return list(_rows(arguments.cifar.absolute(), Path(arguments.runs or tempfile.mkdtemp())))


def _rows(data: Path, runs: Path) -> Iterator[Row]:
    runs.mkdir(parents=True, exist_ok=True)
    write_templates(runs)
    for seed in SEEDS:
        for kind in KINDS:
            path = search(runs, data, kind, seed)
            out = path.with_suffix("").with_suffix("")
            subprocess.run([sys.executable, "-m", "menndl_caffe.cli", "run", path, "--engine", "torch", "--out", out],
                           check=True, cwd=REPOSITORY)
            yield row_of(out, seed, kind)


def notes() -> Iterator[str]:
    """Where the rows come from."""
    yield f"cifar10_quick, {ITERATIONS} iterations of 100 images a training, torch engine, one process"


def load() -> List[Row]:
    """The rows that are published."""
    return read(TABLE, Row)


def page(rows: Sequence[Row]) -> List[str]:
    """What docs/results.md has of it."""
    def cells(row: Row) -> List[str]:
        return [str(row.seed), row.kind, str(row.trials), f"{row.cost:.0f}", str(row.distrusted),
                f"{row.validation:.4f}", f"{row.test:.4f}", f"{row.default:.4f}"]

    return [markdown(["seed", "decays and momentum", "trials", "cost, trainings", "distrusted", "best, validation",
                      "best, test", "default, validation"], map(cells, rows))]
