"""Files of weights: exchanged with real Caffe byte for byte, old and broken ones, and weights shared between nets."""
from __future__ import annotations

import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple

import numpy as np
import pytest

import menndl_caffe.torchcaffe as caffe
from menndl_caffe.errors import UserError
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet
from menndl_caffe.nets.proto import caffe_pb2
from tests.support.torchcaffe.training import NET, Arrays, Job, run_in_real_caffe, run_job, solver_text

STILL = solver_text("SGD", "snapshot_diff: true").replace("base_lr: 0.02", "base_lr: 0")
RICH = """
name: "rich"
layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 4 dim: 3 dim: 8 dim: 8 } shape { dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "scale" type: "Scale" bottom: "norm" top: "norm" scale_param { bias_term: true } }
layer { name: "pool" type: "Pooling" bottom: "norm" top: "pool" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" include { phase: TRAIN } }
layer { name: "a" type: "InnerProduct" bottom: "pool" top: "a" param { name: "w" } param { name: "b" }
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "b" type: "InnerProduct" bottom: "pool" top: "b" param { name: "w" } param { name: "c" lr_mult: 3 }
  inner_product_param { num_output: 5 weight_filler { type: "msra" } } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "sum" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "sum" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "energy" type: "Reduction" bottom: "sum" top: "energy" loss_weight: 0.5 }
"""
JOBS = {
    "plain": Job("plain", STILL, steps=1, snapshot_after=1),
    "rich": Job("rich", STILL.replace("snapshot_diff: true", ""), net=RICH, steps=0, snapshot_after=0),
    "hdf5": Job("hdf5", f"{STILL} snapshot_format: HDF5", steps=1, snapshot_after=1),
    "rich_hdf5": Job("rich_hdf5", f"{STILL} snapshot_format: HDF5", net=RICH, steps=0, snapshot_after=0),
}


def v1_model() -> Any:
    """Weights of `ip1` as files of 2014 have them: layers of enumerated types, blobs of four axes."""
    blobs = [caffe_pb2.BlobProto(num=1, channels=1, height=5, width=3, data=range(15)),
             caffe_pb2.BlobProto(num=1, channels=1, height=1, width=5, data=range(5), diff=range(5, 10))]
    layer = caffe_pb2.V1LayerParameter(name="ip1", type=caffe_pb2.V1LayerParameter.INNER_PRODUCT, blobs=blobs)
    return caffe_pb2.NetParameter(layers=[layer])


def v0_model() -> Any:
    """The same as files of 2013 have them."""
    layer = caffe_pb2.V0LayerParameter(name="ip1", type="innerproduct", blobs=v1_model().layers[0].blobs)
    return caffe_pb2.NetParameter(layers=[caffe_pb2.V1LayerParameter(layer=layer)])


OLD = {"v0": v0_model, "v1": v1_model}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The jobs' folders after they have run in the torch engine, and old models."""
    folder = tmp_path_factory.mktemp("here")
    for name, job in JOBS.items():
        run_job(caffe, job, folder / name)
    for name, model in OLD.items():
        (folder / f"{name}.caffemodel").write_bytes(model().SerializeToString())
    return folder


def _with_weights(name: str, path: Path, net: str = NET) -> Job:
    return Job(name, f'{solver_text("SGD")} weights: "{path}"', net=net, steps=0)


def _models(folder: Path) -> Dict[str, Job]:
    """Jobs that load each of a folder's files."""
    models = {name: folder / name / f"snap_iter_{job.steps}.caffemodel{'.h5' if 'hdf5' in name else ''}"
              for name, job in JOBS.items()}
    models.update({name: folder / f"{name}.caffemodel" for name in OLD})
    return {f"load_{name}": _with_weights(f"load_{name}", path, JOBS[name].net if name in JOBS else NET)
            for name, path in models.items()}


class There(NamedTuple):
    """The jobs in real Caffe: their folders, and all results, also of loading what the torch engine wrote."""

    folder: Path
    results: Dict[str, Arrays]


