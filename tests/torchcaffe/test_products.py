"""Convolution as one product of matrices: against sums by definition, where it is chosen, in which order of memory."""
from __future__ import annotations

from typing import Any, Tuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from menndl_caffe.nets.layer_rules.convolution import Windows  # noqa: E402
from menndl_caffe.torchcaffe import mode  # noqa: E402
from menndl_caffe.torchcaffe.layer_types.convolution import ByProduct, Direct, Unrolled  # noqa: E402
from tests.torchcaffe.test_fourier import convolution, way_of  # noqa: E402

PIXELS = [((5, 7), (1, 1), (0, 0)), ((5, 7), (1, 1), (2, 1)), ((6,), (1,), (3,)), ((2, 3, 4), (1, 1, 1), (1, 0, 2))]
WHOLE = [((5, 7), (5, 7), (0, 0)), ((6,), (6,), (0,)), ((2, 3, 4), (2, 3, 4), (0, 0, 0)), ((1, 1), (1, 1), (0, 0))]


@pytest.mark.parametrize("channels, num_output", [(3, 5), (5, 3), (4, 4)])
@pytest.mark.parametrize("image, kernel, pad", PIXELS + WHOLE)
def test_it_is_the_convolution_and_its_gradients(image: Tuple[int, ...], kernel: Tuple[int, ...], pad: Tuple[int, ...],
                                                 channels: int, num_output: int) -> None:
    """In float64, where a sum by definition differs in the last bits only."""
    draw = np.random.RandomState(3)
    ones = (1,) * len(image)
    x, w, b = draw.rand(2, channels, *image), draw.rand(num_output, channels, *kernel), draw.rand(num_output)
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pad)])
    is_pixel = set(kernel) == {1}
    seen = np.einsum("nc...,kc->nk...", padded, w.reshape(num_output, channels)) if is_pixel else np.einsum(
        "nr,kr->nk", x.reshape(2, -1), w.reshape(num_output, -1)).reshape(2, num_output, *ones)
    gradient = draw.rand(*seen.shape)
    inner = (..., *(slice(p, p + size) for p, size in zip(pad, image)))
    if is_pixel:
        of_images = np.einsum("nk...,kc->nc...", gradient, w.reshape(num_output, channels))[inner]
        of_weight = np.tensordot(gradient, padded, [[0, *range(2, 2 + len(image))]] * 2).reshape(w.shape)
    else:
        rows = gradient.reshape(2, -1)
        of_images, of_weight = np.tensordot(rows, w, 1), np.tensordot(rows.T, x, 1)

    way = ByProduct(Windows(kernel, ones, pad, ones), image)
    tensors = list(map(torch.from_numpy, (gradient, x, w)))
    bias = torch.from_numpy(b)
    found = [way.forward(*tensors[1:], bias), way.forward(*tensors[1:], None), *way.backward([True, True], *tensors)]
    for mine, expected in zip(found, [seen + b.reshape(-1, *ones), seen, of_images, of_weight]):
        np.testing.assert_allclose(mine.numpy(), expected, rtol=1e-12, atol=1e-12)
    assert way.backward([False, True], *tensors)[0] is None
    assert way.backward([True, False], *tensors)[1] is None


@pytest.mark.parametrize("type_, settings, expected", [
    ("Convolution", "kernel_size: 1", ByProduct), ("Convolution", "kernel_size: 1 pad: 2", ByProduct),
    ("Convolution", "kernel_size: 6", ByProduct), ("Convolution", "kernel_size: 6 pad: 1", Unrolled),
    ("Convolution", "kernel_size: 1 stride: 2", Unrolled), ("Convolution", "kernel_size: 6 group: 2", Direct),
    ("Convolution", "kernel_size: 3 dilation: 2", Direct), ("Deconvolution", "kernel_size: 6", Direct),
])
def test_it_is_for_windows_that_are_rows_of_memory(type_: str, settings: str, expected: type) -> None:
    assert way_of(type_, f"num_output: 4 {settings}", (2, 4, 6, 6)) is expected


