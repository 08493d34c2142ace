"""Layers that bring data in, against real Caffe: every batch of several passes through the data, bit for bit."""
from __future__ import annotations

import ctypes
import ctypes.util
import json
import struct
import sys
import zlib
from pathlib import Path
from typing import Any, Dict, Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("h5py")
pytest.importorskip("PIL")

from menndl_caffe import torchcaffe  # noqa: E402
from menndl_caffe.data.image_files import decode  # noqa: E402
from menndl_caffe.errors import UserError  # noqa: E402
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet  # noqa: E402
from menndl_caffe.torchcaffe.layer_types import hdf5  # noqa: E402
from tests.support.torchcaffe.data_sets import (  # noqa: E402
    WEIGHTS,
    DataNet,
    data_layer,
    hdf5_layer,
    image_layer,
    window_layer,
    write_all,
)
from tests.support.torchcaffe.real_pycaffe import Arrays, in_real_caffe  # noqa: E402

TRAIN, TEST = 0, 1
ALL = 'mirror: true crop_size: 6 scale: 0.0125 mean_file: "mean.binaryproto"'
DUMMY = '''layer { name: "read" type: "DummyData" top: "data" top: "other" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 2 dim: 2 } %s } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 weight_filler {
  type: "xavier" } } }'''
MEMORY = """layer { name: "read" type: "MemoryData" top: "data" top: "label" memory_data_param {
  batch_size: 2 channels: 3 height: 4 width: 5 } %s }"""

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
    "windows": DataNet(window_layer("fg_fraction: 0.4"), TEST),
    "windows-mirrored": DataNet(window_layer("bg_threshold: 0.3 scale: 0.1", "mirror: true mean_value: 3.3"), TRAIN, 2),
    "windows-padded": DataNet(window_layer("context_pad: 2 fg_fraction: 0.6", 'mirror: true mean_file: '
                                           '"large_mean.binaryproto"'), TRAIN, 3, 8),
    "windows-square": DataNet(window_layer('context_pad: 1 crop_mode: "square" cache_images: true', "mirror: true"),
                              TRAIN, 4, 8),
    "windows-square-unpadded": DataNet(window_layer('crop_mode: "square"'), TRAIN, 5, 8),
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
    """Work beside the data, with the C library's random numbers from the start; one solver afterwards."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(hdf5, "_rand", hdf5.CRand())
    yield folder
    torchcaffe.set_solver_count(1)
    torchcaffe.set_solver_rank(0)


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


def assert_equal(found: Arrays, expected: Arrays) -> None:
    """To the last bit, but for the products of inner products."""
    assert found.keys() == expected.keys()
    exact = [name for name in found if not name.endswith("/ip") or name.count("/") == 1]
    assert not [name for name in exact if found[name].shape != expected[name].shape]
    assert not [name for name in exact if not np.array_equal(found[name], expected[name])]


@pytest.mark.parametrize("name", NETS)
def test_every_batch_is_that_of_real_caffe(name: str, expected: Arrays, found: Arrays) -> None:
    assert_equal(*({key: array for key, array in arrays.items() if key.startswith(f"{name}/")}
                   for arrays in (found, expected)))


def test_each_of_two_solvers_reads_its_share(caffe_root: Path, inside: Path) -> None:
    def run_shares(caffe: Any, given: Arrays) -> Arrays:
        caffe.set_solver_count(3)
        caffe.set_solver_rank(2)
        found = {}
        for phase in (0, 1):
            for index, text in enumerate(bytes(given["nets"]).decode().split("|")):
                with open("net.prototxt", "w") as file:
                    file.write(text)
                caffe.set_random_seed(5)
                net = caffe.Net("net.prototxt", phase)
                for step in range(8):
                    net.forward()
                    for blob in ("data", "label"):
                        found[f"{phase}-{index}/{step}/{blob}"] = np.array(net.blobs[blob].data)
        return found

    nets = "|".join([data_layer("raw_lmdb", ALL), hdf5_layer("three.txt", 5, False)])
    given = {"nets": np.frombuffer(nets.encode(), np.uint8)}
    assert_equal(run_shares(torchcaffe, given), in_real_caffe(caffe_root, inside, "caffe", run_shares, given))


def test_memory_data(caffe_root: Path, inside: Path) -> None:
    def run_memory_data(caffe: Any, given: Arrays) -> Arrays:
        caffe.set_random_seed(3)
        net = caffe.Net("memory.prototxt", 0)
        found = {"weights/ip": np.array(net.params["ip"][0].data), "before/label": np.array(net.blobs["label"].data)}
        data, labels = given["data"], given["labels"]
        net.set_input_arrays(data, labels)
        for step in range(5):
            if step == 3:
                data[...] = -data
            net.forward()
            for blob in ("data", "label"):
                found[f"{step}/{blob}"] = np.array(net.blobs[blob].data)
        return found

    Path("memory.prototxt").write_text(MEMORY % "transform_param { mirror: true }" + WEIGHTS)
    random = np.random.RandomState(1)
    given = {"data": random.rand(6, 3, 4, 5).astype(np.float32), "labels": np.arange(6, dtype=np.float32)}
    assert_equal(run_memory_data(torchcaffe, {name: array.copy() for name, array in given.items()}),
                 in_real_caffe(caffe_root, inside, "caffe", run_memory_data, given))


def test_train_and_test_nets_of_a_solver(caffe_root: Path, inside: Path) -> None:
    def run_solver(caffe: Any, given: Arrays) -> Arrays:
        solver = caffe.SGDSolver("solver.prototxt")
        found = {}
        for step in range(4):
            solver.step(1)
            for name, net in (("train", solver.net), ("test", solver.test_nets[0])):
                for blob in ("data", "label"):
                    found[f"{name}/{step}/{blob}"] = np.array(net.blobs[blob].data)
        return found

    net = data_layer("raw_lmdb", ALL) + """layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "none"
      top: "loss" } layer { name: "none" type: "DummyData" top: "none" dummy_data_param { shape { dim: 5 } } }"""
    before, loss, none = net.partition("layer { name: \"loss\"")
    labels = none[none.index("layer { name: \"none\""):]
    Path("train_test.prototxt").write_text(before + labels + loss + none.replace(labels, ""))
    Path("solver.prototxt").write_text('net: "train_test.prototxt" test_iter: 3 test_interval: 2 base_lr: 1e-6 '
                                       'lr_policy: "fixed" max_iter: 9 random_seed: 8 snapshot_after_train: false')
    assert_equal(run_solver(torchcaffe, {}), in_real_caffe(caffe_root, inside, "caffe", run_solver, {}))


RESUMED = ("plain", "all-3", "mirror-test", "mixed", "shuffle-1", "skip", "windows-padded", "hdf5", "hdf5-shuffle",
           "hdf5-shuffle-one")


@pytest.mark.parametrize("name", RESUMED)
def test_state(name: str, inside: Path) -> None:
    """A net that another's state is set on goes on with the other's batches; what JSON makes of the state will do."""
    text, phase, seed, _ = NETS[name]
    first = net_of(text, phase, seed)
    for _ in range(3):
        first.forward()
    state = json.loads(json.dumps(first.layers[0].state()))
    rest = [batch_of(first) for _ in range(6)]
    second = net_of(text, phase, seed + 1)
    batch_of(second)
    second.layers[0].set_state(state)
    for ours, theirs in zip((batch_of(second) for _ in range(6)), rest):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


def net_of(text: str, phase: int = TRAIN, seed: int = 1) -> Any:
    """The net of a text."""
    Path("net.prototxt").write_text(text)
    torchcaffe.set_random_seed(seed)
    return torchcaffe.Net("net.prototxt", phase)


def batch_of(net: Any) -> Any:
    """The next data and labels."""
    net.forward()
    return [np.array(net.blobs[name].data) for name in ("data", "label")]


def test_the_c_library_s_random_numbers() -> None:
    """The first ones are well known; later ones from a run of the C library itself."""
    rand = hdf5.CRand()
    numbers = [rand() for _ in range(5000)]
    assert numbers[:4] == [1804289383, 846930886, 1681692777, 1714636915]
    libc = ctypes.CDLL(ctypes.util.find_library("c"))
    libc.srand(1)
    assert numbers == [libc.rand() for _ in range(5000)]


def test_tops_for_convolutions_are_channels_last(inside: Path) -> None:
    net = net_of(NETS["all-3"].text)
    net.forward()
    assert net.layers[0].type == "Data"
    assert net._nodes[0].top[0].value.is_contiguous(memory_format=torch.channels_last)


def test_input_keeps_shapes_and_numbers(inside: Path) -> None:
    net = net_of('layer { name: "in" type: "Input" top: "a" top: "b" input_param { shape { dim: 2 dim: 3 } } }')
    net.blobs["a"].reshape(4, 5)
    net.blobs["a"].data[...] = 7
    net.forward()
    assert net.blobs["a"].data.shape == (4, 5) and (net.blobs["a"].data == 7).all()
    assert net.blobs["b"].data.shape == (2, 3)


def test_hdf5_output(inside: Path) -> None:
    """One batch, as four axes; a second makes real Caffe abort."""
    import h5py

    net = net_of(DUMMY % 'data_filler { type: "gaussian" } data_filler { value: 3 }' + """layer { name: "out"
      type: "HDF5Output" bottom: "data" bottom: "ip" hdf5_output_param { file_name: "out.h5" } }""")
    assert list(h5py.File("out.h5", "r")) == []
    net.forward()
    with h5py.File("out.h5", "r") as file:
        np.testing.assert_array_equal(file["data"], net.blobs["data"].data.reshape(4, 3, 1, 1))
        np.testing.assert_array_equal(file["label"], net.blobs["ip"].data.reshape(4, 3, 1, 1))
    with pytest.raises(UserError, match="layer out: out.h5 has its batch"):
        net.forward()


@pytest.mark.parametrize("data, labels, wrong", [
    ((4, 3, 4, 6), (4,), "takes Nx3x4x5 and N labels, not 4x3x4x6 and 4"),
    ((4, 3, 4, 5), (3,), "not 4x3x4x5 and 3"),
    ((3, 3, 4, 5), (3,), "a multiple of its batch_size 2, not 3 items"),
    ((0, 3, 4, 5), (0,), "not 0 items"),
])
def test_arrays_that_memory_data_does_not_take(inside: Path, data: Any, labels: Any, wrong: str) -> None:
    net = net_of(MEMORY % "")
    with pytest.raises(UserError, match="layer read: has no data: call set_input_arrays first"):
        net.forward()
    with pytest.raises(UserError, match=f"layer read: set_input_arrays .*{wrong}"):
        net.set_input_arrays(np.zeros(data, np.float32), np.zeros(labels, np.float32))
    if not wrong.startswith("a mul"):
        return
    with pytest.raises(UserError, match="takes arrays of float32, not float64 and float32"):
        net.set_input_arrays(np.zeros((2, 3, 4, 5)), np.zeros(2, np.float32))


@pytest.mark.parametrize("turned", [lambda data: data[::-1], lambda data: data[::2], np.asfortranarray])
def test_memory_data_keeps_what_is_contiguous(inside: Path, turned: Any) -> None:
    """As pycaffe, which copies labels where they are not."""
    net, data = net_of(MEMORY % ""), np.zeros((4, 3, 4, 5), np.float32)
    with pytest.raises(UserError, match="layer read: set_input_arrays takes C contiguous data"):
        net.set_input_arrays(turned(data), np.zeros(len(turned(data)), np.float32))
    net.set_input_arrays(data, np.arange(4, dtype=np.float32)[::-1])
    net.forward()
    assert net.blobs["label"].data.ravel().tolist() == [3, 2]


@pytest.mark.parametrize("text, wrong", [
    (data_layer("nowhere_lmdb"), "layer read: nowhere_lmdb: no such LMDB"),
    (data_layer("raw_lmdb").replace("backend: LMDB", ""), "layer read: raw_lmdb: an LMDB, .* say backend: LMDB"),
    (data_layer("raw_lmdb", 'mean_file: "no.mean"'), "layer read: no.mean: no mean file"),
    (data_layer("float_lmdb", 'mean_file: "mean.binaryproto"'),
     "layer read: mean_file mean.binaryproto is 3x8x9, but its images are 2x4x4"),
    (data_layer("sizes_lmdb", batch=3), "layer read: image 2 of a batch would be 3x12x10, image 0 is 3x8x9"),
    (data_layer("raw_lmdb", "crop_size: 9"), "layer read: crop_size 9 is larger than its images 3x8x9"),
    (data_layer("raw_lmdb", batch=0), "layer read: batch_size must be at least 1"),
    (data_layer("raw_lmdb", "mean_value: 1 mean_value: 2"), "layer read: mean_value is given 2 times for 3 channels"),
    (data_layer("encoded_lmdb", "force_color: true force_gray: true"), "layer read: force_color and force_gray"),
    (image_layer("nowhere.txt", ""), "layer read: nowhere.txt: no list of images"),
    (image_layer("empty.txt", ""), "layer read: empty.txt: a list without images"),
    (image_layer("missing.txt", ""), "layer read: gone.jpg .in the list missing.txt.: No such file"),
    (image_layer("no_image.txt", ""), "layer read: list.txt .in the list no_image.txt.: not an image"),
    (image_layer("list.txt", "new_height: 3"), "layer read: .*new_height and new_width both"),
    (image_layer("list.txt", "rand_skip: 90"), "layer read: list.txt: rand_skip skips [0-9]+ images of 11"),
    (image_layer("list.txt", "root_folder: 'there/'"), "layer read: there/a_rgb.jpg"),
    (window_layer("").replace("windows.txt", "gone.txt"), "layer read: gone.txt: no window file"),
    (window_layer("").replace("windows.txt", "list.txt"), "layer read: list.txt: image 0 is not `# number path"),
    (window_layer("fg_threshold: 1.5"), "layer read: windows.txt: 0 windows of objects .* and 12 of background"),
    (window_layer("", 'mean_file: "mean.binaryproto"'), "layer read: mean_file mean.binaryproto is 3x8x9; windows"),
    (hdf5_layer("nowhere.txt", 2, False), "layer read: nowhere.txt: no list of HDF5 files"),
    (hdf5_layer("three.txt", 2, False).replace('"label"', '"labels"'),
     "layer read: 0.h5: has no data set labels; did you mean label"),
    (hdf5_layer("windows.txt", 2, False), "layer read: #: not an HDF5 file|layer read: #: .*No such file"),
    (hdf5_layer("uneven.txt", 2, False), "layer read: uneven.h5: .*as many rows.*data 4x2, label 3"),
    (hdf5_layer("huge.txt", 2, False), "layer read: huge.h5: /data: of shape 1073741824x2, 8,589,934,592 bytes"),
    (hdf5_layer("three.txt", 2, False).replace("hdf5_data_param", "transform_param { } hdf5_data_param"),
     "layer read: does not transform its data"),
])
def test_what_is_missing_or_wrong_is_named(inside: Path, text: str, wrong: str) -> None:
    import h5py

    Path("empty.txt").write_text("")
    Path("missing.txt").write_text("gone.jpg 1\n")
    Path("no_image.txt").write_text("list.txt 1\n")
    Path("uneven.txt").write_text("uneven.h5\n")
    with h5py.File("uneven.h5", "w") as file:
        file["data"], file["label"] = np.zeros((4, 2)), np.zeros(3)
    Path("huge.txt").write_text("huge.h5\n")
    with h5py.File("huge.h5", "w") as file:
        for name in ("data", "label"):
            file.create_dataset(name, (1 << 30, 2), "f4", chunks=(1, 2))
    with pytest.raises((UserError, ImpossibleNet), match=wrong):
        net_of(text).forward()


def test_an_image_of_more_pixels_than_can_be_held_is_refused() -> None:
    """10 GB in a PNG of a few bytes: its header says so."""
    size = struct.pack(">2I", 60_000, 60_000) + b"\x08\x02\0\0\0"
    chunks = [(b"IHDR", size), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks)
    for content in (bomb, bomb.replace(size[:8], struct.pack(">2I", 8192, 8193))):
        content = content[:29] + struct.pack(">I", zlib.crc32(content[12:29])) + content[33:]
        with pytest.raises(UserError, match="a record: .*pixels"):
            decode(content, True, "a record")


def test_images_need_pillow(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(UserError, match="layer read: reading images needs pillow"):
        net_of(NETS["list"].text)
