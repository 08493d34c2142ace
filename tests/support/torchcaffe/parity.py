"""The same net in real Caffe and in the torch engine: a pass forward and back through pycaffe's API, all numbers kept.

This file runs in both engines' Pythons, so it needs numpy alone. A module `cases_*.py` beside it lists cases:

    CASES = [Case("relu", NET, {"x": array}), ...]

`test_parity.py` compares them with real Caffe, and with what real Caffe gave when it was frozen into `frozen/*.npz`:

    python -m tests.support.torchcaffe.parity freeze [MODULE ...]      after a change of cases; needs `make caffe`
"""
from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
FROZEN = HERE / "frozen"
Arrays = Dict[str, np.ndarray]
TRAIN, TEST = 0, 1


class Case(NamedTuple):
    """A net, what its blobs and parameters hold before the pass, and what must be equal to the last bit.

    `params` maps `layer/index` to an array; others keep what their fillers gave, which is compared as well. Tops that
    no layer reads, those of a loss aside, get random gradients. Names in `exact` (such as `data/mask`, `data/*`) must
    agree in every bit, the rest to 1e-5 of the array's largest number. `passes`: how often forward and backward run.
    The numbers of blobs in `edited` are turned round between forward and backward, through arrays taken then.
    """

    name: str
    net: str
    inputs: Mapping[str, np.ndarray] = {}
    params: Mapping[str, np.ndarray] = {}
    phase: int = TRAIN
    seed: int = 1
    exact: Sequence[str] = ()
    passes: int = 1
    backward: bool = True
    files: Mapping[str, bytes] = {}  # written to the folder in which the net runs
    edited: Sequence[str] = ()