def test_coarse_numbers_are_multiplied_by_the_direct_kernels() -> None:
    mode.set_math("bf16")
    try:
        assert way_of("Convolution", "num_output: 4 kernel_size: 1", (2, 4, 6, 6)) is Direct
    finally:
        mode.set_math("float32")


@pytest.mark.parametrize("settings, images, is_last", [
    ("num_output: 32 kernel_size: 5 pad: 2", (100, 3, 32, 32), True),
    ("num_output: 16 kernel_size: 3", (1, 3, 32, 32), False),  # one small image of few channels
    ("num_output: 16 kernel_size: 3", (1, 3, 72, 72), False), ("num_output: 16 kernel_size: 3", (1, 3, 99, 99), True),
    ("num_output: 16 kernel_size: 3", (3, 3, 72, 72), True), ("num_output: 16 kernel_size: 5", (1, 3, 72, 72), True),
    ("num_output: 16 kernel_size: 3", (1, 4, 72, 72), True),
    ("num_output: 128 kernel_size: 9", (3, 64, 11, 11), False),  # 663,552 numbers in the weight, 23,232 in the images
    ("num_output: 16 kernel_size: 9", (3, 64, 11, 11), True),
    ("num_output: 4 kernel_size: 6", (64, 2, 6, 6), False),  # windows that are whole images
])
def test_images_are_brought_into_the_order_that_is_fast(settings: str, images: Tuple[int, ...], is_last: bool) -> None:
    assert convolution("Convolution", settings, images)._is_channels_last == is_last


# ---- unrolled ----

@pytest.mark.parametrize("settings, images, expected", [
    ("num_output: 4 kernel_size: 3", (1, 4, 34, 52), Unrolled),  # 4 channels, 9 places, 32 x 50 steps: 57,600 numbers
    ("num_output: 4 kernel_size: 3", (1, 4, 34, 60), Direct), ("num_output: 4 kernel_size: 3", (2, 4, 34, 52), Direct),
    ("num_output: 512 kernel_size: 5 stride: 2", (1, 32, 28, 28), Direct),  # 409,600 numbers in the weight, 25,088
    ("num_output: 2100 kernel_size: 5 stride: 2", (1, 32, 28, 28), Unrolled),  # 1,680,000
    ("num_output: 4 kernel_size: 3", (1, 4, 7), Direct), ("num_output: 4 kernel_size: 3", (1, 4, 7, 7, 7), Direct),
])
def test_few_numbers_and_heavy_weights_are_unrolled(settings: str, images: Tuple[int, ...], expected: type) -> None:
    assert way_of("Convolution", settings, images) is expected


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels, stride, pad", [(1, (1, 1), (0, 0)), (3, (2, 1), (1, 2)), (5, (1, 3), (4, 0))])
def test_unrolled_images_give_what_others_give(channels: int, stride: Tuple[int, int], pad: Tuple[int, int],
                                               order: Any) -> None:
    """In float64, against the kernels for images of all sizes, which real Caffe's numbers are compared with."""
    torch.manual_seed(2)
    windows = Windows((4, 3), stride, pad, (1, 1))
    images = torch.rand(3, channels, 9, 8, dtype=torch.float64).contiguous(memory_format=order)
    weight, bias = torch.rand(6, channels, 4, 3, dtype=torch.float64), torch.rand(6, dtype=torch.float64)
    unrolled, other = Unrolled(windows), Direct(windows, False, 1)
    output = other.forward(images, weight, bias)
    gradient = torch.rand_like(output).contiguous(memory_format=order)
    torch.testing.assert_close(unrolled.forward(images, weight, bias), output)
    torch.testing.assert_close(unrolled.forward(images, weight, None), other.forward(images, weight, None))
    for wanted in ([True, True], [True, False], [False, True]):
        for mine, expected in zip(unrolled.backward(wanted, gradient, images, weight),
                                  other.backward(wanted, gradient, images, weight)):
            assert mine is expected is None or torch.allclose(mine, expected, rtol=1e-12, atol=1e-12)
