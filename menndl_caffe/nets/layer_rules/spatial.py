"""Layers that move a window over an image: convolution, deconvolution, pooling, im2col, SPP, LRN, crop.

Sources: `base_conv_layer.cpp`, `conv_layer.cpp`, `deconv_layer.cpp`, `im2col_layer.cpp`, `pooling_layer.cpp`,
`spp_layer.cpp`, `lrn_layer.cpp`, `crop_layer.cpp`.
"""
from __future__ import annotations

from math import prod
from typing import NamedTuple, Optional, Tuple

from menndl_caffe.nets.layer_rules.blob import (
    ImpossibleNet,
    Message,
    Outcome,
    Shape,
    Shapes,
    axis_of,
    check_size,
    image_axes,
    text,
)
from menndl_caffe.nets.layer_rules.fillers import filled
from menndl_caffe.nets.proto import caffe_pb2

MAX, STOCHASTIC = caffe_pb2.PoolingParameter.MAX, caffe_pb2.PoolingParameter.STOCHASTIC
FLOOR = caffe_pb2.PoolingParameter.FLOOR
SPP_STOCHASTIC = caffe_pb2.SPPParameter.STOCHASTIC


class Windows(NamedTuple):
    """Kernel, stride, pad and dilation by spatial axis."""

    kernel: Shape
    stride: Shape
    pad: Shape
    dilation: Shape

    def extent(self) -> Shape:
        """What a dilated kernel spans."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation))


def convolution(bottoms: Shapes, layer: Message) -> Outcome:
    """N x C x spatial to N x num_output x spatial; weight num_output x C/group x kernel, bias num_output."""
    param = layer.convolution_param
    axis, windows, num_output = _convolution(bottoms, layer)
    bottom = bottoms[0]
    spatial = _convolved(bottom[axis + 1:], windows)
    top = bottom[:axis] + (num_output,) + spatial
    weight = (num_output, bottom[axis] // param.group) + windows.kernel
    check_size((bottom[axis],) + windows.kernel + spatial, "the unrolled image")
    params = filled(param, (weight, (num_output,)) if param.bias_term else (weight,))
    return Outcome((top,) * len(bottoms), params, len(bottoms) * prod(top) * prod(weight[1:]))


def deconvolution(bottoms: Shapes, layer: Message) -> Outcome:
    """The transposed convolution: weight C x num_output/group x kernel, bias num_output."""
    param = layer.convolution_param
    axis, windows, num_output = _convolution(bottoms, layer)
    bottom = bottoms[0]
    spatial = tuple(s * (size - 1) + e - 2 * p
                    for size, e, s, p in zip(bottom[axis + 1:], windows.extent(), windows.stride, windows.pad))
    if min(spatial, default=1) < 1:
        raise ImpossibleNet(f"pad {text(windows.pad)} leaves nothing of the output: {text(spatial)}")
    top = bottom[:axis] + (num_output,) + spatial
    weight = (bottom[axis], num_output // param.group) + windows.kernel
    check_size((num_output,) + windows.kernel + bottom[axis + 1:], "the unrolled image")
    params = filled(param, (weight, (num_output,)) if param.bias_term else (weight,))
    return Outcome((top,) * len(bottoms), params, len(bottoms) * prod(bottom) * prod(weight[1:]))


def im2col(bottoms: Shapes, layer: Message) -> Outcome:
    """Every window as a column: C becomes C x kernel."""
    bottom = bottoms[0]
    axis = axis_of(layer.convolution_param.axis, bottom)
    if axis + 1 == len(bottom):
        raise ImpossibleNet("takes a blob with at least one axis after its channels")
    windows = windows_of(layer.convolution_param, len(bottom) - axis - 1)
    channels = bottom[axis] * prod(windows.kernel)
    return Outcome((bottom[:axis] + (channels,) + _convolved(bottom[axis + 1:], windows),))


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


def lrn(bottoms: Shapes, layer: Message) -> Outcome:
    """Like its bottom, each element scaled by those around it in an odd window."""
    size = layer.lrn_param.local_size
    if size % 2 == 0:
        raise ImpossibleNet(f"local_size must be odd, not {size}")
    image_axes(bottoms[0])
    return Outcome(bottoms)


def crop(bottoms: Shapes, layer: Message) -> Outcome:
    """The first bottom cut to the size of the second from `axis` on."""
    image, like = bottoms
    axis = axis_of(layer.crop_param.axis, image)
    offsets = tuple(layer.crop_param.offset) or (0,)
    if len(offsets) == 1:
        offsets *= len(image) - axis
    if len(offsets) != len(image) - axis:
        raise ImpossibleNet(f"offset is given {len(offsets)} times for {len(image) - axis} axes: give 1 or as many")
    if len(like) < len(image):
        raise ImpossibleNet(f"the size's blob {text(like)} has fewer axes than the image {text(image)}")
    size = like[axis:len(image)]
    if any(i - o < s for i, o, s in zip(image[axis:], offsets, size)):
        raise ImpossibleNet(f"a crop of {text(size)} at offset {text(offsets)} leaves the image {text(image[axis:])}")
    return Outcome((image[:axis] + size,))


def _convolution(bottoms: Shapes, layer: Message) -> Tuple[int, Windows, int]:
    """Channel axis, windows and num_output of a (de)convolution whose numbers fit together."""
    param, bottom = layer.convolution_param, bottoms[0]
    if len(layer.top) != len(bottoms):
        raise ImpossibleNet(f"makes one top for each bottom, not {len(layer.top)} of {len(bottoms)}")
    if any(other != bottom for other in bottoms[1:]):
        raise ImpossibleNet(f"its bottoms differ in shape: {', '.join(map(text, bottoms))}")
    axis = axis_of(param.axis, bottom)
    windows = windows_of(param, len(bottom) - axis - 1)
    num_output, group = param.num_output, param.group
    if num_output < 1:
        raise ImpossibleNet("num_output must be at least 1")
    if group < 1 or bottom[axis] % group or num_output % group:
        raise ImpossibleNet(f"group {group} must divide its {bottom[axis]} input channels and num_output {num_output}")
    return axis, windows, num_output


def windows_of(param: Message, axes: int) -> Windows:
    """The four settings of ConvolutionParameter for so many spatial axes, each given once or once for each axis."""
    kernel = _by_axis(param, "kernel_size", "kernel", axes, None)
    stride = _by_axis(param, "stride", "stride", axes, 1)
    if min(kernel, default=1) < 1 or min(stride, default=1) < 1:
        raise ImpossibleNet(f"kernel_size {text(kernel)} and stride {text(stride)} must be at least 1 on each axis "
                            "(kernel_h needs kernel_w, stride_h needs stride_w)")
    return Windows(kernel, stride, _by_axis(param, "pad", "pad", axes, 0), _repeated(param, "dilation", axes, 1))


def _by_axis(param: Message, field: str, stem: str, axes: int, default: Optional[int]) -> Shape:
    high, wide = stem + "_h", stem + "_w"
    if not (param.HasField(high) or param.HasField(wide)):
        return _repeated(param, field, axes, default)
    if axes != 2 or len(getattr(param, field)):
        raise ImpossibleNet(f"{high} and {wide} are for 2 spatial axes, in place of {field}")
    return getattr(param, high), getattr(param, wide)


def _repeated(param: Message, field: str, axes: int, default: Optional[int]) -> Shape:
    given = getattr(param, field)
    times = len(given)
    if times == 1:
        return (given[0],) * axes
    if times == axes:
        return tuple(given)
    if times == 0 and default is not None:
        return (default,) * axes
    raise ImpossibleNet(f"{field} is given {times} times for {axes} spatial axes: give it once, or once for each")


def _convolved(image: Shape, windows: Windows) -> Shape:
    """Output size by axis. C++ divides towards zero, so a kernel may overhang its input by less than one stride."""
    extents = windows.extent()
    room = [size + 2 * p - e for size, e, p in zip(image, extents, windows.pad)]
    spatial = tuple((r // s if r >= 0 else -(-r // s)) + 1 for r, s in zip(room, windows.stride))
    if min(spatial, default=1) < 1:
        padded = tuple(size + 2 * p for size, p in zip(image, windows.pad))
        raise ImpossibleNet(f"kernel_size {text(windows.kernel)}{_dilated(windows)} is larger than its padded input "
                            f"{text(padded)} (input {text(image)}, pad {text(windows.pad)})")
    return spatial


def _dilated(windows: Windows) -> str:
    return "" if set(windows.dilation) <= {1} else f" with dilation {text(windows.dilation)}"


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
