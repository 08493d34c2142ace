"""Convolution and Deconvolution, on any number of spatial axes.

Sources: `base_conv_layer.cpp`, `conv_layer.cpp`, `deconv_layer.cpp`.
"""
from __future__ import annotations

from math import prod
from typing import Any, List, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F

from menndl_caffe.nets.layer_rules.blob import Shape, axis_of
from menndl_caffe.nets.layer_rules.convolution import Windows, windows_of
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.columns import Columns
from menndl_caffe.torchcaffe.fourier import ByFourier, is_less_work
from menndl_caffe.torchcaffe.layer import Blobs, Layer, register
from menndl_caffe.torchcaffe.numbers import are_dual, factors, real

aten: Any = torch.ops.aten
HEAVY = 4  # times as many numbers in the weight as in the images: more work to reorder than to multiply, as measured
SMALL = 20480  # numbers in one image, below which PyTorch has kernels of its own (`ConvParams::use_mkldnn`)
Gradients = Tuple[Optional[torch.Tensor], ...]  # of images and weight, where wanted


class Direct:
    """By PyTorch's kernels, which take 1 to 3 spatial axes and windows within the padded image."""

    def __init__(self, windows: Windows, transposed: bool, group: int) -> None:
        self._settings = (list(windows.stride), list(windows.pad), list(windows.dilation), transposed,
                          [0] * len(windows.kernel), group)

    def forward(self, images: torch.Tensor, weight: torch.Tensor, bias: Optional[torch.Tensor]) -> torch.Tensor:
        """N x C x spatial to N x num_output x spatial."""
        return aten.convolution(images, weight, bias, *self._settings)

    def backward(self, wanted: Sequence[bool], gradient: torch.Tensor, images: torch.Tensor,
                 weight: torch.Tensor) -> Gradients:
        """The gradients of images and weight."""
        # The bias's too, if asked for, but on a CPU many times slower than `_channel_sums`.
        return aten.convolution_backward(gradient, images, weight, None, *self._settings, [*wanted, False])[:2]


class Unrolled(Direct):
    """By unrolled images, as Caffe does it, in the kernels that PyTorch has for machines without oneDNN.

    A call of oneDNN takes 50 to 100 microseconds, and brings the weight into an order of its own: too long where
    windows see few numbers, or the weight has many.
    """

    FEW = 2 ** 16  # numbers that all windows together see: both limits as measured
    MANY = 64  # times as many numbers in the weight as in the images

    def __init__(self, windows: Windows) -> None:
        super().__init__(windows, False, 1)
        self._kernel, self._stride, self._pad = list(windows.kernel), list(windows.stride), list(windows.pad)

    @classmethod
    def fits(cls, num: int, channels: int, image: Shape, num_output: int, output: Shape, windows: Windows) -> bool:
        """Whether it is for these windows, without dilation."""
        kernel = prod(windows.kernel)
        is_heavy = num_output * channels * kernel > cls.MANY * num * channels * prod(image)
        return len(image) == 2 and (num * channels * kernel * prod(output) <= cls.FEW or is_heavy)

    def forward(self, images: torch.Tensor, weight: torch.Tensor, bias: Optional[torch.Tensor]) -> torch.Tensor:
        """As Direct's."""
        if are_dual():  # the kernels have no forward derivative
            return super().forward(images, weight, bias)
        return aten._slow_conv2d_forward(images.contiguous(), weight, self._kernel, bias, self._stride, self._pad)

    def backward(self, wanted: Sequence[bool], gradient: torch.Tensor, images: torch.Tensor,
                 weight: torch.Tensor) -> Gradients:
        """As Direct's."""
        if are_dual():
            return super().backward(wanted, gradient, images, weight)
        return aten._slow_conv2d_backward.output_mask(gradient.contiguous(), images.contiguous(), weight, self._kernel,
                                                      self._stride, self._pad, [*wanted, False])[:2]


