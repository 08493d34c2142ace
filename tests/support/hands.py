"""Small nets to hold in hand, on images that a few pixels tell apart; and programs run with them in either engine.

    python -m tests.support.hands caffe|torch FILE FUNCTION FOLDER     FUNCTION(engine, folder) of FILE, to found.npz

so that the same function is run in real Caffe's Python, which has neither pytest nor menndl's other modules.
"""
from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import numpy as np

SIDE, CLASSES, BATCH, TRAINED, HELD = 8, 4, 50, 200, 100
PERIODS = TRAINED // BATCH, HELD // BATCH

READ = """\
layer {{ name: "images" type: "Data" top: "data" top: "label" include {{ phase: {phase} }}
  transform_param {{ scale: 0.00390625 }} data_param {{ source: "{source}" batch_size: {batch} backend: LMDB }} }}
"""
DENSE = """\
layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" param {{ lr_mult: 1 decay_mult: {decay} }}
  param {{ lr_mult: 1 decay_mult: {bias} }}
  inner_product_param {{ num_output: {outputs} weight_filler {{ type: "gaussian" std: {std} }} }} }}
"""
NEURON = 'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}" }}\n'
CONVOLUTION = """\
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
"""
LOSS = """\
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""
SOLVER = """\
type: "SGD" base_lr: {rate} momentum: {momentum} weight_decay: {decay} lr_policy: "fixed" max_iter: {max_iter}
random_seed: 1 test_iter: 2 test_interval: 1000000 test_initialization: false solver_mode: CPU {more}
"""


def body(kind: str) -> str:
    """The layers of a net: linear, tanh, relu (both with one hidden layer of 8), lenet (a convolution, max pooling)."""
    if kind == "linear":
        return DENSE.format(name="score", bottom="data", outputs=CLASSES, decay=1, bias=1, std=0.1)
    if kind == "lenet":
        hidden = CONVOLUTION + DENSE.format(name="hidden", bottom="pool", outputs=8, decay=1, bias=0, std=0.2)
        return hidden + NEURON.format(name="active", kind="ReLU", bottom="hidden") + DENSE.format(
            name="score", bottom="active", outputs=CLASSES, decay=2, bias=0, std=0.3)
    hidden = DENSE.format(name="hidden", bottom="data", outputs=8, decay=1, bias=1, std=0.2)
    neuron = NEURON.format(name="active", kind={"tanh": "TanH", "relu": "ReLU"}[kind], bottom="hidden")
    return hidden + neuron + DENSE.format(name="score", bottom="active", outputs=CLASSES, decay=2, bias=1, std=0.3)


def net_text(kind: str, folder: Path, batch: int = BATCH) -> str:
    """A whole net, reading `fit` and `held` of a folder that `write_images` filled."""
    read = "".join(READ.format(phase=phase, source=folder / part, batch=batch)
                   for phase, part in (("TRAIN", "fit"), ("TEST", "held")))
    return f'name: "{kind}"\n' + read + body(kind) + LOSS


def solver_text(rate: float = 0.05, momentum: float = 0.9, decay: float = 0.01, max_iter: int = 20,
                more: str = "") -> str:
    """Its solver."""
    return SOLVER.format(rate=rate, momentum=momentum, decay=decay, max_iter=max_iter, more=more)


def draw_images(seed: int, count: int) -> Tuple[np.ndarray, np.ndarray]:
    """Labels and pixels uint8 (count, 1, SIDE, SIDE): each class brightens pixels of its own, under much noise."""
    random = np.random.RandomState(seed)
    patterns = np.random.RandomState(99).random_sample((CLASSES, SIDE, SIDE)) > 0.8
    labels = random.randint(CLASSES, size=count)
    pixels = 60 * patterns[labels] + 140 * random.random_sample((count, SIDE, SIDE)) ** 2
    return labels.astype(np.uint8), pixels[:, np.newaxis].astype(np.uint8)


def write_images(folder: Path) -> Path:
    """The two databases, once."""
    from menndl_caffe.data.lmdb_data import Images, write_lmdb

    for seed, (part, count) in enumerate((("fit", TRAINED), ("held", HELD))):
        if not (folder / part).exists():
            write_lmdb(folder / part, Images(*draw_images(seed, count)), 8)
    return folder


def hand(engine: Any, kind: str, folder: Path, batch: int = BATCH, own_decay: bool = False, **solver: Any) -> Any:
    """A NetInHand of one of the small nets."""
    from menndl_caffe.trainer.net_in_hand import NetInHand

    periods = TRAINED // batch, HELD // batch
    return NetInHand(engine, net_text(kind, folder, batch), solver_text(**solver), periods, own_decay)


Program = Callable[[Any, Path], Dict[str, np.ndarray]]


def in_engine(name: str, program: Program, folder: Path, caffe_root: Path) -> Dict[str, np.ndarray]:
    """What `program(engine, folder)` gives, by a process of its own with engine `caffe` or `torch`."""
    source = sys.modules[program.__module__].__file__
    python = str(caffe_root / "bin" / "python3") if name == "caffe" else sys.executable
    repository = Path(__file__).resolve().parents[2]
    found = folder / f"{program.__name__}.{name}.npz"
    done = subprocess.run([python, __file__, name, str(source), program.__name__, str(folder), str(found)],
                          capture_output=True, text=True, cwd=folder, timeout=600,
                          env={**os.environ, "PYTHONPATH": str(repository), "GLOG_minloglevel": "2",
                               "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(found) as arrays:
        return dict(arrays)


def main(name: str, source: str, function: str, folder: str, found: str) -> None:
    """One program in this process's engine."""
    engine = importlib.import_module({"caffe": "caffe", "torch": "menndl_caffe.torchcaffe"}[name])
    engine.init_log(2, False)
    spec = importlib.util.spec_from_file_location("programs", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["programs"] = module
    spec.loader.exec_module(module)
    np.savez(found, **getattr(module, function)(engine, Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
