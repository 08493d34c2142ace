"""Neurons: usual numbers and odd ones, in place and not, in both phases."""
from __future__ import annotations

from typing import Any, List

import numpy as np

from tests.support.torchcaffe.parity import TEST, TRAIN, Case, numbers

SHAPE = (2, 3, 3, 4)
USUAL = numbers(*SHAPE, seed=11, low=-3, high=3)
USUAL[0, 0, 0] = [0, -0.0, 1, -1]
ODD = numbers(*SHAPE, seed=12, low=-3, high=3)
ODD[1, :, 1] = [[np.nan, np.inf, -np.inf, 0], [-0.0, 88, -88, 60], [-104, 104, 1e-30, -1e-30]]
POSITIVE = numbers(*SHAPE, seed=13, low=0.1, high=4)


def layer(type_: str, bottoms: str, tops: str, settings: str = "") -> str:
    """A layer in text format, named by its type; bottoms and tops are separated by spaces."""
    ends = [f'bottom: "{name}"' for name in bottoms.split()] + [f'top: "{name}"' for name in tops.split()]
    return f'layer {{ name: "{type_.lower()}" type: "{type_}" {" ".join(ends)} {settings} }} '


def inputs(**shapes: Any) -> str:
    """An Input layer for each of these arrays, or shapes."""
    text = ""
    for name, of in shapes.items():
        dims = " ".join(f"dim: {size}" for size in np.shape(of))
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }} '
    return text


def neuron(name: str, type_: str, settings: str = "", x: np.ndarray = USUAL, in_place: bool = True,
           **fields: Any) -> List[Case]:
    """The layer alone, and in place as well."""
    cases = []
    for top in ("y", "x")[:1 + in_place]:
        net = "force_backward: true " + inputs(x=x) + layer(type_, "x", top, settings)
        if top == "x" and type_ in ("Log", "Power"):  # nonsense in Caffe: it overwrites what it has not read yet
            fields["backward"] = False
        cases.append(Case(name + "-in-place" * (top == "x"), net, {"x": x}, **fields))
    return cases


EXACT = ["data/*", "diff/*"]
DROPOUT = "dropout_param { dropout_ratio: %s }"
ELU = "elu_param { alpha: %s }"
PRELU = "prelu_param { filler { type: 'uniform' min: -0.5 max: 0.5 } channel_shared: %s }"

CASES = [
    *neuron("abs", "AbsVal", in_place=False, exact=EXACT),
    *neuron("abs-odd", "AbsVal", x=ODD, in_place=False, exact=EXACT),
    *neuron("bnll", "BNLL"),
    *neuron("bnll-odd", "BNLL", x=ODD),
    *neuron("clip", "Clip", "clip_param { min: -1 max: 2 }", exact=EXACT),
    *neuron("clip-odd", "Clip", "clip_param { min: -1 max: 0 }", ODD, exact=EXACT),
    *neuron("clip-empty", "Clip", "clip_param { min: 1 max: -1 }", exact=EXACT),
    *[case for ratio in ("0.5", "0.9", "0", "1") for case in neuron(
        f"dropout-{ratio}", "Dropout", DROPOUT % ratio, exact=EXACT, passes=2, seed=5)],
    *neuron("dropout-odd", "Dropout", x=ODD, exact=EXACT),
    *neuron("dropout-test", "Dropout", DROPOUT % "0.9", exact=EXACT, phase=TEST),
    *neuron("elu", "ELU"),
    *neuron("elu-alpha", "ELU", ELU % "0.3"),
    *neuron("elu-odd", "ELU", ELU % "2", x=ODD),
    *neuron("exp", "Exp"),
    *neuron("exp-base", "Exp", "exp_param { base: 2 scale: -0.7 shift: 0.4 }"),
    *neuron("exp-odd", "Exp", "exp_param { scale: 0.1 shift: 0.5 }", ODD),
    *neuron("log", "Log", x=POSITIVE),
    *neuron("log-base", "Log", "log_param { base: 10 scale: 3 shift: 0.5 }", POSITIVE),
    *neuron("log-odd", "Log", "log_param { shift: 1 }", ODD),
    *neuron("power", "Power", exact=EXACT),
    *neuron("power-line", "Power", "power_param { scale: -2 shift: 0.5 }"),
    *neuron("power-2", "Power", "power_param { power: 2 scale: 0.5 shift: -1 }"),
    *neuron("power-3", "Power", "power_param { power: 3 }"),
    *neuron("power-root", "Power", "power_param { power: 0.5 scale: 2 shift: 1 }", POSITIVE),
    *neuron("power-inverse", "Power", "power_param { power: -1.5 }", POSITIVE),
    *neuron("power-0", "Power", "power_param { power: 0 }", ODD, exact=EXACT),
    *neuron("power-scale-0", "Power", "power_param { power: 3 scale: 0 shift: 1.5 }", ODD, exact=EXACT),
    *neuron("power-odd", "Power", "power_param { power: 2.5 shift: 0.5 }", ODD),
    *neuron("prelu", "PReLU", exact=["param/*"]),
    *neuron("prelu-filler", "PReLU", PRELU % "false", exact=["param/*"], passes=2),
    *neuron("prelu-shared", "PReLU", PRELU % "true"),
    *neuron("prelu-odd", "PReLU", x=ODD),
    *neuron("prelu-vectors", "PReLU", PRELU % "false", numbers(4, 5)),
    *neuron("relu", "ReLU", exact=EXACT),
    *neuron("relu-odd", "ReLU", x=ODD, exact=EXACT),
    *neuron("relu-slope", "ReLU", "relu_param { negative_slope: 0.1 }", exact=EXACT),
    *neuron("relu-slope-odd", "ReLU", "relu_param { negative_slope: -0.5 }", x=ODD, exact=EXACT),
    *neuron("sigmoid", "Sigmoid"),
    *neuron("sigmoid-odd", "Sigmoid", x=ODD),
    *neuron("swish", "Swish"),
    *neuron("swish-beta", "Swish", "swish_param { beta: -1.5 }"),
    *neuron("swish-odd", "Swish", x=ODD),
    *neuron("tanh", "TanH", phase=TEST),
    *neuron("tanh-odd", "TanH", x=ODD, phase=TRAIN),
    *neuron("threshold", "Threshold", "threshold_param { threshold: 0.5 }", exact=EXACT, backward=False),
    *neuron("threshold-odd", "Threshold", x=ODD, exact=EXACT, backward=False),
    *neuron("scalar", "ReLU", x=np.float32(-2), exact=EXACT),
]
