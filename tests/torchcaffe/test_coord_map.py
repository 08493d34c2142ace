"""Coordinate maps against real pycaffe's, and against the geometry of windows."""
from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, List, Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menndl_caffe.errors import UserError
from menndl_caffe.torchcaffe import coord_map as ours
from menndl_caffe.torchcaffe.coord_map import (
    AxisMismatchException,
    UndefinedMapException,
    compose,
    coord_map,
    coord_map_from_to,
    crop,
    inverse,
)
from menndl_caffe.torchcaffe.net_spec import layers as L
from tests.support.torchcaffe.real_pycaffe import in_real_caffe


def maps_of_nets(coord_map: Any, given: Any) -> Any:
    """Maps and crops over chains such as those of fully convolutional nets; axis, scale and shift of each."""
    L, found = coord_map.L, {}

    def keep(name: str, mapped: Any) -> None:
        for part, value in zip(("axis", "scale", "shift"), mapped):
            found[f"{name} {part}"] = np.array(-99 if value is None else value, float)

    def chain(bottom: Any, blocks: Any) -> Any:
        for kernel, pad, pool in blocks:
            bottom = L.ReLU(L.Convolution(bottom, kernel_size=kernel, pad=pad), in_place=True)
            if pool:
                bottom = L.Pooling(bottom, kernel_size=2, stride=2)
        return L.Dropout(bottom, in_place=True)

    data = L.Input(shape=dict(dim=[1, 3, 500, 500]))
    fcn = chain(data, [(3, 100, False), *[(3, 1, True)] * 5, (7, 0, False)])
    score = L.Convolution(fcn, kernel_size=1)
    upsampled = L.Deconvolution(score, convolution_param=dict(kernel_size=64, stride=32, bias_term=False))
    keep("fcn32", coord_map.coord_map_from_to(upsampled, data))
    cropped = coord_map.crop(upsampled, data)
    found["fcn32 crop"] = np.frombuffer(cropped.to_proto().layer[-1].crop_param.SerializeToString(), np.uint8)
    keep("through a crop", coord_map.coord_map_from_to(L.Sigmoid(cropped), data))
    keep("back", coord_map.coord_map_from_to(data, upsampled))
    uneven = L.Convolution(data, convolution_param=dict(kernel_size=[3, 5], stride=[1, 2], pad=[0, 4], dilation=[1, 2]))
    keep("uneven", coord_map.coord_map_from_to(uneven, data))
    im2col = L.Im2col(data, convolution_param=dict(kernel_size=4, pad=2, stride=3, axis=2))
    keep("im2col", coord_map.coord_map(im2col.fn))
    pooled = L.Pooling(data, kernel_size=3, stride=2)
    keep("sides", coord_map.coord_map_from_to(L.Eltwise(uneven, L.Bias(uneven)), pooled))
    keep("crop's own", coord_map.coord_map(L.Crop(data, data, crop_param=dict(axis=1, offset=[2, 5])).fn))
    keep("crop's default", coord_map.coord_map(L.Crop(data, data).fn))
    deconvolution = L.Deconvolution(data, convolution_param=dict(kernel_size=5, stride=3, pad=2))
    keep("deconvolution", coord_map.coord_map(deconvolution.fn))
    keep("composed", coord_map.compose((1, 2.0, 3.0), (None, 5.0, 7.0)))
    keep("inverse", coord_map.inverse((2, np.array([2.0, 4.0]), np.array([3.0, 1.0]))))
    return found


def test_same_maps_as_pycaffe(caffe_root: Path, tmp_path: Path) -> None:
    real, own = in_real_caffe(caffe_root, tmp_path, "caffe.coord_map", maps_of_nets, {}), maps_of_nets(ours, {})
    assert set(own) == set(real)
    for name in real:
        np.testing.assert_array_equal(own[name], real[name], err_msg=name)


def test_pass_through_layers_are_pycaffes(caffe_root: Path, tmp_path: Path) -> None:
    def names(coord_map: Any, given: Any) -> Any:
        return {"names": np.array(coord_map.PASS_THROUGH_LAYERS)}

    real = in_real_caffe(caffe_root, tmp_path, "caffe.coord_map", names, {})
    assert set(ours.PASS_THROUGH_LAYERS) == set(real["names"])


