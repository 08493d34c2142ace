"""Fifty iterations of Caffe's examples: the torch engine's losses are as near to real Caffe's as these are to each
other when they are added up in another order.

How near is that? Real Caffe runs each training with kernels of OpenBLAS for several processors (OPENBLAS_CORETYPE),
and, as these add up much alike, with the channels between its layers in other orders, which is the same function. Its
*spread* in an iteration is the largest difference between any two of these runs' losses up to there, and no less than
what adding up the loss itself may give. The torch engine may be twice that away from real Caffe as it is.

At first the spread is a rounding or two, 1e-7. Then, in some iteration, two numbers under a max pooling are equal but
for their last bits, or one before a ReLU is 0 but for them, and the gradient goes the other way: losses that were equal
to 1e-7 differ by 1e-4 at once, and soon by percents. With these batches that happens about once a training, and first
in any of the runs. So with one seed a training is out of a spread that is right otherwise, once in as many times as
there are runs. Hence several seeds: at every iteration the middle one of them is held to the spread. An error that is
not chance is out with most of the seeds.

`frozen/curves.json` holds real Caffe's curves and spreads: of small trainings with drawn images, and (slow) of those by
Caffe's own files with real images.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Iterator, List

import numpy as np
import pytest

import menndl_caffe.torchcaffe as caffe
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.wiring import layers_of_phase
from tests.conftest import SHARED_IMAGES, missing
from tests.support.torchcaffe import curves, examples
from tests.support.torchcaffe.examples import SEEDS, TRAININGS, Training

DOC = "root/usr/share/doc/caffe-doc"
NAMES = [training.name for training in TRAININGS]
TIMES = 2
IMAGES = {"small": examples.BATCH, "full": 100}  # of the largest batch
Real = Dict[str, Dict[str, Dict[str, List[float]]]]  # of a training: by output, by seed, "caffe" and "spread"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    caffe.init_log(2)
    yield
    caffe.init_log()


def spreads_away(curve: List[float], real: Dict[str, List[float]], images: int) -> np.ndarray:
    """At each iteration, how many spreads the curve is away from real Caffe's; NaN where it is none.

    Caffe adds up the costs of images one after the other: of n roundings sqrt(n) last places or so are left, at least.
    """
    expected = np.array(real["caffe"])
    roundings = images ** 0.5 * np.spacing(np.abs(expected).astype(np.float32))
    away: np.ndarray = np.abs(np.array(curve) - expected) / np.maximum(real["spread"], roundings)
    return away


def assert_near(found: Dict[int, curves.Curves], size: str, name: str) -> None:
    """Curves, by seed, are TIMES spreads or less away from real Caffe's, at each iteration with the middle seed."""
    real: Real = json.loads(curves.FROZEN.read_text())[size][name]
    for output, by_seed in real.items():
        away = [spreads_away(curve[output], by_seed[str(seed)], IMAGES[size]) for seed, curve in found.items()]
        far = ~(np.median(away, axis=0) <= TIMES)
        assert not far.any(), f"{output} at iteration {far.argmax()}, spreads away by seed:\n{np.round(away, 1)}"


def trained(folder: Path, size: str, name: str) -> Dict[int, curves.Curves]:
    """The torch engine's curves of a training, by seed."""
    return {seed: curves.train(caffe, str(examples.solver_file(folder, name, seed))) for seed in SEEDS[size]}


def assert_still_frozen(caffe_root: Path, folder: Path, size: str) -> None:
    """Real Caffe gives, with one seed, what is frozen."""
    seed = SEEDS[size][0]
    files = [examples.solver_file(folder, name, seed) for name in NAMES]
    for name, found in zip(NAMES, curves.train_in_real_caffe(caffe_root, folder, files)):
        assert_near({seed: found}, size, name)


# ----------------------------------------------------------------------------------------------------- Small trainings

@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    examples.make_small(folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_small_training(name: str, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small)
    assert_near(trained(small, "small", name), "small", name)


def test_real_caffe_gives_what_is_frozen(caffe_root: Path, small: Path) -> None:
    assert_still_frozen(caffe_root, small, "small")


@pytest.mark.parametrize("training", TRAININGS, ids=NAMES)
def test_our_words_mean_what_caffes_files_say(caffe_root: Path, training: Training) -> None:
    theirs = examples.caffes_solver(caffe_root / DOC, training)
    assert examples.net_of(training) == phase_train(examples.caffes_net(caffe_root / DOC, theirs))
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


# --------------------------------------------------------------------------------------- Caffe's own files, real images

@pytest.fixture(scope="module")
def full(caffe_root: Path, cifar10_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (SHARED_IMAGES / "t10k-images-idx3-ubyte.gz").exists():
        missing(f"no MNIST images: {SHARED_IMAGES} is not there")
    folder = tmp_path_factory.mktemp("full")
    examples.make_full(folder, caffe_root / DOC, cifar10_source, SHARED_IMAGES)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_full_training(name: str, full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(full)
    assert_near(trained(full, "full", name), "full", name)


@pytest.mark.slow
def test_real_caffe_gives_what_is_frozen_of_the_full_ones(caffe_root: Path, full: Path) -> None:
    assert_still_frozen(caffe_root, full, "full")
