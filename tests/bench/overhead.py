"""What menndl itself costs: rendering and checking, the master, and a rank's time outside of training and testing.

    python -m tests.bench.overhead [--data DIR] [--iterations N]
"""
from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, List

import numpy as np

from menndl_caffe import journal, search
from menndl_caffe.data import write_synthetic
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.appraise import check
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.experiment.sources import sources
from menndl_caffe.journal import Journal
from menndl_caffe.run.loop import Loop
from menndl_caffe.run.numbering import Numbering
from menndl_caffe.trial import DEFAULT, Result, Trial
from tests.support import runs

PAPER = "solvers/paper.search.prototxt"


def machine() -> str:
    """On what is measured, and beside how much else."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processors = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return (f"{processors[0] if processors else platform.processor()}, {len(os.sched_getaffinity(0))} cores, "
            f"Python {platform.python_version()}, numpy {np.__version__}, load {os.getloadavg()[0]:.1f}")


def repeated(measure: Callable[[], float], times: int) -> str:
    """median (smallest to largest) of several measurements, after one that does not count."""
    measure()
    values = sorted(measure() for _ in range(times))
    return f"{statistics.median(values):,.0f} ({values[0]:,.0f} to {values[-1]:,.0f}, n = {times})"


def rendering(data: str) -> None:
    """Individuals a second that one core renders, parses and checks in both phases."""
    experiment = search_file.load(PAPER, data=data)
    renderer, where = Renderer(experiment), sources(experiment, DEFAULT)
    points = np.random.RandomState(0).random_sample((300, len(experiment.space.genes)))
    trials = [experiment.trial(i, experiment.space.from_unit(point)) for i, point in enumerate(points)]

    def measure() -> float:
        start = time.perf_counter()
        for trial in trials:
            check(renderer.render(trial, where))
        return len(trials) / (time.perf_counter() - start)

    print(f"render and check          {repeated(measure, 5)} individuals/s")


class InstantFarm:
    """A farm whose 500 ranks answer at once."""

    slots = 500

    def __init__(self) -> None:
        self._results: List[Result] = []

    @property
    def idle(self) -> int:
        return self.slots - len(self._results)

    def submit(self, trial: Trial) -> int:
        curve = tuple((i, 0.5, 1.25) for i in range(0, 4001, 500))
        self._results.append(Result(trial.id, "ok", trial.seed / 2**31, 1.25, curve=curve, started=time.time(),
                                    seconds=900, host="node"))
        return 0

    def lost(self) -> List[Trial]:
        return []

    def poll(self, seconds: float) -> List[Result]:
        results, self._results = self._results, []
        return results

    def close(self) -> None:
        pass


def master(data: str, generations: int) -> None:
    """Results a second that the master takes: search, journal, bookkeeping, without rendering and training."""
    experiment = search_file.load(PAPER, data=data)
    message = experiment.message
    message.ga_param.generations = generations
    total = message.ga_param.population * generations

    def measure(fsync: bool, kind: str = "GA") -> float:
        message.type = kind
        with tempfile.TemporaryDirectory(dir="build") as folder, Journal(Path(folder), fsync) as writer:
            numbering = Numbering(experiment)
            algorithm = search.make(message, search.Problem(experiment.space, 1, numbering))
            writer.begin({"search": "the paper's", "engine": "none", "started": time.time()})
            loop = Loop(algorithm, InstantFarm(), writer, numbering, total, lambda *_: None, lambda *_: None)
            start = time.perf_counter()
            loop.run()
            return total / (time.perf_counter() - start)

    print(f"master, fsync off         {repeated(lambda: measure(False), 5)} results/s")
    print(f"master, fsync every one   {repeated(lambda: measure(True), 5)} results/s")
    print(f"master, ASYNC_GA, off     {repeated(lambda: measure(False, 'ASYNC_GA'), 5)} results/s")


def proposals(data: str, known: int = 400, pending: int = 30) -> None:
    """Milliseconds of a proposal of GUIDED_GA on the paper's genes with so many results and trials under way; those
    that refit the model, one in twenty, left out."""
    experiment = search_file.load(PAPER, data=data)
    experiment.message.type = "GUIDED_GA"
    chance = np.random.RandomState(1)
    first = [experiment.space.from_unit(point) for point in chance.random_sample((known + pending, 6))]
    problem = search.Problem(experiment.space, 1, Numbering(experiment), first=list(dict.fromkeys(first)))
    algorithm = search.make(experiment.message, problem)
    trials = [trial for trial in (algorithm.ask() for _ in problem.first) if trial is not None]
    for trial in trials[pending:]:
        algorithm.tell(trial, Result(trial.id, "ok", float(np.mean(experiment.space.to_unit(trial.genome)))))
    algorithm.ask()  # fits

    def measure() -> float:
        start = time.perf_counter()
        algorithm.ask()
        return 1000 * (time.perf_counter() - start)

    print(f"GUIDED_GA, {known} results    {repeated(measure, 20)} ms a proposal, {pending} trials under way")


def ranks(data: str, iterations: int) -> None:
    """Share of a rank's wall time that is neither training nor testing, from the start of its first trial to the end of
    its last; of one generation, since at its end ranks wait for each other, which is the algorithm's cost."""
    with tempfile.TemporaryDirectory(dir="build") as folder:
        path = Path(folder) / "bench.search.prototxt"
        runs.write_search(path, Path(data), population=6, generations=1, batch_size=100, test_iter=20,
                          test_interval=500, max_iter=iterations)
        env = runs.environment()
        del env["MENNDL_TRAINER"]
        out = Path(folder) / "run"
        code = runs.start(["run", path, "--out", out], ranks=2, env=env).wait()
        if code:
            sys.exit(f"the benchmark's search ended with code {code}")
        record = journal.read(out)
    trained = [result for result in record.results.values() if result.same_as is None]
    for rank in sorted({result.rank for result in trained}):
        results = [result for result in trained if result.rank == rank]
        inside = sum(result.engine_seconds for result in results)
        wall = max(result.started + result.seconds for result in results) - min(result.started for result in results)
        seconds = sorted(result.seconds for result in results)
        print(f"rank {rank}                    {len(results)} trials of {seconds[0]:.0f} to {seconds[-1]:.0f} s, "
              f"{100 * (1 - inside / wall):.2f}% of its wall time outside training and testing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of CIFAR-10 databases; default: synthetic images")
    parser.add_argument("--iterations", type=int, default=100, help="of each training of the ranks' measurement")
    arguments = parser.parse_args()
    os.makedirs("build", exist_ok=True)
    print(machine())
    with tempfile.TemporaryDirectory(dir="build") as folder:
        data = arguments.data
        if data is None:
            data = folder
            write_synthetic(Path(folder), images_train=2000, images_test=500, report=lambda text: None)
        rendering(data)
        master(data, generations=10)
        proposals(data)
        ranks(data, arguments.iterations)


if __name__ == "__main__":
    main()
