"""The runs of the comparison: data, search files, trainings, and what is read of their journals.

Every run is an ordinary `menndl run` of a search file made from solvers/lenet_adam.search.prototxt, on one thread. Only
MNIST's 10,000 test images are needed: they are split, so that the final test is on images that nobody selected by.
"""
from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Iterator, List, NamedTuple

import numpy as np

from menndl_caffe import journal
from menndl_caffe.data import write
from menndl_caffe.data.mnist import images_of, read_files
from menndl_caffe.record import Record
from menndl_caffe.run.launch import Options, Parts
from menndl_caffe.trial import TEST, Result, Trial, training_seed
from tests.bench.lenet_comparison.curves import AT, IMAGES, METHODS, Curve
from tests.bench.pages import changed
from tests.conftest import REPOSITORY

SEARCH = REPOSITORY / "solvers/lenet_adam.search.prototxt"
SEEDS = (1, 2, 3, 4, 5)  # of the search; a training's own is of it and the genome
TRAIN = 7000  # of the 10,000 images, the last IMAGES of these for validation; the rest is the test set
AGAIN = 3  # trainings of each run's best with other seeds, measured on the test set
# What is changed of the search file, for two cores: 40 trainings of 60, 30 iterations of 50, up to 64 filters of 256
# (the default stays in the middle), a test on all images that are held out.
CHANGES = (
    *((f'"filters{i}" real_range {{ min: 8 max: 256 scale: LOG }} default: 45.2548',
       f'"filters{i}" real_range {{ min: 8 max: 64 scale: LOG }} default: 22.6274') for i in (1, 2)),
    ('"test_iter" value: "10"', '"test_iter" value: "30"'),
    ('"test_interval" value: "50"', '"test_interval" value: "30"'),
    ("limit { trials: 60 }", f"limit {{ trials: {AT[-1]} }}"),
    ("max_iter: 50", "max_iter: 30"))


class Job(NamedTuple):
    """One run."""

    method: str
    seed: int
    out: Path  # of all runs

    @property
    def folder(self) -> Path:
        """Where its journal is."""
        return self.out / f"{self.method}-{self.seed}"

    @property
    def search_file(self) -> Path:
        """What it searches."""
        return self.out / f"{self.method}-{self.seed}.search.prototxt"

    @property
    def again(self) -> Path:
        """The accuracies of its best, trained again with other seeds."""
        return self.out / f"{self.method}-{self.seed}.again.json"


def jobs(out: Path) -> List[Job]:
    """Seed by seed, so that what is broken off has something of every method."""
    return [Job(method, seed, out) for seed in SEEDS for method in METHODS]


def search_text(method: str, seed: int) -> str:
    """A search file; UserError where the one that it is made from is another than this was written for."""
    changes = (*CHANGES, ('type: "CMA_ES"\ncma_es_param { population: 30 sigma: 0.2 }', METHODS[method].search),
               ("random_seed: 1", f"random_seed: {seed}"))
    return changed(SEARCH, changes)


def make_data(source: Path, out: Path) -> None:
    """LMDBs of the two t10k files in the folder `source`, in an order drawn by chance: 4,000 images to train on, 3,000
    for validation, 3,000 for the final test."""
    content = images_of(read_files(source, ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")), "t10k")
    order = np.random.RandomState(0).permutation(len(content.labels))
    idx = out / "idx"
    idx.mkdir(parents=True, exist_ok=True)
    for part, chosen in (("train", order[:TRAIN]), ("t10k", order[TRAIN:])):
        header = struct.pack(">4I", 2051, len(chosen), 28, 28)
        (idx / f"{part}-images-idx3-ubyte").write_bytes(header + content.pixels[chosen].tobytes())
        header = struct.pack(">2I", 2049, len(chosen))
        (idx / f"{part}-labels-idx1-ubyte").write_bytes(header + content.labels[chosen].tobytes())
    write("mnist", out / "mnist", idx, validation=IMAGES, report=print)


def run(job: Job) -> None:
    """Begin a run or go on with it, then train its best again; a run that is whole is left as it is."""
    if job.again.exists():
        return
    job.search_file.write_text(search_text(job.method, job.seed))
    command = [sys.executable, "-m", "menndl_caffe.cli", "run", str(job.search_file), "--plain", "--engine", "torch",
               "--data", str(job.out / "mnist"), "--out", str(job.folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    with (job.out / f"{job.folder.name}.log").open("a") as log:
        subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, check=True)
    job.again.write_text(json.dumps(list(_trained_again(job))))
    print(f"{job.method}, seed {job.seed}: done", flush=True)


def _trained_again(job: Job) -> Iterator[float]:
    """Test accuracies of the best, each of another training seed."""
    parts = Parts.of(Options(str(job.search_file), job.folder, "torch", data=str(job.out / "mnist")))
    best, _ = journal.read(job.folder).best()[0]
    evaluator = parts.evaluator()
    try:
        for number in range(1, AGAIN + 1):
            seed = training_seed(job.seed, best.genome, f"again {number}")
            yield evaluator.evaluate(replace(best, seed=seed, role=TEST), str(job.folder)).fitness
    finally:
        evaluator.close()


def run_all(out: Path, at_a_time: int) -> None:
    """What is not yet run; every run trains one network at a time."""
    with ThreadPoolExecutor(at_a_time) as pool:
        list(pool.map(run, jobs(out)))


def curves(out: Path) -> Iterator[Curve]:
    """Of all runs that are whole."""
    for job in jobs(out):
        if job.again.exists():
            yield _curve(job, journal.read(job.folder))


def _curve(job: Job, record: Record) -> Curve:
    default = record.default()
    test = [record.results[id] for id, trial in record.trials.items() if trial.role == TEST][-1]
    assert default is not None
    individuals = list(record.individuals())
    return Curve(job.method, job.seed, sum(_work(*pair) for pair in individuals) / 1e12, default.fitness, test.fitness,
                 tuple(json.loads(job.again.read_text())), tuple(result.fitness for _, result in individuals))


def _work(trial: Trial, result: Result) -> float:
    """Multiply-adds: the way back takes twice as many as the way forward."""
    batch_size = round(trial.genome.as_dict()["batch_size"])
    return result.measures["multiply_adds"] * (3 * trial.max_iter * batch_size + IMAGES)


def notes(out: Path) -> Iterator[str]:
    """Where the numbers come from: what the runs' journals say, and this program."""
    folders = [job.folder for job in jobs(out) if job.again.exists()]
    for name in ("menndl", "engine", "versions", "menndl_python"):
        said = sorted({json.dumps(journal.read(folder).run[name]) for folder in folders})
        yield f"{name}: {', '.join(said)}"
    libraries = ("numpy", "scipy", "cmaes", "optuna", "torch")
    yield "libraries of the searches: " + ", ".join(f"{name} {version(name)}" for name in libraries)
    yield f"data: MNIST's 10,000 test images in an order drawn by chance, {TRAIN - IMAGES} to train on, "\
          f"{IMAGES} for validation, {10000 - TRAIN} to test on"