LAYERS = st.tuples(st.booleans(), st.integers(1, 7), st.integers(1, 4), st.integers(0, 5), st.integers(1, 3))


@given(st.lists(LAYERS, min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_centres_of_windows(chain: List[Tuple[bool, int, int, int, int]]) -> None:
    """Follow output pixels down to the middle of the window that they are computed from, in whole fractions."""
    data = top = L.Input()
    for up, kernel, stride, pad, dilation in chain:
        kind = L.Deconvolution if up else L.Convolution
        top = kind(top, convolution_param=dict(kernel_size=kernel, stride=stride, pad=pad, dilation=dilation))
    axis, a, b = coord_map_from_to(top, data)
    assert axis == 1
    for pixel in (0, 1, 10):
        place = Fraction(pixel)
        for up, kernel, stride, pad, dilation in reversed(chain):
            half = Fraction((kernel - 1) * dilation, 2)
            place = (place + pad - half) / stride if up else place * stride - pad + half
        assert float(a[0] * pixel + b[0]) == pytest.approx(float(place), abs=1e-9)


LINES = st.tuples(st.floats(0.1, 10), st.floats(-10, 10))


@given(LINES, LINES, st.floats(-9, 9))
def test_composition_is_of_functions(first: Tuple[float, float], second: Tuple[float, float], x: float) -> None:
    _, a, b = compose((1, *second), (1, *first))
    assert a * x + b == pytest.approx(second[0] * (first[0] * x + first[1]) + second[1], abs=1e-9)
    _, a, b = compose(inverse((1, *first)), (1, *first))
    assert (a, b) == (pytest.approx(1), pytest.approx(0, abs=1e-9))


def test_a_crop_of_what_is_equally_large() -> None:
    data = L.Input()
    layer = crop(L.ReLU(data), data).to_proto().layer[-1]
    assert (layer.type, list(layer.bottom), list(layer.crop_param.offset)) == ("Crop", ["ReLU1", "Input1"], [0])


def test_a_diamond_of_many_layers_is_walked_once() -> None:
    """2^60 paths lead down."""
    data = top = L.Input()
    for _ in range(60):
        top = L.Eltwise(L.ReLU(top), L.TanH(top))
    assert coord_map_from_to(top, data)[1:] == (1, 0)


def test_other_ways_are_tried_where_one_is_undefined() -> None:
    data = L.Input()
    both = L.Eltwise(L.InnerProduct(data), L.Pooling(data, kernel_size=1, stride=2))
    assert coord_map_from_to(both, data)[1] == 2


def test_refusals() -> None:
    data, other = L.Input(), L.Input()
    with pytest.raises(RuntimeError, match="no map from a top of Input to one of Input"):
        coord_map_from_to(data, other)
    with pytest.raises(RuntimeError, match="InnerProduct"):
        coord_map_from_to(L.InnerProduct(data), data)
    with pytest.raises(UndefinedMapException, match="Softmax"):
        coord_map(L.Softmax(data).fn)
    with pytest.raises(AxisMismatchException):
        compose((1, 1, 0), (2, 1, 0))
    with pytest.raises(AxisMismatchException):
        coord_map_from_to(L.Convolution(L.Convolution(data, kernel_size=3), kernel_size=3, axis=2), data)


@pytest.mark.parametrize("bottom, message", [
    (SimpleNamespace(type="Pooling", kernel_size=2, stride=2), "scale mismatch"),
    (SimpleNamespace(type="Convolution", kernel_size=4), "not a whole number"),
    (SimpleNamespace(type="Convolution", kernel_size=3), "negative offset"),
    (SimpleNamespace(type="Convolution", kernel_h=3, kernel_w=3), "kernel_h, kernel_w"),
    (SimpleNamespace(type="Pooling", global_pooling=True), "no kernel_size"),
])
def test_impossible_crops(bottom: SimpleNamespace, message: str) -> None:
    """A valid convolution's output starts inside its input, so the input cannot be cut out of it."""
    params = dict(vars(bottom))
    data = L.Input()
    top = getattr(L, params.pop("type"))(data, **params)
    source, target = (data, top) if "whole" in message else (top, data)
    for kind in (AssertionError, UserError):
        with pytest.raises(kind, match=message):
            crop(source, target)
