"""Blobs' memory: Caffe's rules on a flat array of NumPy's, and what layers keep for their gradient."""
from __future__ import annotations

from typing import Any, List, Tuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from menndl_caffe.torchcaffe.blob import Blob, set_aside  # noqa: E402

SHAPES = [(2, 3, 2, 2), (24,), (2, 12), (1, 3, 2, 2), (3, 4), (5,), (), (0, 3), (4, 3, 2, 2), (50,)]


class Model:
    """`Blob::Reshape` and `ShareData` in C order: memory is replaced by zeros where it is too small, else kept."""

    def __init__(self) -> None:
        self.shape: Tuple[int, ...] = ()
        self.memory = np.zeros(1, np.float32)

    def reshape(self, shape: Tuple[int, ...]) -> None:
        if np.prod(shape) > len(self.memory):
            self.memory = np.zeros(int(np.prod(shape)), np.float32)
        self.shape = shape

    @property
    def data(self) -> np.ndarray:
        return self.memory[:int(np.prod(self.shape))].reshape(self.shape)


def in_some_order(array: np.ndarray, random: Any) -> Any:
    """A tensor of these numbers, at times in an order of memory that is not C's."""
    tensor = torch.from_numpy(array.copy())
    if tensor.dim() == 4 and random.randint(2):
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor.t().contiguous().t() if tensor.dim() == 2 and random.randint(2) else tensor


@pytest.mark.parametrize("seed", range(40))
def test_memory_is_caffes(seed: int) -> None:
    random = np.random.RandomState(seed)
    blobs, models = [Blob(), Blob(), Blob()], [Model(), Model(), Model()]
    kept: List[Tuple[Any, np.ndarray]] = []
    for _ in range(60):
        index = random.randint(3)
        blob, model = blobs[index], models[index]
        numbers = np.array(random.standard_normal(model.shape), np.float32)
        what = random.choice(["reshape", "value", "array", "in place", "share", "kept", "own"])
        if what == "reshape":
            shape = SHAPES[random.randint(len(SHAPES))]
            blob.reshape(*shape)
            model.reshape(shape)
        elif what == "value":
            blob.value = in_some_order(numbers, random)
            model.data[...] = numbers
        elif what == "array":
            blob.data[...] = numbers
            model.data[...] = numbers
        elif what == "in place":
            assert np.array_equal(blob.value, model.data)
        elif what == "kept":
            kept.append((blob.kept_value(), model.data.copy()))
        elif what == "own":
            blob.own_value().mul_(2)
            model.data[...] *= 2
        elif blobs[index - 1].count == blob.count:
            blob.share(blobs[index - 1])
            model.memory = models[index - 1].memory
        if random.randint(3) == 0:
            assert all(np.array_equal(blob.value, model.data) for blob, model in zip(blobs, models))
    assert all(blob.shape == model.shape and np.array_equal(blob.data, model.data)
               for blob, model in zip(blobs, models))
    assert all(np.array_equal(tensor, numbers) for tensor, numbers in kept)


def test_an_array_stays_the_blobs_while_memory_does() -> None:
    blob = Blob((4, 1))
    array = blob.data
    blob.reshape(2, 1)
    blob.value = torch.full((2, 1), 3.0)
    blob.reshape(4, 1)
    array[3] = 7
    assert blob.value.flatten().tolist() == [3, 3, 0, 7]
    blob.reshape(5)
    array[...] = 9
    assert not blob.value.any() and not blob.grad.any()


def test_gradients_shrink_and_grow_as_well() -> None:
    blob = Blob((4,))
    blob.grad.fill_(0.5)
    blob.reshape(2)
    blob.grad = torch.zeros(2)
    blob.reshape(4)
    assert blob.grad.tolist() == [0, 0, 0.5, 0.5]


def test_what_is_not_kept_costs_no_copy() -> None:
    blob, tensor = Blob((2, 3)), torch.ones(2, 3)
    blob.value = tensor
    assert blob.value is tensor and blob.kept_value() is tensor and blob.own_value() is not tensor
    assert blob.own_value() is blob.own_value()


