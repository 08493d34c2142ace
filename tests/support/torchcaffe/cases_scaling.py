"""InnerProduct, BatchNorm, Scale, Bias and Parameter: their axes, both phases, in place and not."""
from __future__ import annotations

from typing import Any, List

import numpy as np

from tests.support.torchcaffe.cases_neurons import inputs, layer
from tests.support.torchcaffe.parity import TEST, TRAIN, Case, numbers

FILLERS = 'weight_filler { type: "uniform" min: -1 } bias_filler { type: "uniform" min: -1 }'
UNIFORM = '{ type: "uniform" min: -1 }'
SHAPES = [(4, 3, 5, 2), (3, 4), (2, 3, 4), (1, 3, 4, 4), (2, 3, 2, 3, 2), (1, 3), (3, 3, 1, 1)]
IMAGES = numbers(4, 3, 5, 2, seed=51)
FOR_A_SUM = numbers(4, 3, 5, 2, seed=52)  # the sum of its products with the top's gradients does not nearly cancel out
LOSS = layer("Reduction", "y", "sum", "loss_weight: 0.5 reduction_param { operation: SUMSQ }")
CONV = layer("Convolution", "x", "z",
             f"convolution_param {{ num_output: 3 kernel_size: 2 bias_term: false {FILLERS} }}")


def one(name: str, type_: str, settings: str, x: np.ndarray = IMAGES, top: str = "y", **fields: Any) -> Case:
    """A layer of the input x; its gradients add up over two passes."""
    net = "force_backward: true " + inputs(x=x) + layer(type_, "x", top, settings)
    return Case(name, net, {"x": x}, **{"passes": 2, "exact": ["param/*"], **fields})


def between(name: str, layers: str, **fields: Any) -> Case:
    """Layers above a convolution and below a loss."""
    return Case(name, inputs(x=IMAGES) + CONV + layers + LOSS, {"x": IMAGES}, **fields)


def product(outputs: int, settings: str = "") -> str:
    """The settings of an InnerProduct."""
    return f"inner_product_param {{ num_output: {outputs} {settings} {FILLERS} }}"


def products() -> List[Case]:
    """InnerProduct: its axes and ways; and parameters of lr_mult 0, which get no gradient."""
    cases = [one(f"product-{name}", "InnerProduct", product(5, settings)) for name, settings in [
        ("plain", ""), ("transpose", "transpose: true"), ("no-bias", "bias_term: false"), ("axis-0", "axis: 0"),
        ("transpose-no-bias", "transpose: true bias_term: false"), ("axis-2", "axis: 2"), ("axis-last", "axis: -1"),
        ("axis-2-transpose", "axis: -2 transpose: true")]]
    return cases + [between(f"product-{name}", layer("InnerProduct", "z", "y", f"{rates} {product(2)}"))
                    for name, rates in [("fixed", "param { lr_mult: 0 } param { lr_mult: 0 }"),
                                        ("fixed-weight", "param { lr_mult: 0 }"),
                                        ("fixed-bias", "param { lr_mult: 2 } param { lr_mult: 0 }"),
                                        ("not-down", "propagate_down: false")]]


def norms() -> List[Case]:
    """BatchNorm, over two passes."""
    statistics = {"batchnorm/0": numbers(3, seed=52), "batchnorm/1": numbers(3, seed=53, low=0.5),
                  "batchnorm/2": np.float32([1.5])}
    cases = []
    for shape in SHAPES:
        x = numbers(*shape, seed=54, low=-2, high=3)
        for where, phase in (("train", TRAIN), ("test", TEST)):
            params = statistics if shape[1] == 3 else {}
            cases += [one(f"norm-{where}-{'x'.join(map(str, shape))}-{top}", "BatchNorm", "", x, top, phase=phase,
                          params=params, exact=[]) for top in "yx"]
    return cases + [one(f"norm-{name}", "BatchNorm", f"batch_norm_param {{ {settings} }}", phase=phase,
                        params=statistics, exact=[]) for name, settings, phase in [
        ("global-in-train", "use_global_stats: true", TRAIN), ("batch-in-test", "use_global_stats: false", TEST),
        ("settings", "moving_average_fraction: 0.5 eps: 0.1", TRAIN),
        ("no-memory", "moving_average_fraction: 0", TRAIN)]]


