"""Convolution by Fourier transforms: against sums by definition, and where it is chosen."""
from __future__ import annotations

from typing import Any, NamedTuple, Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

torch = pytest.importorskip("torch")

from google.protobuf import text_format  # noqa: E402

from menndl_caffe.nets.layer_rules.convolution import Windows  # noqa: E402
from menndl_caffe.torchcaffe import fourier, mode  # noqa: E402
from menndl_caffe.torchcaffe.blob import Blob  # noqa: E402
from menndl_caffe.torchcaffe.layer import make_layer  # noqa: E402
from menndl_caffe.torchcaffe.layer_types.convolution import ByFourier, Convolution, Direct  # noqa: E402
from menndl_caffe.torchcaffe.proto import caffe_pb2  # noqa: E402
from tests.support.torchcaffe.cases_spatial import BY_FOURIER  # noqa: E402

Numbers = Any  # a float64 array


class Shapes(NamedTuple):
    """A convolution of stride 1."""

    num: int
    channels: int
    num_output: int
    image: Tuple[int, ...]
    kernel: Tuple[int, ...]
    pad: Tuple[int, ...]

    @property
    def output(self) -> Tuple[int, ...]:
        return tuple(i + 2 * p - k + 1 for i, k, p in zip(self.image, self.kernel, self.pad))

    @property
    def windows(self) -> Windows:
        return Windows(self.kernel, (1,) * len(self.image), self.pad, (1,) * len(self.image))


@st.composite
def convolutions(draw: Any) -> Shapes:
    """Any on 1 to 3 axes: kernels of more than the image, pads of more than the kernel, odd and even sizes."""
    axes = draw(st.integers(1, 3))
    image = tuple(draw(st.integers(1, 6)) for _ in range(axes))
    pad = tuple(draw(st.integers(0, 4)) for _ in range(axes))
    kernel = tuple(draw(st.integers(1, size + 2 * p)) for size, p in zip(image, pad))
    return Shapes(*(draw(st.integers(1, 4)) for _ in range(3)), image, kernel, pad)


def by_definition(x: Numbers, w: Numbers, shapes: Shapes) -> Numbers:
    """Each output is the sum over one window."""
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in shapes.pad)])
    axes = list(range(2, x.ndim))
    seen = sliding_window_view(padded, shapes.kernel, axes)  # N x C x output x kernel
    kernel_axes = [axis + len(axes) for axis in axes]
    return np.moveaxis(np.tensordot(seen, w, ([1, *kernel_axes], [1, *axes])), -1, 1)


def close(found: Any, expected: Numbers, largest: float) -> None:
    """To 2e-6 of the largest number that could be."""
    assert found.shape == expected.shape
    assert np.abs(found.double().numpy() - expected).max() <= 2e-6 * max(1.0, largest)


def length(array: np.ndarray) -> float:
    """Of the array as one vector, in float64."""
    return float(np.linalg.norm(array.astype(float).ravel()))


@settings(max_examples=150, deadline=None)
@given(convolutions(), st.integers(0, 99))
def test_it_is_the_convolution_and_its_gradients(shapes: Shapes, seed: int) -> None:
    """A gradient's product with any direction is the top gradient's with what that direction does to the output.

    The sums may cancel out, and what is left of them may be of any size; roundings are of the size of the factors. By
    Cauchy and Schwarz no sum is larger than the product of their lengths.
    """
    draw = np.random.RandomState(seed)
    x = draw.uniform(-1, 1, (shapes.num, shapes.channels, *shapes.image)).astype(np.float32)
    w = draw.uniform(-1, 1, (shapes.num_output, shapes.channels, *shapes.kernel)).astype(np.float32)
    bias = draw.uniform(-1, 1, shapes.num_output).astype(np.float32)
    gradient = draw.uniform(-1, 1, (shapes.num, shapes.num_output, *shapes.output)).astype(np.float32)
    way = ByFourier(shapes.windows, shapes.image)
    tensors = list(map(torch.from_numpy, (x, w, bias, gradient)))

    expected = by_definition(x.astype(float), w.astype(float), shapes)
    shifted = expected + bias.reshape(-1, *[1] * len(shapes.image))
    largest = max(map(length, x)) * max(map(length, w))
    close(way.forward(tensors[0], tensors[1], tensors[2]), shifted, largest)
    close(way.forward(tensors[0], tensors[1], None), expected, largest)

    of_images, of_weight = way.backward([True, True], tensors[3], tensors[0], tensors[1])
    toward_x, toward_w = draw.uniform(-1, 1, x.shape), draw.uniform(-1, 1, w.shape)
    for found, direction, effect, factor in [
            (of_images, toward_x, by_definition(toward_x, w.astype(float), shapes), w),
            (of_weight, toward_w, by_definition(x.astype(float), toward_w, shapes), x)]:
        assert found.shape == direction.shape
        size = length(direction) * length(gradient) * length(factor)
        assert abs((found.double().numpy() * direction).sum() - (gradient * effect).sum()) <= 1e-6 * size


@given(convolutions())
def test_the_number_of_products(shapes: Shapes) -> None:
    n = fourier.box(shapes.image, shapes.pad)
    for transform in fourier.transforms(shapes.image, shapes.kernel, shapes.pad):
        own, pairs = transform.of(torch.zeros(3, 2, *transform.size))
        assert own.shape[1:] == pairs.shape[1:] == (3, 2)
        assert len(own) + len(pairs) == fourier.products(n)


