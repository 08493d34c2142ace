"""Drawn nets against real pycaffe's: both draw with a pydot that only remembers what it was told."""
from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, List

import numpy as np
import pytest
from google.protobuf import text_format

from menndl_caffe.errors import UserError
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import draw
from tests.support.torchcaffe.real_pycaffe import in_real_caffe

PYDOT = '''
class Node:
    def __init__(self, name, **style):
        self.name, self.style = name, style

class Edge:
    def __init__(self, source, target, label):
        self.parts = [source.name, target.name, label]

class Dot:
    def __init__(self, name, graph_type, rankdir):
        self.told = {"name": name, "graph_type": graph_type, "rankdir": rankdir, "nodes": {}, "edges": []}
    def add_node(self, node):
        self.told["nodes"][node.name.strip('"')] = dict(sorted(node.style.items()))
    def add_edge(self, edge):
        self.told["edges"].append([part.strip('"') for part in edge.parts])
    def to_string(self):
        return "digraph of " + self.told["name"]
    def create(self, format):
        raise FileNotFoundError('"dot" not found in path.')
'''
NET = """
name: "some net"
layer { name: "data" type: "Data" top: "data" top: "label" data_param { batch_size: 64 } include { phase: TRAIN } }
layer { name: "data" type: "Data" top: "data" top: "label" data_param { batch_size: 100 } include { phase: TEST } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 20 kernel_size: 5 stride: 2 pad: 1 }
        param { lr_mult: 0.5 } param { lr_mult: 2 } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
        pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "pool1" top: "pool1" }
layer { name: "up" type: "Deconvolution" bottom: "pool1" top: "up"
        convolution_param { num_output: 3 } param { lr_mult: 3 } }
layer { name: "ip" type: "InnerProduct" bottom: "up" top: "ip" inner_product_param { num_output: 10 } }
layer { name: "frozen" type: "InnerProduct" bottom: "up" top: "frozen" param { lr_mult: 0 } param { lr_mult: 0 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" exclude { phase: TEST } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy"
        include { phase: TEST stage: "x" } }
layer { name: "last" type: "TanH" bottom: "ip" top: "ip" }
"""
SETTINGS: List[Dict[str, Any]] = [
    {"rankdir": "LR"}, {"rankdir": "TB", "phase": 0}, {"rankdir": "BT", "phase": 1, "display_lrm": True},
    {"rankdir": "LR", "label_edges": False, "display_lrm": True}]


def net() -> Any:
    return text_format.Parse(NET, caffe_pb2.NetParameter())


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    pydot = ModuleType("pydot")
    exec(PYDOT, vars(pydot))
    monkeypatch.setitem(sys.modules, "pydot", pydot)


def pictures(draw: Any, given: Any) -> Any:
    """What pydot is told of a net with each of some settings, as JSON."""
    import json

    net = draw.caffe_pb2.NetParameter.FromString(given["net"].tobytes())
    told = [draw.get_pydot_graph(net, **settings).told for settings in json.loads(str(given["settings"]))]
    return {"told": np.array(json.dumps(told))}


def test_pydot_is_told_what_pycaffe_tells_it(caffe_root: Path, tmp_path: Path, recorder: None) -> None:
    (tmp_path / "pydotplus.py").write_text(PYDOT)
    given = {"net": np.frombuffer(net().SerializeToString(), np.uint8), "settings": np.array(json.dumps(SETTINGS))}
    real = json.loads(str(in_real_caffe(caffe_root, tmp_path, "caffe.draw", pictures, given)["told"]))
    own = json.loads(str(pictures(draw, given)["told"]))
    for settings, ours, theirs in zip(SETTINGS, own, real):
        assert ours == theirs, settings
    assert len(own[0]["nodes"]) > len(own[1]["nodes"]) > 10


def test_a_file_of_text(tmp_path: Path, recorder: None) -> None:
    draw.draw_net_to_file(net(), str(tmp_path / "net.raw"))
    assert (tmp_path / "net.raw").read_text() == "digraph of some net"


def test_real_pydot_takes_it(tmp_path: Path) -> None:
    """Names with colons and quotes come out whole."""
    pytest.importorskip("pydot")
    odd = caffe_pb2.NetParameter()
    odd.layer.add(name='a "b"', type="ReLU", bottom=["x:0"], top=["y/1"])
    text = draw.draw_net(odd, "LR", "raw").decode()
    assert r'"a \"b\"\n(ReLU)"' in text and '"x:0"' in text and '"y/1"' in text and text.count("->") == 2


def test_refusals(tmp_path: Path, recorder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="dot cannot draw 'png': .*not found"):
        draw.draw_net_to_file(net(), str(tmp_path / "net.png"))
    assert not (tmp_path / "net.png").exists()
    with pytest.raises(UserError, match="the ending of the file's name gives the format"):
        draw.draw_net_to_file(net(), str(tmp_path / "net"))
    both = net()
    both.layer[0].exclude.add(phase=caffe_pb2.TEST)
    with pytest.raises(UserError, match="layer data has both include and exclude"):
        draw.get_pydot_graph(both, "LR", phase=caffe_pb2.TRAIN)
    many = net()
    many.layer[2].param.add(lr_mult=1)
    with pytest.raises(UserError, match="layer conv1 has 3 param blocks"):
        draw.get_pydot_graph(many, "LR", display_lrm=True)
    monkeypatch.setitem(sys.modules, "pydot", None)
    with pytest.raises(UserError, match="drawing a net needs pydot"):
        draw.get_pydot_graph(net(), "LR")
