"""Convolution by its Fourier transform, for windows so large that this is less work than to slide them.

    x, w, y       a plane of the bottom, of the weight, and of the top, each over positions of all spatial axes
    p             pad;  n: size of the image + p, by axis
    X, W          transforms of x and of w at the frequencies f of the box n
    P, T, Q       number of positions of x, of w, and of y
    N, C, K       images, channels, outputs
    r             1 to R, the real products that a plane of x and one of w need

    y(q) = Σ_t w(t) x(q + t - p)                                                                                     (1)
         = 1/|n| Σ_f X(f) W(f) e^(2πi f·(q-p)/n),   X(f) = Σ_q x(q) e^(-2πi f·q/n),   W(f) = Σ_t w(t) e^(2πi f·t/n)  (2)

(1) is what Caffe computes (`base_conv_layer.cpp`). (2) repeats the image every n positions; with n as above no window
sees two of them, as they share the pad between them. f and -f have conjugate values, so one of the two is enough, and
a complex product is three real ones (Gauss): with X = a + bi and W = c + di

    XW = c(a + b) - b(c + d) + i (c(a + b) + a(d - c))                                                               (3)

All sums before the products and after them are linear in x, in w and in the products, so (2) and (3) are three constant
matrices and, for each r, a product of an N x C matrix with a C x K matrix:

    y = A (Bx ⊙ Gw)                                                                                                  (4)

The gradients are those of a bilinear form. The matrices are made in float64; the error is of the size of a
direct sum's in float32, about 1e-6 of the largest number.
"""
from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch

from menndl_caffe.nets.layer_rules.blob import Shape
from menndl_caffe.nets.layer_rules.convolution import Windows
from menndl_caffe.torchcaffe import mode

# A product of the direct kernels takes so much less time than one here, as measured by tests/bench/engines.py.
ADVANTAGE_OF_DIRECT = 1.2


class Bilinear(NamedTuple):
    """The matrices of (4): `before` B is R x P, `weight` G is R x T, `after` A is Q x R."""

    before: torch.Tensor
    weight: torch.Tensor
    after: torch.Tensor


def box(image: Shape, pad: Shape) -> Shape:
    """n: the size that is repeated."""
    return tuple(size + p for size, p in zip(image, pad))


def products(n: Shape) -> int:
    """R: one for each frequency that is its own opposite, three for each pair of opposite ones."""
    real = prod(2 - size % 2 for size in n)
    return real + 3 * (prod(n) - real) // 2


def is_less_work(num: int, channels: int, image: Shape, num_output: int, output: Shape, windows: Windows) -> bool:
    """Whether (4) beats (1) for so many images. It depends on shapes alone: the same net, the same arithmetic."""
    r, taps = products(box(image, windows.pad)), prod(windows.kernel)
    pairs = channels * num_output
    fourier = num * r * (prod(image) * channels + prod(output) * num_output + pairs) + r * taps * pairs
    return ADVANTAGE_OF_DIRECT * fourier < num * prod(output) * taps * pairs


@lru_cache(maxsize=64)
def bilinear(image: Shape, kernel: Shape, pad: Shape, dtype: torch.dtype = torch.float32) -> Bilinear:
    """The matrices for a stride of 1, without dilation."""
    n = box(image, pad)
    real, half = _frequencies(n)
    frequencies = np.concatenate([real, half])
    output = tuple(size + 2 * p - k + 1 for size, p, k in zip(image, pad, kernel))
    x, w = _phases(frequencies, image, n), _phases(frequencies, kernel, n)
    y = _phases(frequencies, output, n, start=pad)
    a, b, c, d = np.cos(x), -np.sin(x), np.cos(w), np.sin(w)
    weight = np.repeat([1, 2], [len(real), len(half)])[:, None] / prod(n)  # of a frequency, or of it and its opposite
    re, im = weight * np.cos(y), -weight * np.sin(y)
    one, two = slice(len(real)), slice(len(real), None)
    before = [a[one], a[two] + b[two], b[two], a[two]]
    kernels = [c[one], c[two], c[two] + d[two], d[two] - c[two]]
    after = [re[one], re[two] + im[two], -re[two], im[two]]
    return Bilinear(_stacked(before, dtype), _stacked(kernels, dtype), _stacked(after, dtype).t())


class ByFourier:
    """Convolution of a stride of 1 by (4), on a CPU."""

    def __init__(self, windows: Windows, image: Shape, output: Shape) -> None:
        self._b, self._g, self._a = bilinear(image, windows.kernel, windows.pad, mode.dtype())
        self._image, self._kernel, self._output = image, windows.kernel, output

    def forward(self, images: torch.Tensor, weight: torch.Tensor, bias: Optional[torch.Tensor]) -> torch.Tensor:
        """N x C x spatial to N x K x spatial."""
        of_pairs = torch.bmm(_times(self._b, images), _times(self._g, weight).transpose(1, 2))
        output = _planes(self._a, of_pairs, self._output)
        return output if bias is None else output.add_(bias.view(-1, *[1] * len(self._output)))

    def backward(self, wanted: Sequence[bool], gradient: torch.Tensor, images: torch.Tensor,
                 weight: torch.Tensor) -> Tuple[Optional[torch.Tensor], ...]:
        """The gradients of images and weight, where wanted."""
        of_pairs = _times(self._a.t(), gradient)
        of_images, of_weight = None, None
        if wanted[0]:
            of_images = _planes(self._b.t(), torch.bmm(of_pairs, _times(self._g, weight)), self._image)
        if wanted[1]:
            of_weight = _planes(self._g.t(), torch.bmm(of_pairs.transpose(1, 2), _times(self._b, images)), self._kernel)
        return of_images, of_weight


def _stacked(parts: Sequence[np.ndarray], dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(parts)).to(dtype)


def _times(matrix: torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
    """A matrix R x P by M x L x (P positions): R x M x L."""
    columns = planes.flatten(2).permute(2, 0, 1)
    return (matrix @ columns.reshape(len(columns), -1).to(matrix.dtype)).view(-1, *planes.shape[:2])


def _planes(matrix: torch.Tensor, products: torch.Tensor, size: Shape) -> torch.Tensor:
    """A matrix P x R by R x M x L: M x L x size, channels last."""
    planes = (matrix @ products.reshape(len(products), -1)).view(*size, *products.shape[1:])
    last = planes.movedim(-2, 0).contiguous()
    return last.movedim(-1, 1)


def _frequencies(n: Shape) -> Tuple[np.ndarray, np.ndarray]:
    """Those that are their own opposite, and one of each other pair: count x axes."""
    all_of_them = _positions(n)
    place = np.arange(len(all_of_them))
    opposite = np.ravel_multi_index(tuple((-all_of_them % n).T), n)
    return all_of_them[place == opposite], all_of_them[place < opposite]


def _positions(size: Shape) -> np.ndarray:
    """All of a box, in C order: count x axes."""
    return np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1).reshape(-1, len(size))


def _phases(frequencies: np.ndarray, size: Shape, n: Shape, start: Sequence[int] = ()) -> np.ndarray:
    """2π f·(q - start)/n: frequencies x positions q of a box."""
    shifted = _positions(size) - np.array(start or [0] * len(size))
    return 2 * np.pi * (frequencies / np.array(n)) @ shifted.T
