"""Layers written in Python: one user's module, which says `import caffe`, runs in real Caffe and here alike."""
from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, Iterator

import numpy as np
import pytest

pytest.importorskip("torch")

from menndl_caffe import torchcaffe  # noqa: E402
from menndl_caffe.errors import UserError  # noqa: E402
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet  # noqa: E402
from menndl_caffe.torchcaffe.stand_in import stand_in  # noqa: E402
from tests.support.torchcaffe.real_pycaffe import Arrays, in_real_caffe  # noqa: E402

MODULE = """
import caffe
import caffe.io
import caffe.net_spec
import numpy as np
from caffe import layers as L, params as P
from caffe.proto import caffe_pb2


class Source(caffe.Layer):
    def setup(self, bottom, top):
        self.count = 0
        settings = eval(self.param_str)
        self.shape = settings["shape"]

    def reshape(self, bottom, top):
        top[0].reshape(*self.shape)
        top[1].reshape(self.shape[0])

    def forward(self, bottom, top):
        self.count += 1
        top[0].data[...] = np.arange(top[0].count).reshape(top[0].data.shape) * self.count
        top[1].data[...] = self.count

    def backward(self, top, propagate_down, bottom):
        pass


class Power(caffe.Layer):
    def setup(self, bottom, top):
        if len(bottom) != 1:
            raise ValueError("one bottom, not %d" % len(bottom))
        self.blobs.add_blob(1)
        self.blobs.add_blob(bottom[0].channels, 1, 1)
        self.blobs[0].data[...] = float(self.param_str)
        self.blobs[1].data[...] = 1 + self.phase
        assert len(self.blobs) == 2 and self.type == "Python"

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[1].data * bottom[0].data ** self.blobs[0].data

    def backward(self, top, propagate_down, bottom):
        x, dy, p = bottom[0].data, top[0].diff, self.blobs[0].data
        self.blobs[0].diff[...] += (dy * top[0].data * np.log(np.maximum(x, 1e-3))).sum()
        self.blobs[1].diff[...] += (dy * x ** p).sum((0, 2, 3))[:, np.newaxis, np.newaxis]
        if propagate_down[0]:
            bottom[0].diff[...] = dy * self.blobs[1].data * p * x ** (p - 1)


class Above(caffe.Layer):
    def setup(self, bottom, top):
        self.param, self.state, self.rule, self.dynamic = 1000, 1, 2, False

    def set_limit(self, limit):
        self.param = limit

    def reshape(self, bottom, top):
        self.kept = np.flatnonzero(bottom[0].data.reshape(bottom[0].num, -1).sum(1) > self.param)
        top[0].reshape(len(self.kept), *bottom[0].data.shape[1:])

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data[self.kept]

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 0
        bottom[0].diff[self.kept] = top[0].diff


class Loss(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[...] = np.sum(bottom[0].data ** 2) / 2

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = top[0].diff[0] * bottom[0].data


class Failing(caffe.Layer):
    def fails(self, where):
        if self.param_str == where:
            raise KeyError(where)

    def setup(self, bottom, top):
        self.fails("setup")

    def reshape(self, bottom, top):
        self.fails("reshape")
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        self.fails("forward")

    def backward(self, top, propagate_down, bottom):
        self.fails("backward")


class WithoutReshape(caffe.Layer):
    def forward(self, bottom, top):
        pass


def stranger(param):
    return None


net = caffe.NetSpec()
net.x = L.Input(shape=dict(dim=[1, 2]))
net.y = L.Pooling(net.x, pool=P.Pooling.AVE)
assert isinstance(net.to_proto(), caffe_pb2.NetParameter) and caffe.io.Transformer and caffe.net_spec.NetSpec
"""

NET = """
layer { name: 'data' type: 'Python' top: 'data' top: 'count' python_param {
    module: 'users' layer: 'Source' param_str: '{"shape": (3, 2, 2, 2)}' share_in_parallel: true } }
layer { name: 'power' type: 'Python' bottom: 'data' top: 'power'
    python_param { module: 'users' layer: 'Power' param_str: '1.5' } param { lr_mult: 1 } param { lr_mult: 2 } }
layer { name: 'square' type: 'Python' bottom: 'power' top: 'square'
    python_param { module: 'users' layer: 'Power' param_str: '2' } }
layer { name: 'above' type: 'Python' bottom: 'square' top: 'above' python_param { module: 'users' layer: 'Above' } }
layer { name: 'pool' type: 'Pooling' bottom: 'above' top: 'pool' pooling_param { pool: AVE kernel_size: 2 } }
layer { name: 'loss' type: 'Python' bottom: 'pool' top: 'loss' python_param { module: 'users' layer: 'Loss' }
    loss_weight: 0.5 }
layer { name: 'silence' type: 'Silence' bottom: 'count' }
"""

FAILING = """force_backward: true layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 2 } } }
layer { name: 'f' type: 'Python' bottom: 'x' top: 'y'
    python_param { module: 'users' layer: 'Failing' param_str: '%s' } }
"""


