"""The same trainings in real Caffe, adding up in several orders, and in the torch engine: the curves of their losses.

This file runs in both engines' Pythons, so it needs numpy alone. `test_curves.py` says what is compared;

    python -m tests.support.torchcaffe.curves freeze small|full      after a change of the trainings; needs `make caffe`

writes what real Caffe gives into `frozen/curves.json`: its curves, and their spread.
"""
from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterable, List, Sequence, Tuple

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[3]
FROZEN = Path(__file__).resolve().parent / "frozen" / "curves.json"
ITERATIONS = 50
# Runs of real Caffe: OpenBLAS's kernel and `reorder`'s order. The first gives the curves, all together their spread.
USUAL = ("Haswell", 0)
RUNS = {"small": [USUAL, ("Sandybridge", 0), ("Nehalem", 0), *(("Haswell", order) for order in range(1, 7))],
        "full": [USUAL, ("Sandybridge", 0), *(("Haswell", order) for order in range(1, 5))]}
Curves = Dict[str, List[float]]  # of one training: the net's outputs, by iteration


def train(caffe: Any, solver_file: str, order: int = 0) -> Curves:
    """The values of the train net's outputs in each iteration; `order` is `reorder`'s."""
    solver = caffe.get_solver(solver_file)
    reorder(solver.net, order)
    curves: Curves = {name: [] for name in solver.net.outputs}
    for _ in range(ITERATIONS):
        solver.step(1)
        for name, values in curves.items():
            values.append(added_up(solver.net, name))
    return curves


def added_up(net: Any, name: str) -> float:
    """The value of an output; the autoencoder's are added up anew from their terms, in float64.

    Caffe adds them up in float32, 78,400 for a batch of 100. That makes a value wrong by up to 1e-4 (as NumPy's cumsum
    of these terms is) in whatever order the layers add up, and changes nothing in the training.
    """
    if name not in ("cross_entropy_loss", "l2_error"):
        return float(net.blobs[name].data)
    scores, outputs, targets = (net.blobs[blob].data.astype(np.float64)
                                for blob in ("decode1", "decode1neuron", "flatdata"))
    if name == "cross_entropy_loss":
        costs = np.maximum(scores, 0) - scores * targets + np.log1p(np.exp(-np.abs(scores)))
    else:
        costs = (outputs - targets) ** 2 / 2
    return float(costs.sum() / len(targets))


def reorder(net: Any, order: int) -> None:
    """Shuffle the channels between any two layers that have parameters: the same function, added up in another order.

    For nets that are one chain of layers, and what they share in pairs; order 0 leaves the net as it is.
    """
    random = np.random.RandomState(order)
    layers = {blobs[0].data.ctypes.data: blobs for blobs in net.params.values()} if order else {}
    for lower, upper in zip([*layers.values()], [*layers.values()][1:]):
        channels = random.permutation(len(lower[0].data))
        for blob in lower:
            blob.data[...] = blob.data[channels]
        weight = upper[0].data
        weight[...] = weight.reshape(len(weight), len(channels), -1)[:, channels].reshape(weight.shape)


def train_in_real_caffe(caffe_root: Path, folder: Path, solvers: Sequence[Path],
                        run: Tuple[str, int] = USUAL) -> List[Curves]:
    """All these trainings in one process of real Caffe, which works in `folder`; `run` is kernel and order."""
    kernel, order = run
    command = [str(caffe_root / "bin" / "python3"), "-m", "tests.support.torchcaffe.curves", "real", str(folder),
               str(order)]
    environment = {**os.environ, "GLOG_minloglevel": "2", "OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": kernel}
    done = subprocess.run([*command, *map(str, solvers)], cwd=REPOSITORY, env=environment, text=True,
                          capture_output=True)
    if done.returncode:
        raise RuntimeError(f"real Caffe: exit {done.returncode}\n{done.stderr[-3000:]}")
    curves: List[Curves] = json.loads(done.stdout)
    return curves


def spread(curves: Sequence[Sequence[float]]) -> np.ndarray:
    """For each iteration, the largest difference between any two of the curves up to there."""
    together = np.array(curves)
    largest: np.ndarray = np.maximum.accumulate(together.max(0) - together.min(0))
    return largest


def freeze(runs: Sequence[List[Curves]], trainings: Sequence[Tuple[str, int]]) -> Dict[str, Any]:
    """What is kept of all runs of these trainings, which are given by name and seed: by name, output and seed."""
    frozen: Dict[str, Any] = {}
    for (name, seed), *curves in zip(trainings, *runs):
        for output, usual in curves[0].items():
            apart = spread([curve[output] for curve in curves])
            frozen.setdefault(name, {}).setdefault(output, {})[str(seed)] = {
                "caffe": _rounded(usual, 9), "spread": _rounded(apart, 3)}
    return frozen


def _rounded(numbers: Iterable[float], digits: int) -> List[float]:
    return [float(f"{number:.{digits}g}") for number in numbers]


def main(arguments: Sequence[str]) -> None:
    """`real FOLDER ORDER SOLVER ...` inside real Caffe's Python; `freeze small|full` outside."""
    if arguments[0] == "real":
        os.chdir(arguments[1])
        caffe = importlib.import_module("caffe")
        json.dump([train(caffe, path, int(arguments[2])) for path in arguments[3:]], sys.stdout)
        return
    size = arguments[1]
    examples = importlib.import_module("tests.support.torchcaffe.examples")
    trainings = [(training.name, seed) for training in examples.TRAININGS for seed in examples.SEEDS[size]]
    with tempfile.TemporaryDirectory() as folder:
        getattr(examples, f"make_{size}")(Path(folder))
        files = [examples.solver_file(Path(folder), *training) for training in trainings]
        runs = [train_in_real_caffe(REPOSITORY / "build" / "caffe", Path(folder), files, run) for run in RUNS[size]]
    frozen = json.loads(FROZEN.read_text()) if FROZEN.exists() else {}
    frozen[size] = freeze(runs, trainings)
    FROZEN.write_text(json.dumps(frozen).replace('}, "', '},\n"') + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
