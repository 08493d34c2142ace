"""The same small trainings in real Caffe and in the torch engine, through pycaffe's API, all numbers kept.

This file runs in both engines' Pythons, so it needs numpy alone.
"""
from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[3]
Arrays = Dict[str, np.ndarray]

NET = """
name: "least_squares"
layer { name: "data" type: "Input" top: "data" top: "target"
  input_param { shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } } }
layer { name: "ip1" type: "InnerProduct" bottom: "data" top: "ip1"
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } bias_filler { type: "constant" value: 0.2 } } }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
  param { lr_mult: 0.5 decay_mult: 3 } param { lr_mult: 0 decay_mult: 1 }
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } bias_filler { type: "constant" value: -0.1 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip2" bottom: "target" top: "loss" }
"""
TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
SETTINGS = {  # of each type
    "SGD": "base_lr: 0.02 momentum: 0.9", "Nesterov": "base_lr: 0.02 momentum: 0.9", "AdaGrad": "base_lr: 0.1",
    "RMSProp": "base_lr: 0.01 rms_decay: 0.95", "AdaDelta": "base_lr: 1 momentum: 0.95 delta: 1e-6",
    "Adam": "base_lr: 0.01 momentum: 0.9 momentum2: 0.99",
}


class Job(NamedTuple):
    """A training in a folder of its own: `steps` iterations from the start, or from the state file `restore`.

    After `snapshot_after` of them a snapshot is taken; `rates`: the learning rate is asked for before each.
    """

    name: str
    solver: str
    net: str = NET
    steps: int = 5
    restore: Optional[str] = None
    snapshot_after: Optional[int] = None
    rates: bool = False


def solver_text(type_: str, more: str = "") -> str:
    """A solver's text for `net.prototxt` with the settings of a type."""
    return (f'net: "net.prototxt" type: "{type_}" {SETTINGS[type_]} lr_policy: "step" stepsize: 3 gamma: 0.5 '
            f'random_seed: 11 max_iter: 100 snapshot_prefix: "snap" {more}')


def run_job(caffe: Any, job: Job, folder: Path) -> Arrays:
    """All parameters and their gradients in the end, and the rates."""
    folder.mkdir(parents=True, exist_ok=True)
    back = os.getcwd()
    os.chdir(folder)
    try:
        Path("net.prototxt").write_text(job.net)
        Path("solver.prototxt").write_text(job.solver)
        solver = caffe.get_solver("solver.prototxt")
        if job.restore:
            solver.restore(job.restore)
        rates = []
        if job.snapshot_after == 0:
            solver.snapshot()
        for done in range(1, job.steps + 1):
            feed(solver)
            if job.rates:
                rates.append(solver.lr)
            solver.step(1)
            if done == job.snapshot_after:
                solver.snapshot()
        arrays = {"rates": np.array(rates), "iter": np.array(solver.iter)}
        for name, blobs in solver.net.params.items():
            for index, blob in enumerate(blobs):
                arrays[f"{name}/{index}"] = np.array(blob.data)
                arrays[f"{name}/{index}/diff"] = np.array(blob.diff)
        return arrays
    finally:
        os.chdir(back)


def feed(solver: Any) -> None:
    """Numbers for the net's inputs that depend on the iteration alone."""
    random = np.random.RandomState(1000 + solver.iter)
    for name in solver.net.inputs:
        blob = solver.net.blobs[name]
        blob.data[...] = random.uniform(-1, 1, blob.data.shape)


def run_in_real_caffe(caffe_root: Path, jobs: Sequence[Job], folder: Path) -> Dict[str, Arrays]:
    """All jobs in one process of real Caffe, each in `folder/NAME`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "jobs.json").write_text(json.dumps(jobs))
    done = subprocess.run([str(caffe_root / "bin" / "python3"), "-m", "tests.support.torchcaffe.training", str(folder)],
                          cwd=REPOSITORY, env={**os.environ, "GLOG_minloglevel": "2", "OPENBLAS_NUM_THREADS": "1"},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    results: Dict[str, Arrays] = {}
    with np.load(folder / "results.npz") as file:
        for key in file.files:
            name, array = key.split(":")
            results.setdefault(name, {})[array] = file[key]
    return results


def differences(expected: Arrays, found: Arrays, tolerance: float) -> List[str]:
    """Names of arrays that differ by more than `tolerance` of their largest number."""
    assert expected.keys() == found.keys()
    return [f"{name}: {found[name]} for {array}" for name, array in expected.items()
            if not np.allclose(found[name], array, rtol=0, atol=tolerance * max(1e-3, np.abs(array).max(initial=0)))]


def main(folder: Path) -> None:
    """Run the folder's jobs in real Caffe."""
    caffe = importlib.import_module("caffe")
    jobs = [Job(*fields) for fields in json.loads((folder / "jobs.json").read_text())]
    results = {job.name: run_job(caffe, job, folder / job.name) for job in jobs}
    save: Any = np.savez
    save(folder / "results.npz", **{f"{job}:{name}": array for job, arrays in results.items()
                                    for name, array in arrays.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