class ByProduct:
    """As one product of matrices, where what each window sees lies in memory as a row: of a stride of 1, on a CPU.

    N, C, K     images, channels, outputs
    X           what the windows see, a row for each window of all images
    W, b, Y     the weight, of K rows; the bias; the output, of K columns

        Y = X W^T + b                                                                                                (1)

    This is how Caffe computes every convolution (`base_conv_layer.cpp`), once it has written X down. A window that is
    the whole image sees that image, and one of one pixel its C channels: X is the bottom as it is.

    With padding, one pixel may see but zeros: Y is b there, and its gradient is nobody's. On the way back the narrower
    of X and Y, in channels, is padded or cropped; on the way up, PyTorch's kernels do it faster.
    """

    def __init__(self, windows: Windows, image: Shape) -> None:
        self._is_pixel, self._pad = prod(windows.kernel) == 1, windows.pad
        self._inner: Any = (..., *(slice(p, p + size) for p, size in zip(windows.pad, image)))
        self._direct = Direct(windows, False, 1)

    @staticmethod
    def fits(windows: Windows, image: Shape) -> bool:
        """Whether it is for these windows, of a stride of 1 and without dilation."""
        return prod(windows.kernel) == 1 or windows.kernel == image and not any(windows.pad)

    def forward(self, images: torch.Tensor, weight: torch.Tensor, bias: Optional[torch.Tensor]) -> torch.Tensor:
        """As Direct's."""
        if any(self._pad):
            return self._direct.forward(images, weight, bias)
        rows, matrix = self._rows(images), weight.flatten(1).t()
        output = rows @ matrix if bias is None else torch.addmm(bias, rows, matrix)
        size = images.shape[2:] if self._is_pixel else [1] * len(self._pad)
        return output.view(len(images), *size, -1).movedim(-1, 1)

    def backward(self, wanted: Sequence[bool], gradient: torch.Tensor, images: torch.Tensor,
                 weight: torch.Tensor) -> Gradients:
        """As Direct's."""
        are_padded, of_images = any(self._pad), None
        if are_padded and images.shape[1] < len(weight):
            images = F.pad(images.movedim(1, -1), [0, 0, *_around(self._pad)]).movedim(-1, 1)
        elif are_padded:
            gradient, are_padded = gradient[self._inner], False
        steps = _pixels(gradient)
        if wanted[0]:
            of_images = steps @ weight.flatten(1)
            of_images = (of_images.view(len(images), *images.shape[2:], -1).movedim(-1, 1) if self._is_pixel
                         else of_images.view(images.shape))
            of_images = of_images[self._inner] if are_padded else of_images
        return of_images, (steps.t() @ self._rows(images)).view(weight.shape) if wanted[1] else None

    def _rows(self, images: torch.Tensor) -> torch.Tensor:
        """X."""
        return _pixels(images) if self._is_pixel else images.flatten(1)


