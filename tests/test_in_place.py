"""What a layer computes where its top is its bottom: Caffe's rule for each type, against real Caffe and on paper."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from menndl_caffe.nets.layer_rules import LAYERS
from menndl_caffe.nets.layer_rules.blob import InPlace
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.shapes import ImpossibleNet, NetShape, infer
from tests.support.shape_nets import given, inner_product, layer
from tests.support.torchcaffe import parity
from tests.support.torchcaffe.in_place import EXAMPLES, Example, net, rule_of
from tests.support.torchcaffe.parity import Arrays

GRADES = [InPlace.FINE, InPlace.NOT_ITS_GRADIENT, InPlace.NONSENSE]
# Neurons whose gradient reads their output where it asks for their input: Caffe's formula, with sense enough to train.
READ_THEIR_OUTPUT = {"BNLL", "Clip clip_param { min: -0.5 max: 0.5 }", "ELU elu_param { alpha: -1 }",
                     "ReLU relu_param { negative_slope: -0.3 }"}
# Right here for what lies between (a buffer, a window of one pixel), or as long as the bottom is made anew each time.
RIGHT_BY_CHANCE = {"Convolution", "Filter", "Im2col", "LRN"}


def measured(alone: Arrays, in_place: Arrays) -> InPlace:
    """What the layer computed in place, beside what it computes in a blob of its own."""
    same = {name: np.allclose(alone[name], in_place[name], 1e-4, 1e-5) for name in alone
            if name == "data/z" or name.startswith("gradient/")}
    assert len(same) > 1
    if not same["data/z"]:
        return InPlace.NONSENSE
    return InPlace.FINE if all(same.values()) else InPlace.NOT_ITS_GRADIENT


def test_the_rules_say_what_real_caffe_computes(caffe_root: Path) -> None:
    results = parity.run_real(caffe_root, "in_place")
    for example in EXAMPLES:
        found = measured(results[example.name], results[f"{example.name} in place"])
        if example.name in READ_THEIR_OUTPUT:
            assert (found, rule_of(example)) == (InPlace.NOT_ITS_GRADIENT, InPlace.FINE), example
        elif example.type in RIGHT_BY_CHANCE and found is not InPlace.NONSENSE:
            assert (found, rule_of(example)) == (InPlace.NOT_ITS_GRADIENT, InPlace.NONSENSE), example
        else:
            assert found is rule_of(example), example


def test_every_type_that_can_work_in_place_has_an_example() -> None:
    """Losses and accuracies change the size; the rest is refused by Caffe itself, or of no shape that we know."""
    others = {"AbsVal", "Accuracy", "Flatten", "HDF5Output", "Python", "Reshape", "Silence", "Split"}
    able = {type_ for type_, rule in LAYERS.items() if rule.bottoms.stop > 1 and not rule.loss}
    assert able - {example.type for example in EXAMPLES} == others
    assert all(LAYERS[type_].in_place is InPlace.NONSENSE for type_ in others - {"HDF5Output", "Python", "Silence"})
    assert all(rule.in_place is InPlace.NONSENSE for rule in LAYERS.values() if rule.loss)


def shape_of(text: str, phase: str) -> NetShape:
    return infer(text_format.Parse(text, caffe_pb2.NetParameter()), phase, lambda layer: (3, 32, 32))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_nonsense_is_refused_on_paper(example: Example, phase: str) -> None:
    """Of a layer that spoils its gradient alone, only where one is wanted."""
    text, _ = net(example, in_place=True)
    refused = GRADES.index(rule_of(example)) >= (1 if phase == "TRAIN" else 2)
    if not refused:
        shape_of(text, phase)
        return
    with pytest.raises(ImpossibleNet, match="in place") as caught:
        shape_of(text, phase)
    assert caught.value.layer == example.type.lower()
    shape_of(net(example, in_place=False)[0], phase)


X, ABOVE = given("x", "2x3"), layer("l", "Softmax", "y", "l", "loss_weight: 1")
PRODUCT = inner_product("a", "x", "y", 3)


def log(bottom: str, settings: str = "") -> str:
    return layer("log", "Log", bottom, bottom, settings)


def test_a_gradient_that_is_wanted_is_a_reason() -> None:
    with pytest.raises(ImpossibleNet, match="layer log: in place, Caffe's Log overwrites what its gradient is made of"):
        shape_of(X + PRODUCT + log("y") + ABOVE, "TRAIN")


@pytest.mark.parametrize("text", [
    X + log("x") + PRODUCT + ABOVE,
    X + inner_product("a", "x", "y", 3, "param { lr_mult: 0 } param { lr_mult: 0 }") + log("y") + ABOVE,
    X + PRODUCT + log("y"),
    X + PRODUCT + log("y") + layer("s", "Silence", "y", "") + layer("l", "Softmax", "x", "l", "loss_weight: 1"),
    X + PRODUCT + log("y", "propagate_down: false") + ABOVE,
], ids=["nothing learned below", "rates of 0", "no loss", "does not lead to the loss", "propagate_down: false"])
def test_a_gradient_that_nobody_wants_is_none(text: str) -> None:
    shape_of(text, "TRAIN")