@pytest.fixture(scope="module")
def there(caffe_root: Path, here: Path, tmp_path_factory: pytest.TempPathFactory) -> There:
    folder = tmp_path_factory.mktemp("there")
    return There(folder, run_in_real_caffe(caffe_root, [*JOBS.values(), *_models(here).values()], folder))


@pytest.mark.parametrize("name, file", [
    ("rich", "snap_iter_0.caffemodel"), ("rich", "snap_iter_0.solverstate"), ("plain", "snap_iter_1.solverstate")])
def test_files_are_caffes_byte_for_byte(name: str, file: str, here: Path, there: There) -> None:
    ours, theirs = (folder / name / file for folder in (here, there.folder))
    assert ours.read_bytes() == theirs.read_bytes()


def test_gradients_are_saved_where_asked(here: Path, there: There) -> None:
    ours, theirs = (caffe_pb2.NetParameter.FromString((folder / "plain" / "snap_iter_1.caffemodel").read_bytes())
                    for folder in (here, there.folder))
    for layer, other in zip(ours.layer, theirs.layer):
        for blob, expected in zip(layer.blobs, other.blobs):
            np.testing.assert_allclose(blob.diff, expected.diff, atol=1e-6)
            assert len(blob.diff) == len(blob.data)


@pytest.mark.parametrize("name", [*JOBS, *OLD])
def test_real_caffe_reads_what_is_written_here(name: str, here: Path, there: There, tmp_path: Path) -> None:
    found, results = run_job(caffe, _models(here)[f"load_{name}"], tmp_path), there.results[f"load_{name}"]
    assert found.keys() == results.keys()
    for array, expected in results.items():
        np.testing.assert_array_equal(found[array], expected, array)


@pytest.mark.parametrize("name", JOBS)
def test_what_real_caffe_writes_is_read_here(name: str, there: There, tmp_path: Path) -> None:
    found = run_job(caffe, _models(there.folder)[f"load_{name}"], tmp_path)
    for array, expected in there.results[name].items():
        if not array.endswith("diff") and array not in ("iter", "rates"):
            np.testing.assert_array_equal(found[array], expected, array)


def test_hdf5_files_hold_the_same_datasets(here: Path, there: There) -> None:
    h5py = pytest.importorskip("h5py")

    def contents(path: Path) -> Dict[str, Any]:
        found: Dict[str, Any] = {}
        with h5py.File(path, "r") as file:
            file.visititems(lambda name, item: found.__setitem__(name, getattr(item, "shape", None)))
        return found

    for name, file in (("hdf5", "snap_iter_1.caffemodel.h5"), ("rich_hdf5", "snap_iter_0.caffemodel.h5")):
        ours, theirs = (contents(folder / name / file) for folder in (here, there.folder))
        assert ours == theirs


# Without real Caffe --------------------------------------------------------------------------------------------------

@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    caffe.set_random_seed(5)
    return caffe.Net("net.prototxt", caffe.TRAIN)


def _weights(net: Any) -> Dict[str, np.ndarray]:
    return {f"{name}/{index}": blob.data.copy() for name, blobs in net.params.items()
            for index, blob in enumerate(blobs)}


def _other(change: Callable[[str], str]) -> Any:
    Path("other.prototxt").write_text(change(NET))
    return caffe.Net("other.prototxt", caffe.TEST)


def _assert_equal(found: Dict[str, np.ndarray], expected: Dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, name)


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_layers_are_found_by_name(net: Any, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    (net.save_hdf5 if suffix else net.save)("a.caffemodel" + suffix)
    expected = _weights(net)
    other = _other(lambda text: text.replace('"ip2"', '"last"'))
    kept = other.params["last"][0].data.copy()
    capsys.readouterr()
    other.copy_from("a.caffemodel" + suffix)
    np.testing.assert_array_equal(other.params["ip1"][0].data, expected["ip1/0"])
    np.testing.assert_array_equal(other.params["last"][0].data, kept)
    assert "Ignoring source layer ip2\n" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["", ".h5"])