class ByColumns:
    """By unrolled images, as Caffe does it: for what PyTorch's kernels cannot."""

    def __init__(self, columns: Columns, transposed: bool, group: int) -> None:
        self._columns, self._transposed, self._group = columns, transposed, group

    def forward(self, images: torch.Tensor, weight: torch.Tensor, bias: Optional[torch.Tensor]) -> torch.Tensor:
        """As Direct's."""
        output = (self._spread if self._transposed else self._gathered)(images, weight)
        return output if bias is None else output + bias.view(-1, *[1] * (output.dim() - 2))

    def backward(self, wanted: Sequence[bool], gradient: torch.Tensor, images: torch.Tensor,
                 weight: torch.Tensor) -> Gradients:
        """As Direct's."""
        back = self._gathered if self._transposed else self._spread
        steps, image = (images, gradient) if self._transposed else (gradient, images)
        return (back(gradient, weight) if wanted[0] else None,
                self._products(steps, image).view(weight.shape) if wanted[1] else None)

    def _gathered(self, images: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The weight times what each window sees."""
        outputs = self._matrices(weight) @ self._grouped(self._columns.of(images))
        return outputs.reshape(len(images), -1, *self._columns.steps)

    def _spread(self, steps: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The sum of what each step's window gets by the weight: the gradient of `_gathered`."""
        columns = self._matrices(weight).transpose(1, 2) @ self._grouped(steps)
        return self._columns.added(columns.reshape(len(steps), -1, self._columns.places, *self._columns.steps))

    def _products(self, steps: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """The gradient of the weight."""
        return torch.einsum("ngal,ngbl->gab", self._grouped(steps), self._grouped(self._columns.of(images)))

    def _grouped(self, tensor: torch.Tensor) -> torch.Tensor:
        """N x group x channels (or what a kernel sees of them) x steps."""
        return tensor.reshape(len(tensor), self._group, -1, prod(self._columns.steps))

    def _matrices(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.reshape(self._group, len(weight) // self._group, -1)


Way = Union[Direct, ByColumns, ByFourier, ByProduct]


@register("Convolution", "Deconvolution")
class Convolution(Layer):
    """Weight num_output x C/group x kernel (Deconvolution: C x num_output/group x kernel), bias num_output."""

    def fillers(self) -> Sequence[Any]:
        return self.param.convolution_param.weight_filler, self.param.convolution_param.bias_filler

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        self._axis = axis_of(self.param.convolution_param.axis, bottom[0].shape)
        self._way = self._way_of(bottom[0].shape, top[0].shape)
        self._is_channels_last = self._prefers_channels_last(bottom[0].shape)

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        bias = self.blobs[1].value if len(self.blobs) > 1 else None
        for below, above in zip(bottom, top):
            output = real(self._way.forward(*factors(self._images(below.value), self.blobs[0].value, bias)))
            above.value = output if self._axis == 1 else output.reshape(above.shape)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        for below, above, wanted in zip(bottom, top, propagate_down):
            images, gradient, weight = self._images(below.value), self._images(above.grad), self.blobs[0].value
            of_images, of_weight = self._way.backward([wanted, self.propagates_to[0]],
                                                      *factors(gradient, images, weight))
            if of_images is not None:
                below.grad = real(of_images).reshape(below.shape)
            if of_weight is not None:
                self.blobs[0].add_grad(of_weight)
            if len(self.blobs) > 1 and self.propagates_to[1]:
                self.blobs[1].add_grad(_channel_sums(gradient))

    def _way_of(self, bottom: Shape, top: Shape) -> Way:
        param, transposed = self.param.convolution_param, self.type == "Deconvolution"
        image, output = bottom[self._axis + 1:], top[self._axis + 1:]
        windows = windows_of(param, len(image))
        wide, narrow = (output, image) if transposed else (image, output)
        overhangs = any(e > size + 2 * p for size, e, p in zip(wide, windows.extent(), windows.pad))
        if len(image) not in (1, 2, 3) or overhangs:
            return ByColumns(Columns(windows, wide, narrow), transposed, param.group)
        is_plain = not transposed and param.group == 1 and {*windows.dilation} == {1}
        if is_plain and mode.device().type == "cpu" and mode.math() != "bf16":
            sizes = prod(bottom[:self._axis]), bottom[self._axis], image, top[self._axis], output
            is_by_one = {*windows.stride} == {1}
            if is_by_one and ByProduct.fits(windows, image):
                return ByProduct(windows, image)
            if Unrolled.fits(*sizes, windows):
                return Unrolled(windows)
            if is_by_one and is_less_work(*sizes, windows):
                return ByFourier(windows, image)
        return Direct(windows, transposed, param.group)

    def _prefers_channels_last(self, bottom: Shape) -> bool:
        """Whether the order of memory that is fast for images of 2 axes on a CPU is so for these, too."""
        channels, *image = bottom[self._axis:]
        if len(image) != 2 or mode.device().type != "cpu":
            return False
        num, weight = prod(bottom[:self._axis]), self.blobs[0].shape
        is_whole = isinstance(self._way, ByProduct) and prod(weight[2:]) > 1
        # PyTorch brings a weight into the images' order, pass by pass, and one small image to other kernels.
        is_heavy = prod(weight) > HEAVY * prod(bottom)
        is_small = num == 1 and channels <= 3 and min(weight[2:]) <= 3 and prod(bottom) <= SMALL
        return not (isinstance(self._way, Unrolled) or is_whole or is_heavy or is_small)

    def _images(self, tensor: torch.Tensor) -> torch.Tensor:
        """All axes before the channels' as one, in the order of memory that is fast."""
        images = tensor if self._axis == 1 else tensor.reshape(-1, *tensor.shape[self._axis:])
        return _channels_last(images) if self._is_channels_last else images


def _channels_last(images: torch.Tensor) -> torch.Tensor:
    images = images.contiguous(memory_format=torch.channels_last)
    if images.shape[1] > 1:
        return images
    height, width = images.shape[2:]  # of one channel both orders are the same: only strides tell PyTorch which to keep
    return images.as_strided(images.shape, (height * width, 1, width, 1))


def _channel_sums(images: torch.Tensor) -> torch.Tensor:
    """Sums over all axes but the channels', number 1."""
    if images.is_contiguous() and images.dim() > 2:
        return images.flatten(2).sum((0, 2))
    rows = _pixels(images)
    return torch.mv(rows.t(), rows.new_ones(len(rows)))


def _pixels(images: torch.Tensor) -> torch.Tensor:
    """The channels of each pixel of all images, as a row."""
    return images.movedim(1, -1).reshape(-1, images.shape[1])


def _around(pad: Shape) -> List[int]:
    """The padding before and after each axis, as PyTorch takes it: the last axis first."""
    return [amount for p in reversed(pad) for amount in (p, p)]