@given(convolutions())
def test_the_work_is_that_of_the_matrices(shapes: Shapes) -> None:
    n = fourier.box(shapes.image, shapes.pad)
    for transform in fourier.transforms(shapes.image, shapes.kernel, shapes.pad):
        others = int(np.prod(transform.size[:-1]))
        matrices = transform.own.numel() + transform.pairs.numel()
        assert fourier.work(transform.size, n) == transform.last.numel() * others + matrices


def test_only_wanted_gradients_are_computed() -> None:
    shapes = Shapes(2, 3, 4, (5, 5), (3, 3), (1, 1))
    way = ByFourier(shapes.windows, shapes.image)
    tensors = torch.ones(2, 4, 5, 5), torch.ones(2, 3, 5, 5), torch.ones(4, 3, 3, 3)
    assert way.backward([False, True], *tensors)[0] is None
    assert way.backward([True, False], *tensors)[1] is None


def test_an_empty_image_gives_the_bias_to_the_last_bit() -> None:
    shapes = Shapes(2, 3, 4, (5, 5), (3, 3), (1, 1))
    bias = torch.randn(4)
    output = ByFourier(shapes.windows, shapes.image).forward(torch.zeros(2, 3, 5, 5),
                                                                            torch.randn(4, 3, 3, 3), bias)
    assert torch.equal(output, bias.view(1, 4, 1, 1).expand(2, 4, 5, 5))


def test_the_error_is_of_the_size_of_the_direct_kernels() -> None:
    """On the second convolution of the largest genome, with inputs as a ReLU leaves them."""
    torch.manual_seed(1)
    shapes = Shapes(10, 126, 126, (14, 14), (8, 8), (2, 2))
    x = torch.randn(10, 126, 14, 14).relu().contiguous(memory_format=torch.channels_last)
    w, gradient = 0.01 * torch.randn(126, 126, 8, 8), torch.randn(10, 126, 11, 11)
    exact = Direct(shapes.windows, False, 1)
    expected = [exact.forward(x.double(), w.double(), None),
                *exact.backward([True, True], gradient.double(), x.double(), w.double())]

    def errors(way: Any) -> Any:
        found = [way.forward(x, w, None), *way.backward([True, True], gradient, x, w)]
        return np.array([float((f.double() - e).abs().max() / e.abs().max()) for f, e in zip(found, expected)])

    mine = errors(ByFourier(shapes.windows, shapes.image))
    assert (mine < 3e-6).all() and (mine < 4 * errors(exact)).all()


def shapes_of_paper(size: int, kernel: int, channels: int, num_output: int) -> Shapes:
    return Shapes(100, channels, num_output, (size, size), (kernel, kernel), (2, 2))


@pytest.mark.parametrize("shapes, is_chosen", [
    (shapes_of_paper(32, 5, 3, 32), False), (shapes_of_paper(16, 5, 32, 32), True),  # the default genome's
    (shapes_of_paper(32, 4, 3, 76), False), (shapes_of_paper(16, 4, 76, 118), True),  # those of Table 3's best
    (shapes_of_paper(8, 2, 118, 108), False),
    (shapes_of_paper(16, 1, 126, 126), False),
    (shapes_of_paper(32, 8, 3, 126), False),  # a kernel as large, but of few channels
    (shapes_of_paper(14, 8, 126, 126), True), (shapes_of_paper(8, 5, 64, 64), True),
    (shapes_of_paper(14, 8, 126, 126)._replace(num=1), False),  # one image does not pay for the weight's transform
])
def test_it_is_chosen_where_it_is_less_work(shapes: Shapes, is_chosen: bool) -> None:
    assert fourier.is_less_work(*shapes[:2], shapes.image, shapes.num_output, shapes.output,
                                shapes.windows) == is_chosen


def convolution(type_: str, settings: str, images: Tuple[int, ...]) -> Convolution:
    """A layer that is ready for such images."""
    text = f'top: "y" type: "{type_}" convolution_param {{ {settings} }}'
    layer = make_layer(text_format.Parse(text, caffe_pb2.LayerParameter()))
    bottom, top = [Blob(images)], [Blob()]
    layer.setup(bottom, top)
    layer.reshape(bottom, top)
    assert isinstance(layer, Convolution)
    return layer


def way_of(type_: str, settings: str, images: Tuple[int, ...]) -> Any:
    return type(convolution(type_, settings, images)._way)


@pytest.mark.parametrize("type_, settings, expected", [
    ("Convolution", "", ByFourier), ("Convolution", "bias_term: false axis: 1", ByFourier),
    ("Convolution", "stride: 2", Direct), ("Convolution", "dilation: 2", Direct), ("Convolution", "group: 2", Direct),
    ("Deconvolution", "", Direct),
])
def test_it_is_for_plain_convolutions(type_: str, settings: str, expected: type) -> None:
    assert way_of(type_, f"num_output: 32 kernel_size: 5 pad: 2 {settings}", (16, 32, 9, 9)) is expected


def test_coarse_numbers_are_multiplied_by_the_direct_kernels() -> None:
    settings = "num_output: 32 kernel_size: 5 pad: 2"
    mode.set_math("bf16")
    try:
        assert way_of("Convolution", settings, (16, 32, 9, 9)) is Direct
    finally:
        mode.set_math("float32")


def test_the_case_that_real_caffe_judges_takes_this_way() -> None:
    assert way_of("Convolution", BY_FOURIER, (16, 16, 3, 4)) is ByFourier
