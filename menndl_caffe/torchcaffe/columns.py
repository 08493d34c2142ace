"""Images as columns of what windows see, on any number of axes (`im2col.cpp`).

PyTorch has this for two axes and for windows within the padded image; Caffe's may overhang it by less than a stride,
and find zeros there.
"""
from __future__ import annotations

from itertools import product
from math import prod
from typing import Any, Iterator

import torch
import torch.nn.functional as F

from menndl_caffe.nets.layer_rules.blob import Shape
from menndl_caffe.nets.layer_rules.convolution import Windows


class Columns:
    """Between images N x C x `image` and columns N x C x `places` x `steps`: places of the kernel, steps of the window.
    """

    def __init__(self, windows: Windows, image: Shape, steps: Shape) -> None:
        self._windows, self._image = windows, image
        self.places, self.steps = prod(windows.kernel), steps

    def of(self, images: torch.Tensor) -> torch.Tensor:
        """What each window sees."""
        padding = [amount for before, size, whole in reversed(list(zip(self._windows.pad, self._image, self._padded())))
                   for amount in (before, whole - before - size)]
        padded = F.pad(images, padding)
        return torch.stack([padded[part] for part in self._parts()], 2)

    def added(self, columns: torch.Tensor) -> torch.Tensor:
        """The images in which each element is the sum of what the windows have of it: the gradient of `of`."""
        padded = columns.new_zeros(*columns.shape[:2], *self._padded())
        for place, part in enumerate(self._parts()):
            padded[part] += columns[:, :, place]
        inner: Any = tuple(slice(before, before + size) for before, size in zip(self._windows.pad, self._image))
        return padded[(..., *inner)].contiguous()

    def _padded(self) -> Shape:
        """The image with its padding, and with what the last window reaches beyond."""
        windows = self._windows
        reach = ((steps - 1) * s + e for steps, s, e in zip(self.steps, windows.stride, windows.extent()))
        return tuple(max(pad + size, last) for pad, size, last in zip(windows.pad, self._image, reach))

    def _parts(self) -> Iterator[Any]:
        """For each place of the kernel, what it meets of the padded image in all steps."""
        for offsets in product(*map(range, self._windows.kernel)):
            yield (..., *(slice(o * d, o * d + (steps - 1) * s + 1, s) for o, d, s, steps in zip(
                offsets, self._windows.dilation, self._windows.stride, self.steps)))
