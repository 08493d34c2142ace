"""Small nets of every layer type and of every kind of wiring, valid and invalid, for the shape rules' tests."""
from __future__ import annotations

from itertools import product
from typing import Dict, List, Sequence, Tuple


def layer(name: str, type_: str, bottoms: str = "", tops: str = "", body: str = "") -> str:
    wires = [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()]
    return f'layer {{ name: "{name}" type: "{type_}" {" ".join(wires)} {body} }}\n'


def given(name: str, shape: str) -> str:
    """An Input layer; `shape` as 2x3 or () for a scalar."""
    dims = " ".join(f"dim: {size}" for size in shape.split("x")) if shape != "()" else ""
    return layer(name, "Input", tops=name, body=f"input_param {{ shape {{ {dims} }} }}")


def small_net(type_: str, bottoms: str, tops: int, body: str) -> str:
    """Inputs x0, x1, … of these shapes and one layer that reads them all and makes y0, y1, …"""
    names = [f"x{i}" for i in range(len(bottoms.split()))]
    inputs = "".join(map(given, names, bottoms.split()))
    return inputs + layer("it", type_, " ".join(names), " ".join(f"y{i}" for i in range(tops)), body)


def each(template: str, *values: object) -> List[str]:
    return [template.replace("?", str(value)) for value in values]


def both(first: Sequence[str], second: Sequence[str]) -> List[str]:
    return [f"{one} {other}" for one, other in product(first, second)]


K3 = "num_output: 4 kernel_size: 3 "
WINDOWS = [
    K3, "num_output: 4", "kernel_size: 3", "num_output: 4 kernel_size: 1 pad: 5", "num_output: 4 axis: 3",
    *each("num_output: 4 kernel_size: ?", 0, 8, 9, "9 stride: 2", "10 stride: 2", "10 stride: 3", "3 stride: 0"),
    *each("num_output: 4 kernel_size: ? bias_term: false", 9, "9 stride: 2", "10 stride: 2"),
    *each("num_output: 4 kernel_h: ?", 3, "3 kernel_w: 2", "3 kernel_w: 2 kernel_size: 2"),
    *each(K3 + "?", "kernel_size: 2", "kernel_size: 2 kernel_size: 3", "stride_h: 2", "stride_h: 2 stride_w: 1"),
    *each(K3 + "?", "pad_h: 2", "pad_h: 2 pad: 1", "pad: 1 pad: 2", "dilation: 2 dilation: 3"),
    *each(K3 + "dilation: ?", 0, 2, 4), *each(K3 + "axis: ?", -3, 0, 2, 3, 4),
]
CONVOLUTIONS = [
    *WINDOWS, *each("kernel_size: 3 num_output: ?", "6 group: 3", "4 group: 3", "4 group: 2", "3 group: 0"),
    *each(K3 + 'weight_filler { type: "gaussian" ? }', "std: 0", "std: -1", "sparse: 4", "sparse: 5"),
    *each(K3 + 'weight_filler { type: "?" }', "Xavier", "", "bilinear", "msra"),
    *each(K3 + "weight_filler { ? }", 'type: "xavier" sparse: 1', 'type: "uniform" min: 2'),
    *each(K3 + 'bias_filler { type: "?" }', "bilinear", "msra", "xavier", "positive_unitball"),
]
POOLINGS = [
    "", *each("kernel_size: 3 stride: ?", 1, 2), *each("kernel_size: 9 stride: ?", 1, 2), "kernel_size: 10 stride: 2",
    "kernel_size: 12 stride: 5", "kernel_size: 2 stride: 3", *each("kernel_size: ? stride: 0", 2, 8), "kernel_size: 0",
    *each("round_mode: FLOOR kernel_size: ?", "3 stride: 2", 9, "9 stride: 2", "2 stride: 4"),
    "kernel_size: 2 pool: AVE",
    *both(each("kernel_size: 3 stride: 2 pad: ?", 1, 2, 3), each("pool: ?", "MAX", "AVE", "STOCHASTIC")),
    "kernel_h: 2", "kernel_h: 2 kernel_size: 3", *each("kernel_h: 2 kernel_w: 3 ?", "", "kernel_size: 2"),
    *each("global_pooling: true ?", "", "stride: 1", "stride: 2", "pad: 1", "kernel_size: 2"),
    *each("kernel_size: 3 stride_h: 2 ?", "", "stride_w: 1", "stride_w: 1 stride: 2"),
    *each("kernel_size: 3 pad_h: 1 ?", "", "pad_w: 0", "pad_w: 0 pad: 1"), "kernel_size: 3 pad: 1 stride: 0",
    "kernel_h: 1 kernel_w: 2 stride: 2 pad_h: 0 pad_w: 1",
]
BROADCASTS = ["", *each("num_axes: ?", 2, -1, 0, 4, -2), *each("axis: ?", -1, 2, 4), "axis: 0 num_axes: -1",
              "axis: 3 num_axes: 2", 'filler { type: "gaussian" std: 0 }',
              *each('num_axes: ? filler { type: "xavier" }', 0, 1)]
