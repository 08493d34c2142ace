"""Dual numbers through layers and nets: their tangents are the derivatives of gradients.

Of every layer type by itself, in float64: the tangents of its gradients are what central differences of these give. Of
nets: the same, and what PyTorch's own reverse mode gives twice; and a product leaves no trace in the net.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from google.protobuf import text_format  # noqa: E402
from torch.autograd import forward_ad  # noqa: E402

from menndl_caffe import torchcaffe as caffe  # noqa: E402
from menndl_caffe.errors import UserError  # noqa: E402
from menndl_caffe.nets.proto import caffe_pb2  # noqa: E402
from menndl_caffe.torchcaffe import mode  # noqa: E402
from tests.support.torchcaffe.derivative_nets import IN_NETS, NETS  # noqa: E402
from tests.torchcaffe import test_gradients, test_gradients_spatial  # noqa: E402
from tests.torchcaffe.test_gradients import Example, Run, name, spaced  # noqa: E402
from tests.torchcaffe.test_replay import ImitatedRecorder  # noqa: E402

Tensor = Any
Move = Callable[[Tensor, Tensor], Tensor]  # of numbers and their direction
STEP = 1e-5

EXAMPLES = [*test_gradients.EXAMPLES, *test_gradients_spatial.EXAMPLES, *test_gradients_spatial.RECURRENT]
WORK_IN_PLACE = ("ReLU", "BatchNorm", "Bias", "Clip", "Dropout", "ELU", "Power", "PReLU", "Scale", "Sigmoid", "TanH")
IN_PLACE = [example for example in EXAMPLES if example.type in WORK_IN_PLACE and len(example.bottoms) == 1]
WITHOUT = {
    **dict.fromkeys(("Data", "DummyData", "HDF5Data", "ImageData", "Input", "MemoryData", "WindowData"),
                    "has no bottom, and does not run in a product"),
    **dict.fromkeys(("Accuracy", "ArgMax", "Threshold"), "has no gradient"),
    "HDF5Output": "makes nothing, and does not run in a product",
    "Python": "is refused",
}


def test_every_layer_type_is_covered() -> None:
    covered = {example.type for example in EXAMPLES} | set(IN_NETS)
    assert not covered & set(WITHOUT)
    assert sorted(covered | set(WITHOUT)) == caffe.layer_type_list()


# ------------------------------------------------------------------------------------------------- A layer by itself

class Moved(test_gradients_spatial.Fresh):
    """A layer in float64 whose bottoms, parameters and tops' gradients all move along random directions."""

    def __init__(self, example: Example, in_place: bool = False) -> None:
        super().__init__(example._replace(bottoms=tuple(map(np.float64, example.bottoms))), in_place)
        self._in_place = in_place
        learned = [] if self.layer.type == "BatchNorm" else self.layer.blobs
        self._moving = [*(self.bottoms[index] for index in example.of), *learned]
        self._numbers = [(blob.value.clone(), direction(blob.shape, seed)) for seed, blob in enumerate(self._moving)]
        self.forward()
        self._weights = [(weight.double(), direction(tuple(weight.shape), 50)) for weight in self.weights()]

    def gradients(self, move: Move) -> Dict[str, Tensor]:
        """Those of a forward and a backward pass at moved numbers."""
        for blob, (numbers, way) in zip(self._moving, self._numbers):
            blob.value = move(numbers.clone(), way)
        for blob in self.layer.blobs:
            blob.grad = torch.zeros(blob.shape)
        self.forward()
        found = self.backward([move(weight, way) for weight, way in self._weights])
        return {what: gradient.clone() for what, gradient in found.items()
                if self.layer.type != "BatchNorm" or "bottom" in what}


def direction(shape: Tuple[int, ...], seed: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).normal(size=shape))


def tangent(tensor: Tensor) -> Tensor:
    found = forward_ad.unpack_dual(tensor).tangent
    return torch.zeros_like(tensor) if found is None else found


