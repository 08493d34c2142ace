"""Dual numbers through layers and nets: their tangents are the derivatives of gradients.

Of every layer type by itself, in float64: the tangents of its gradients are what central differences of these give. Of
nets: the same, and what PyTorch's own reverse mode gives twice; and a product leaves no trace in the net.
"""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Tuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from google.protobuf import text_format  # noqa: E402
from torch.autograd import forward_ad  # noqa: E402

from menndl_caffe import torchcaffe as caffe  # noqa: E402
from menndl_caffe.errors import UserError  # noqa: E402
from menndl_caffe.nets.proto import caffe_pb2  # noqa: E402
from menndl_caffe.torchcaffe import mode  # noqa: E402
from tests.support.torchcaffe.derivative_nets import IN_NETS, NETS  # noqa: E402
from tests.torchcaffe import test_gradients, test_gradients_spatial  # noqa: E402
from tests.torchcaffe.test_gradients import Example, name  # noqa: E402

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
    """A layer in float64 whose bottoms, parameters and tops' gradients (`weighted`) move along random directions."""

    def __init__(self, example: Example, in_place: bool = False) -> None:
        super().__init__(example._replace(bottoms=tuple(map(np.float64, example.bottoms))), in_place)
        blobs = {f"bottom {index}": self.bottoms[index] for index in example.of}
        if self.layer.type != "BatchNorm":  # whose statistics are not learned
            blobs.update({f"parameter {index}": blob for index, blob in enumerate(self.layer.blobs)})
        self._moving = {what: (blob, blob.value.clone(), direction(blob.shape, seed))
                        for seed, (what, blob) in enumerate(blobs.items())}
        self.forward()
        self.weighted = [(weight.double(), direction(tuple(weight.shape), 50)) for weight in self.weights()]

    def ways(self) -> Dict[str, Tensor]:
        """Where bottoms and parameters move to."""
        return {what: way for what, (_, _, way) in self._moving.items()}

    def move(self, move: Move) -> None:
        """Give bottoms and parameters other numbers."""
        for blob, numbers, way in self._moving.values():
            blob.value = move(numbers.clone(), way)

    def gradients(self, move: Move) -> Dict[str, Tensor]:
        """Those of a forward and a backward pass at moved numbers."""
        self.move(move)
        for blob in self.layer.blobs:
            blob.grad = torch.zeros(blob.shape)
        self.forward()
        found = self.backward([move(weight, way) for weight, way in self.weighted])
        return {what: found[what].clone() for what in self._moving}


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


@pytest.mark.parametrize("which", ["linear", "mlp", "lenet", "norm"])
def test_products_in_float32(which: str) -> None:
    net = make(NETS[which])
    way = directions(net)
    found = product(net, way)
    with mode.float64():
        exact = make(NETS[which])
        for ours, theirs in zip(pairs(exact), pairs(net)):
            ours.data[...] = theirs.data
        expected = product(exact, way)
    assert {array.dtype for array in found} == {np.dtype(np.float32)}
    assert {array.dtype for array in expected} == {np.dtype(np.float64)}
    assert error(found, expected) < 2e-5


def pairs(net: Any) -> List[Any]:
    """All that a pass depends on."""
    return [each.blob for each in net.learnable] + [net.blobs[blob_name] for blob_name in net.inputs]


@pytest.mark.parametrize("which", ["mlp", "lenet"])
def test_gradients_and_products_are_those_of_autograd(which: str, float64: None) -> None:
    """PyTorch's reverse mode, once and twice, through the same functions written in its own way."""
    net = make(NETS[which])
    weights = [torch.tensor(each.blob.data, requires_grad=True) for each in net.learnable]
    x, label = (torch.tensor(net.blobs[blob_name].data) for blob_name in ("x", "label"))
    if which == "lenet":
        for weight, bias in (weights[:2], weights[2:4]):
            x = F.max_pool2d(F.conv2d(x, weight, bias), 2)
    hidden = F.relu(F.linear(x.flatten(1), *weights[-4:-2]))
    loss = F.cross_entropy(F.linear(hidden, *weights[-2:]), label.long())
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    way = directions(net)
    products = torch.autograd.grad(gradients, weights, [torch.from_numpy(each) for each in way])
    assert abs(float(net.blobs["loss"].data) - loss.item()) < 1e-14
    assert error(gradient(net), [each.detach().numpy() for each in gradients]) < 1e-12
    assert error(product(net, way), [each.numpy() for each in products]) < 1e-12


