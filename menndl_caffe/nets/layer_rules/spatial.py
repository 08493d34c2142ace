"""LRN, Im2col, SPP and Crop.

Sources: `lrn_layer.cpp`, `im2col_layer.cpp`, `spp_layer.cpp`, `crop_layer.cpp`.
"""
from __future__ import annotations

from math import prod
from typing import Tuple

from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, Message, Outcome, Shape, Shapes, axis_of, image_axes, text
from menndl_caffe.nets.layer_rules.convolution import convolved, windows_of
from menndl_caffe.nets.layer_rules.pooling import pyramid_level


def lrn(bottoms: Shapes, layer: Message) -> Outcome:
    """Like its bottom, each element scaled by those around it in an odd window."""
    size = layer.lrn_param.local_size
    if size % 2 == 0:
        raise ImpossibleNet(f"local_size must be odd, not {size}")
    image_axes(bottoms[0])
    return Outcome(bottoms)


def im2col(bottoms: Shapes, layer: Message) -> Outcome:
    """Every window as a column: C becomes C x kernel."""
    bottom = bottoms[0]
    axis = axis_of(layer.convolution_param.axis, bottom)
    if axis + 1 == len(bottom):
        raise ImpossibleNet("takes a blob with at least one axis after its channels")
    windows = windows_of(layer.convolution_param, len(bottom) - axis - 1)
    channels = bottom[axis] * prod(windows.kernel)
    return Outcome((bottom[:axis] + (channels,) + convolved(bottom[axis + 1:], windows),))


def spp(bottoms: Shapes, layer: Message) -> Outcome:
    """Spatial pyramid pooling: 1, 4, 16, … bins for each channel, in one row; of one level alone, N x C x 1 x 1."""
    levels = layer.spp_param.pyramid_height
    if levels < 1:
        raise ImpossibleNet("pyramid_height must be at least 1")
    num, channels, height, width = image_axes(bottoms[0])
    pooled = [pyramid_level(level, (height, width), layer.spp_param.pool)[2] for level in range(levels)]
    if levels == 1:
        return Outcome(((num, channels) + pooled[0],))
    return Outcome(((num, channels * sum(map(prod, pooled))),))


def crop(bottoms: Shapes, layer: Message) -> Outcome:
    """The first bottom cut to the size of the second from `axis` on."""
    image, like = bottoms
    axis, offsets = crop_offsets(layer.crop_param, image)
    if len(like) < len(image):
        raise ImpossibleNet(f"the size's blob {text(like)} has fewer axes than the image {text(image)}")
    size = like[axis:len(image)]
    if any(i - o < s for i, o, s in zip(image[axis:], offsets, size)):
        raise ImpossibleNet(f"a crop of {text(size)} at offset {text(offsets)} leaves the image {text(image[axis:])}")
    return Outcome((image[:axis] + size,))


def crop_offsets(param: Message, image: Shape) -> Tuple[int, Shape]:
    """The first axis that CropParameter cuts, and where it begins to on that axis and the later ones."""
    axis, offsets = axis_of(param.axis, image), tuple(param.offset) or (0,)
    axes = len(image) - axis
    if len(offsets) not in (1, axes):
        raise ImpossibleNet(f"offset is given {len(offsets)} times for {axes} axes: give 1 or as many")
    return axis, offsets if len(offsets) == axes else offsets * axes
