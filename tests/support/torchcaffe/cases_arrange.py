"""Layers that arrange, compare and combine numbers: exact wherever nothing is added or multiplied."""
from __future__ import annotations

from typing import Any, List, Mapping

import numpy as np

from tests.support.torchcaffe.cases_neurons import inputs, layer
from tests.support.torchcaffe.parity import Case, numbers

EXACT = ["data/*", "diff/*"]
IMAGES, VECTORS = numbers(4, 3, 2, 3, seed=31), numbers(4, 6, seed=32)
A, B, C = (numbers(2, 3, 4, seed=seed).round(1) for seed in (33, 34, 35))  # with ties
A[0, 0], B[0, 0], C[0, 0] = [1, 0, -1, 2], [1, 0, 0, 2], [1, 5, 0, 2]
ODD = np.float32([[np.nan, 1, np.nan, np.inf, -np.inf, 0]])


def one(name: str, type_: str, settings: str = "", x: np.ndarray = IMAGES, tops: str = "y", exact: Any = EXACT,
        more: str = "", **fields: Any) -> Case:
    """A layer of the input x, and perhaps more layers."""
    net = "force_backward: true " + inputs(x=x) + layer(type_, "x", tops, settings) + more
    return Case(name, net, {"x": x}, exact=exact, **fields)


def several(name: str, type_: str, settings: str, blobs: Mapping[str, np.ndarray], exact: Any = EXACT,
            **fields: Any) -> Case:
    """A layer of several inputs."""
    net = "force_backward: true " + inputs(**blobs) + layer(type_, " ".join(blobs), "y", settings)
    return Case(name, net, blobs, exact=exact, **fields)


def guided(name: str, type_: str, guide: Any, x: np.ndarray = IMAGES, **fields: Any) -> Case:
    """A layer whose last bottom has no gradient, below a loss and above a layer that learns."""
    blobs = {"x": x, "guide": np.float32(guide)}
    layers = [layer("PReLU", "x", "learned"), layer(type_, "learned guide", "y"),
              layer("Reduction", "y", "sum", "loss_weight: 1 reduction_param { operation: SUMSQ }")]
    return Case(name, inputs(**blobs) + "".join(layers), blobs, exact=["data/x", "data/y"], **fields)


def embed(name: str, settings: str, x: np.ndarray, **fields: Any) -> Case:
    """Embed, which has parameters but no gradient for its bottom."""
    layers = layer("Embed", "x", "y", f"embed_param {{ input_dim: 5 {settings} }}") + layer(
        "Reduction", "y", "sum", "loss_weight: 1 reduction_param { operation: SUMSQ }")
    return Case(name, inputs(x=x) + layers, {"x": x}, exact=["param/*"], **fields)


def argmax(name: str, settings: str, x: np.ndarray = IMAGES) -> Case:
    """ArgMax, which has no gradient."""
    return one(name, "ArgMax", f"argmax_param {{ {settings} }}", x, backward=False)


RELU = layer("ReLU", "y", "y")
FILLER = "weight_filler { type: 'gaussian' } bias_filler { type: 'uniform' }"
PAIR, TRIPLE = {"a": A, "b": B}, {"a": A, "b": B, "c": C}

SHAPES: List[Case] = [
    one("flatten", "Flatten"),
    one("flatten-some", "Flatten", "flatten_param { axis: 2 end_axis: -1 }"),
    one("flatten-first", "Flatten", "flatten_param { axis: 0 end_axis: 1 }"),
    one("flatten-shared", "Flatten", more=RELU),
    one("reshape", "Reshape", "reshape_param { shape { dim: 0 dim: -1 } }"),
    one("reshape-middle", "Reshape", "reshape_param { axis: 1 num_axes: 2 shape { dim: 2 dim: 1 dim: -1 } }"),
    one("reshape-insert", "Reshape", "reshape_param { axis: -1 num_axes: 0 shape { dim: 1 } }"),
    one("reshape-shared", "Reshape", "reshape_param { shape { dim: -1 } }", more=RELU, passes=2),
    one("tile", "Tile", "tile_param { tiles: 3 }", exact=["data/*"]),
    one("tile-first", "Tile", "tile_param { axis: 0 tiles: 2 }", exact=["data/*"]),
    one("tile-last", "Tile", "tile_param { axis: -1 tiles: 2 }", exact=["data/*"]),
    one("tile-one", "Tile", "tile_param { tiles: 1 }"),
]

