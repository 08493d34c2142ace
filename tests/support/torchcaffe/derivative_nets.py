"""Small nets for derivatives: their inputs are Input layers' tops, of which `label` has classes 0 to 2."""
from __future__ import annotations

from typing import Dict


def inputs(**shapes: str) -> str:
    """Input layers; a shape as `8 3`."""
    return "".join(f'layer {{ name: "{top}" type: "Input" top: "{top}" input_param {{ shape {{ '
                   + " ".join(f"dim: {dim}" for dim in shape.split()) + " } } }\n" for top, shape in shapes.items())


def layer(type_: str, name: str, bottoms: str, top: str = "", more: str = "") -> str:
    """A layer with these bottoms, its name for a top unless another is given."""
    wired = "".join(f' bottom: "{bottom}"' for bottom in bottoms.split())
    return f'layer {{ type: "{type_}" name: "{name}"{wired} top: "{top or name}" {more} }}\n'


def product(name: str, bottom: str, num_output: int, more: str = "") -> str:
    """An InnerProduct."""
    return layer("InnerProduct", name, bottom, more=f"inner_product_param {{ num_output: {num_output} {FILL} }} {more}")


def convolution(name: str, bottom: str, num_output: int, kernel: int) -> str:
    """A Convolution."""
    return layer("Convolution", name, bottom, more=(
        f"convolution_param {{ num_output: {num_output} kernel_size: {kernel} {FILL} }}"))


def pooling(name: str, bottom: str, pool: str = "MAX") -> str:
    """A Pooling of 2 by 2."""
    return layer("Pooling", name, bottom, more=f"pooling_param {{ pool: {pool} kernel_size: 2 stride: 2 }}")


FILL = "weight_filler { type: 'xavier' } bias_filler { type: 'gaussian' std: 0.1 }"
LOSS = layer("SoftmaxWithLoss", "loss", "scores label")
LINEAR = inputs(x="40 20", label="40") + product("scores", "x", 3) + LOSS
MLP = (inputs(x="40 20", label="40") + product("hidden", "x", 12) + layer("ReLU", "relu", "hidden", "hidden")
       + product("scores", "hidden", 3) + LOSS)
LENET = (inputs(x="16 1 16 16", label="16") + convolution("conv1", "x", 4, 5) + pooling("pool1", "conv1")
         + convolution("conv2", "pool1", 6, 3) + pooling("pool2", "conv2") + product("ip1", "pool2", 12)
         + layer("ReLU", "relu", "ip1", "ip1") + product("scores", "ip1", 3) + LOSS)
NORM = (inputs(x="8 2 8 8", label="8") + convolution("conv", "x", 4, 3) + layer("BatchNorm", "norm", "conv")
        + layer("Scale", "scale", "norm", "norm", "scale_param { bias_term: true }")
        + layer("ReLU", "relu", "norm", "norm") + pooling("pool", "norm", "AVE") + product("scores", "pool", 3) + LOSS)
DROPOUT = (inputs(x="40 20", label="40") + product("hidden", "x", 12)
           + layer("Dropout", "drop", "hidden", "hidden", "dropout_param { dropout_ratio: 0.4 }")
           + layer("TanH", "tanh", "hidden", "hidden") + product("scores", "hidden", 3) + LOSS)


def recurrent(type_: str) -> str:
    """A net of LSTM or RNN; `marks` says where sequences begin."""
    return (inputs(x="4 5 3", marks="4 5", y="4 5 2")
            + layer(type_, "states", "x marks", more=f"recurrent_param {{ num_output: 4 {FILL} }}")
            + product("scores", "states", 2).replace("num_output", "axis: 2 num_output")
            + layer("EuclideanLoss", "loss", "scores y"))


# The second product has the first one's weight, transposed in its shape; a bias of its own.
SHARED = (inputs(x="10 6", label="10") + product("hidden", "x", 3, "param { name: 'w' }")
          + layer("TanH", "tanh", "hidden") + product("back", "tanh", 6, "param { name: 'w' share_mode: PERMISSIVE }")
          + layer("Sigmoid", "sigmoid", "back") + product("scores", "sigmoid", 3) + LOSS)
# A parameter as a factor; what Silence takes away has no gradient, but is in it.
PARAMETER = (inputs(x="10 6", label="10")
             + layer("Parameter", "factor", "", more="parameter_param { shape { dim: 6 } }")
             + layer("Exp", "positive", "factor") + layer("Scale", "scaled", "x positive")
             + product("scores", "scaled", 3) + 'layer { type: "Silence" name: "silence" bottom: "scores" }\n' + LOSS)
NETS: Dict[str, str] = {
    "linear": LINEAR, "mlp": MLP, "lenet": LENET, "norm": NORM, "dropout": DROPOUT, "lstm": recurrent("LSTM"),
    "rnn": recurrent("RNN"), "shared": SHARED, "parameter": PARAMETER,
}
IN_NETS = ("Parameter", "Silence")  # types that these nets alone have
