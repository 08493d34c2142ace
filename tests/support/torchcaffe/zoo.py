"""What an engine makes of a net file: blobs, wiring and parameters as it builds it, and the numbers of a forward pass.

This file runs in both engines' Pythons, so it needs numpy alone. Real Caffe answers questions, a line each:

    python -m tests.support.torchcaffe.zoo build|forward FOLDER PATH_OF_PYTHON_LAYERS < questions
"""
from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Dict, Iterable, List, Sequence, Tuple

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[3]
PHASES = ("TRAIN", "TEST")
SEED = 5
Question = Tuple[str, str, Sequence[str]]  # file, phase and stages of a net
Arrays = Dict[str, np.ndarray]


def build(caffe: Any, path: str, phase: str, stages: Sequence[str]) -> Dict[str, Any]:
    """The net's blobs with their shapes, its number of parameters, and each layer's bottoms, tops and parameters."""
    net = caffe.Net(path, PHASES.index(phase), stages=list(stages) or None)
    names = list(net._blob_names)
    parameters = {blob.data.ctypes.data: blob.data.size for layer in net.layers for blob in layer.blobs}
    layers = [[name, [names[i] for i in net._bottom_ids(n)], [names[i] for i in net._top_ids(n)], _shapes(layer.blobs)]
              for n, (name, layer) in enumerate(zip(net._layer_names, net.layers))]
    return {"blobs": [[name, shape] for name, shape in zip(names, _shapes(net._blobs))],
            "parameters": sum(parameters.values()), "layers": layers}


def _shapes(blobs: Iterable[Any]) -> List[List[int]]:
    return [list(blob.shape) for blob in blobs]


def forward(caffe: Any, path: str) -> Tuple[Arrays, Dict[str, str]]:
    """All blobs after a pass of phase TEST over random inputs, and checksums of the weights that the fillers gave."""
    caffe.set_random_seed(SEED)
    net = caffe.Net(path, PHASES.index("TEST"))
    random = np.random.RandomState(SEED)
    for name in net.inputs:
        blob = net.blobs[name]
        blob.data[...] = random.uniform(-1, 1, blob.data.shape)
    net.forward()
    weights = {f"{name}/{index}": hashlib.sha256(np.array(blob.data).tobytes()).hexdigest()
               for name, blobs in net.params.items() for index, blob in enumerate(blobs)}
    return {name: np.array(blob.data) for name, blob in net.blobs.items()}, weights


# ----------------------------------------------------------------------------------------------------------- Real Caffe

def ask_real_caffe(caffe_root: Path, folder: Path, kind: str, questions: Sequence[Sequence[Any]]) -> List[Any]:
    """Answers of one process of real Caffe, which works in `folder`: to `build`'s arguments, or to `forward`'s."""
    layers = caffe_root / "root" / "usr" / "share" / "doc" / "caffe-doc" / "examples" / "pycaffe" / "layers"
    command = [str(caffe_root / "bin" / "python3"), "-m", "tests.support.torchcaffe.zoo", kind, str(folder),
               str(layers)]
    done = subprocess.run(command, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE,
                          input="".join(json.dumps(question) + "\n" for question in questions),
                          env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0 and done.stdout.count("\n") == len(questions), done.stdout[-500:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def write_hdf5() -> None:
    """The data of examples/hdf5_classification."""
    h5py = importlib.import_module("h5py")
    for part in ("train", "test"):
        name = f"examples/hdf5_classification/data/{part}"
        with h5py.File(name + ".h5", "w") as file:
            file["data"], file["label"] = np.zeros((12, 4)), np.zeros(12)
        Path(name + ".txt").write_text(name + ".h5\n")


def _memory(log: BinaryIO) -> int:
    """What Caffe's log says of the net that was built last."""
    log.seek(0)
    return int(re.findall(rb"Memory required for data: (\d+)", log.read())[-1])


def main(kind: str, folder: str, layers: str) -> None:
    """Answer the questions on standard input in real Caffe's Python; arrays go to files in `folder`."""
    sys.path.append(layers)  # of pyloss.py, linreg.prototxt's Python layer
    os.chdir(folder)
    log = tempfile.TemporaryFile()
    os.dup2(log.fileno(), 2)
    caffe = importlib.import_module("caffe")
    if kind == "build":
        write_hdf5()
    for number, line in enumerate(sys.stdin):
        arguments = json.loads(line)
        if kind == "build":
            answer = build(caffe, *arguments)
            answer["memory"] = _memory(log)
        else:
            arrays, answer = forward(caffe, *arguments)
            save: Any = np.savez
            save(f"{number}.npz", **arrays)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
