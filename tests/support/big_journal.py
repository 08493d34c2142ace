"""A run folder of any size as `menndl run solvers/paper.search.prototxt` leaves it, made in seconds without training.

The search, the loop and the journal are the real ones; only the farm is played, on a clock of its own: ranks that take
as long as a net's multiply-adds, fitness that is a smooth function of the genes, and failures of every kind.
"""
from __future__ import annotations

import heapq
import json
import random
from pathlib import Path
from typing import Any, Dict, List, Tuple

from menndl_caffe import search
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.experiment.sources import Sources
from menndl_caffe.files import sha256_of
from menndl_caffe.genome import Genome
from menndl_caffe.journal import NAME, Journal
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.run.loop import Loop
from menndl_caffe.run.numbering import Numbering
from menndl_caffe.run.trial_files import LOG
from menndl_caffe.trial import (
    CRASHED,
    DEFAULT,
    DIVERGED,
    INVALID,
    OK,
    TIMEOUT,
    CurvePoint,
    Result,
    Trial,
    failure,
    judged,
)

STARTED = 1_790_000_000.0  # seconds since the epoch: 21 September 2026
SPEED = 1.2e11  # multiply-adds a second of a rank
OVERHEAD = 12.0  # seconds of a trial beside its training
TEST_INTERVAL, BATCH_SIZE = 500, 100
RANKS_PER_HOST = 8
REASONS = {
    INVALID: "templates/cifar10_quick/train_test.prototxt.j2 (rendered):103: layer conv2 (Convolution): kernel 8x8 is "
             "larger than the padded bottom 7x7",
    DIVERGED: "training loss is nan at iteration 1180",
    CRASHED: "trainer killed by signal 6 (SIGABRT): F0921 08:03:04.628316 4711 syncedmem.hpp:33] Check failed: *ptr "
             "host allocation of size 51380224 failed",
    TIMEOUT: "not finished after trial_timeout of 3600 seconds",
}


def write(folder: Path, population: int = 500, generations: int = 35, seed: int = 1, failures: float = 0.01,
          ranks: int = 64) -> Path:
    """Write the folder of a finished run with that share of failed trainings; the same arguments, the same folder."""
    experiment = search_file.load("solvers/paper.search.prototxt", seed=seed)
    experiment.message.ga_param.population = population
    experiment.message.ga_param.generations = generations
    numbering = Numbering(experiment)
    default = numbering(experiment.space.default, role=DEFAULT)
    problem = search.Problem(experiment.space, seed, numbering, multiply_adds)
    algorithm = search.make(experiment.message, problem)
    kept: List[Tuple[Trial, Result]] = []

    def keep(trial: Trial, result: Result) -> None:
        if result.status != OK or trial.role == DEFAULT:
            kept.append((trial, result))

    with Journal(folder, fsync=False) as journal:
        journal.begin(_run_line(experiment, ranks))
        loop = Loop(algorithm, PlayedFarm(ranks, failures), journal, numbering, None, keep, lambda *_: None)
        loop.run([default])
        kept += journal.record.best(1)
        _say_who_had_what(folder, journal.record.results)
    _write_files(folder, Renderer(experiment), kept)
    return folder


def _say_who_had_what(folder: Path, results: Dict[int, Result]) -> None:
    """In each trial's line, on the farm's clock: the rank that trained it, and since when."""
    lines = [json.loads(line) for line in (folder / NAME).read_text().splitlines()]
    for line in lines:
        if line["event"] == "trial" and results[line["id"]].same_as is None:
            line.update(rank=results[line["id"]].rank, given=results[line["id"]].started)
    (folder / NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))


def _run_line(experiment: search_file.Experiment, ranks: int) -> Dict[str, Any]:
    message = menndl_pb2.SearchParameter()
    message.CopyFrom(experiment.message)
    ga = message.ga_param
    return {
        "search": prototxt.dumps(message), "search_file": "solvers/paper.search.prototxt",
        "templates": {kind: sha256_of(experiment.template(kind)) for kind in ("net", "solver")},
        "data": "train 50,000 images 2c86b5b8d9ab, test 10,000 images 1b0d3f2c6a47", "engine": "caffe",
        "math": "float32", "menndl": "0.1.0",
        "versions": {"version": "1.0.0", "blas": "openblas", "python": "3.9.2", "numpy": "1.19.5"},
        "engine_found": "make caffe", "threads": 1, "seed": message.random_seed,
        "total": ga.population * ga.generations, "generations": ga.generations, "test_images": 10000,
        "image_shape": [3, 32, 32], "data_folder": "data/cifar10", "host": _host(0),
        "platform": "Linux-6.1.0-amd64-x86_64-with-glibc2.36", "menndl_python": "3.11.2", "ranks": ranks,
        "slots": ranks, "command": f"menndl run solvers/paper.search.prototxt --out run --expect-ranks {ranks}",
        "started": STARTED}


def _write_files(folder: Path, renderer: Renderer, kept: List[Tuple[Trial, Result]]) -> None:
    """RUN/trials: default, best and failed ones, as menndl.trial_files keeps them."""
    data = "data/cifar10"
    where = Sources(f"{data}/cifar10_train_lmdb", f"{data}/cifar10_test_lmdb", f"{data}/mean.binaryproto")
    for trial, result in kept:
        directory = folder / "trials" / str(trial.id)
        renderer.render(trial, where, f"run/trials/{trial.id}").write(directory)
        (directory / LOG).write_text(f"I0921 08:00:00.000000  4711 solver.cpp:45] Initializing\n{result.reason}\n")


