"""The same trainings in real Caffe, with several kernels of its BLAS, and in the torch engine: the curves of their losses.

This file runs in both engines' Pythons, so it needs numpy alone. `test_curves.py` says what is compared;

    python -m tests.torchcaffe.curves freeze small|full      after a change of the trainings; needs `make caffe`

writes what real Caffe gives into `frozen/curves.json`: its curves, and the spread of them that comes of its BLAS.
"""
from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent.parent
FROZEN = Path(__file__).resolve().parent / "frozen" / "curves.json"
ITERATIONS = 50
USUAL = "Haswell"  # kernel of what is frozen as real Caffe's curves; then those that it is compared with
OTHERS = ("SkylakeX", "Excavator", "Sandybridge", "Nehalem", "Barcelona", "Penryn", "Core2", "Atom", "Prescott")
Curves = Dict[str, List[float]]  # of one training: the net's outputs, by iteration


def train(caffe: Any, solver_file: str) -> Curves:
    """The values of the train net's outputs in each iteration."""
    solver = caffe.get_solver(solver_file)
    curves: Curves = {name: [] for name in solver.net.outputs}
    for _ in range(ITERATIONS):
        solver.step(1)
        for name, values in curves.items():
            values.append(float(solver.net.blobs[name].data))
    return curves


def train_in_real_caffe(caffe_root: Path, folder: Path, solvers: Sequence[Path], kernel: str = USUAL) -> List[Curves]:
    """All these trainings in one process of real Caffe, which works in `folder` with this kernel of OpenBLAS."""
    command = [str(caffe_root / "bin" / "python3"), "-m", "tests.torchcaffe.curves", "real", str(folder)]
    environment = {**os.environ, "GLOG_minloglevel": "2", "OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": kernel}
    done = subprocess.run([*command, *map(str, solvers)], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"real Caffe: exit {done.returncode}\n{done.stderr[-3000:]}")
    curves: List[Curves] = json.loads(done.stdout)
    return curves


def spread(curves: Sequence[Sequence[float]]) -> np.ndarray:
    """For each iteration, the largest difference between any two of the curves up to there."""
    together = np.array(curves)
    largest: np.ndarray = np.maximum.accumulate(together.max(0) - together.min(0))
    return largest


def _freeze(solvers: Mapping[Tuple[str, int], Path], folder: Path) -> Dict[str, Any]:
    runs = {}
    for kernel in (USUAL, *OTHERS):
        runs[kernel] = train_in_real_caffe(REPOSITORY / "build" / "caffe", folder, list(solvers.values()), kernel)
        print(kernel, flush=True)
    frozen: Dict[str, Any] = {}
    for index, (training, seed) in enumerate(solvers):
        for output, usual in runs[USUAL][index].items():
            apart = spread([run[index][output] for run in runs.values()])
            frozen.setdefault(training, {}).setdefault(output, {})[str(seed)] = {
                "caffe": [float(f"{value:.9g}") for value in usual], "spread": [float(f"{value:.3g}") for value in apart]}
    return frozen


def main(arguments: Sequence[str]) -> None:
    """`real FOLDER SOLVER ...` inside real Caffe's Python; `freeze small|full` outside."""
    if arguments[0] == "real":
        os.chdir(arguments[1])
        caffe = importlib.import_module("caffe")
        json.dump([train(caffe, path) for path in arguments[2:]], sys.stdout)
        return
    examples = importlib.import_module("tests.torchcaffe.examples")
    with tempfile.TemporaryDirectory() as folder:
        solvers = getattr(examples, f"make_{arguments[1]}")(Path(folder))
        frozen = json.loads(FROZEN.read_text()) if FROZEN.exists() else {}
        frozen[arguments[1]] = _freeze(solvers, Path(folder))
    FROZEN.write_text(json.dumps(frozen).replace('}, "', '},\n"') + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
