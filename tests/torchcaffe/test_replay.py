"""Replayed passes give what passes layer by layer give.

There is no GPU here, so a graph is imitated: it notes every operation with the tensors that it read and wrote, and
repeats them on the same memory without running any Python of the net, as a CUDA graph does. Like one, it refuses to
hand numbers to Python, or to take them from there, while it records.
"""
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from menndl_caffe import torchcaffe as caffe  # noqa: E402
from menndl_caffe.torchcaffe import mode  # noqa: E402
from menndl_caffe.torchcaffe.replay import WARM_UP, is_source  # noqa: E402
from tests.support.torchcaffe.cases_neurons import inputs, layer  # noqa: E402
from tests.support.torchcaffe.parity import Arrays, Case, cases_of, modules, run_case  # noqa: E402


class Imitation(TorchDispatchMode):
    """One graph."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: List[Tuple[Any, ...]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("a graph cannot wait for a number")
        if function is torch.ops.aten.lift_fresh.default:
            raise RuntimeError("a graph cannot take numbers from Python")
        result = function(*args, **(kwargs or {}))
        self.operations.append((function, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        for function, args, kwargs, result in self.operations:
            for place, tensor in zip(tree_leaves(result), tree_leaves(function(*args, **kwargs))):
                if isinstance(place, torch.Tensor) and place.data_ptr() != tensor.data_ptr():
                    place.copy_(tensor)


class ImitatedRecorder:
    """Counts what it records."""

    def __init__(self) -> None:
        self.recorded = 0

    def record(self, work: Callable[[], Any]) -> Tuple[Any, Callable[[], object]]:
        self.recorded += 1
        graph = Imitation()
        with graph:
            result = work()
        return result, graph.replay


NET = """
layer { name: "data" type: "DummyData" top: "x" top: "label" dummy_data_param {
    shape { dim: 8 dim: 3 dim: 12 dim: 12 } shape { dim: 8 }
    data_filler { type: "gaussian" } data_filler { type: "uniform" min: 0 max: 3.9 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" param { name: "w" } convolution_param {
    num_output: 6 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "scale" type: "Scale" bottom: "norm" top: "norm" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "norm" top: "norm" }
layer { name: "pool" type: "Pooling" bottom: "norm" top: "pool" pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "lrn" type: "LRN" bottom: "pool" top: "lrn" }
layer { name: "ip" type: "InnerProduct" bottom: "lrn" top: "ip" inner_product_param {
    num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.05 lr_policy: "step" stepsize: 4 gamma: 0.5 momentum: 0.9 random_seed: 3 %s'


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that read numbers are left out while a graph is captured, and max pooling does not look for NaN."""
    from menndl_caffe.torchcaffe.layer_types import arrange, classification, pooling

    for module in (arrange, classification):
        monkeypatch.setattr(module, "check_indices", lambda *arguments: None)
    monkeypatch.setattr(pooling, "compiled", lambda: None)
    monkeypatch.setattr(pooling, "all_exceed", lambda images, limit: False)


def trained(folder: Path, monkeypatch: pytest.MonkeyPatch, recorder: Any, more: str = "",
            after_each: Callable[[Any], None] = lambda net: None) -> Tuple[Any, List[float], Any]:
    monkeypatch.chdir(folder)
    (folder / "net.prototxt").write_text(NET)
    (folder / "solver.prototxt").write_text(SOLVER % more)
    solver = caffe.get_solver("solver.prototxt")
    if recorder is not None:
        solver.net.replay_with(recorder)
    losses = []
    for _ in range(10):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
        after_each(solver.net)
    return solver, losses, recorder


@pytest.mark.parametrize("more", ["", "iter_size: 2", 'type: "Adam"'])
def test_training_is_the_same_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    plain, losses, _ = trained(tmp_path, monkeypatch, None, more)
    replayed, same_losses, recorder = trained(tmp_path, monkeypatch, ImitatedRecorder(), more)
    assert recorder.recorded == 2 and WARM_UP < 10
    assert same_losses == losses and len(set(losses)) == 10
    for name, blobs in plain.net.params.items():
        for ours, theirs in zip(replayed.net.params[name], blobs):
            assert np.array_equal(ours.data, theirs.data) and ours.data.any()


@pytest.mark.parametrize("replayed", [False, True])
def test_hessian_products_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replayed: bool) -> None:
    """With a product after each iteration a training goes on as without, bit for bit, and what is recorded stays so."""
    def multiply(net: Any) -> None:
        state = mode.generator().state()
        random = np.random.RandomState(1)
        found = net.hessian_product([random.normal(size=each.blob.shape) for each in net.learnable])
        assert all(array.any() for array in found[:2]) and mode.generator().state() == state

    plain, losses, _ = trained(tmp_path, monkeypatch, None)
    recorder = ImitatedRecorder() if replayed else None
    found, same_losses, _ = trained(tmp_path, monkeypatch, recorder, after_each=multiply)
    assert same_losses == losses and (recorder is None or recorder.recorded == 2)
    for ours, theirs in zip(found.net.learnable, plain.net.learnable):
        assert np.array_equal(ours.blob.data, theirs.blob.data)


class Changing(Dict[str, np.ndarray]):
    """Inputs whose numbers move on by one place each time they are looked at."""

    def items(self) -> Any:
        for name in self:
            self[name] = np.roll(self[name], 1)
        return super().items()


def several_passes(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch, recorder: Any) -> Arrays:
    """What the net holds after passes on changing inputs; `recorder` for those that are replayed."""
    def make(*arguments: Any) -> Any:
        net = caffe.Net(*arguments)
        if recorder is not None and all(is_source(node) or node.layer.replayable for node in net._nodes):
            net.replay_with(recorder)
        return net

    folder.mkdir()
    monkeypatch.chdir(folder)
    engine = SimpleNamespace(set_random_seed=caffe.set_random_seed, Net=make)
    return run_case(engine, case._replace(inputs=Changing(case.inputs), passes=WARM_UP + 2))


@pytest.mark.parametrize("module", modules())
def test_every_layer_gives_the_same_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    recorded = 0
    for number, case in enumerate(cases_of(module)):
        recorder = ImitatedRecorder()
        expected = several_passes(case, tmp_path / f"{number}-plain", monkeypatch, None)
        found = several_passes(case, tmp_path / f"{number}-replayed", monkeypatch, recorder)
        assert recorder.recorded in (0, 1 + case.backward), f"{case.name} cannot be recorded"
        different = [name for name in expected if not np.array_equal(expected[name], found[name], equal_nan=True)]
        assert not different, f"{case.name}: {different}"
        recorded += recorder.recorded > 0
    assert recorded


def test_losses_are_added_in_the_order_of_the_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Caffe: in float32, 2^24 and 1 is 2^24 again, however often; from the other end it would be more."""
    monkeypatch.chdir(tmp_path)
    scales = [2**24] + [1] * 40
    Path("net.prototxt").write_text(inputs(x=np.float32([1])) + "".join(
        layer("Power", "x", f"y{index}", f"loss_weight: 1 power_param {{ scale: {scale} }}").replace(
            '"power"', f'"power{index}"') for index, scale in enumerate(scales)))
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    net.blobs["x"].data[...] = 1
    assert net.forward_loss() == 2**24
    net.replay_with(ImitatedRecorder())
    assert [net.forward_loss() for _ in range(WARM_UP + 2)] == [2**24] * (WARM_UP + 2)


class Refusing:
    """Records the first pieces of work, and no more."""

    def __init__(self, pieces: int) -> None:
        self.pieces, self.recorder = pieces, ImitatedRecorder()

    def record(self, work: Callable[[], Any]) -> Tuple[Any, Callable[[], object]]:
        self.pieces -= 1
        if self.pieces < 0:
            raise RuntimeError("operation not permitted when stream is capturing")
        return self.recorder.record(work)


@pytest.mark.parametrize("pieces", [0, 1])
def test_what_cannot_be_recorded_is_run_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: int,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    _, losses, _ = trained(tmp_path, monkeypatch, None)
    _, same_losses, _ = trained(tmp_path, monkeypatch, Refusing(pieces))
    assert same_losses == losses
    assert capsys.readouterr().err.count("not replayed as CUDA graphs: operation not permitted") == 1


def test_what_makes_a_recording_stale_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solver, _, _ = trained(tmp_path, monkeypatch, ImitatedRecorder())
    net, recorder = solver.net, ImitatedRecorder()
    net.replay_with(recorder)
    for _ in range(WARM_UP + 2):
        net.forward()
    assert recorder.recorded == 1
    net.forward(start="pool")  # gives blobs other memory
    after = net.forward()["loss"].copy()
    assert recorder.recorded == 2
    assert np.array_equal(net.forward(start="conv")["loss"], after)
    net.forward()
    assert recorder.recorded == 3
    net.params["ip"][0].value = net.params["ip"][0].value.clone()  # as copy_from may do
    net.forward()
    assert recorder.recorded == 4


def test_a_layer_that_draws_is_not_replayed() -> None:
    from menndl_caffe.nets.proto import caffe_pb2
    from menndl_caffe.torchcaffe.layer import make_layer

    def made(**fields: Any) -> Any:
        return make_layer(caffe_pb2.LayerParameter(name="l", **fields))

    dropout = made(type="Dropout", phase=caffe_pb2.TRAIN)
    dropout.setup([_blob(2, 3)], [_blob(2, 3)])
    assert not dropout.replayable
    assert made(type="ReLU").replayable
    assert not made(type="Filter").replayable


def _blob(*shape: int) -> Any:
    from menndl_caffe.torchcaffe.blob import Blob

    return Blob(shape)
