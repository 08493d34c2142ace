"""Layers that bring data in, against real Caffe: every batch of several passes through the data, bit for bit."""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("h5py")
pytest.importorskip("PIL")

from menndl_caffe import torchcaffe  # noqa: E402
from menndl_caffe.torchcaffe.layer_types import hdf5  # noqa: E402
from tests.torchcaffe.data_sets import (  # noqa: E402
    DataNet,
    data_layer,
    hdf5_layer,
    image_layer,
    write_all,
)
from tests.torchcaffe.real_pycaffe import Arrays, in_real_caffe  # noqa: E402

TRAIN, TEST = 0, 1
ALL = 'mirror: true crop_size: 6 scale: 0.0125 mean_file: "mean.binaryproto"'
DUMMY = '''layer { name: "read" type: "DummyData" top: "data" top: "other" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 2 dim: 2 } %s } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 weight_filler {
  type: "xavier" } } }'''

NETS: Dict[str, DataNet] = {
    "plain": DataNet(data_layer("raw_lmdb")),
    "no-labels": DataNet(data_layer("raw_lmdb", labels=False)),
    "batch-longer-than-data": DataNet(data_layer("raw_lmdb", batch=17)),
    "scale": DataNet(data_layer("raw_lmdb", "scale: 0.00390625")),
    "odd-scale": DataNet(data_layer("raw_lmdb", "scale: 0.017")),
    "mean-value": DataNet(data_layer("raw_lmdb", "mean_value: 104.3 scale: 0.3")),
    "mean-values": DataNet(data_layer("raw_lmdb", "mean_value: 104.3 mean_value: 117 mean_value: 122.7 mirror: true")),
    "mean-file": DataNet(data_layer("raw_lmdb", 'mean_file: "mean.binaryproto"')),
    "force-color-of-raw": DataNet(data_layer("raw_lmdb", "force_color: true")),
    **{f"crop-{seed}": DataNet(data_layer("raw_lmdb", "crop_size: 5"), TRAIN, seed) for seed in (1, 2)},
    **{f"mirror-{seed}": DataNet(data_layer("raw_lmdb", "mirror: true"), TRAIN, seed) for seed in (1, 2)},
    **{f"all-{seed}": DataNet(data_layer("raw_lmdb", ALL), TRAIN, seed, 9) for seed in (0, 3, 2**32 - 1)},
    "crop-test": DataNet(data_layer("raw_lmdb", 'crop_size: 5 mean_file: "mean.binaryproto"'), TEST),
    "crop-whole": DataNet(data_layer("raw_lmdb", "crop_size: 8"), TRAIN),
    "mirror-test": DataNet(data_layer("raw_lmdb", "mirror: true"), TEST, 4),
    "all-test": DataNet(data_layer("raw_lmdb", ALL), TEST, 5),
    "floats": DataNet(data_layer("float_lmdb", "crop_size: 3 mirror: true scale: 0.1 mean_value: 0.1")),
    "mixed": DataNet(data_layer("mixed_lmdb", ALL)),
    "sizes": DataNet(data_layer("sizes_lmdb", "mirror: true", batch=1, weights=False), TRAIN, 1, 11),
    "sizes-cropped": DataNet(data_layer("sizes_lmdb", "crop_size: 7 mirror: true", batch=4)),
    "encoded": DataNet(data_layer("encoded_lmdb", "crop_size: 11 mirror: true", batch=3)),
    "encoded-grey": DataNet(data_layer("encoded_lmdb", "force_gray: true scale: 0.5", batch=3)),
    "encoded-color": DataNet(data_layer("encoded_lmdb", "force_color: true", batch=3)),
    "list": DataNet(image_layer("list.txt", "", batch=11), passes=1),
    "list-grey": DataNet(image_layer("list.txt", "is_color: false", batch=11), passes=1),
    "list-odd": DataNet(image_layer("odd.txt", ""), passes=4),
    "list-twice": DataNet(image_layer("list.txt", "new_height: 40 new_width: 52", batch=11), passes=1),
    "list-half": DataNet(image_layer("list.txt", "new_height: 10 new_width: 13", batch=11), passes=1),
    "list-small": DataNet(image_layer("list.txt", "new_height: 7 new_width: 11", batch=11), passes=1),
    "list-large": DataNet(image_layer("list.txt", "new_height: 33 new_width: 27 is_color: false", batch=11), passes=1),
    "list-flat": DataNet(image_layer("list.txt", "new_height: 1 new_width: 90", batch=11), passes=1),
    **{f"shuffle-{seed}": DataNet(image_layer("list.txt", "shuffle: true", "mirror: true crop_size: 9"), TRAIN, seed, 9)
       for seed in (1, 2)},
    "skip": DataNet(image_layer("list.txt", "rand_skip: 7"), TEST, 3, 5),
    "shuffle-skip": DataNet(image_layer("list.txt", "shuffle: true rand_skip: 5"), TEST, 4, 9),
    "hdf5": DataNet(hdf5_layer("three.txt", 5, False), passes=6),
    "hdf5-one": DataNet(hdf5_layer("one.txt", 7, False), passes=3),
    "hdf5-shuffle": DataNet(hdf5_layer("three.txt", 5, True), passes=9),
    "hdf5-shuffle-one": DataNet(hdf5_layer("one.txt", 3, True), TEST, passes=9),
    "dummy": DataNet(DUMMY % 'data_filler { type: "gaussian" } data_filler { value: 3 }'),
    "dummy-one": DataNet(DUMMY % 'data_filler { type: "uniform" min: -1 }'),
    "dummy-none": DataNet(DUMMY % ""),
}