FACTORS = each("2x3x4x5 ?", "3", "2x3", "4", "4x5", "()", "3x4x5x1", "2x3x4x5", "2x3x4x5x6")
AXES = ["()", "2", "2x3", "2x3x4", "2x3x4x5", "2x3x4x5x6"]
LABELLED = ["4x5", "() ()", "4 4", "4x1x5 4x5", *each("4x5x2x3 ?", "4", "4x2x3", "4x1x2x3"), "4x5x1x1x1 4",
            *each("4x5 ?", "3", "4", "4x5", "4x1x1x1", "4x1x1x1x1", "4 5x5", "4 25", "4 5", "4x5 4", "4x5 4x2"),
            "4x5 4x6 4", "4x5x1x1 4x5 4", "4x5x1x2 4x5x1x2 4"]
FEW_LABELLED = each("4x5 ?", "4", "4x5 4", "4 25")
LOSSES = ["SoftmaxWithLoss", "Accuracy", "HingeLoss", "MultinomialLogisticLoss", "EuclideanLoss", "ContrastiveLoss",
          "SigmoidCrossEntropyLoss", "InfogainLoss"]
SEQUENCES = ["3x2x5 3x2", "3x2 3x2", "3x2x5x6 3x2", "3x2x5 3x2x1", "3x2x5 2x3", "1x2x5 1x2",
             *each("3x2x5 3x2 ?", "2x7", "2x7x8", "2", "3x7", "1x2x4", "1x2x4 1x2x4", "2x7 1x2x4", "2x7 1x2x4 1x2x4",
                   "2x7 1x2x4 1x2x5", "2x7 1x2x4 1x2x4 1x2x4")]
H4 = "num_output: 4 "
NEURONS = ["ReLU", "Dropout", "Power", "Sigmoid", "TanH", "ELU", "Swish", "Threshold", "BNLL", "AbsVal", "Exp", "Log"]
SHAPE = "shape { dim: 2 dim: 3 } "