def norms_in_nets() -> List[Case]:
    """BatchNorm and what comes after it in place, and above data that needs no gradient."""
    chain = [layer("BatchNorm", "z", "z"), layer("Scale", "z", "z", "scale_param { bias_term: true }"),
             layer("ReLU", "z", "z"), layer("InnerProduct", "z", "y", product(2))]
    above_data = [layer("BatchNorm", "x", "n"), layer("InnerProduct", "n", "y", product(2))]
    return [one("norm-without-statistics", "BatchNorm", "", phase=TEST),
            between("norm-scale-relu", "".join(chain), passes=2),
            Case("norm-above-data", inputs(x=IMAGES) + "".join(above_data) + LOSS, {"x": IMAGES})]


def scales() -> List[Case]:
    """Scale and Bias, with their own parameters."""
    own, with_bias = f"filler {UNIFORM}", f"filler {UNIFORM} bias_filler {UNIFORM} bias_term: true"
    cases = []
    for name, settings, x in [
        ("plain", "", IMAGES), ("axes-2", "num_axes: 2", IMAGES), ("to-the-end", "num_axes: -1", IMAGES),
        ("scalar", "num_axes: 0", FOR_A_SUM), ("axis-0", "axis: 0", IMAGES), ("all", "axis: 0 num_axes: -1", IMAGES),
        ("first-axes", "axis: 0 num_axes: 2", IMAGES), ("last", "axis: -1", IMAGES), ("middle", "axis: 2", IMAGES),
        ("one-image", "", numbers(1, 3, 2, 4)), ("one-image-to-the-end", "num_axes: -1", numbers(1, 3, 2)),
        ("one-channel", "", numbers(4, 1, 3)), ("one-image-and-channel", "", numbers(1, 1, 3, 2)),
        ("one-number", "", numbers(1, 1)), ("one-row", "axis: 0", numbers(1, 3)), ("rows", "", numbers(5, 4)),
    ]:
        for top in "yx":
            cases += [one(f"scale-{name}-{top}", "Scale", f"scale_param {{ {own} {settings} }}", x, top),
                      one(f"scale-bias-{name}-{top}", "Scale", f"scale_param {{ {with_bias} {settings} }}", x, top),
                      one(f"bias-{name}-{top}", "Bias", f"bias_param {{ {own} {settings} }}", x, top)]
    return cases + [
        one("scale-default", "Scale", ""), one("scale-default-bias", "Scale", "scale_param { bias_term: true }"),
        one("scale-empty-filler", "Scale", "scale_param { filler { } }"), one("bias-default", "Bias", "")]


def factors() -> List[Case]:
    """Scale and Bias by a second bottom."""
    cases = []
    for name, axis, shape in [("channels", 1, (3,)), ("images", 0, (4,)), ("pixels", 2, (5, 2)), ("scalar", 1, ()),
                              ("same", 0, (4, 3, 5, 2)), ("first", 0, (4, 3)), ("last", -1, (2,))]:
        term, x = numbers(*shape, seed=55), FOR_A_SUM if name == "scalar" else IMAGES
        for top in "yx":
            for type_, settings in [("Scale", ""), ("Scale", f"bias_term: true bias_filler {UNIFORM}"), ("Bias", "")]:
                param = f"{type_.lower()}_param {{ axis: {axis} {settings} }}"
                net = "force_backward: true " + inputs(x=x, s=term) + layer(type_, "x s", top, param)
                cases.append(Case(f"{type_.lower()}{'-bias' * bool(settings)}-by-{name}-{top}", net,
                                  {"x": x, "s": term}, passes=2))
    return cases


def parameters() -> List[Case]:
    """Parameter as a factor, and as a result."""
    source = layer("Parameter", "", "p", "parameter_param { shape { dim: 3 } }")
    params = {"parameter/0": numbers(3, seed=56)}
    return [between("parameter", source + layer("Scale", "z p", "y"), params=params, passes=2),
            Case("parameter-alone", "force_backward: true " + source, params=params)]


CASES = [
    *products(), *norms(), *norms_in_nets(), *scales(), *factors(), *parameters(),
    *(between(name, layer(type_, "z", "y", settings)) for name, type_, settings in [
        ("scale-fixed", "Scale", "param { lr_mult: 0 } scale_param { bias_term: true }"),
        ("scale-fixed-bias", "Scale", "param { lr_mult: 1 } param { lr_mult: 0 } scale_param { bias_term: true }"),
        ("bias-fixed", "Bias", "param { lr_mult: 0 }"), ("bias-not-down", "Bias", "propagate_down: false")]),
]
