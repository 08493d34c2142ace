"""All nets that ship with Caffe, in the torch engine as in real Caffe: built in each phase, and run forward.

Nets that take their input from the caller are run: those to deploy, and those of net_surgery. Most of their layers have
no weight fillers in the files, as trained weights would be loaded; here they get random ones, the same in both engines.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List

import numpy as np
import pytest

import menndl_caffe.torchcaffe as caffe
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.upgrade import upgrade_net
from tests.support.torchcaffe.zoo import ask_real_caffe, build, forward
from tests.support.zoo import LEVELDBS, Built, built_by_caffe, unpack, write, write_record

PYTHON_LAYERS = "root/usr/share/doc/caffe-doc/examples/pycaffe/layers"
LARGE = "models/"  # nets in this folder, and the one made of such a net, are run in the slow test
FULLY_CONVOLUTIONAL = "examples/net_surgery/bvlc_caffenet_full_conv.prototxt"
TOLERANCE = 1e-4  # of a blob's largest number


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    caffe.init_log(2)
    yield
    caffe.init_log()


# ---------------------------------------------------------------------------------------------------------------- Built

def use_lmdbs(built: Built) -> None:
    """LMDBs in the place of LevelDBs, for which the torch engine needs one more package."""
    for start, shape in LEVELDBS.items():
        for part in ("train", "test"):
            write_record(built.folder / f"{start}{part}_lmdb", shape)
    for name in built.nets:
        text = (built.folder / name).read_text()
        if "_leveldb" in text:
            (built.folder / name).write_text(text.replace('_leveldb"', '_lmdb" backend: LMDB'))


def test_nets_are_built_as_by_real_caffe(caffe_root: Path, tmp_path_factory: pytest.TempPathFactory,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    built = built_by_caffe(caffe_root, tmp_path_factory.getbasetemp())
    use_lmdbs(built)
    monkeypatch.chdir(built.folder)
    monkeypatch.syspath_prepend(str(caffe_root / PYTHON_LAYERS))
    assert len(built.answers) == 62
    for question, theirs in built.answers.items():
        assert {**build(caffe, *question), "memory": theirs["memory"]} == theirs, question


# ---------------------------------------------------------------------------------------------------------- Run forward

def nets_with_inputs(caffe_root: Path, folder: Path) -> Dict[str, Any]:
    """In today's format, with fillers for all weights, and a batch of at most 4 images, or 1 where they are large."""
    nets = {}
    for name, path in unpack(caffe_root, folder).nets.items():
        net = upgrade_net(prototxt.load(path, caffe_pb2.NetParameter).message)
        inputs = [layer for layer in net.layer if layer.type == "Input"]
        for shape in (shape for layer in inputs for shape in layer.input_param.shape):
            shape.dim[0] = min(shape.dim[0], 1 if is_large(name) else 4)
        if inputs:
            nets[name] = net
            add_fillers(net)
    return nets


def is_large(name: str) -> bool:
    return name.startswith(LARGE) or name == FULLY_CONVOLUTIONAL


def add_fillers(net: Any) -> None:
    for layer in net.layer:
        for param in (layer.convolution_param, layer.inner_product_param):
            if param.num_output and not param.HasField("weight_filler"):
                param.weight_filler.type = "xavier"
                param.bias_filler.type, param.bias_filler.max = "uniform", 0.1


def differences(caffe_root: Path, folder: Path, nets: Dict[str, Any]) -> List[str]:
    """A line for each blob that real Caffe and the torch engine disagree on."""
    for name, net in nets.items():
        write(folder / name, prototxt.dumps(net).encode())
    lines = []
    for number, (name, weights) in enumerate(zip(nets, ask_real_caffe(caffe_root, folder, "forward", [*zip(nets)]))):
        found, our_weights = forward(caffe, str(folder / name))
        assert our_weights == weights, name
        with np.load(folder / f"{number}.npz") as expected:
            assert [*expected] == [*found], name
            lines += [f"{name}: {blob}" for blob in found if not agree(found[blob], expected[blob])]
    return lines


def agree(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return ours.shape == theirs.shape and bool(np.all(np.abs(ours - theirs) <= TOLERANCE * np.abs(theirs).max()))


def test_small_nets_forward(caffe_root: Path, tmp_path: Path) -> None:
    nets = {name: net for name, net in nets_with_inputs(caffe_root, tmp_path / "doc").items() if not is_large(name)}
    assert {Path(name).stem for name in nets} == {"cifar10_full", "cifar10_quick", "conv", "lenet", "mnist_siamese"}
    assert differences(caffe_root, tmp_path, nets) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [
    FULLY_CONVOLUTIONAL, *(f"models/{model}/deploy.prototxt" for model in (
        "bvlc_alexnet", "bvlc_googlenet", "bvlc_reference_caffenet", "bvlc_reference_rcnn_ilsvrc13",
        "finetune_flickr_style"))])
def test_large_nets_forward(caffe_root: Path, tmp_path: Path, name: str) -> None:
    nets = nets_with_inputs(caffe_root, tmp_path / "doc")
    assert len([name for name in nets if is_large(name)]) == 6
    assert differences(caffe_root, tmp_path, {name: nets[name]}) == []