@pytest.mark.parametrize("change, wrong", [
    (("num_output: 5", "num_output: 6"), "layer ip1: parameter 0 has shape 5x3 there, 6x3 here"),
    (("num_output: 2", "num_output: 2 bias_term: false"), r"layer ip2 has 2 parameters there, 1 here \(2x5\)"),
])
def test_a_model_of_another_net_changes_nothing(net: Any, change: Any, wrong: str, suffix: str) -> None:
    (net.save_hdf5 if suffix else net.save)("a.caffemodel" + suffix)
    other = _other(lambda text: text.replace(*change).replace(
        'param { lr_mult: 0 decay_mult: 1 }', "" if "bias_term" in change[1] else "param { lr_mult: 0 }"))
    before = _weights(other)
    with pytest.raises(UserError, match=f"a.caffemodel.*{wrong}"):
        other.copy_from("a.caffemodel" + suffix)
    _assert_equal(_weights(other), before)


def test_fewer_parameters_in_the_file(net: Any) -> None:
    model = caffe_pb2.NetParameter(layer=[caffe_pb2.LayerParameter(name="ip1", blobs=[
        caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[5, 3]), data=range(15))])])
    Path("few.caffemodel").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="layer ip1 has 1 parameters there, 2 here"):
        net.copy_from("few.caffemodel")
    del model.layer[0].blobs[0].data[-1]
    model.layer[0].blobs.add(shape=caffe_pb2.BlobShape(dim=[5]), data=range(5))
    Path("few.caffemodel").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="a blob of shape 5x3 comes with 14 numbers"):
        net.copy_from("few.caffemodel")


@pytest.mark.parametrize("end", [1, 20, 0.5, -1])
def test_a_truncated_file(net: Any, end: float) -> None:
    net.save("a.caffemodel")
    content = Path("a.caffemodel").read_bytes()
    Path("cut.caffemodel").write_bytes(content[:int(end * len(content)) if end == 0.5 else int(end)])
    before = _weights(net)
    with pytest.raises(UserError, match="cut.caffemodel: ends at byte .* within field .*; expected a serialized NetP"):
        net.copy_from("cut.caffemodel")
    _assert_equal(_weights(net), before)


@pytest.mark.parametrize("content, wrong", [
    (b"", "has no layer: not a .caffemodel"),
    (NET.encode(), "begins with b'\\\\nname: \"least_sq'; expected a serialized NetParameter"),
    (b"\x89PNG\r\n\x1a\n" + bytes(range(100)), "begins with b'.x89PNG"),
    (b"\x89HDF\r\n\x1a\n" + bytes(range(100)), "not an HDF5 file, or truncated"),
    (caffe_pb2.BlobProto(num=1, channels=1, height=1, width=2, data=[1, 2]).SerializeToString(), "has no layer"),
])
def test_a_foreign_file(net: Any, content: bytes, wrong: str) -> None:
    Path("foreign").write_bytes(content)
    with pytest.raises(UserError, match=f"foreign: {wrong}"):
        net.copy_from("foreign")


def test_a_missing_file(net: Any) -> None:
    with pytest.raises(UserError, match="nowhere.caffemodel: No such file"):
        net.copy_from("nowhere.caffemodel")
    with pytest.raises(UserError, match="nowhere/a.caffemodel: cannot be written: No such file"):
        net.save("nowhere/a.caffemodel")


def test_without_h5py(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match="needs h5py"):
        net.save_hdf5("a.caffemodel.h5")


