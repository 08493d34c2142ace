"""Fifty iterations of Caffe's examples: the torch engine's losses are as near to real Caffe's as real Caffe's are to
each other when its BLAS adds up in another order.

How near is that? Real Caffe runs each training with several kernels of OpenBLAS (those of other processors:
OPENBLAS_CORETYPE). Its *spread* at an iteration is the largest difference between two of these curves up to there, but
not less than what adding up the loss itself may give. The torch engine may be twice that away from real Caffe with its
usual kernel.

At first the spread is a rounding or two, 1e-7. Then, in some iteration, two numbers under a max pooling are equal but
for their last bit, or one before a ReLU is 0 but for it, and the gradient takes the other way: curves that were equal
to 1e-7 differ by 1e-4 at once, and by percents soon after. With the batches here that happens about once a training,
in whichever of the runs comes first, so it would put the torch engine out of a spread that is right otherwise, once in
so many trainings as there are runs to compare with. Hence three seeds: the torch engine is held to the spread, at
every iteration, in at least two of them. An error that is no chance is out in all.

`frozen/curves.json` holds real Caffe's curves and spreads of small trainings, which take drawn images, and of Caffe's own files
with real images (slow).
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Iterator, List

import numpy as np
import pytest

import menndl_caffe.torchcaffe as caffe
from menndl_caffe import prototxt
from menndl_caffe.net_rules import layers_of_phase
from menndl_caffe.proto import caffe_pb2
from tests.conftest import SHARED_IMAGES, missing
from tests.torchcaffe import curves, examples
from tests.torchcaffe.examples import SEEDS, TRAININGS, Training

NAMES = [training.name for training in TRAININGS]
TIMES = 2
# Caffe adds up a loss one float32 after the other: n roundings, of which sqrt(n) last places or so are left. (Seen:
# the autoencoder's is 3e-6 off the sum of its own terms, as is this sum in NumPy.) Terms of a batch of 100:
TERMS = {"cross_entropy_loss": 100 * 784, "l2_error": 100 * 784, "loss": 100}
Frozen = Dict[str, Dict[str, Dict[str, Dict[str, List[float]]]]]  # training, output, seed, caffe or spread: iterations


def frozen(size: str) -> Frozen:
    """What real Caffe gave."""
    of_size: Frozen = json.loads(curves.FROZEN.read_text())[size]
    return of_size


def deviation(output: str, curve: List[float], real: Dict[str, List[float]]) -> np.ndarray:
    """At each iteration, how many spreads the curve is away from real Caffe's; NaN where it is none."""
    expected = np.array(real["caffe"])
    roundings = TERMS[output] ** 0.5 * np.spacing(np.abs(expected).astype(np.float32))
    apart: np.ndarray = np.abs(np.array(curve) - expected) / np.maximum(real["spread"], roundings)
    return apart


def assert_near(found: Dict[int, curves.Curves], real: Dict[str, Dict[str, Dict[str, List[float]]]]) -> None:
    """Curves by seed are, in the middle one of the seeds, at most TIMES spreads away from real Caffe's."""
    for output, by_seed in real.items():
        apart = [deviation(output, curve[output], by_seed[str(seed)]) for seed, curve in found.items()]
        middle = np.median(apart, axis=0)
        assert np.all(middle <= TIMES), (output, int(np.argmin(middle <= TIMES)), np.round(middle, 1).tolist())


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    caffe.init_log(2)
    yield
    caffe.init_log()


# ----------------------------------------------------------------------------------------------------- Small trainings

@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    examples.make_small(folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_small_training(name: str, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small)
    found = {seed: curves.train(caffe, str(examples.solver_file(small, name, seed))) for seed in SEEDS}
    assert_near(found, frozen("small")[name])


def test_what_is_frozen_is_what_real_caffe_gives(caffe_root: Path, small: Path) -> None:
    files = [examples.solver_file(small, name, SEEDS[0]) for name in NAMES]
    for name, found in zip(NAMES, curves.train_in_real_caffe(caffe_root, small, files)):
        assert_near({SEEDS[0]: found}, frozen("small")[name])


@pytest.mark.parametrize("training", TRAININGS, ids=NAMES)
def test_our_words_mean_what_caffes_files_say(caffe_root: Path, training: Training) -> None:
    doc = caffe_root / "root/usr/share/doc/caffe-doc"
    theirs = examples.caffes_solver(doc, training)
    assert examples.net_of(training) == phase_train(examples.caffes_net(doc, theirs))
    for field in ("net", "test_iter", "test_interval", "test_state", "test_compute_loss", "display", "max_iter",
                  "snapshot", "snapshot_prefix", "snapshot_format", "solver_mode"):
        theirs.ClearField(field)
    assert prototxt.parse(training.solver, caffe_pb2.SolverParameter).message == theirs


def phase_train(net: Any) -> Any:
    """The net's layers of the phase TRAIN, as `examples` has them."""
    layers = [wired.layer for wired in layers_of_phase(net, "TRAIN", 0, ())]
    for layer in layers:
        layer.ClearField("include")
        if layer.type == "Data":
            layer.data_param.batch_size = examples.BATCH
    return caffe_pb2.NetParameter(name=net.name, layer=layers)


# ------------------------------------------------------------------------------------------ Caffe's own files, real images

@pytest.fixture(scope="module")
def full(caffe_root: Path, cifar10_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (SHARED_IMAGES / "t10k-images-idx3-ubyte.gz").exists():
        missing(f"no MNIST images: {SHARED_IMAGES} is not there")
    folder = tmp_path_factory.mktemp("full")
    examples.make_full(folder, caffe_root / "root/usr/share/doc/caffe-doc", cifar10_source, SHARED_IMAGES)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_full_training(name: str, full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(full)
    found = {seed: curves.train(caffe, str(examples.solver_file(full, name, seed))) for seed in SEEDS}
    assert_near(found, frozen("full")[name])


@pytest.mark.slow
def test_what_is_frozen_of_the_full_ones_is_what_real_caffe_gives(caffe_root: Path, full: Path) -> None:
    files = [examples.solver_file(full, name, SEEDS[0]) for name in NAMES]
    for name, found in zip(NAMES, curves.train_in_real_caffe(caffe_root, full, files)):
        assert_near({SEEDS[0]: found}, frozen("full")[name])