# Type with its param field, shapes of the bottoms, numbers of tops, settings: every combination of a row is a net.
SMALL: List[Tuple[str, Sequence[str], Sequence[int], Sequence[str]]] = [
    *((f"{t}volution convolution_param", ["2x3x8x7"], [1], CONVOLUTIONS) for t in ("Con", "Decon")),
    ("Im2col convolution_param", ["2x3x8x7"], [1], WINDOWS[::2]),
    ("Convolution convolution_param", ["2x3", "2x3x8", "2x3x5x6x7", "3", "()"], [1],
     [K3, K3 + "stride: 2", "num_output: 4"]),
    ("Convolution convolution_param", ["2x3x8x8 2x3x8x8", "2x3x8x8", "2x3x8x8 2x3x8x7", ""], [0, 1, 2], [K3]),
    ("Deconvolution convolution_param", ["2x3x2x2", "2x3x4x5x6"], [1],
     both(each("num_output: 3 group: 3 kernel_size: 2 pad: ?", 0, 1, 2), each("stride: ?", 1, 2))),
    ("Pooling pooling_param", ["2x3x8x7"], [1], POOLINGS),
    ("Pooling pooling_param", ["2x3x8", "2x3x8x7"], [2, 3], each("kernel_size: 2 pool: ?", "MAX", "AVE")),
    ("SPP spp_param", ["2x3x8x8", "2x3x5x7", "2x3x5"], [1],
     ["", *each("pool: AVE pyramid_height: ?", 0, 1, 2, 3, 4, 5)]),
    ("SPP spp_param", ["2x3x5x7"], [1], ["pyramid_height: 2 pool: STOCHASTIC"]),
    ("LRN lrn_param", ["2x3x8x8", "2x3x8"], [1],
     both(each("local_size: ?", 0, 1, 3, 4, 19), each("norm_region: ?", "ACROSS_CHANNELS", "WITHIN_CHANNEL"))),
    ("Crop crop_param", ["2x3x8x8 9x9x5x6", "2x3x8x8 5x6", "2x3x8 1x3x4x5", "4x5 4x5"], [1],
     ["", *each("axis: ?", 0, 1, 4, -5, "-1 offset: 1", "2 offset: 2", "2 offset: 3", "2 offset: 3 offset: 2",
                "2 offset: 3 offset: 3", "2 offset: 3 offset: 2 offset: 0")]),
    ("InnerProduct inner_product_param", ["2x3x4x5", "4", "()"], [1],
     ["", *each("num_output: 7 axis: ?", 2, -1, 4, 0),
      *each("num_output: 7 ?", "", "transpose: true", "bias_term: false", "bias_filler { sparse: 1 }",
            'weight_filler { type: "uniform" max: 0 }'),
      *each('num_output: 7 weight_filler { type: "gaussian" sparse: ? }', -2, 7, 8)]),
    ("Embed embed_param", ["2x3", "()"], [1],
     ["num_output: 4", "input_dim: 5", *each("num_output: 4 input_dim: 5 ?", "", 'bias_filler { type: "nothing" }',
                                             "bias_term: false", 'bias_filler { type: "gaussian" std: 0 }')]),
    ("Bias bias_param", ["2x3x4x5", "()"], [1], BROADCASTS),
    ("Bias bias_param", FACTORS, [1], ["", "axis: 0", "axis: 9"]),
    ("Scale scale_param", ["2x3x4x5", "()"], [1], both(["", "bias_term: true"], BROADCASTS)),
    ("Scale scale_param", FACTORS, [1], ["", "bias_term: true", "bias_term: true axis: -2"]),
    *(("BatchNorm", ["2x3x4x5"], [1], each("param { lr_mult: ? } " * n, 0, 1)) for n in (1, 2, 3, 4)),
    *((t, AXES, [1], [""]) for t in ("BatchNorm", "PReLU", "MVN", "Softmax")),
    *((t, ["()", "2x3x4x5x6"], [1], [""]) for t in NEURONS),
    *((t, ["2x3"], [1], each("base: ?", -1, -2, 0, 1, 2, "inf", "nan")) for t in ("Exp exp_param", "Log log_param")),
    ("Clip clip_param", AXES[:2], [1], ["min: -1 max: 1"]),
    ("PReLU prelu_param", ["2x3x4", "2x3x4x5x6"], [1],
     ["channel_shared: true", 'filler { type: "gaussian" std: 0 }',
      *each('? filler { type: "xavier" }', "", "channel_shared: true")]),
    ("Softmax softmax_param", ["2x3x4"], [1], each("axis: ?", 3, -1)),
    ("Dropout dropout_param", ["2x3"], [1], each("dropout_ratio: ?", 0, 1)),
    ("Reduction reduction_param", AXES, [1], ["", *each("axis: ?", 1, -1)]),
    ("ArgMax argmax_param", AXES, [1],
     ["", "top_k: 0", "top_k: 3 out_max_val: true", *each("axis: ?", 1, "1 top_k: 3", "-2 top_k: 2")]),
    ("Flatten flatten_param", ["2x3x4x5", "2", "()"], [1],
     ["", *each("axis: ?", 2, 0, 4, -1), *each("end_axis: ?", 4, -4, "2 axis: 1", "1 axis: 2", "1 axis: 3")]),
    ("Reshape reshape_param", ["2x3x4x5", "2", "()"], [1],
     ["", "num_axes: -2", *each("shape { dim: ? }", "0 dim: -1", "2 dim: 60", "2 dim: 61", "-1 dim: -1", "-1 dim: 7"),
      *each("shape { dim: ? }", -1, 1, "0 dim: 0 dim: 20", "-2 dim: -60", "0" + " dim: 0" * 4),
      *each("shape { dim: 1 } num_axes: 0 axis: ?", 1, -1, -5, -6, 5), "shape { dim: 0 } num_axes: 0 axis: 4",
      *each("shape { dim: 12 } axis: 1 num_axes: ?", 2, 5), "shape { dim: -1 } axis: 1 num_axes: 2",
      "shape { dim: 3 dim: 0 dim: -1 } axis: 1", "shape { dim: -1 dim: 3 } axis: -2"]),
    ("Tile tile_param", AXES[:4], [1], ["", *each("tiles: ?", 2, 0, "3 axis: -1")]),
    ("Concat concat_param", ["2x3x4 2x5x4", "2x3x4", "2x3 2x3x4", "2x3x4 2x3x4 2x3x4", ""], [1],
     ["", *each("axis: ?", 0, -2, 5), *each("concat_dim: ?", 1, 3, "1 axis: 1")]),
    ("Slice slice_param", ["2x6x4"], [1, 2, 3],
     ["", *each("axis: ?", 0, -1, 3), *each("slice_dim: ?", 2, "2 axis: 1"), *each("slice_point: ?", 0, 2, 5, 6, 7),
      *each("slice_point: 2 slice_point: ?", 1, 2, 3), "slice_point: 1 slice_point: 2 slice_point: 3"]),
    ("Eltwise eltwise_param", ["2x3 2x3", "2x3 2x4", "2x3", "2x3 2x3x1", "() ()", "2x3 2x3 2x3"], [1],
     ["", "coeff: 1", *each("operation: ?", "PROD", "MAX coeff: 1 coeff: -1", "PROD coeff: 1 coeff: 1")]),
    ("BatchReindex", ["2x3x4 5", "2x3x4 5x1", "2 1", "() 2"], [1], [""]),
    ("Filter", ["2x3 2", "2x3 2x1", "2x3 2x2", "2x3 3", "2x4 2x3 2", "2x3 3x4 2"], [1, 2], [""]),
    *((t, ["2x3", "2x3 2", ""], [0, 1, 3], [""]) for t in ("Silence", "Split", "ReLU", "Concat", "Slice", "Eltwise")),
    ("HDF5Output hdf5_output_param", ["2x3 2", "2x3 3", "2x1x1x1x1 2", "2"], [0, 1], ['file_name: "out.h5"']),
    ("LSTMUnit", ["2x2x3 2x2x12 2x2", *each("1x2x3 ?", "1x2x12 1x2", "1x2x11 1x2", "1x2x12 1x2x1", "1x3x12 1x2")], [2],
     [""]),
    *((f"{t} recurrent_param", SEQUENCES[:1], [1],
       ["", *each(H4 + "?", 'bias_filler { type: "gaussian" std: 0 }', 'weight_filler { type: "msra" }')])
      for t in ("LSTM", "RNN")),
    *((f"{t} recurrent_param", SEQUENCES, [1], [H4]) for t in ("LSTM", "RNN")),
    *((f"{t} recurrent_param", SEQUENCES, [n], [H4 + "expose_hidden: true"]) for t, n in (("LSTM", 3), ("RNN", 2))),
    *((t, LABELLED, [1], [""]) for t in LOSSES),
    *((t, FEW_LABELLED, [0, 2], [""]) for t in LOSSES),
    *((t, FEW_LABELLED, [1, 2], each("loss_weight: ?", 2, "1 loss_weight: 0")) for t in LOSSES),
    ("SoftmaxWithLoss softmax_param", ["4x5x2x3 4x2x3", "4x5x2x3 4x5x3"], [1], each("axis: ?", -3, -2, 4)),
    ("Accuracy accuracy_param", ["4x5x2x3 4x2x3", "4x5x2x3 4x5x3"], [2],
     both(each("axis: ?", -3, -2, 4), each("top_k: ?", 0, 2, 3, 6))),
    ("InfogainLoss infogain_loss_param", each("4x5x2x3 ?", "4x2x3 25", "4x5x3 2x2", "4x5x3"), [1],
     each("axis: ?", 1, 2)),
    ("InfogainLoss loss_param", ["4x5 4 25"], [1], ["normalize: true", "normalization: FULL"]),
    ("SoftmaxWithLoss", ["4x5 4"], [1], [*each("propagate_down: ?", "true", "true propagate_down: false"), "param {}"]),
    ("InnerProduct", ["2x3"], [1], ["inner_product_param { num_output: 2 }" + " param {}" * n for n in range(4)]),
    *((t, ["2x3"], [1], ["loss_weight: 1", "loss_weight: 1 loss_weight: 1", "param {}"])
      for t in ("ReLU", "relu", "", "Permute")),
    ("DummyData dummy_data_param", [""], [1, 2],
     ["", SHAPE, "shape {}", *each("shape { dim: ? }", "2 dim: 0", "50000 dim: 50000"), SHAPE + SHAPE,
      *each("num: 1 ? width: 4", "num: 5 channels: 2 height: 3", "channels: 2 height: 3", "channels: 2", SHAPE),
      *each(SHAPE + "data_filler { type: ? }", '"gaussian"', '"gaussian" std: 0', '"none"', '"" } data_filler {'),
      'shape {} data_filler { type: "xavier" }']),
    ("Parameter parameter_param", [""], [1, 2], ["", SHAPE, "shape { dim: 2 dim: 0 }"]),
    ("Input input_param", [""], [1, 2],
     [SHAPE, SHAPE + SHAPE, *each("shape { dim: ? }", 0, -1, "65536 dim: 32768"), *(f"shape {{ {'dim: 1 ' * n} }}"
                                                                                    for n in (32, 33))]),
]


