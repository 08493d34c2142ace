"""Nets as wholes: pycaffe's arguments, outputs and loss weights, new shapes in a net that exists, what is refused."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import menndl_caffe.torchcaffe as caffe
from menndl_caffe.errors import UserError
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet
from tests.support.torchcaffe.cases_neurons import inputs, layer

VECTORS = np.zeros((2, 3), np.float32)
PRODUCT = "inner_product_param { num_output: 3 }"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def net_of(text: str) -> Any:
    Path("net.prototxt").write_text(text)
    return caffe.Net("net.prototxt", caffe.TRAIN)


@pytest.mark.parametrize("arguments, keywords", [
    (("net.prototxt", caffe.TEST, 1, ["a"], "w"), {}),
    (("net.prototxt", caffe.TEST), {"level": 1, "stages": ["a"], "weights": "w"}),
    ((), {"network_file": "net.prototxt", "phase": caffe.TEST, "level": 1, "stages": ("a",), "weights": "w"}),
], ids=["positions", "keywords", "keywords only"])
def test_a_net_is_made_with_pycaffes_arguments(arguments: Any, keywords: Any) -> None:
    text = inputs(x=VECTORS) + layer("InnerProduct", "x", "y", PRODUCT)
    for rule in ("min_level: 1", 'stage: "a"', "phase: TEST"):
        text += layer("ReLU", "y", "y", f"include {{ {rule} }}")
    net = net_of(text)
    assert [one.type for one in net.layers] == ["Input", "InnerProduct"]
    net.params["innerproduct"][1].data[...] = 7
    net.save("w")
    net = caffe.Net(*arguments, **keywords)
    assert [one.type for one in net.layers] == ["Input", "InnerProduct"] + ["ReLU"] * 3
    assert net.params["innerproduct"][1].data.tolist() == [7, 7, 7]


def test_a_net_is_made_with_the_arguments_of_old_programs() -> None:
    net_of(inputs(x=VECTORS) + layer("ReLU", "x", "y", "include { phase: TEST }")).save("w")
    assert caffe.Net("net.prototxt", "w", caffe.TRAIN).outputs == ["x"]
    assert caffe.Net("net.prototxt", "w", caffe.TEST).outputs == ["y"]
    with pytest.raises(TypeError, match="the phase is missing: caffe.TRAIN or caffe.TEST"):
        caffe.Net("net.prototxt", "w")


@pytest.mark.parametrize("arguments", [("none", caffe.TEST), ("net.prototxt", "none", caffe.TEST)])
def test_a_missing_file_is_a_runtime_error_as_in_pycaffe(arguments: Any) -> None:
    net_of(inputs(x=VECTORS))
    with pytest.raises(RuntimeError, match="^none: No such file or directory$") as caught:
        caffe.Net(*arguments)
    assert isinstance(caught.value, UserError)


def test_nccl_is_there_but_refused() -> None:
    assert not caffe.has_nccl()
    with pytest.raises(UserError, match="several GPUs for one model are not supported"):
        caffe.NCCL(None, "uid")


def test_a_loss_without_a_top_is_no_output() -> None:
    """As in Caffe, which displays and tests outputs alone."""
    net = net_of(inputs(x=VECTORS, z=VECTORS) + layer("EuclideanLoss", "x z", "") + layer("ReLU", "x", "y"))
    assert net.outputs == ["y"] and list(net.forward()) == ["y"]
    assert net.blobs["(automatic)"].shape == () and net.blob_loss_weights["(automatic)"] == 1


def test_a_loss_that_is_changed_in_place_is_shown_without_its_weight() -> None:
    """As in Caffe; it joins the net's loss all the same."""
    net = net_of(inputs(x=VECTORS, z=VECTORS) + layer("EuclideanLoss", "x z", "l") + layer("Exp", "l", "l"))
    net.blobs["x"].data[...] = 2
    assert net.blob_loss_weights["l"] == 0
    assert net.forward_loss() == 6 and net.blobs["l"].data == pytest.approx(np.exp(6))


@pytest.mark.parametrize("type_, settings, shape, wrong", [
    ("InnerProduct", PRODUCT, (2, 5), r"has parameters of shapes 3x3, 3, but needs 3x5, 3 \(bottoms: x 2x5\)"),
    ("Scale", "", (2, 4), r"has parameters of shapes 3, but needs 4 \(bottoms: x 2x4\)"),
    ("BatchNorm", "", (2, 4), "has parameters of shapes 3, 3, 1, but needs 4, 4, 1"),
    ("Slice", "slice_param { slice_point: 2 }", (2, 2), r"slice_point \[2\] does not cut axis 1 of 2x2"),
], ids=lambda value: value if str(value).isalpha() else "")
@pytest.mark.parametrize("at", ["reshape", "forward"])
def test_bottoms_whose_new_shape_does_not_fit_are_refused(type_: str, settings: str, shape: Any, wrong: str, at: str
                                                          ) -> None:
    net = net_of(inputs(x=VECTORS) + layer(type_, "x", "y z" if type_ == "Slice" else "y", settings))
    net.forward()
    net.blobs["x"].reshape(*shape)
    with pytest.raises(ImpossibleNet, match=f"layer {type_.lower()}: {wrong}"):
        getattr(net, at)()


def test_another_size_in_place_is_refused() -> None:
    with pytest.raises(ImpossibleNet, match="works in place on 'x', but makes 2x6 of 2x3"):
        net_of(inputs(x=VECTORS) + layer("Tile", "x", "x", "tile_param { tiles: 2 }"))


def test_an_engine_for_gpus_is_refused_on_a_cpu() -> None:
    with pytest.raises(ImpossibleNet, match="layer relu: engine: CUDNN is for GPUs, and solver_mode is CPU"):
        net_of(inputs(x=VECTORS) + layer("ReLU", "x", "x", "relu_param { engine: CUDNN }"))


def test_euclidean_loss_of_five_axes_is_refused() -> None:
    """Caffe aborts in its first forward pass."""
    x = np.zeros((2, 1, 1, 1, 1), np.float32)
    with pytest.raises(ImpossibleNet, match="at most 4 axes, not 2x1x1x1x1"):
        net_of(inputs(x=x, z=x) + layer("EuclideanLoss", "x z", "l"))
    net_of(inputs(x=x, z=x) + layer("SigmoidCrossEntropyLoss", "x z", "l"))