def test_an_hdf5_file_of_something_else(net: Any) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File("a.h5", "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(UserError, match="a.h5: has no group `data`, but images"):
        net.load_hdf5("a.h5")
    with h5py.File("b.h5", "w") as file:
        file["data/ip1/0"], file["data/ip1/1"] = "text", np.zeros(5)
    with pytest.raises(UserError, match="b.h5: /data/ip1/0: expected a dataset of numbers"):
        net.load_hdf5("b.h5")


def test_an_hdf5_file_that_claims_more_than_it_has(net: Any) -> None:
    """4 GB in a file of 4 kB: whether the shape is the right one is seen before memory is taken."""
    h5py = pytest.importorskip("h5py")
    for name, shape in (("other.h5", (1 << 20, 1 << 10)), ("flat.h5", (1 << 31,))):
        with h5py.File(name, "w") as file:
            file.create_dataset("data/ip1/0", shape, "f4")
            file["data/ip1/1"] = np.zeros(5)
        tracemalloc.start()
        try:
            with pytest.raises(UserError, match=rf"/data/ip1/0: of shape {'x'.join(map(str, shape))}, .* in a file"):
                net.load_hdf5(name)
            assert tracemalloc.get_traced_memory()[1] < 1 << 24
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("damage", ["data", "ip1", "link", "names"])
def test_hdf5_files_of_another_form(net: Any, damage: str) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File("a.h5", "w") as file:
        if damage == "data":
            file["data"] = np.zeros(3)
        elif damage == "ip1":
            file["data/ip1"] = np.zeros(2)
        elif damage == "names":
            file["data/ip1/weight"], file["data/ip1/bias"] = np.zeros((5, 3)), np.zeros(5)
        else:
            file["data/ip1/0"], file["data/ip1/1"] = h5py.SoftLink("/data/ip1/0"), np.zeros(5)
    with pytest.raises(UserError, match="a.h5: "):
        net.load_hdf5("a.h5")


@pytest.mark.parametrize("old", [False, True])
def test_names_in_other_encodings_are_found(old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As GBK writes two letters, in the net's text and in the file of weights."""
    monkeypatch.chdir(tmp_path)
    model = v1_model() if old else caffe_pb2.NetParameter(layer=[{"name": "ip1", "top": ["ip1"], "blobs": [
        {"shape": {"dim": [5, 3]}, "data": range(15)}, {"shape": {"dim": [5]}, "data": range(5)}]}])
    Path("gbk.caffemodel").write_bytes(model.SerializeToString().replace(b"ip1", b"ip\xca"))
    Path("net").write_bytes(b"""layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "ip\xca" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 5 } }""")
    net = caffe.Net("net", caffe.TEST)
    net.copy_from("gbk.caffemodel")
    assert net.params["ip\xca"][0].data.ravel().tolist() == list(range(15))


def test_layers_that_hdf5_cannot_hold(net: Any) -> None:
    for name in ("a/b", "ip1"):
        Path("net.prototxt").write_text(NET.replace('name: "ip2"', f'name: "{name}"'))
        other = caffe.Net("net.prototxt", caffe.TEST)
        with pytest.raises(UserError, match=f"layer {name}: HDF5 takes layers of different names"):
            other.save_hdf5("a.h5")
        other.save("a.caffemodel")


def test_nothing_is_left_beside_a_file(net: Any, tmp_path: Path) -> None:
    (tmp_path / "link.caffemodel").symlink_to(tmp_path / "a.caffemodel")
    net.save("link.caffemodel")
    net.save("link.caffemodel")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.caffemodel", "link.caffemodel", "net.prototxt"]
    assert (tmp_path / "link.caffemodel").is_symlink()


def test_a_pipe_is_written_to_not_replaced(net: Any) -> None:
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    net.save("pipe")
    assert Path("pipe").is_fifo()
    net.save("a.caffemodel")
    assert os.read(reader, 1 << 16) == Path("a.caffemodel").read_bytes()
    os.close(reader)


SHARED = NET.replace("param { lr_mult: 1 decay_mult: 1 }", 'param { name: "w" lr_mult: 1 }').replace(
    'bottom: "ip1" top: "ip2"', 'bottom: "data" top: "ip2"').replace("num_output: 2", "num_output: 5").replace(
    "param { lr_mult: 0.5 decay_mult: 3 }", 'param { name: "w" }').replace("dim: 4 dim: 2", "dim: 4 dim: 5").replace(
    'layer { name: "loss"', 'layer { name: "silence" type: "Silence" bottom: "ip1" } layer { name: "loss"')


def test_only_parameters_of_other_layers_may_be_missing_in_hdf5(net: Any) -> None:
    h5py = pytest.importorskip("h5py")
    Path("net.prototxt").write_text(SHARED)
    shared = caffe.Net("net.prototxt", caffe.TRAIN)
    shared.save_hdf5("a.h5")
    with h5py.File("a.h5", "a") as file:
        assert sorted(file["data/ip1"]) == ["0", "1"] and sorted(file["data/ip2"]) == ["1"]
        file["data/ip1/0"][...] = 4
    shared.load_hdf5("a.h5")
    assert (shared.params["ip2"][0].data == 4).all()
    with h5py.File("a.h5", "a") as file:
        del file["data/ip2/1"]
    with pytest.raises(UserError, match=r"layer ip2 has 0 parameters there, 2 here \(5x3, 5\)"):
        shared.load_hdf5("a.h5")


def test_parameters_that_came_with_the_net_are_saved_once(net: Any) -> None:
    """A net may hold its weights: examples/net_surgery's do."""
    net.save("a.caffemodel")
    model = caffe_pb2.NetParameter.FromString(Path("a.caffemodel").read_bytes())
    Path("full.prototxt").write_text(str(model))
    full = caffe.Net("full.prototxt", caffe.TRAIN)
    full.save("b.caffemodel")
    again = caffe_pb2.NetParameter.FromString(Path("b.caffemodel").read_bytes())
    assert [len(layer.blobs) for layer in again.layer] == [len(layer.blobs) for layer in model.layer]
    np.testing.assert_array_equal(full.params["ip1"][0].data, net.params["ip1"][0].data)


def test_of_layers_with_one_name_the_first_takes_the_weights(net: Any) -> None:
    net.save("a.caffemodel")
    Path("net.prototxt").write_text(NET.replace('name: "loss"', 'name: "ip1"'))
    other = caffe.Net("net.prototxt", caffe.TRAIN)
    other.copy_from("a.caffemodel")
    np.testing.assert_array_equal(other.layers[1].blobs[0].data, net.params["ip1"][0].data)


def test_shared_weights_are_one_memory(net: Any) -> None:
    other = _other(lambda text: text)
    other.share_with(net)
    net.params["ip1"][0].data[...] = 7
    assert (other.params["ip1"][0].data == 7).all()
    other.params["ip1"][0].diff[...] = 3
    assert (net.params["ip1"][0].diff == 0).all()
    narrow = _other(lambda text: text.replace("num_output: 5", "num_output: 4"))
    with pytest.raises(UserError, match="the other net: layer ip1: parameter 0 has shape 5x3 there, 4x3 here"):
        narrow.share_with(net)


@pytest.mark.parametrize("damage, wrong", [
    (lambda blobs: blobs[1].data.pop(), "layer ip2: a blob of shape 2 comes with 1 numbers"),
    (lambda blobs: blobs[1].data.append(1), "layer ip2: a blob of shape 2 comes with 3 numbers"),
    (lambda blobs: blobs[0].ClearField("data"), "layer ip2: a blob of shape 2x5 comes with 0 numbers"),
    (lambda blobs: blobs[0].double_data.append(1), "layer ip2: a blob of shape 2x5 comes with 1 numbers"),
    (lambda blobs: blobs[1].diff.append(1), "layer ip2: a blob of shape 2 comes with a gradient of 1 numbers"),
    (lambda blobs: blobs[0].shape.dim.append(1), "layer ip2: parameter 0 has shape 2x5x1 there, 2x5 here"),
])
def test_a_model_that_is_damaged_in_its_last_layer_changes_nothing(net: Any, damage: Any, wrong: str) -> None:
    net.save("whole.caffemodel")
    model = caffe_pb2.NetParameter.FromString(Path("whole.caffemodel").read_bytes())
    damage(model.layer[2].blobs)
    Path("short.caffemodel").write_bytes(model.SerializeToString())
    for blob in (blob for blobs in net.params.values() for blob in blobs):
        blob.data[...] = 7
    before = _weights(net)
    with pytest.raises(UserError, match=f"short.caffemodel: {wrong}"):
        net.copy_from("short.caffemodel")
    _assert_equal(_weights(net), before)


def test_numbers_in_double_precision_count_first(net: Any) -> None:
    """As in `Blob::FromProto`."""
    blobs = [caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[5, 3]), data=range(15), double_data=[3] * 15),
             caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[5]), double_data=[4] * 5)]
    model = caffe_pb2.NetParameter(layer=[caffe_pb2.LayerParameter(name="ip1", blobs=blobs)])
    Path("double.caffemodel").write_bytes(model.SerializeToString())
    net.copy_from("double.caffemodel")
    assert [(blob.data == value).all() for blob, value in zip(net.params["ip1"], (3, 4))] == [True, True]