def small_nets() -> Dict[str, str]:
    """Nets by description."""
    nets = {}
    for kind, bottoms, tops, bodies in SMALL:
        type_, _, field = kind.partition(" ")
        for shapes, number, body in product(bottoms, tops, bodies):
            settings = f"{field} {{ {body} }}" if field else body
            nets[f"{shapes} -> {type_} {settings} -> {number} tops"] = small_net(type_, shapes, number, settings)
    return nets


def inner_product(name: str, bottom: str, top: str, outputs: int, body: str = "") -> str:
    return layer(name, "InnerProduct", bottom, top, f"inner_product_param {{ num_output: {outputs} }} {body}")


def relus(*wires: str) -> str:
    """ReLU layers named a, b, …, each from one blob to another."""
    return "".join(layer(name, "ReLU", *wire.split()) for name, wire in zip("abcdefgh", wires))


def sharing(*settings: str, first: int = 3, then: int = 3, of: int = 3) -> str:
    """Inner products in a row, whose weights are all named w."""
    products = [inner_product(name, bottom, top, first if name == "a" else then, f'param {{ name: "w" {setting} }}')
                for name, bottom, top, setting in zip("abc", "xab", "abc", settings)]
    return given("x", f"2x{of}") + "".join(products)


def sliced(weights: str) -> str:
    """A layer with two tops and these loss weights, the first top being read."""
    return given("x", "2x4") + layer("a", "Slice", "x", "r s", weights) + layer("b", "Power", "r", "t")


