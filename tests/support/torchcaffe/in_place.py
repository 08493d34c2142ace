"""Each layer with a top that is its bottom, and with one of its own, for what Caffe computes of the one and the other.

What comes in from below passes a Bias of 0 as large as the blob; where that is learned, its gradient is the blob's.
"""
from __future__ import annotations

from typing import Any, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from tests.support.torchcaffe.cases_neurons import inputs, layer
from tests.support.torchcaffe.parity import Case, numbers

BIAS = "bias_param { axis: 0 num_axes: -1 filler { value: 0 } }"
FILLERS = "weight_filler { type: 'gaussian' std: 0.5 }"
WINDOW = "convolution_param { num_output: 3 kernel_size: %d pad: %d " + FILLERS + " }"
RECURRENT = "recurrent_param { num_output: 4 " + FILLERS + " }"
IMAGES, STEPS = (2, 3, 4, 4), (3, 2, 4)
MARKS = np.float32([[0, 0], [1, 1], [1, 1]])


class Example(NamedTuple):
    """A layer whose top 0 is as large as its bottom 0; `learned`: how many of its bottoms have something learned below.

    `arrays` are its bottoms' numbers, or their shapes.
    """

    type: str
    settings: str = ""
    arrays: Sequence[Any] = (IMAGES,)
    learned: int = 1
    tops: int = 1

    @property
    def name(self) -> str:
        """The type and its settings."""
        return f"{self.type} {self.settings}".strip()


def given(type_: str, *settings: str, **fields: Any) -> List[Example]:
    """The same with each of these settings."""
    return [Example(type_, one, **fields) for one in settings or ("",)]


EXAMPLES = [
    *given("ArgMax", "argmax_param { axis: 1 top_k: 3 }", learned=0),
    *given("BatchNorm"),
    *given("BatchReindex", arrays=((3, 4), np.float32([2, 0, 1]))),
    *given("Bias", "bias_param { filler { type: 'gaussian' } }"),
    *given("BNLL"),
    *given("Clip", "clip_param { min: -0.5 max: 0.5 }"),
    *given("Concat"),
    *given("Convolution", WINDOW % (1, 0), WINDOW % (3, 1)),
    *given("Crop", arrays=(IMAGES, IMAGES)),
    *given("Deconvolution", WINDOW % (1, 0)),
    *given("Dropout"),
    *given("Eltwise", "", "eltwise_param { operation: PROD }", "eltwise_param { operation: MAX }",
           arrays=(IMAGES, IMAGES), learned=2),
    *given("ELU", "", "elu_param { alpha: -1 }"),
    *given("Embed", "embed_param { num_output: 1 input_dim: 3 weight_filler { type: 'uniform' min: 0 max: 0.9 } }",
           arrays=(np.float32([2, 0, 1, 1]),), learned=0),
    *given("Exp"),
    *given("Filter", arrays=((4, 3), np.float32([0, 1, 1, 0]))),
    *given("Im2col", "convolution_param { kernel_size: 1 }"),
    *given("InnerProduct", "inner_product_param { num_output: 4 " + FILLERS + " }", arrays=((3, 4),)),
    *given("Log", arrays=(numbers(*IMAGES, low=0.5, high=2),)),
    *given("LRN", "", "lrn_param { norm_region: WITHIN_CHANNEL }"),
    *given("LSTM", RECURRENT, arrays=(STEPS, MARKS)),
    *given("LSTMUnit", arrays=((1, 2, 3), (1, 2, 12), np.float32([[1, 1]])), learned=2, tops=2),
    *given("MVN", "", "mvn_param { normalize_variance: false }"),
    *given("Pooling", "pooling_param { kernel_size: 3 pad: 1 }"),
    *given("Power", "", "power_param { power: 2 scale: 3 shift: 1 }"),
    *given("PReLU"),
    *given("Reduction", "reduction_param { axis: 1 operation: SUMSQ }", arrays=((4, 1),)),
    *given("ReLU", "", "relu_param { negative_slope: 0.3 }", "relu_param { negative_slope: -0.3 }"),
    *given("RNN", RECURRENT, arrays=(STEPS, MARKS)),
    *given("Scale", "scale_param { bias_term: true filler { type: 'gaussian' std: 1 } }"),
    *given("Scale", arrays=(IMAGES, (3,)), learned=2),
    *given("Sigmoid"),
    *given("Slice"),
    *given("Softmax"),
    *given("SPP", "spp_param { pyramid_height: 1 }", arrays=((2, 3, 1, 1),)),
    *given("Swish"),
    *given("TanH"),
    *given("Threshold", learned=0),
    *given("Tile", "tile_param { tiles: 1 }"),
]


def rule_of(example: Example) -> Any:
    """What the rules of layers say of it, an InPlace."""
    from google.protobuf import text_format  # here: real Caffe's Python reads this file as well

    from menndl_caffe.nets.layer_rules import LAYERS
    from menndl_caffe.nets.proto import caffe_pb2

    param = text_format.Parse(f'type: "{example.type}" {example.settings}', caffe_pb2.LayerParameter())
    return LAYERS[example.type].is_in_place(param)


def net(example: Example, in_place: bool) -> Tuple[str, Mapping[str, np.ndarray]]:
    """The net in text format, and what its inputs hold."""
    arrays = [array if isinstance(array, np.ndarray) else numbers(*array, seed=index, low=-2, high=2)
              for index, array in enumerate(example.arrays)]
    held = {f"in{index}": array for index, array in enumerate(arrays)}
    below = "".join(
        layer("Bias", f"in{index}", f"x{index}", BIAS + " param { lr_mult: 0 }" * (index >= example.learned)).replace(
            '"bias"', f'"bias{index}"') for index in range(len(arrays)))
    tops = ["x0" if in_place else "y0", "y1"][:example.tops]
    bottoms = " ".join(f"x{index}" for index in range(len(arrays)))
    return (inputs(**held) + below + layer(example.type, bottoms, " ".join(tops), example.settings)
            + layer("Exp", tops[0], "z", "loss_weight: 1 exp_param { scale: 0.5 }").replace('"exp"', '"loss"')), held


def _cases() -> Iterator[Case]:
    for example in EXAMPLES:
        for in_place in (False, True):
            text, held = net(example, in_place)
            yield Case(f"{example.name}{' in place' * in_place}", text, held)


CASES = list(_cases())
