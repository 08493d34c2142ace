"""Max pooling in both its ways, by PyTorch and compiled, against its definition in NumPy: bit for bit."""
from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, Iterator, List, NamedTuple, Tuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch.autograd import forward_ad  # noqa: E402

from menndl_caffe import compiled  # noqa: E402
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet  # noqa: E402
from menndl_caffe.nets.layer_rules.pooling import pooling as rule  # noqa: E402
from menndl_caffe.nets.proto import caffe_pb2  # noqa: E402
from menndl_caffe.torchcaffe.layer_types import pooling  # noqa: E402
from menndl_caffe.torchcaffe.layer_types.pooling import ByTorch, Compiled, MaxPool, Windows  # noqa: E402

f32 = np.float32
FLT_MAX = np.finfo(f32).max
Pair = Tuple[int, int]
SOURCE = Path(pooling.__file__).parents[1] / "pooling.c"
NUMBERS = {"random": None, "equal": [0.0, -0.0, 1.0, -1.0], "huge": [FLT_MAX, -FLT_MAX, np.inf, 3e38, -3e38],
           "odd": [np.nan, np.inf, -np.inf, -FLT_MAX, 1.0, 1.0, -0.0, 2.0], "nothing": [np.nan, -np.inf, -FLT_MAX]}


@pytest.fixture(scope="module", params=["compiled", "4 lanes", "8 lanes", "torch"])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Makes the pooling of windows: by PyTorch, or compiled, for this processor and for those that have less."""
    if request.param == "torch":
        yield ByTorch
        return
    if pooling.compiled() is None:
        pytest.skip("no C compiler")
    if request.param == "compiled":
        functions = pooling.compiled()
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
            patch.setattr(compiled, "COMMAND", (*compiled.COMMAND, "-DLANES=" + request.param.split()[0]))
            functions = compiled.library(SOURCE)
    yield lambda windows: Compiled(windows, functions)


class Case(NamedTuple):
    """Images N x C x H x W and the windows over them."""

    images: np.ndarray
    windows: Windows

    def tensor(self, channels_last: bool) -> Any:
        """The images in one of two orders of memory."""
        order = torch.channels_last if channels_last else torch.contiguous_format
        return torch.from_numpy(self.images).contiguous(memory_format=order)

    def gradient(self) -> np.ndarray:
        """Of the maxima."""
        shape = self.images.shape[:2] + self.windows.pooled
        return np.random.RandomState(4).standard_normal(shape).astype(f32)


def windows_of(shape: Tuple[int, ...], kernel: Pair, stride: Pair, pad: Pair, overhang: bool) -> Windows:
    """Those that Caffe lays over images of this shape; ImpossibleNet where that fails."""
    layer = caffe_pb2.LayerParameter(top=["y"])
    param = layer.pooling_param
    (param.kernel_h, param.kernel_w), (param.stride_h, param.stride_w), (param.pad_h, param.pad_w) = kernel, stride, pad
    param.round_mode = param.CEIL if overhang else param.FLOOR
    return Windows(shape[2:], kernel, stride, pad, rule((shape,), layer).tops[0][2:], overhang)


def images_of(shape: Tuple[int, ...], kind: str, seed: int) -> np.ndarray:
    random = np.random.RandomState(seed)
    choice = NUMBERS[kind]
    return (random.standard_normal(shape) if choice is None else random.choice(choice, shape)).astype(f32)


@st.composite
def cases(draw: Any) -> Case:
    """Windows of all kinds over images of all kinds."""
    shape = draw(st.integers(1, 2)), draw(st.integers(1, 37)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    kernel = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    stride = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    pad = draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1))
    try:
        windows = windows_of(shape, kernel, stride, pad, draw(st.booleans()))
    except ImpossibleNet:
        assume(False)
    return Case(images_of(shape, draw(st.sampled_from(sorted(NUMBERS))), draw(st.integers(0, 99))), windows)


def places(windows: Windows) -> List[np.ndarray]:
    """Of each window, row by row: which h W + w of the image it has, in this order."""
    def axis(a: int) -> List[range]:
        starts = [i * windows.stride[a] - windows.pad[a] for i in range(windows.pooled[a])]
        return [range(max(start, 0), min(start + windows.kernel[a], windows.image[a])) for start in starts]

    return [np.array([h * windows.image[1] + w for h, w in product(rows, columns)], int)
            for rows, columns in product(axis(0), axis(1))]


def defined(case: Case) -> Tuple[np.ndarray, np.ndarray]:
    """Maxima and mask: of each window the first of the largest numbers above -FLT_MAX, or none."""
    rows = case.images.reshape(*case.images.shape[:2], -1)
    maxima, masks = [], []
    for inside in places(case.windows):
        numbers = rows[:, :, inside]
        numbers = np.where(numbers > -FLT_MAX, numbers, -np.inf)
        first = numbers.argmax(2)
        largest = np.take_along_axis(numbers, first[:, :, None], 2)[:, :, 0]
        maxima.append(np.maximum(largest, -FLT_MAX))
        masks.append(np.where(largest == -np.inf, -1, inside[first]))
    shape = case.images.shape[:2] + case.windows.pooled
    return np.stack(maxima, 2).reshape(shape), np.stack(masks, 2).reshape(shape)


def handed_down(mask: np.ndarray, gradient: np.ndarray, shape: Tuple[int, ...]) -> np.ndarray:
    """The gradient of images of this shape: what each window hands to its maximum, added in the windows' order."""
    images = np.zeros((shape[0] * shape[1], shape[2] * shape[3]), f32)
    for image, at, handed in zip(images, mask.reshape(len(images), -1), gradient.reshape(len(images), -1)):
        np.add.at(image, at[at >= 0], handed[at >= 0])
    return images.reshape(shape)