X = given("x", "2x3")
XZ = X + given("z", "2x3")
LOSS = XZ + layer("a", "EuclideanLoss", "x z", "l", "loss_weight: 3")
LSTM = given("s", "2x3x4") + given("m", "2x3") + layer("q", "LSTM", "s m", "x", "recurrent_param { num_output: 2 }")
WIRINGS: Dict[str, str] = {
    "a blob read twice": X + relus("x a", "x b"),
    "twice by one layer": X + layer("a", "Eltwise", "x x", "a"),
    "in place, then read twice": X + relus("x x", "x y", "x z"),
    "read before it changes in place": X + relus("x y", "x x"),
    "one top of two layers": X + relus("x y", "x y"),
    "a top again later": X + relus("x y", "y x"),
    "one top twice": X + layer("a", "Split", "x", "y y"),
    "in place of the first bottom": XZ + layer("a", "Eltwise", "x z", "x", "eltwise_param { operation: PROD }"),
    "in place of the second bottom": XZ + layer("a", "Eltwise", "x z", "z"),
    "unknown bottom": X + relus("q y"),
    "bottom of itself": relus("a a"),
    "bottom of a later layer": relus("x y") + X,
    **{f"{t} in place": X + layer("a", t, "x", "x") for t in (
        "AbsVal", "Flatten", "Reshape", "Split", "Softmax", "MVN", "BatchNorm", "PReLU")},
    "Scale in place": X + layer("a", "Scale", "x", "x", "scale_param { bias_term: true }"),
    "a name that a split takes": X + relus("x x_x_0_split_0", "x y"),
    "splits of splits": X + relus("x y", "x z") + layer("c", "Eltwise", "z z y", "w") + layer("d", "ReLU", "y", "u"),
    "after a recurrent layer": LSTM + relus("x x", "x y", "x z"),
    "shared parameters": sharing("", ""),
    "of other shape": sharing("", "", first=4),
    "the same rates": sharing("lr_mult: 2", "lr_mult: 2", ""),
    "other rates": sharing("lr_mult: 2", "lr_mult: 1"),
    "other rates later": sharing("", "lr_mult: 2", "lr_mult: 1"),
    "other decay": sharing("decay_mult: 2", "decay_mult: 1"),
    "the same number": sharing("", "share_mode: PERMISSIVE", then=4, of=4),
    "the same number, not permitted": sharing("", "", then=4, of=4),
    "the same number, permitted by the owner": sharing("share_mode: PERMISSIVE", "", then=4, of=4),
    "not the same number": sharing("", "share_mode: PERMISSIVE", then=5, of=4),
    "shared within a layer": given("x", "2x1")
    + inner_product("a", "x", "y", 1, 'param { name: "w" } param { name: "w" share_mode: PERMISSIVE }'),
    "old batch norms' rates": X + "".join(
        layer(n, "BatchNorm", "x", "x", f'param {{ name: "m" lr_mult: {n} }} param {{}} param {{}}') for n in "12"),
    "a loss that is read": LOSS + layer("b", "Power", "l", "y"),
    "a loss that is read twice": LOSS + layer("b", "Power", "l", "y") + layer("c", "Power", "l", "v"),
    "losses of one name": LOSS + layer("a", "EuclideanLoss", "x z", "m") + layer("a", "HingeLoss", "x z"),
    **{f"loss_weight: {weights}, two tops": sliced(f"loss_weight: {weights}") for weights in (
        "2 loss_weight: 1", "2", "0 loss_weight: 1", "0", "1 loss_weight: 1 loss_weight: 1")},
    "input_dim": 'input: "x" input: "z" ' + "input_dim: 2 " * 8 + layer("a", "Eltwise", "x z", "y"),
    "input_shape": 'input: "x" input: "z" ' + "input_shape { dim: 2 } " * 2 + layer("a", "Eltwise", "x z", "y"),
    "input alone": 'input: "x" ' + relus("x y"),
    "input with an Input layer": 'input: "x" ' + X + relus("x y"),
    "two kinds of rules": X + layer("a", "ReLU", "x", "y", "include { phase: TRAIN } exclude { phase: TEST }"),
    "two kinds, elsewhere": X + layer("a", "ReLU", "x", "y", "include { phase: TEST } exclude { phase: TEST }"),
    "no layer": 'name: "nothing"',
}
RULES = [
    "phase: TEST", "include {}", "exclude {}", *each("? { phase: TRAIN }", "include", "exclude"),
    *each("include { ? }", "stage: 'a'", "stage: 'a' stage: 'b'", "not_stage: 'a'", "min_level: 1", "max_level: 1",
          "min_level: 1 stage: 'c'", "phase: TRAIN stage: 'b' } include { phase: TEST"),
    "exclude { stage: 'a' } exclude { min_level: 2 }",
]