JOINED: List[Case] = [
    several("concat", "Concat", "", {"a": IMAGES, "b": IMAGES[:, :2] + 1, "c": -IMAGES}),
    several("concat-axis-0", "Concat", "concat_param { axis: 0 }", {"a": IMAGES, "b": IMAGES[:1] + 1}),
    several("concat-last", "Concat", "concat_param { axis: -1 }", {"a": IMAGES, "b": IMAGES[..., :2]}),
    several("concat-dim", "Concat", "concat_param { concat_dim: 2 }", {"a": IMAGES, "b": IMAGES}),
    one("concat-alone", "Concat", more=RELU),
    one("slice", "Slice", tops="y z w"),
    one("slice-points", "Slice", "slice_param { axis: -1 slice_point: 1 slice_point: 2 }", tops="y z w"),
    one("slice-first", "Slice", "slice_param { axis: 0 slice_point: 3 }", tops="y z"),
    one("slice-dim", "Slice", "slice_param { slice_dim: 2 }", tops="y z"),
    one("slice-alone", "Slice", more=RELU),
    one("split", "Split", tops="y z w", exact=["data/*"]),
    one("split-one", "Split"),
    one("split-shared", "Split", tops="y z", more=RELU, exact=["data/*"]),
    one("split-automatic", "Power", tops="y", more=layer("TanH", "x", "z") + layer("AbsVal", "x", "w"), exact=()),
    one("silence", "Silence", tops="", passes=2),
    one("silence-one-of-two", "Slice", "slice_param { slice_point: 1 }", tops="y z",
        more=layer("Silence", "z", "") + RELU),
]

COMBINED: List[Case] = [
    several("sum", "Eltwise", "", PAIR, EXACT),
    several("sum-of-three", "Eltwise", "", TRIPLE, ["diff/*"]),
    several("sum-coeff", "Eltwise", "eltwise_param { coeff: 0.5 coeff: -1 coeff: 3 }", TRIPLE, ["diff/*"]),
    several("sum-odd", "Eltwise", "eltwise_param { coeff: 1 coeff: -1 }", {"a": ODD, "b": ODD}),
    several("product", "Eltwise", "eltwise_param { operation: PROD }", TRIPLE, ["data/*"]),
    several("product-pair", "Eltwise", "eltwise_param { operation: PROD }", PAIR),
    several("product-unstable", "Eltwise", "eltwise_param { operation: PROD stable_prod_grad: false }", TRIPLE, ()),
    several("maximum-pair", "Eltwise", "eltwise_param { operation: MAX }", PAIR),
    several("maximum", "Eltwise", "eltwise_param { operation: MAX }", TRIPLE),
    several("maximum-odd", "Eltwise", "eltwise_param { operation: MAX }",
            {"a": ODD, "b": ODD[:, ::-1], "c": np.roll(ODD, 1)}),
    Case("product-in-place", inputs(**PAIR) + layer("Eltwise", "a b", "a", "eltwise_param { operation: PROD }"), PAIR,
         exact=EXACT, backward=False),
    *[one(f"{operation.lower()}-axis-{axis}", "Reduction",
          f"reduction_param {{ operation: {operation} axis: {axis} coeff: {coefficient} }}", exact=())
      for operation in ("SUM", "ASUM", "SUMSQ", "MEAN") for axis, coefficient in ((0, 1), (1, -0.5), (-1, 3))],
    one("asum-odd", "Reduction", "reduction_param { operation: ASUM axis: 1 }", ODD.T.copy()),
    one("mvn", "MVN", exact=()),
    one("mvn-across", "MVN", "mvn_param { across_channels: true }", exact=()),
    one("mvn-mean", "MVN", "mvn_param { normalize_variance: false }", exact=()),
    one("mvn-eps", "MVN", "mvn_param { eps: 0.5 }", 3 * IMAGES, exact=()),
    one("mvn-in-place", "MVN", tops="x", exact=(), backward=False),
    one("mvn-mean-in-place", "MVN", "mvn_param { normalize_variance: false }", tops="x", exact=()),
    one("mvn-vectors", "MVN", "mvn_param { across_channels: true }", VECTORS, exact=()),
]

CHOSEN: List[Case] = [
    argmax("argmax", ""),
    argmax("argmax-values", "out_max_val: true top_k: 4"),
    argmax("argmax-vectors", "top_k: 2", VECTORS),
    argmax("argmax-axis", "axis: 1 top_k: 2"),
    argmax("argmax-axis-values", "axis: -1 top_k: 3 out_max_val: true"),
    argmax("argmax-axis-0", "axis: 0"),
    argmax("argmax-ties", "top_k: 5", np.float32([[1, 3, 3, 1, 3, 1], [0, 0, 0, 0, 0, 0]])),
    argmax("argmax-ties-axis", "axis: 1 top_k: 4", (IMAGES > 0.3).astype(np.float32).reshape(4, 6, 3)),
    guided("reindex", "BatchReindex", [2, 0, 2, 1.9, 3]),
    guided("reindex-fewer", "BatchReindex", [3], VECTORS),
    guided("filter", "Filter", [1, 0, -2, np.nan], passes=2),
    guided("filter-axes", "Filter", np.float32([0, 0, 1, 0]).reshape(4, 1, 1), VECTORS),
    guided("filter-all", "Filter", [1, 1, 1, 1]),
    embed("embed", f"num_output: 3 {FILLER}", np.float32([0, 4, 4, 1])),
    embed("embed-axes", f"num_output: 2 {FILLER}", np.float32([[0, 1.9], [3, 3], [2, 0]]), passes=2),
    embed("embed-no-bias", f"num_output: 3 bias_term: false {FILLER}", np.float32([[[2, 1]]])),
]

CASES = SHAPES + JOINED + COMBINED + CHOSEN