# ------------------------------------------------------------------------------------- What a product is in the engine

@pytest.mark.parametrize("text", NETS.values(), ids=list(NETS))
def test_blobs_are_afterwards_as_before(text: str) -> None:
    """Also those whose arrays a user holds, on which alone the product depends."""
    net = make(text)
    gradient(net)
    blobs = [*net.blobs.values(), *(blob for blobs in net.params.values() for blob in blobs)]
    fresh = product(net, directions(net))
    arrays = [array for blob in blobs for array in (blob.data, blob.diff)]
    before = [array.copy() for array in arrays]
    for one, two in zip(product(net, directions(net)), fresh):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-5 * np.abs(two).max())
    after = [array for blob in blobs for array in (blob.data, blob.diff)]
    assert all(np.array_equal(array, numbers) for array, numbers in zip(arrays, before))
    assert all(np.shares_memory(one, two) for one, two in zip(arrays, after))


def test_an_error_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    net = make(NETS["mlp"])
    before = gradient(net)

    def fail(*arguments: Any) -> None:
        raise RuntimeError("no memory left")

    with monkeypatch.context() as patch:
        patch.setattr(net.layer_dict["hidden"], "backward", fail)
        with pytest.raises(RuntimeError, match="no memory left"):
            net.hessian_product(directions(net))
    assert all(np.array_equal(one, two) for one, two in zip(before, gradient(net)))


def test_recurrent_layers_go_on_where_they_were() -> None:
    net = make(NETS["lstm"])
    net.blobs["marks"].data[...] = 1
    net.forward()
    way = directions(net)
    first = net.hessian_product(way)
    assert all(np.array_equal(one, two) for one, two in zip(first, net.hessian_product(way)))
    net.forward()
    assert not np.array_equal(flat(first), flat(net.hessian_product(way)))


def test_masks_are_repeated_with_the_seed() -> None:
    net = make(NETS["dropout"])
    way = directions(net)
    first = product(net, way)
    assert not np.array_equal(flat(net.hessian_product(way)), flat(first))
    assert np.array_equal(flat(product(net, way)), flat(first))


def test_layers_before_the_start_do_not_run() -> None:
    """Their blobs are as they were, and so the rest of the Hessian is that of the last layers' parameters alone."""
    net = make(NETS["lenet"])
    way = [array * (index >= 4) for index, array in enumerate(directions(net))]
    whole, part = product(net, way), product(net, way, start="ip1")
    assert flat(whole[:4]).any() and not flat(part[:4]).any()
    assert error(part[4:], whole[4:]) < 1e-6
    with pytest.raises(ValueError, match="no layer 'ip3' in this net"):
        net.hessian_product(way, start="ip3")


def test_a_direction_fits_the_parameters() -> None:
    net = make(NETS["linear"])
    for wrong in (directions(net)[:1], [array.T for array in directions(net)]):
        with pytest.raises(ValueError, match=r"but the learnable parameters have \[\(3, 20\), \(3,\)\]"):
            net.hessian_product(wrong)


class Doubling(caffe.Layer):
    """Of a user."""

    def reshape(self, bottom: Any, top: Any) -> None:
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: Any, top: Any) -> None:
        top[0].data[...] = 2 * bottom[0].data

    def backward(self, top: Any, propagate_down: Any, bottom: Any) -> None:
        bottom[0].diff[...] = 2 * top[0].diff


def test_python_layers_are_refused() -> None:
    layer = f'python_param {{ module: "{__name__}" layer: "Doubling" }}'
    net = make(NETS["mlp"].replace('"ReLU"', '"Python"').replace('top: "hidden"  }', f'top: "hidden" {layer} }}'))
    with pytest.raises(UserError, match="layer relu: a Python layer computes in NumPy"):
        net.hessian_product(directions(net))
    assert flat(net.hessian_product(directions(net), start="scores")).any()