def _datasets(file: Any, **more: Any) -> None:
    for name, array in {"data/ip1/0": np.zeros((5, 3)), "data/ip1/1": np.zeros(5), **more}.items():
        file[name] = array


@pytest.mark.parametrize("write, wrong", [
    (lambda file, h5py: file.create_dataset("data", data=np.zeros(3)), "/data: expected a group of datasets"),
    (lambda file, h5py: _datasets(file, **{"data/ip2": np.zeros(3)}), "/data/ip2: expected a group of datasets"),
    (lambda file, h5py: _datasets(file, **{"data/ip2": h5py.SoftLink("/nowhere")}), "/data/ip2: expected a group"),
    (lambda file, h5py: _datasets(file, **{"data/ip2": h5py.ExternalLink("none.h5", "/")}), "/data/ip2: expected"),
    (lambda file, h5py: _datasets(file, **{"data/ip2/0/0": np.zeros(3)}), "/data/ip2/0: expected a dataset of numbers"),
    (lambda file, h5py: _datasets(file, **{"data/ip2/0": h5py.Empty("f")}), "/data/ip2/0: expected a dataset"),
    (lambda file, h5py: _datasets(file, **{"data/ip2/0": np.zeros(10, "complex64")}), "/data/ip2/0: expected a data"),
    (lambda file, h5py: file.create_dataset("data/ip2/0", (2**20, 2**20), chunks=(1024, 1024), dtype="f"),
     "/data/ip2/0: of shape 1048576x1048576"),  # 4 TB, of which nothing is in the file
])
def test_an_hdf5_file_of_odd_things_changes_nothing(net: Any, write: Any, wrong: str) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File("odd.h5", "w") as file:
        write(file, h5py)
    before = _weights(net)
    with pytest.raises(UserError, match=f"odd.h5: {wrong}"):
        net.copy_from("odd.h5")
    _assert_equal(_weights(net), before)


@pytest.mark.parametrize("blobs, wrong", [
    ("blobs { shape { dim: 5 dim: 3 } data: 1 }", "a parameter of shape 5x3 comes with 1 numbers"),
    ("blobs { shape { dim: -5 } }", "a parameter would have shape -5, which holds no element"),
])
def test_parameters_within_a_net_that_are_damaged(net: Any, blobs: str, wrong: str) -> None:
    text = NET.replace('name: "ip1" type: "InnerProduct"', f'name: "ip1" type: "InnerProduct" {blobs}')
    Path("with.prototxt").write_text(text)
    with pytest.raises(ImpossibleNet, match=f"layer ip1: {wrong}"):
        caffe.Net("with.prototxt", caffe.TRAIN)