def test_aside_is_forgotten() -> None:
    blob, other = Blob((4,)), Blob((2, 2))
    other.share(blob)
    held = blob.data
    held[...] = [1, 2, 3, 4]
    blob.reshape(2)
    with set_aside([blob, other]):
        assert blob.value.tolist() == [1, 2]
        blob.value = torch.zeros(2)
        assert other.value.tolist() == [[0, 0], [3, 4]]
        blob.reshape(9)
    assert blob.shape == (2,) and other.value.tolist() == [[1, 2], [3, 4]]
    held[0] = 5
    assert blob.value[0] == other.value[0, 0] == 5


def test_only_as_many_numbers_are_shared() -> None:
    with pytest.raises(ValueError, match=r"shape \(4,\) cannot share the memory of one of shape \(3,\)"):
        Blob((4,)).share_data(Blob((3,)))
    with pytest.raises(ValueError, match=r"shape \(4,\) cannot hold a tensor of shape \(3,\)"):
        Blob((4,)).value = torch.zeros(3)


@pytest.mark.parametrize("seed", range(20))
def test_gradients_are_caffes(seed: int) -> None:
    """Whatever is put off until someone asks: as if it had been done at once, whoever shares the memory."""
    random = np.random.RandomState(seed)
    blobs, models = [Blob((4, 6)), Blob((24,))], [Model(), Model()]
    for model, shape in zip(models, ((4, 6), (24,))):
        model.reshape(shape)
    for _ in range(200):
        index = random.randint(2)
        blob, model = blobs[index], models[index]
        numbers = np.array(random.standard_normal(model.shape), np.float32)
        what = random.choice(["clear", "defer", "add", "product", "array", "give", "share", "reshape", "read"])
        if what == "clear":
            blob.clear_grad()
            model.data[...] = 0
        elif what == "defer":
            blob.defer_grad(torch.from_numpy(numbers))
            model.data[...] = numbers
        elif what == "add":
            blob.add_grad(in_some_order(numbers, random))
            model.data[...] += numbers
        elif what == "product" and len(blob.shape) == 2:
            a, b = random.randint(-3, 4, (blob.shape[0], 3)), random.randint(-3, 4, (3, blob.shape[1]))
            blob.add_grad_product(torch.from_numpy(a.astype(np.float32)), torch.from_numpy(b.astype(np.float32)))
            model.data[...] += a @ b
        elif what == "array":
            blob.diff[...] += 1
            model.data[...] += 1
        elif what == "give":
            blob.grad = in_some_order(numbers, random)
            model.data[...] = numbers
        elif what == "share" and blobs[0].count == blobs[1].count:
            blobs[1].share_diff(blobs[0])
            models[1].memory = models[0].memory
        elif what == "reshape":
            shape = ([(4, 6), (2, 6), (3, 4)], [(24,), (12,), (5,)])[index][random.randint(3)]
            blob.reshape(*shape)
            model.reshape(shape)
        if what == "read" or random.randint(8) == 0:
            np.testing.assert_allclose(blob.grad.numpy(), model.data, rtol=1e-6, atol=1e-6)
    for blob, model in zip(blobs, models):
        np.testing.assert_allclose(blob.diff, model.data, rtol=1e-6, atol=1e-6)


def test_room_of_the_last_pass() -> None:
    """It is where the numbers are, unless someone counts on them, or they are of another shape or order."""
    blob = Blob((2, 3, 4, 5))
    like = torch.zeros(2, 3, 4, 5)
    assert blob.value_room(like) is None
    blob.value = first = torch.ones(2, 3, 4, 5)
    assert blob.value_room(like) is first
    assert blob.value_room(like.contiguous(memory_format=torch.channels_last)) is None
    assert blob.value_room(torch.zeros(2, 3, 20)) is None
    kept = blob.kept_value()
    assert blob.value_room(like) is None
    blob.value = torch.zeros(2, 3, 4, 5)
    assert blob.value_room(like) is not None and kept is first
    array = blob.data
    room = blob.value_room(like)
    assert room is not None
    room.fill_(7)
    assert (array == 7).all()


def test_shapes_are_seen_to_change() -> None:
    blob, before = Blob((2, 3)), Blob.reshapes
    blob.reshape(2, 3)
    assert Blob.reshapes == before
    blob.reshape(3, 2)
    changed = Blob.reshapes
    assert changed > before
    with set_aside([blob]):
        blob.reshape(6)
    assert blob.shape == (3, 2) and Blob.reshapes > changed + 1