class PlayedFarm:
    """A farm whose trainings take no time but that of its own clock."""

    def __init__(self, ranks: int, failures: float):
        self.slots, self._failures = ranks, failures
        self._now = STARTED + 5.0
        self._free = list(range(ranks))
        self._running: List[Tuple[float, int, Result]] = []  # end, id, result

    @property
    def idle(self) -> int:
        """Ranks without a trial."""
        return len(self._free)

    def submit(self, trial: Trial) -> int:
        """Play a trial on the first free rank."""
        result = played(trial, self._failures, self._now, heapq.heappop(self._free))
        heapq.heappush(self._running, (self._now + result.seconds, trial.id, result))
        return result.rank

    def poll(self, seconds: float) -> List[Result]:
        """The result that comes next; the clock goes on until then."""
        if not self._running:
            return []
        self._now, _, result = heapq.heappop(self._running)
        heapq.heappush(self._free, result.rank)
        return [result]

    def lost(self) -> List[Trial]:
        """None."""
        return []

    def close(self) -> None:
        """Nothing to end."""


def played(trial: Trial, failures: float, started: float, rank: int) -> Result:
    """What becomes of a trial: decided by its seed alone, but for when and where."""
    chance = random.Random(trial.seed)
    seconds = training_seconds(trial) * chance.uniform(0.97, 1.06)
    known: Dict[str, Any] = {"started": round(started, 3), "rank": rank, "host": _host(rank),
                             "measures": measures(trial.genome)}
    accuracy = round(expected_accuracy(trial.genome) + chance.gauss(0, 0.005), 4)
    curve = _curve(accuracy, trial.max_iter, chance)
    if trial.role != DEFAULT and chance.random() < failures:
        status = chance.choice(list(REASONS))
        share = {INVALID: 0.0, TIMEOUT: 1.0}.get(status, chance.random())
        spent = {INVALID: 0.02, TIMEOUT: 3600.0}.get(status, OVERHEAD + share * seconds)
        return failure(trial.id, status, REASONS[status], curve=curve[:int(share * len(curve))], seconds=spent,
                       engine_seconds=max(0.0, spent - OVERHEAD), **known)
    return judged(trial.id, accuracy, curve[-1][2], curve=curve, seconds=OVERHEAD + seconds, engine_seconds=seconds,
                  **known)


def _curve(accuracy: float, max_iter: int, chance: random.Random) -> Tuple[CurvePoint, ...]:
    """Test passes at 0, 500, ..., max_iter that end at this accuracy."""
    points: List[CurvePoint] = [(0, 0.1, 2.3026)]
    for iteration in range(TEST_INTERVAL, max_iter + 1, TEST_INTERVAL):
        share = 1 - 0.42 * 0.45 ** (8 * iteration / max_iter - 1)
        now = accuracy if iteration == max_iter else round(accuracy * share + chance.gauss(0, 0.006), 4)
        points.append((iteration, now, round(0.1 + 2.6 * (1 - now) + chance.gauss(0, 0.01), 6)))
    return tuple(points)


def expected_accuracy(genome: Genome) -> float:
    """Best at small kernels and many outputs, as the paper's Table 3; about 0.705 for the default."""
    genes: Dict[str, Any] = genome.as_dict()
    kernels = sum(weight * (genes[name] - best) ** 2 for name, best, weight in
                  (("kernel1", 3.5, 0.004), ("kernel2", 4, 0.005), ("kernel3", 2, 0.004)))
    outputs = sum(weight * (1 - genes[name] / 126) for name, weight in
                  (("output1", 0.01), ("output2", 0.018), ("output3", 0.014)))
    return 0.785 - kernels - outputs


def training_seconds(trial: Trial) -> float:
    """Of `max_iter` batches, forward and backward, on one rank."""
    return 3 * multiply_adds(trial.genome) * BATCH_SIZE * trial.max_iter / SPEED


def multiply_adds(genome: Genome) -> float:
    """Of one image through cifar10_quick."""
    return float(measures(genome)["multiply_adds"])


def measures(genome: Genome) -> Dict[str, int]:
    """Of cifar10_quick with pad 2 (shapes.py says the same): see experiment.appraise.measures."""
    genes: Dict[str, Any] = genome.as_dict()
    size, channels, parameters, total = 32, 3, 0, 0
    numbers = 3 * 32 * 32 + 1  # of an image's blobs: that of a convolution, of a ReLU in its place, of its pooling
    for i in "123":
        kernel, outputs = genes[f"kernel{i}"], genes[f"output{i}"]
        size += 2 * 2 - kernel + 1
        parameters += (kernel * kernel * channels + 1) * outputs
        total += size * size * kernel * kernel * channels * outputs
        before, size, channels = size, -(-(size - 3) // 2) + 1, outputs
        relu = size if i == "1" else before  # the first comes after the pooling
        numbers += outputs * (before * before + size * size + relu * relu)
    inputs = size * size * channels
    return {"parameters": parameters + (inputs + 1) * 64 + (64 + 1) * 10,
            "multiply_adds": total + inputs * 64 + 64 * 10,
            "memory": 4 * (BATCH_SIZE * (numbers + 64 + 10) + 1)}


def _host(rank: int) -> str:
    return f"nid{rank // RANKS_PER_HOST + 101:05d}"
