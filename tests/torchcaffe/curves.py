"""Trainings in real Caffe with several BLAS kernels and in the torch engine, and how far their losses lie apart.

This file runs in both engines' Pythons, so it needs numpy alone. `test_curves.py` says what is compared;

    python -m tests.torchcaffe.curves freeze      after a change of the small trainings; needs `make caffe`

writes real Caffe's curves of them into `frozen/curves.json`.
"""
from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent.parent
FROZEN = Path(__file__).resolve().parent / "frozen" / "curves.json"
ITERATIONS = 50
KERNELS = ("Haswell", "Sandybridge", "Nehalem", "Prescott")  # OpenBLAS's, oldest last: each sums in another order
Curves = Dict[str, List[float]]  # of a training: each output of the net, by iteration
Runs = Dict[str, Dict[str, Curves]]  # by training and kernel


def train(caffe: Any, solver_file: str) -> Curves:
    """The values of the train net's outputs in each iteration."""
    solver = caffe.get_solver(solver_file)
    curves: Curves = {name: [] for name in solver.net.outputs}
    for _ in range(ITERATIONS):
        solver.step(1)
        for name, values in curves.items():
            values.append(float(solver.net.blobs[name].data))
    return curves


def train_in_real_caffe(caffe_root: Path, folder: Path, solvers: Mapping[str, Path], kernel: str) -> Dict[str, Curves]:
    """All trainings in one process of real Caffe with these kernels of OpenBLAS, in `folder`."""
    names = json.dumps({name: str(path) for name, path in solvers.items()})
    environment = {**os.environ, "GLOG_minloglevel": "2", "OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": kernel}
    done = subprocess.run([str(caffe_root / "bin" / "python3"), "-m", "tests.torchcaffe.curves", "real", str(folder),
                           names], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    curves: Dict[str, Curves] = json.loads(done.stdout)
    return curves


def main(arguments: Sequence[str]) -> None:
    """`real FOLDER SOLVERS` inside real Caffe's Python; `freeze` outside."""
    if arguments[0] == "real":
        os.chdir(arguments[1])
        caffe = importlib.import_module("caffe")
        json.dump({name: train(caffe, path) for name, path in json.loads(arguments[2]).items()}, sys.stdout)
        return


if __name__ == "__main__":
    main(sys.argv[1:])
