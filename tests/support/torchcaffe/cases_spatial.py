"""Convolution, pooling, LRN, Im2col, SPP and Crop, where windows fit and where they do not."""
from __future__ import annotations

from typing import Any, List

import numpy as np

from tests.support.torchcaffe.cases_neurons import inputs, layer
from tests.support.torchcaffe.parity import Case, numbers

FILLERS = 'weight_filler { type: "uniform" min: -1 } bias_filler { type: "uniform" min: -1 }'
IMAGES = numbers(2, 4, 7, 6, seed=41)
PIXELS = numbers(1, 2, 7, 6, seed=40)
TIES = numbers(1, 2, 7, 6, seed=42, low=-2, high=2).round()
BY_FOURIER = "num_output: 16 kernel_h: 6 kernel_w: 4 pad_h: 3 pad_w: 2"  # of 16 images of 16 channels, 3x4
ODD = numbers(1, 2, 8, 8, seed=43)
ODD[0, 0, :4, :4], ODD[0, 1, 4:, 4:] = np.nan, -np.inf
ODD[0, 0, 6, 6], ODD[0, 1, 1, 1], ODD[0, 1, 1, 2] = np.nan, np.inf, np.nan
SOME_NAN = numbers(1, 2, 7, 7, seed=44)
SOME_NAN[0, :, 2, 2], SOME_NAN[0, 1, 5, 5], SOME_NAN[0, 0, 3, 4] = np.nan, np.inf, -np.inf
LOSS = layer("Reduction", "y", "sum", "loss_weight: 0.5 reduction_param { operation: SUMSQ }")


def one(name: str, type_: str, settings: str, x: np.ndarray = IMAGES, tops: str = "y", **fields: Any) -> Case:
    """A layer of the input x."""
    return Case(name, "force_backward: true " + inputs(x=x) + layer(type_, "x", tops, settings), {"x": x}, **fields)


def convolved(name: str, settings: str, x: np.ndarray = IMAGES, type_: str = "Convolution", more: str = "") -> Case:
    """A (de)convolution of the input x, whose gradients add up over two passes; `more` are fields of the layer."""
    settings = f"{more} convolution_param {{ {settings} {FILLERS} }}"
    return one(name, type_, settings, x, exact=["param/*"], passes=2)


def convolutions() -> List[Case]:
    """The settings that both types take."""
    line, volume, four = numbers(2, 4, 9), numbers(1, 2, 4, 5, 4), numbers(1, 2, 3, 4, 3, 2)
    cases = []
    for type_ in ("Convolution", "Deconvolution"):
        for name, settings, x in [
            ("plain", "num_output: 3 kernel_size: 3 pad: 1 stride: 2", IMAGES),
            ("no-bias", "num_output: 3 kernel_size: 2 bias_term: false", IMAGES),
            ("group", "num_output: 6 kernel_size: 3 group: 2", IMAGES),
            ("depthwise", "num_output: 4 kernel_size: 3 group: 4 pad: 2 stride: 2", IMAGES),
            ("dilation", "num_output: 3 kernel_size: 3 dilation: 2 pad: 2", IMAGES),
            ("two-dilations", "num_output: 2 kernel_size: 2 dilation: 3 dilation: 1", IMAGES),
            ("1x1", "num_output: 5 kernel_size: 1", IMAGES),
            ("1x1-stride", "num_output: 5 kernel_size: 1 stride: 3", IMAGES),
            ("1x1-pad", "num_output: 2 kernel_size: 1 pad: 2", IMAGES),
            ("by-axis", "num_output: 2 kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 3 pad_h: 2 pad_w: 0", IMAGES),
            ("repeated", "num_output: 2 kernel_size: 4 kernel_size: 2 stride: 2 pad: 1 pad: 2", IMAGES),
            ("whole-image", "num_output: 2 kernel_h: 7 kernel_w: 6", IMAGES),
            ("1-axis", "num_output: 3 kernel_size: 3 stride: 2 pad: 1", line),
            ("3-axes", "num_output: 3 kernel_size: 2 kernel_size: 3 kernel_size: 2 stride: 2 pad: 1", volume),
            ("4-axes", "num_output: 4 kernel_size: 2 stride: 2 pad: 1 dilation: 1 group: 2", four),
            ("no-axis", "num_output: 6 kernel_size: 3 group: 2", numbers(3, 4)),
            ("axis-2", "num_output: 3 kernel_size: 3 axis: 2", volume),
            ("axis-0", "num_output: 3 kernel_size: 3 pad: 1 axis: 0", numbers(2, 4, 5)),
            ("axis-last", "num_output: 3 kernel_size: 3 axis: -2", volume),
        ]:
            cases.append(convolved(f"{type_.lower()}-{name}", settings, x, type_))
    return cases


