"""All nets and solvers that ship with Caffe: read, upgraded, and their shapes inferred as real Caffe builds them."""
from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.shapes import infer
from menndl_caffe.nets.upgrade import upgrade_net, upgrade_solver
from tests.support.zoo import built_by_caffe, datum_shape, unpack

# Their shapes stand in files, or in Python: on our side Input layers of Caffe's shapes are in their place.
TOLD_BY_CAFFE = ("HDF5Data", "WindowData", "Python")


def test_files_are_read_and_upgraded_as_by_caffes_tools(caffe_root: Path, tmp_path: Path) -> None:
    zoo = unpack(caffe_root, tmp_path)
    assert (len(zoo.nets), len(zoo.solvers)) == (29, 25)
    for kind, files, message, upgrade in (("net", zoo.nets, caffe_pb2.NetParameter, upgrade_net),
                                          ("solver", zoo.solvers, caffe_pb2.SolverParameter, upgrade_solver)):
        for path in files.values():
            tool = caffe_root / "bin" / f"upgrade_{kind}_proto_text"
            subprocess.run([str(tool), str(path), str(tmp_path / "new")], check=True, capture_output=True)
            theirs = prototxt.load(tmp_path / "new", message).message
            assert upgrade(prototxt.load(path, message).message) == theirs, path


def ours(net: Any, phase: str, stages: Tuple[str, ...], told: Dict[str, List[int]]) -> Dict[str, Any]:
    """What we say of the net, in the form of real Caffe's answers; `told` are the shapes of its blobs by Caffe."""
    bottoms = {layer.name: list(layer.bottom) for layer in net.layer if layer.type in TOLD_BY_CAFFE}
    for layer in net.layer:
        if layer.type in TOLD_BY_CAFFE:
            layer.type = "Input"
            del layer.bottom[:]
            for top in layer.top:
                layer.input_param.shape.add(dim=told[top])
    shape = infer(net, phase, datum_shape, stages=stages)
    layers = [[one.name, bottoms.get(one.name, list(one.bottoms)), list(one.tops), list(map(list, one.params))]
              for one in shape.layers]
    return {"blobs": [[name, list(dims)] for name, dims in shape.blobs.items()], "memory": shape.memory,
            "parameters": shape.parameters, "layers": layers}


def test_shapes_are_those_of_caffes_nets(caffe_root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    built = built_by_caffe(caffe_root, tmp_path_factory.getbasetemp())
    assert len(built.answers) == 2 * 30 + 2
    for (name, phase, stages), theirs in built.answers.items():
        net = caffe_pb2.NetParameter()
        net.CopyFrom(built.nets[name])
        assert ours(net, phase, stages, dict(theirs["blobs"])) == theirs, (name, phase, stages)
    quick = built.answers["examples/cifar10/cifar10_quick_train_test.prototxt", "TRAIN", ()]
    assert quick["memory"] == 31_978_804