def same_bits(found: Any, expected: np.ndarray) -> bool:
    array = found.contiguous().numpy()
    return array.shape == expected.shape and array.tobytes() == expected.astype(array.dtype).tobytes()


@given(cases(), st.booleans())
@settings(max_examples=120, deadline=None, derandomize=True)
def test_windows_of_any_kind(way: Any, case: Case, channels_last: bool) -> None:
    images, gradient, pool = case.tensor(channels_last), case.gradient(), way(case.windows)
    maxima, mask = defined(case)
    assert same_bits(pool.forward(images), maxima)
    assert same_bits(pool.mask, mask)
    assert same_bits(pool.backward(torch.from_numpy(gradient), images), handed_down(mask, gradient, images.shape))


@given(cases(), st.integers(0, 99))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_places_from_elsewhere(way: Any, case: Case, seed: int) -> None:
    """The second top's, to which a user may have written."""
    images, gradient, pool = case.tensor(False), case.gradient(), way(case.windows)
    pool.forward(images)
    mask = np.random.RandomState(seed).randint(-1, images[0, 0].numel(), gradient.shape)
    pool.use(torch.from_numpy(mask))
    assert same_bits(pool.mask, mask)
    assert same_bits(pool.backward(torch.from_numpy(gradient), images), handed_down(mask, gradient, images.shape))


@pytest.mark.parametrize("channels", [1, 3, 16, 76])
def test_images_of_usual_sizes(way: Any, channels: int) -> None:
    shape = (3, channels, 33, 32)
    case = Case(images_of(shape, "random", 1), windows_of(shape, (3, 3), (2, 2), (0, 0), True))
    images, gradient, pool = case.tensor(True), case.gradient(), way(case.windows)
    maxima, mask = defined(case)
    assert same_bits(pool.forward(images), maxima) and same_bits(pool.mask, mask)
    assert same_bits(pool.backward(torch.from_numpy(gradient), images), handed_down(mask, gradient, shape))


@pytest.mark.skipif(pooling.compiled() is None, reason="no C compiler")
@pytest.mark.parametrize("channels, channels_last, keeps", [(3, False, True), (3, True, True), (16, True, True),
                                                            (16, False, False)])
def test_order_of_memory(channels: int, channels_last: bool, keeps: bool) -> None:
    """Kept, but many channels come to lie side by side; the gradient has the images' order."""
    shape = (2, channels, 6, 6)
    case = Case(images_of(shape, "random", 3), windows_of(shape, (2, 2), (2, 2), (0, 0), True))
    images, pool = case.tensor(channels_last), Compiled(case.windows, pooling.compiled())
    top = pool.forward(images)
    assert top.is_contiguous(memory_format=torch.channels_last) == (channels_last or not keeps)
    assert pool.backward(top, images).stride() == images.stride()


def test_no_images(way: Any) -> None:
    shape = (0, 3, 5, 5)
    pool, images = way(windows_of(shape, (2, 2), (2, 2), (0, 0), True)), torch.zeros(shape)
    assert pool.forward(images).shape == pool.mask.shape == (0, 3, 3, 3)
    assert pool.backward(torch.zeros(0, 3, 3, 3), images).shape == shape


SHAPE = (2, 5, 6, 7)
WINDOWS = windows_of(SHAPE, (3, 3), (2, 2), (1, 1), True)


def way_taken(images: Any) -> Any:
    """The type of the way, once it has gone forward and backward."""
    pool = MaxPool(WINDOWS)
    top = pool.forward(images)
    assert pool.backward(torch.ones_like(top), images).shape == images.shape
    return type(pool._way)


@pytest.mark.skipif(pooling.compiled() is None, reason="no C compiler")
def test_where_the_compiled_way_is_taken() -> None:
    images = torch.from_numpy(images_of(SHAPE, "random", 2))
    assert way_taken(images) is Compiled
    assert way_taken(images.double()) is ByTorch
    with forward_ad.dual_level():
        assert way_taken(forward_ad.make_dual(images, images)) is ByTorch
    torch.set_num_threads(2)
    try:
        assert way_taken(images) is ByTorch
    finally:
        torch.set_num_threads(1)


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooling, "compiled", lambda: None)
    assert way_taken(torch.from_numpy(images_of(SHAPE, "random", 2))) is ByTorch


def test_a_compiler_without_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another than GCC and clang refuses the source, which is no error."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiled, "COMMAND", (*compiled.COMMAND, "-U__GNUC__"))
    assert compiled.library(SOURCE) is None


@pytest.mark.skipif(pooling.compiled() is None, reason="no C compiler")
def test_other_shapes_than_the_pass_forward_had() -> None:
    """C writes where it is told."""
    pool, images = Compiled(WINDOWS, pooling.compiled()), torch.zeros(SHAPE)
    top = pool.forward(images)
    for gradient, other in ((top[:1], images), (top, images[:1]), (top, images[..., :6])):
        with pytest.raises(ValueError, match="but the pass forward made 2x5x4x4 of 2x5x6x7"):
            pool.backward(gradient, other)
