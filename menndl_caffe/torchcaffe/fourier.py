"""Convolution by its Fourier transform, for windows so large that this is less work than to slide them.

    x, w, y       a plane of the bottom, of the weight, and of the top, each over positions of all spatial axes
    p             pad;  n: size of the image + p, by axis
    X, W          transforms of x and of w at the frequencies f of the box n
    f = (e, l)    l: frequency of the last axis, e: of all others together
    v, u          positions on all other axes together, and on the last one; V, U: their numbers
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

A^T is made as B and G are. With g, a plane over the positions q, and Y(f) = Σ_q g(q) e^(2πi f·(q-p)/n) = α + βi:

    Σ_q g(q) y(q) = 1/|n| Σ_f Re(XWY) = 1/|n| Σ_f c(a + b) (α - β) - b(c + d) α - a(d - c) β                         (5)

The transforms of planes go over the last axis first, and then over all others together:

    X(e, l) = Σ_v e^(-2πi e·v/n) Σ_u e^(-2πi l u/n) x(v, u)                                                          (6)

Where l is its own opposite, 0 or n/2, the inner sum is real, and one of two opposite e is enough. Of the other l one of
two is, with all e. Both together make the R of (3). Either sum is a product of large matrices.

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
ADVANTAGE_OF_DIRECT = 2.5
# What is multiplied, of real and imaginary part at each frequency: (3) and (5).
OF_IMAGE = np.array([[1, 1], [0, 1], [1, 0]])
OF_WEIGHT = np.array([[1, 0], [1, 1], [-1, 1]])
OF_OUTPUT = np.array([[1, -1], [-1, 0], [0, -1]])


class Spectrum(NamedTuple):
    """For each r a matrix: where l is its own opposite, and where it is not."""

    own: torch.Tensor
    pairs: torch.Tensor

    def times(self, other: Spectrum) -> Spectrum:
        """The products of the matrices."""
        return Spectrum(torch.bmm(self.own, other.own), torch.bmm(self.pairs, other.pairs))

    def transposed(self) -> Spectrum:
        """Each matrix."""
        return Spectrum(self.own.transpose(1, 2), self.pairs.transpose(1, 2))


class Transform:
    """B, G or A^T by (6), from planes of `size`: `last` is the inner sum, the others what is made of it.

    `last` has a row for each l that is its own opposite, and then two for each other, real and imaginary part.
    """

    def __init__(self, size: Shape, last: torch.Tensor, own: torch.Tensor, pairs: torch.Tensor) -> None:
        self.size, self.last, self.own, self.pairs = size, last, own, pairs

    def of(self, planes: torch.Tensor) -> Spectrum:
        """Of planes M x L x size: R times M x L."""
        shape, axes, own = planes.shape[:2], len(self.size), len(self.own)
        columns = planes.permute(axes + 1, *range(2, axes + 1), 0, 1).reshape(self.size[-1], -1)
        inner = self.last @ columns.to(self.last.dtype)
        return Spectrum(*(_sums(matrices, part, shape.numel()).unflatten(1, shape)
                          for matrices, part in ((self.own, inner[:own]), (self.pairs, inner[own:]))))

    def adjoint(self, spectrum: Spectrum) -> torch.Tensor:
        """The transposed matrix by R times M x L: planes M x L x size, channels last."""
        shape, axes = spectrum.own.shape[1:], len(self.size)
        inner = torch.cat([_sums(matrices.transpose(1, 2), part, shape.numel())
                           for matrices, part in ((self.own, spectrum.own), (self.pairs, spectrum.pairs))])
        planes = (self.last.t() @ inner.view(len(self.last), -1)).view(self.size[-1], *self.size[:-1], *shape)
        return planes.permute(axes, *range(1, axes), 0, axes + 1).contiguous().movedim(-1, 1)


def box(image: Shape, pad: Shape) -> Shape:
    """n: the size that is repeated."""
    return tuple(size + p for size, p in zip(image, pad))


def products(n: Shape) -> int:
    """R: one for each frequency that is its own opposite, three for each pair of opposite ones."""
    real = prod(2 - size % 2 for size in n)
    return real + 3 * (prod(n) - real) // 2


def work(size: Shape, n: Shape) -> int:
    """Products of numbers in the transform of a plane of this size, (6)."""
    others, own = prod(size[:-1]), 2 - n[-1] % 2
    return others * (n[-1] * size[-1] + own * products(n[:-1]) + 3 * (n[-1] - own) * prod(n[:-1]))


def is_less_work(num: int, channels: int, image: Shape, num_output: int, output: Shape, windows: Windows) -> bool:
    """Whether (4) beats (1) for so many images. It depends on shapes alone: the same net, the same arithmetic."""
    n, pairs = box(image, windows.pad), channels * num_output
    fourier = (num * (work(image, n) * channels + work(output, n) * num_output + products(n) * pairs)
               + work(windows.kernel, n) * pairs)
    return ADVANTAGE_OF_DIRECT * fourier < num * prod(output) * prod(windows.kernel) * pairs


@lru_cache(maxsize=64)
def transforms(image: Shape, kernel: Shape, pad: Shape, dtype: torch.dtype = torch.float32) -> Tuple[Transform, ...]:
    """B, G and A^T for a stride of 1, without dilation."""
    n = box(image, pad)
    output = tuple(size + 2 * p - k + 1 for size, p, k in zip(image, pad, kernel))
    nowhere = (0,) * len(n)
    return (_transform(image, n, nowhere, -1, OF_IMAGE, (1, 1), dtype),
            _transform(kernel, n, nowhere, 1, OF_WEIGHT, (1, 1), dtype),
            _transform(output, n, pad, 1, OF_OUTPUT, (1 / prod(n), 2 / prod(n)), dtype))


def _transform(size: Shape, n: Shape, start: Shape, sign: int, mixture: np.ndarray, weights: Tuple[float, float],
               dtype: torch.dtype) -> Transform:
    """Phases are sign 2πi f·(q - start)/n. `weights`: of a frequency, or of it and its opposite."""
    own, half = _frequencies(n[-1:])
    alone, together = (sign * _phases(f, size[-1:], n[-1:], start[-1:]) for f in (own, half))
    last = np.concatenate([np.cos(alone), np.stack([np.cos(together), np.sin(together)], 1).reshape(-1, size[-1])])
    others = size[:-1], n[:-1], start[:-1]
    real, pairs = _frequencies(n[:-1])
    one, two, each = (sign * _phases(f, *others) for f in (real, pairs, _positions(n[:-1])))
    of_own = np.concatenate([weights[0] * np.cos(one), weights[1] * _mixed(two, mixture)[:, :two.shape[1]]])
    of_pairs = weights[1] * _mixed(each, mixture)

    def times(matrix: np.ndarray, count: int) -> torch.Tensor:
        return torch.from_numpy(matrix).to(dtype).expand(count, -1, -1)

    return Transform(size, torch.from_numpy(last).to(dtype), times(of_own, len(own)), times(of_pairs, len(half)))


def _mixed(phases: np.ndarray, mixture: np.ndarray) -> np.ndarray:
    """What is multiplied, from real and imaginary parts that are turned by these phases: 3 rows for each, 2 columns."""
    cos, sin = np.cos(phases), np.sin(phases)
    return np.concatenate([np.concatenate([re * cos + im * sin, im * cos - re * sin], 1) for re, im in mixture])


class ByFourier:
    """Convolution of a stride of 1 by (4), on a CPU."""

    def __init__(self, windows: Windows, image: Shape) -> None:
        self._b, self._g, self._a = transforms(image, windows.kernel, windows.pad, mode.dtype())

    def forward(self, images: torch.Tensor, weight: torch.Tensor, bias: Optional[torch.Tensor]) -> torch.Tensor:
        """N x C x spatial to N x K x spatial."""
        turned = self._g.of(_interleaved(weight).transpose(0, 1))  # products with matrices that bmm turns are slower
        output = self._a.adjoint(self._b.of(images).times(turned))
        return output if bias is None else output.add_(bias.view(-1, *[1] * len(self._a.size)))

    def backward(self, wanted: Sequence[bool], gradient: torch.Tensor, images: torch.Tensor,
                 weight: torch.Tensor) -> Tuple[Optional[torch.Tensor], ...]:
        """The gradients of images and weight, where wanted."""
        spectrum = self._a.of(gradient)
        return (self._b.adjoint(spectrum.times(self._g.of(_interleaved(weight)))) if wanted[0] else None,
                self._g.adjoint(spectrum.transposed().times(self._b.of(images))) if wanted[1] else None)


def _sums(matrices: torch.Tensor, rows: torch.Tensor, width: int) -> torch.Tensor:
    """Each of the matrices by as many rows as it has columns, all of the same width."""
    count, made, taken = matrices.shape
    return torch.bmm(matrices, rows.reshape(count, taken, width)).view(count * made, width)


def _interleaved(weight: torch.Tensor) -> torch.Tensor:
    """The same weight, channels last: of matrices only is PyTorch fast at this."""
    planes = weight.reshape(weight.shape[:2].numel(), -1).t().contiguous()
    return planes.view(*weight.shape[2:], *weight.shape[:2]).movedim((-2, -1), (0, 1))


def _frequencies(n: Shape) -> Tuple[np.ndarray, np.ndarray]:
    """Those that are their own opposite, and one of each other pair: count x axes."""
    all_of_them = _positions(n)
    place = np.arange(len(all_of_them))
    opposite = np.array([np.ravel_multi_index(tuple(-f % n), n) if n else 0 for f in all_of_them])
    return all_of_them[place == opposite], all_of_them[place < opposite]


def _positions(size: Shape) -> np.ndarray:
    """All of a box, in C order: count x axes."""
    return np.array(list(np.ndindex(*size)), int).reshape(prod(size), len(size))


def _phases(frequencies: np.ndarray, size: Shape, n: Shape, start: Shape) -> np.ndarray:
    """2π f·(q - start)/n: frequencies x positions q of a box."""
    return 2 * np.pi * (frequencies / np.array(n)) @ (_positions(size) - np.array(start, int)).T