def passes(caffe: Any, given: Any) -> Any:
    """All numbers after each of four passes in either phase."""
    import sys
    from pathlib import Path

    sys.path.insert(0, ".")
    Path("users.py").write_text(str(given["module"]))
    Path("net.prototxt").write_text(str(given["net"]))
    found = {}
    for phase in (caffe.TRAIN, caffe.TEST):
        net = caffe.Net("net.prototxt", phase)
        net.layers[0].count = 1
        for index in range(4):
            if index == 3:
                net.layers[list(net._layer_names).index("above")].set_limit(1e5)
            losses = net.forward()
            net.backward()
            found[f"{phase}/{index}/output"] = losses["loss"].copy()
            for name, blob in net.blobs.items():
                found[f"{phase}/{index}/data/{name}"] = blob.data.copy()
                found[f"{phase}/{index}/diff/{name}"] = blob.diff.copy()
            for name, blobs in net.params.items():
                for number, blob in enumerate(blobs):
                    found[f"{phase}/{index}/param/{name}/{number}"] = blob.data.copy()
                    found[f"{phase}/{index}/gradient/{name}/{number}"] = blob.diff.copy()
    return found


GIVEN: Dict[str, np.ndarray] = {"module": np.array(MODULE), "net": np.array(NET)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with the user's module; what is imported is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "users.py").write_text(MODULE)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("caffe", "users"):
            del sys.modules[name]


def test_a_users_module_runs_as_in_real_caffe(caffe_root: Path, folder: Path) -> None:
    expected: Arrays = in_real_caffe(caffe_root, folder, "caffe", passes, GIVEN)
    found = passes(torchcaffe, GIVEN)
    assert set(found) == set(expected)
    assert [len(found[f"0/{index}/data/above"]) for index in range(4)] == [3, 3, 3, 2]  # the layer chooses
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("where", ["setup", "reshape", "forward", "backward"])
def test_an_exception_reaches_the_caller(where: str, folder: Path) -> None:
    (folder / "net.prototxt").write_text(FAILING % where)

    def run() -> None:
        net = torchcaffe.Net("net.prototxt", torchcaffe.TRAIN)
        net.forward()
        net.backward()

    with pytest.raises(KeyError, match=where):
        run()


def test_a_class_without_a_method_says_which(folder: Path) -> None:
    (folder / "net.prototxt").write_text((FAILING % "").replace("Failing", "WithoutReshape"))
    with pytest.raises(AttributeError, match="WithoutReshape.* no attribute 'reshape'"):
        torchcaffe.Net("net.prototxt", torchcaffe.TRAIN)


@pytest.mark.parametrize("layer, module, said", [
    ("stranger", "users", "users.stranger is .*; expected a class derived from caffe.Layer"),
    ("Faling", "users", "module users has no 'Faling'; did you mean Failing"),
    ("Failing", "absent", "there is no Python module 'absent'; expected absent.py in a folder of PYTHONPATH"),
    ("Failing", "absent.below", "there is no Python module 'absent.below'; expected absent/below.py in"),
    ("Failing", "", "module is ''; expected the name of a Python module"),
    ("Failing", ".relative", "module is '.relative'; expected the name of a Python module"),
])
def test_a_class_that_cannot_be_had(layer: str, module: str, said: str, folder: Path) -> None:
    """Layer, file and line are named."""
    text = (FAILING % "").replace("Failing", layer).replace("'users'", f"'{module}'")
    (folder / "net.prototxt").write_text(text)
    with pytest.raises(ImpossibleNet, match=f"net.prototxt:[0-9]+: layer [a-z]+: python_param: {said}"):
        torchcaffe.Net("net.prototxt", torchcaffe.TRAIN)


def test_what_a_users_module_misses_is_said_as_python_says_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "misses.py").write_text("import another_module_that_is_absent")
    (folder / "net.prototxt").write_text((FAILING % "").replace("'users'", "'misses'"))
    with pytest.raises(ModuleNotFoundError, match="another_module_that_is_absent"):
        torchcaffe.Net("net.prototxt", torchcaffe.TRAIN)


def test_import_caffe_gives_this_engine_and_no_second_copy(folder: Path) -> None:
    assert stand_in() is torchcaffe
    assert importlib.import_module("caffe") is torchcaffe
    for name in ("io", "net_spec", "draw", "coord_map", "classifier", "detector", "proto"):
        assert importlib.import_module(f"caffe.{name}") is importlib.import_module(f"menndl_caffe.torchcaffe.{name}")
    assert importlib.import_module("caffe.proto.caffe_pb2").NetParameter is torchcaffe.proto.caffe_pb2.NetParameter


def test_another_caffe_that_is_loaded_is_not_pushed_aside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("caffe")
    monkeypatch.setitem(sys.modules, "caffe", other)
    with pytest.raises(UserError, match="loaded already"):
        stand_in()
    assert sys.modules["caffe"] is other