def several_bottoms(type_: str) -> Case:
    """One weight for two bottoms."""
    x, z = IMAGES, numbers(2, 4, 7, 6, seed=45)
    settings = layer(type_, "x z", "y w", f"convolution_param {{ num_output: 3 kernel_size: 3 stride: 2 {FILLERS} }}")
    return Case(f"{type_.lower()}-bottoms", "force_backward: true " + inputs(x=x, z=z) + settings, {"x": x, "z": z})


def under_loss(name: str, type_: str, rates: str) -> Case:
    """Above a layer that learns: parameters of lr_mult 0 get no gradient."""
    settings = f"{rates} convolution_param {{ num_output: 3 kernel_size: 2 {FILLERS} }}"
    layers = layer("PReLU", "x", "p") + layer(type_, "p", "y", settings) + LOSS
    return Case(f"{type_.lower()}-{name}", inputs(x=IMAGES) + layers, {"x": IMAGES})


def overhangs() -> List[Case]:
    """Kernels larger than the padded image, by less than a stride."""
    x = numbers(2, 2, 4, 6, seed=46)
    return [convolved("overhang", "num_output: 3 kernel_size: 5 stride: 2", x),
            convolved("overhang-far", "num_output: 4 kernel_size: 3 dilation: 3 pad: 0 stride: 4 group: 2", x),
            convolved("overhang-1-axis", "num_output: 2 kernel_size: 6 stride: 3 pad: 1", numbers(2, 3, 3)),
            one("overhang-im2col", "Im2col", "convolution_param { kernel_size: 5 stride: 2 }", x, exact=["data/*"])]


POOLINGS = [
    ("plain", "kernel_size: 3 stride: 2"), ("pad", "kernel_size: 3 stride: 2 pad: 1"), ("even", "kernel_size: 2"),
    ("even-pad", "kernel_size: 2 stride: 2 pad: 1"), ("1x1", "kernel_size: 1"),
    ("stride", "kernel_size: 2 stride_h: 3 stride_w: 2"),
    ("floor", "kernel_size: 3 stride: 2 round_mode: FLOOR"), ("global", "global_pooling: true"),
    ("floor-pad", "kernel_size: 4 stride: 3 pad: 1 round_mode: FLOOR"),
    ("by-axis", "kernel_h: 2 kernel_w: 4 stride_h: 1 stride_w: 3 pad_h: 0 pad_w: 1"),
    ("wide-pad", "kernel_size: 3 stride: 2 pad: 2"), ("wider-pad", "kernel_size: 4 stride: 3 pad: 3"),
    ("widest-pad", "kernel_size: 5 stride: 1 pad: 4"),
    ("wide-floor", "kernel_size: 4 stride: 3 pad: 3 round_mode: FLOOR"),
    ("wide-on-an-axis", "kernel_h: 3 kernel_w: 4 stride_h: 2 stride_w: 3 pad_h: 2 pad_w: 1"),
    ("wide-long-stride", "kernel_size: 3 stride: 4 pad: 2"), ("long-stride", "kernel_size: 2 stride: 4 pad: 1"),
    ("whole-image", "kernel_h: 7 kernel_w: 6"), ("overhang", "kernel_size: 8 stride: 3"),
]


def poolings() -> List[Case]:
    """MAX, with its mask and without, and AVE."""
    cases = []
    for name, settings in POOLINGS:
        cases += [
            one(f"max-{name}", "Pooling", f"pooling_param {{ {settings} }}", PIXELS, exact=["data/*"]),
            one(f"max-ties-{name}", "Pooling", f"pooling_param {{ {settings} }}", TIES, "y mask", exact=["data/*"]),
            one(f"ave-{name}", "Pooling", f"pooling_param {{ pool: AVE {settings} }}", PIXELS)]
        if "global" not in name and "whole" not in name and "1x1" not in name and name != "overhang":
            cases.append(one(f"max-nan-{name}", "Pooling", f"pooling_param {{ {settings} }}", ODD, "y mask",
                             exact=["data/*"], backward=False))
    return cases + [
        one("max-some-nan", "Pooling", "pooling_param { kernel_size: 3 stride: 2 }", SOME_NAN, exact=["data/*"]),
        one("max-wide-some-nan", "Pooling", "pooling_param { kernel_size: 5 stride: 2 pad: 3 }", SOME_NAN,
            exact=["data/*"]),
        one("ave-nan", "Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }", ODD)]


