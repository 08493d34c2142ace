"""Convolution and Deconvolution, on any number of spatial axes.

Sources: `base_conv_layer.cpp`, `conv_layer.cpp`, `deconv_layer.cpp`.
"""
from __future__ import annotations

from math import prod
from typing import NamedTuple, Optional, Tuple

from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, Message, Outcome, Shape, Shapes, axis_of, check_size, text
from menndl_caffe.nets.layer_rules.fillers import filled


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
    spatial = convolved(bottom[axis + 1:], windows)
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


def convolved(image: Shape, windows: Windows) -> Shape:
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
