"""Pooling over windows of an image, in one or in many sizes.

Sources: `pooling_layer.cpp`, `spp_layer.cpp` (GetPoolingParam).
"""
from __future__ import annotations

from typing import Tuple

from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, Message, Outcome, Shape, Shapes, image_axes, text
from menndl_caffe.nets.proto import caffe_pb2

MAX, STOCHASTIC = caffe_pb2.PoolingParameter.MAX, caffe_pb2.PoolingParameter.STOCHASTIC
FLOOR = caffe_pb2.PoolingParameter.FLOOR
SPP_STOCHASTIC = caffe_pb2.SPPParameter.STOCHASTIC


def pooling(bottoms: Shapes, layer: Message) -> Outcome:
    """N x C x H x W to N x C x pooled; a second top holds the mask of MAX pooling."""
    param = layer.pooling_param
    if len(layer.top) > 1 and param.pool != MAX:
        raise ImpossibleNet("a second top (the mask) exists for MAX pooling only")
    num, channels, height, width = image_axes(bottoms[0])
    kernel, stride, pad = pooling_window(param, (height, width))
    _check_pad(kernel, pad, param.pool == STOCHASTIC)
    top = (num, channels) + _pooled((height, width), kernel, stride, pad, floor=param.round_mode == FLOOR)
    return Outcome((top,) * len(layer.top))


def pooling_window(param: Message, image: Shape) -> Tuple[Shape, Shape, Shape]:
    """Kernel, stride and pad (height, width) of PoolingParameter."""
    stride, pad = _pooling_pair(param, "stride", "stride"), _pooling_pair(param, "pad", "pad")
    if param.global_pooling:
        if any(map(param.HasField, ("kernel_size", "kernel_h", "kernel_w"))):
            raise ImpossibleNet("global_pooling takes the whole image: no kernel_size beside it")
        if stride != (1, 1) or pad != (0, 0):
            raise ImpossibleNet("global_pooling takes the whole image: stride must be 1 and pad 0")
        return image, stride, pad
    square = param.HasField("kernel_size")
    if square == (param.HasField("kernel_h") and param.HasField("kernel_w")):
        raise ImpossibleNet("give kernel_size, or both kernel_h and kernel_w, or global_pooling")
    kernel = (param.kernel_size,) * 2 if square else (param.kernel_h, param.kernel_w)
    if min(kernel + stride) < 1:
        raise ImpossibleNet(f"kernel_size {text(kernel)} and stride {text(stride)} must be at least 1")
    return kernel, stride, pad


def _pooling_pair(param: Message, field: str, stem: str) -> Shape:
    high, wide = stem + "_h", stem + "_w"
    has_high, has_wide = param.HasField(high), param.HasField(wide)
    if not (has_high or has_wide):
        return (getattr(param, field),) * 2
    if not (has_high and has_wide) or param.HasField(field):
        raise ImpossibleNet(f"give {field}, or both {high} and {wide}")
    return getattr(param, high), getattr(param, wide)


def _check_pad(kernel: Shape, pad: Shape, stochastic: bool) -> None:
    if any(pad) and stochastic:
        raise ImpossibleNet("pad exists for MAX and AVE pooling only")
    if any(pad) and (pad[0] >= kernel[0] or pad[1] >= kernel[1]):
        raise ImpossibleNet(f"pad {text(pad)} must be smaller than kernel_size {text(kernel)}")


def _pooled(image: Shape, kernel: Shape, stride: Shape, pad: Shape, floor: bool) -> Shape:
    """Pooled height and width, rounded up unless `floor`; with padding, the last window starts inside the image.

    Without padding Caffe keeps a last window that starts beyond the image: MAX makes it -FLT_MAX and writes outside its
    memory when training, AVE makes it 0/0. Such a net is refused here although Caffe builds it.
    """
    pooled = []
    for size, k, s, p in zip(image, kernel, stride, pad):
        room = size + 2 * p - k
        out = (room // s if floor else -(-room // s)) + 1
        if any(pad) and (out - 1) * s >= size + p:
            out -= 1
        if out < 1:
            raise ImpossibleNet(f"kernel_size {text(kernel)} with stride {text(stride)} and pad {text(pad)} finds no "
                                f"window in its input {text(image)}")
        if (out - 1) * s >= size + p:
            raise ImpossibleNet(f"stride {text(stride)} puts the last window of kernel_size {text(kernel)} outside its "
                                f"input {text(image)}: an empty window")
        pooled.append(out)
    return tuple(pooled)


def pyramid_level(level: int, image: Shape, pool: int) -> Tuple[Shape, Shape, Shape]:
    """Kernel, which is the stride too, pad, and pooled size of 2^level x 2^level bins (`SPPLayer::GetPoolingParam`)."""
    bins = 2 ** level
    kernel = tuple(-(-size // bins) for size in image)
    pad = tuple((k * bins - size + 1) // 2 for k, size in zip(kernel, image))
    _check_pad(kernel, pad, pool == SPP_STOCHASTIC)
    return kernel, pad, _pooled(image, kernel, kernel, pad, floor=False)