def lrns() -> List[Case]:
    """Both regions, windows within and beyond; and the top worked on in place before backward."""
    x = numbers(2, 5, 4, 3, seed=47, low=-3, high=3)
    cases = []
    for region in ("ACROSS_CHANNELS", "WITHIN_CHANNEL"):
        for name, settings in [
            ("default", ""), ("3", "local_size: 3 alpha: 0.5"), ("1", "local_size: 1 alpha: 2 beta: 0.5"),
            ("large", "local_size: 9 alpha: 0.1 beta: 1.5 k: 2"), ("larger", "local_size: 25 alpha: 3"),
            ("quick", "local_size: 3 alpha: 5e-05 beta: 0.75"), ("k", "local_size: 5 alpha: 0.3 k: 0.2"),
            ("beta-0", "beta: 0"),
        ]:
            settings = f"lrn_param {{ norm_region: {region} {settings} }}"
            cases.append(one(f"lrn-{region[:6].lower()}-{name}", "LRN", settings, x))
        net = inputs(x=x) + layer("LRN", "x", "y", f"lrn_param {{ norm_region: {region} alpha: 2 }}")
        later = layer("Dropout", "y", "y")
        cases.append(Case(f"lrn-{region[:6].lower()}-dropout", "force_backward: true " + net + later, {"x": x}))
    return cases


def unrolled() -> List[Case]:
    """Im2col."""
    return [one(f"im2col-{name}", "Im2col", f"convolution_param {{ {settings} }}", x, exact=["data/*"])
            for name, settings, x in [
                ("plain", "kernel_size: 3 stride: 2 pad: 1", PIXELS),
                ("dilation", "kernel_size: 2 dilation: 3 pad: 2", PIXELS),
                ("by-axis", "kernel_h: 3 kernel_w: 1 stride_h: 2 stride_w: 1 pad_h: 0 pad_w: 2", PIXELS),
                ("1-axis", "kernel_size: 3 stride: 2", numbers(2, 3, 8)),
                ("3-axes", "kernel_size: 2 kernel_size: 3 kernel_size: 1 pad: 1", numbers(1, 2, 3, 4, 3)),
                ("axis-0", "kernel_size: 2 axis: 0", numbers(2, 3, 4)),
                ("axis-2", "kernel_size: 2 axis: 2", numbers(2, 1, 2, 3, 4))]]


def pyramids() -> List[Case]:
    """SPP, for images that the bins divide and others."""
    return [one(f"spp-{pool.lower()}-{height}-{'x'.join(map(str, x.shape[2:]))}", "SPP",
                f"spp_param {{ pyramid_height: {height} pool: {pool} }}", x)
            for pool in ("MAX", "AVE") for height, x in [
                (1, IMAGES), (2, IMAGES), (3, numbers(2, 3, 8, 8)), (3, numbers(1, 2, 13, 9)), (2, numbers(2, 2, 2, 3)),
                (3, numbers(1, 2, 4, 11))]]


def crop(name: str, settings: str, like: Any, x: np.ndarray = IMAGES) -> Case:
    """The input x cut to the shape of another input."""
    net = "force_backward: true " + inputs(x=x, like=np.zeros(like)) + layer("Crop", "x like", "y", settings)
    return Case(f"crop-{name}", net, {"x": x}, exact=["data/*", "diff/*"])


CASES = [
    *convolutions(), several_bottoms("Convolution"), several_bottoms("Deconvolution"),
    *(under_loss(name, type_, rates) for type_ in ("Convolution", "Deconvolution") for name, rates in [
        ("fixed", "param { lr_mult: 0 } param { lr_mult: 0 }"), ("fixed-weight", "param { lr_mult: 0 }"),
        ("fixed-bias", "param { lr_mult: 2 } param { lr_mult: 0 }"), ("not-down", "propagate_down: false")]),
    convolved("bilinear", "num_output: 4 kernel_size: 4 stride: 2 pad: 1 group: 4", type_="Deconvolution"),
    convolved("convolution-by-fourier", BY_FOURIER, numbers(16, 16, 3, 4, seed=47)),
    *overhangs(), *poolings(), *lrns(), *unrolled(), *pyramids(),
    crop("default", "", (2, 4, 5, 3)), crop("offset", "crop_param { offset: 1 }", (2, 4, 6, 3)),
    crop("offsets", "crop_param { axis: 1 offset: 2 offset: 0 offset: 3 }", (1, 2, 5, 3)),
    crop("all", "crop_param { axis: 0 offset: 1 }", (1, 2, 5, 3)),
    crop("last", "crop_param { axis: -1 offset: 4 }", (9, 9, 9, 2)), crop("nothing", "", (2, 4, 7, 6)),
]
