"""Convolution and Deconvolution, on any number of spatial axes.

Sources: `base_conv_layer.cpp`, `conv_layer.cpp`, `deconv_layer.cpp`.
"""
from __future__ import annotations

from math import prod
from typing import Any, Optional, Sequence, Tuple, Union

import torch

from menndl_caffe.nets.layer_rules.blob import Shape, axis_of
from menndl_caffe.nets.layer_rules.convolution import Windows, windows_of
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.columns import Columns
from menndl_caffe.torchcaffe.fourier import ByFourier, is_less_work
from menndl_caffe.torchcaffe.layer import Blobs, Layer, register
from menndl_caffe.torchcaffe.numbers import factors, real

aten: Any = torch.ops.aten
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


Way = Union[Direct, ByColumns, ByFourier]


@register("Convolution", "Deconvolution")
class Convolution(Layer):
    """Weight num_output x C/group x kernel (Deconvolution: C x num_output/group x kernel), bias num_output."""

    def fillers(self) -> Sequence[Any]:
        return self.param.convolution_param.weight_filler, self.param.convolution_param.bias_filler

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        self._axis = axis_of(self.param.convolution_param.axis, bottom[0].shape)
        self._way = self._way_of(bottom[0].shape, top[0].shape)

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
        is_plain = not transposed and param.group == 1 and {*windows.stride, *windows.dilation} == {1}
        if is_plain and mode.device().type == "cpu" and mode.math() != "bf16" and is_less_work(
                prod(bottom[:self._axis]), bottom[self._axis], image, top[self._axis], output, windows):
            return ByFourier(windows, image, output)
        return Direct(windows, transposed, param.group)

    def _images(self, tensor: torch.Tensor) -> torch.Tensor:
        """All axes before the channels' as one; images of 2 axes in the order of memory that is fast on a CPU."""
        images = tensor if self._axis == 1 else tensor.reshape(-1, *tensor.shape[self._axis:])
        if images.dim() == 4 and images.device.type == "cpu":
            return _channels_last(images)
        return images


def _channels_last(images: torch.Tensor) -> torch.Tensor:
    images = images.contiguous(memory_format=torch.channels_last)
    if images.shape[1] > 1:
        return images
    height, width = images.shape[2:]  # of one channel both orders are the same: only strides tell PyTorch which to keep
    return images.as_strided(images.shape, (height * width, 1, width, 1))


def _channel_sums(images: torch.Tensor) -> torch.Tensor:
    """Sums over all axes but the channels', number 1."""
    rows = images.movedim(1, -1).reshape(-1, images.shape[1])
    return torch.mv(rows.t(), rows.new_ones(len(rows)))