def numbers(*shape: int, seed: int = 1, low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """Random float32 numbers, uniform in [low, high)."""
    return np.random.RandomState(seed).uniform(low, high, shape).astype(np.float32)


def run_case(caffe: Any, case: Case) -> Arrays:
    """All blobs and parameters after the passes: `data/NAME`, `diff/NAME`, `param/LAYER/i`, `gradient/LAYER/i`."""
    for name, content in case.files.items():
        Path(name).write_bytes(content)
    caffe.set_random_seed(case.seed)
    Path("net.prototxt").write_text(case.net)
    net = caffe.Net("net.prototxt", case.phase)
    for name, array in case.params.items():
        layer, index = name.rsplit("/", 1)
        net.params[layer][int(index)].data[...] = array
    for _ in range(case.passes):
        for name, array in case.inputs.items():
            net.blobs[name].data[...] = array
        net.forward()
        if case.backward:
            for name in net.outputs:
                if not net.blob_loss_weights[name]:
                    net.blobs[name].diff[...] = numbers(*net.blobs[name].data.shape, seed=7)
            for name in case.edited:
                data = net.blobs[name].data
                data[...] = data.ravel()[::-1].reshape(data.shape).copy()
            net.backward()
    return _harvest(net, case.backward)


def _harvest(net: Any, backward: bool) -> Arrays:
    arrays = {}
    for name, blob in net.blobs.items():
        arrays[f"data/{name}"] = np.array(blob.data)
        if backward:
            arrays[f"diff/{name}"] = np.array(blob.diff)
    for layer, blobs in net.params.items():
        for index, blob in enumerate(blobs):
            arrays[f"param/{layer}/{index}"] = np.array(blob.data)
            if backward:
                arrays[f"gradient/{layer}/{index}"] = np.array(blob.diff)
    return arrays


def modules() -> List[str]:
    """The names of all modules of cases."""
    return sorted(path.stem for path in HERE.glob("cases_*.py"))


def cases_of(module: str) -> List[Case]:
    """A module's cases."""
    cases: List[Case] = importlib.import_module(f"tests.support.torchcaffe.{module}").CASES
    return cases


def run_module(caffe: Any, module: str, folder: Path) -> Dict[str, Arrays]:
    """All cases of a module, one after the other in one process."""
    back = os.getcwd()
    os.chdir(folder)
    try:
        return {case.name: run_case(caffe, case) for case in cases_of(module)}
    finally:
        os.chdir(back)


def run_real(caffe_root: Path, module: str) -> Dict[str, Arrays]:
    """All cases of a module in real Caffe."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.npz"
        python = str(caffe_root / "bin" / "python3")
        done = subprocess.run([python, "-m", "tests.support.torchcaffe.parity", "real", module, str(out)],
                              cwd=REPOSITORY, env={**os.environ, "GLOG_minloglevel": "2", "OPENBLAS_NUM_THREADS": "1"},
                              capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{module} in real Caffe: exit {done.returncode}\n{done.stderr[-3000:]}")
        return load(out)


def save(path: Path, results: Mapping[str, Arrays]) -> None:
    """Write results as one compressed file: all numbers in one row, and whose they are."""
    arrays = [array for case in results.values() for array in case.values()]
    index = {case: {name: array.shape for name, array in arrays.items()} for case, arrays in results.items()}
    row = np.concatenate([np.float32(array).ravel() for array in arrays])
    np.savez_compressed(path, row=row, index=json.dumps(index))


def load(path: Path) -> Dict[str, Arrays]:
    """Read what `save` wrote."""
    results: Dict[str, Arrays] = {}
    with np.load(path) as file:
        row, start = file["row"], 0
        for case, shapes in json.loads(str(file["index"])).items():
            for name, shape in shapes.items():
                end = start + int(np.prod(shape))
                results.setdefault(case, {})[name] = row[start:end].reshape(shape)
                start = end
    return results


def differences(case: Case, expected: Arrays, found: Arrays, tolerance: float = 1e-5) -> List[str]:
    """What disagrees, a line each; NaN agrees with NaN, infinity with itself."""
    lines = [f"only one engine has {name}" for name in sorted(set(expected) ^ set(found))]
    for name in sorted(set(expected) & set(found)):
        ours, theirs = found[name], expected[name]
        if ours.shape != theirs.shape:
            lines.append(f"{name}: shape {ours.shape} for {theirs.shape}")
            continue
        allowed = 0.0 if _is_exact(case, name) else tolerance * _largest(theirs)
        with np.errstate(invalid="ignore"):
            bad = ~((np.abs(ours - theirs) <= allowed) | (ours == theirs) | (np.isnan(ours) & np.isnan(theirs)))
        if bad.any():
            place = tuple(int(axis[0]) for axis in np.nonzero(np.atleast_1d(bad)))
            lines.append(f"{name}: {int(bad.sum())} of {bad.size} differ, first at {place}: "
                         f"{np.atleast_1d(ours)[place]!r} for {np.atleast_1d(theirs)[place]!r} (allowed {allowed:g})")
    return lines


def _is_exact(case: Case, name: str) -> bool:
    return any(name == rule or (rule.endswith("*") and name.startswith(rule[:-1])) for rule in case.exact)


def _largest(array: np.ndarray) -> float:
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def main(arguments: Sequence[str]) -> None:
    """`real MODULE OUT` inside real Caffe's Python; `freeze [MODULE ...]` outside."""
    command, rest = arguments[0], list(arguments[1:])
    if command == "real":
        with tempfile.TemporaryDirectory() as folder:
            save(Path(rest[1]), run_module(importlib.import_module("caffe"), rest[0], Path(folder)))
        return
    FROZEN.mkdir(exist_ok=True)
    for module in rest or modules():
        path = FROZEN / f"{module}.npz"
        save(path, run_real(REPOSITORY / "build" / "caffe", module))
        print(f"{path.name}: {path.stat().st_size} bytes")


def pairs(results: Mapping[str, Arrays], module: str) -> List[Tuple[Case, Arrays]]:
    """Each case with its arrays."""
    return [(case, results[case.name]) for case in cases_of(module)]


if __name__ == "__main__":
    main(sys.argv[1:])