def assert_tangents_are_differences(run: Moved) -> None:
    with forward_ad.dual_level():
        found = {what: tangent(dual).clone() for what, dual in run.gradients(forward_ad.make_dual).items()}
    ahead, behind = (run.gradients(lambda numbers, way, step=step: numbers + step * way) for step in (STEP, -STEP))
    assert found and found.keys() == ahead.keys()
    for what, ours in found.items():
        expected = (ahead[what] - behind[what]) / (2 * STEP)
        assert ours.dtype == expected.dtype == torch.float64
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-7 * max(1, float(expected.abs().max())), msg=what)


@pytest.fixture
def float64() -> Iterator[None]:
    with mode.float64():
        yield


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_tangents_of_gradients_are_their_differences(example: Example, float64: None) -> None:
    assert_tangents_are_differences(Moved(example))


@pytest.mark.parametrize("example", IN_PLACE, ids=name)
def test_tangents_of_gradients_in_place(example: Example, float64: None) -> None:
    assert_tangents_are_differences(Moved(example, in_place=True))


# ------------------------------------------------------------------------------------------------------------- Nets

def make(text: str, phase: int = caffe.TRAIN) -> Any:
    """A net with random numbers in its Input layers."""
    caffe.set_random_seed(5)
    net = caffe.Net.of_param(text_format.Parse(text, caffe_pb2.NetParameter()), phase)
    for index, blob_name in enumerate(net.inputs):
        shape = net.blobs[blob_name].shape
        random = np.random.RandomState(index)
        is_label = blob_name == "label"
        net.blobs[blob_name].data[...] = random.randint(0, 3, shape) if is_label else random.normal(size=shape)
    if "marks" in net.blobs:
        net.blobs["marks"].data[...] = np.arange(net.blobs["marks"].shape[0])[:, None] > 0
    caffe.set_random_seed(6)
    net.forward()
    return net


def directions(net: Any, seed: int = 3) -> List[np.ndarray]:
    """Random ones, 0 for what is not learned."""
    random = np.random.RandomState(seed)
    return [random.normal(size=each.blob.shape) * (each.lr_mult > 0) for each in net.learnable]


def gradient(net: Any) -> List[np.ndarray]:
    caffe.set_random_seed(6)
    net.clear_param_diffs()
    net.forward()
    net.backward()
    return [each.blob.diff.copy() for each in net.learnable]


def product(net: Any, direction: List[np.ndarray], **start: str) -> List[np.ndarray]:
    caffe.set_random_seed(6)
    return net.hessian_product(direction, **start)


def flat(arrays: List[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in arrays])


def error(found: List[np.ndarray], expected: List[np.ndarray]) -> float:
    return float(np.linalg.norm(flat(found) - flat(expected)) / np.linalg.norm(flat(expected)))


@pytest.mark.parametrize("text", NETS.values(), ids=list(NETS))
def test_products_are_differences_of_gradients(text: str, float64: None) -> None:
    net = make(text)
    way, start = directions(net), [each.blob.data.copy() for each in net.learnable]
    found, ends = product(net, way), []
    for step in (STEP, -STEP):
        for each, numbers, moving in zip(net.learnable, start, way):
            each.blob.data[...] = numbers + step * moving
        ends.append(gradient(net))
    expected = [(ahead - behind) / (2 * STEP) for ahead, behind in zip(*ends)]
    assert all(array.any() for array, moving in zip(expected, way) if moving.any())
    assert error(found, expected) < 1e-7


@pytest.mark.parametrize("text", [NETS[name] for name in ("linear", "mlp", "lenet", "norm")], ids=["linear", "mlp", "lenet", "norm"])
def test_products_in_float32(text: str) -> None:
    net = make(text)
    way = directions(net)
    found = product(net, way)
    assert all(array.dtype == np.float32 for array in found)
    with mode.float64():
        exact = make(text)
        assert all(np.array_equal(one.blob.data, two.blob.data) for one, two in zip(net.learnable, exact.learnable))
        for blob_name in net.inputs:
            exact.blobs[blob_name].data[...] = net.blobs[blob_name].data
        expected = product(exact, way)
    assert all(array.dtype == np.float64 for array in expected)
    assert error(found, expected) < 2e-5
