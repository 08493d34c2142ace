"""What a net's blobs hold after they were reshaped, edited, and run in part: Caffe's memory, by hand and beside it."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import menndl_caffe.torchcaffe as caffe  # noqa: E402
from tests.support.torchcaffe import walks  # noqa: E402
from tests.support.torchcaffe.cases_neurons import inputs, layer  # noqa: E402
from tests.support.torchcaffe.real_pycaffe import in_real_caffe  # noqa: E402

SHARING = {
    "Split": layer("Power", "x", "y") + layer("TanH", "x", "other"),
    "Flatten": layer("Flatten", "x", "f") + layer("Power", "f", "y"),
    "Reshape": layer("Reshape", "x", "f", "reshape_param { shape { dim: -1 } }") + layer("Power", "f", "y"),
    "Concat": layer("Concat", "x", "f") + layer("Power", "f", "y"),
    "Slice": layer("Slice", "x", "f") + layer("Power", "f", "y"),
}
X = np.zeros((2, 3), np.float32)


def net_of(text: str, folder: Path, phase: int = caffe.TRAIN) -> Any:
    path = folder / "net.prototxt"
    path.write_text(text)
    return caffe.Net(str(path), phase)


def test_walks_are_those_of_real_caffe(caffe_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"plans": np.array([walks.plan(seed) for seed in range(100)])}
    found, expected = walks.walk(caffe, given), in_real_caffe(caffe_root, tmp_path, "caffe", walks.walk, given)
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, 1e-3, 1e-4, err_msg=name)


@pytest.mark.parametrize("type_", SHARING)
@pytest.mark.parametrize("with_array", [False, True])
def test_what_shares_does_so_after_a_reshape_there_and_back(type_: str, with_array: bool, tmp_path: Path) -> None:
    net = net_of(inputs(x=X) + SHARING[type_], tmp_path)
    array = net.blobs["x"].data if with_array else None
    net.blobs["x"].data[...] = 1
    net.forward()
    for size in (4, 1, 2):
        net.blobs["x"].reshape(size, 3)
    net.blobs["x"].data[...] = 2
    assert (net.forward()["y"] == 2).all()
    assert array is None or (array == 1).all()  # of the memory before


@pytest.mark.parametrize("type_", SHARING)
def test_a_net_that_was_run_in_part_is_run_with_what_its_blobs_hold(type_: str, tmp_path: Path) -> None:
    net = net_of(inputs(x=X) + SHARING[type_], tmp_path)
    for number, size in enumerate((2, 5, 2)):
        net.blobs["x"].reshape(size, 3)
        net.blobs["x"].data[...] = number
        net.forward(end="x" if size == 5 else None)
    assert (net.blobs["y"].data == 2).all()


def test_a_smaller_batch_takes_no_loss_weight_away(tmp_path: Path) -> None:
    cost = layer("InnerProduct", "x", "p", "inner_product_param { num_output: 1 weight_filler { value: 1 } }") + layer(
        "Reduction", "p", "cost", "reduction_param { axis: 1 operation: SUMSQ } loss_weight: 0.5")
    net = net_of(inputs(x=np.zeros((4, 3))) + cost, tmp_path)
    for size in (4, 2, 4):
        net.blobs["x"].reshape(size, 3)
        net.blobs["x"].data[...] = 1
        net.clear_param_diffs()
        net.forward()
        net.backward()
        assert (net.blobs["cost"].diff == 0.5).all()
        assert (net.params["innerproduct"][0].diff == 3 * size).all()  # d (3 w)^2 / 2, for each item


@pytest.mark.parametrize("type_", ["LSTM", "RNN"])
def test_streams_that_were_left_out_go_on(type_: str, tmp_path: Path) -> None:
    """The third stream sees the same in two passes, whether the others had one between or not."""
    settings = "recurrent_param { num_output: 2 weight_filler { type: 'uniform' min: -1 max: 1 } }"
    results = []
    for sizes in ((3, 3), (3, 2, 3)):
        caffe.set_random_seed(1)
        net = net_of(inputs(x=np.zeros((2, 3, 4)), r=np.zeros((2, 3))) + layer(type_, "x r", "y", settings), tmp_path)
        for size in sizes:
            net.blobs["x"].reshape(2, size, 4)
            net.blobs["r"].reshape(2, size)
            net.blobs["x"].data[...], net.blobs["r"].data[...] = 0.3, 1
            net.forward()
        results.append(net.blobs["y"].data[:, 2].copy())
    assert np.array_equal(*results)


def test_a_net_reshaped_for_another_image_is_reshaped_back(tmp_path: Path) -> None:
    """The top of a global pooling has the same shape for both."""
    pooling = layer("Pooling", "x", "y", "pooling_param { global_pooling: true }")
    net = net_of(inputs(x=np.zeros((1, 1, 4, 4))) + pooling, tmp_path)
    net.blobs["x"].data[...] = np.arange(16).reshape(1, 1, 4, 4)
    assert net.forward()["y"].item() == 15
    net.blobs["x"].reshape(1, 1, 2, 2)
    net.reshape()
    net.blobs["x"].reshape(1, 1, 4, 4)
    assert net.forward()["y"].item() == 15


@pytest.mark.parametrize("other", ["ReLU", "Dropout"])
def test_what_batch_norm_keeps_no_layer_in_place_changes(other: str, tmp_path: Path) -> None:
    """The other branch works in place on the memory that BatchNorm has read."""
    above = layer("BatchNorm", "s", "y") + layer("Flatten", "s", "f")
    gradients = []
    for text in (above, above + layer(other, "f", "f")):
        caffe.set_random_seed(1)
        net = net_of("force_backward: true " + inputs(x=np.zeros((4, 2, 3, 1))) + layer("Power", "x", "s") + text,
                     tmp_path)
        net.blobs["x"].data[...] = np.random.RandomState(1).randn(4, 2, 3, 1)
        net.forward()
        net.blobs["y"].diff[...] = np.random.RandomState(2).randn(4, 2, 3, 1)
        net.backward(start="batchnorm", end="batchnorm")
        gradients.append(net.blobs[net.bottom_names["batchnorm"][0]].diff.copy())
    assert gradients[0].any() and np.array_equal(*gradients)