def run_nets(caffe: Any, given: Arrays) -> Arrays:
    """All blobs of every pass, and the parameters."""
    import json

    found = {}
    for name, (text, phase, seed, passes) in json.loads(bytes(given["nets"])).items():
        with open("net.prototxt", "w") as file:
            file.write(text)
        caffe.set_random_seed(seed)
        net = caffe.Net("net.prototxt", phase)
        for layer, blobs in net.params.items():
            found[f"{name}/{layer}"] = np.array(blobs[0].data)
        for index in range(passes):
            net.forward()
            for blob in net.blobs:
                found[f"{name}/{index}/{blob}"] = np.array(net.blobs[blob].data)
    return found


def given_nets(nets: Dict[str, DataNet]) -> Arrays:
    """`run_nets`'s argument."""
    return {"nets": np.frombuffer(json.dumps(nets).encode(), np.uint8)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data sets."""
    folder = tmp_path_factory.mktemp("data")
    write_all(folder)
    return folder


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work beside the data, with the C library's random numbers from the start."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(hdf5, "_rand", hdf5.CRand())
    yield folder


@pytest.fixture(scope="module")
def expected(caffe_root: Path, folder: Path) -> Arrays:
    """What real Caffe reads."""
    return in_real_caffe(caffe_root, folder, "caffe", run_nets, given_nets(NETS))


@pytest.fixture(scope="module")
def found(folder: Path) -> Arrays:
    """What the torch engine reads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(hdf5, "_rand", hdf5.CRand())
        return run_nets(torchcaffe, given_nets(NETS))


@pytest.mark.parametrize("name", NETS)
def test_every_batch_is_that_of_real_caffe(name: str, expected: Arrays, found: Arrays) -> None:
    keys = [key for key in expected if key.startswith(f"{name}/") and not key.endswith("/ip") or key == f"{name}/ip"]
    assert sorted(keys) == sorted(key for key in found if key in keys or key.startswith(f"{name}/") and
                                  not key.endswith("/ip"))
    wrong = [key for key in keys if expected[key].shape != found[key].shape
             or not np.array_equal(expected[key], found[key])]
    assert not wrong
