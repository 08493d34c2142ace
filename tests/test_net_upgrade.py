"""Older formats: what `net_upgrade` makes of a message and what Caffe's own tools make of it, field for field."""
from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor

from menndl_caffe.errors import UserError
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.prototxt import dumps, parse
from menndl_caffe.nets.shapes import infer
from menndl_caffe.nets.upgrade import places, upgrade_net, upgrade_solver

V1 = caffe_pb2.V1LayerParameter
V1_TYPES = V1.LayerType.keys()


class Answer(NamedTuple):
    """What a tool of Caffe says: the new message, or why it died; and the things it could not carry over."""

    message: Any
    lost: List[str] = []
    died: str = ""


Tool = Callable[..., Answer]


@pytest.fixture(scope="module")
def tool(caffe_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Tool:
    """Runs one of Caffe's upgrade tools on a message."""
    old, new = (tmp_path_factory.mktemp("upgrade") / name for name in ("old", "new"))

    def run(message: Any, name: str = "upgrade_net_proto_text") -> Answer:
        binary = name.endswith("binary")
        old.write_bytes(message.SerializeToString() if binary else dumps(message).encode())
        new.unlink(missing_ok=True)
        done = subprocess.run([str(caffe_root / "bin" / name), str(old), str(new)], text=True, capture_output=True)
        if done.returncode not in (0, 1):
            return Answer(None, died=re.findall(r"^F\d.*\] (.*)$", done.stderr, re.M)[0])
        lost = re.findall(r"^E.*\] ((?:Unknown|Input NetP).*)$", done.stderr, re.M)
        assert bool(lost) == bool(done.returncode), done.stderr
        if binary:
            return Answer(type(message).FromString(new.read_bytes()), lost)
        return Answer(parse(new.read_text(), type(message)).message, lost)

    return run


def ours(net: Any) -> Answer:
    lost: List[str] = []
    try:
        return Answer(upgrade_net(net, lost.append), lost)
    except ImpossibleNet as impossible:
        return Answer(None, died=str(impossible))


def check_same(tool: Tool, net: Any, name: str = "upgrade_net_proto_text") -> Answer:
    """Both make the same message and lose as much, or both refuse."""
    before = net.SerializeToString()
    theirs, mine = tool(net, name), ours(net)
    assert bool(mine.died) == bool(theirs.died), (theirs.died, mine.died, dumps(net))
    assert mine.message == theirs.message, dumps(net)
    assert len(mine.lost) == len(theirs.lost), (mine.lost, theirs.lost)
    assert net.SerializeToString() == before
    return mine


def net_of(text: str) -> Any:
    return text_format.Parse(text, caffe_pb2.NetParameter())


# ---------------------------------------------------------------------------------------------------- Random messages

def value_of(rng: random.Random, field: Any) -> Any:
    """A random value of a scalar field that a text keeps as it is."""
    if field.enum_type:
        return rng.choice(field.enum_type.values).number
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.randint(-16, 16) / 8
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return rng.choice(("a", "b", "c")).encode() if field.type == FieldDescriptor.TYPE_BYTES else rng.choice("abc")
    return rng.randint(0, 5)


def fill(rng: random.Random, message: Any, share: float, but: Tuple[str, ...] = ()) -> Any:
    """Set about this share of a message's fields, and of those inside; repeated ones up to three times."""
    for field in message.DESCRIPTOR.fields:
        if field.name in but or rng.random() > share:
            continue
        there = getattr(message, field.name)
        if hasattr(there, "append"):
            for _ in range(rng.randint(1, 3)):
                if field.message_type:
                    fill(rng, there.add(), share)
                else:
                    there.append(value_of(rng, field))
        elif field.message_type:
            there.SetInParent()
            fill(rng, there, share)
        else:
            setattr(message, field.name, value_of(rng, field))
    return message


def random_net(rng: random.Random, share: float) -> Any:
    """A net without layers; inputs have enough shapes, which Caffe does not check (it reads beyond their end)."""
    net = fill(rng, caffe_pb2.NetParameter(), share, ("layer", "layers"))
    while len(net.input_shape) < len(net.input):
        net.input_shape.add(dim=[2, 3])
    while 0 < len(net.input_dim) < 4 * len(net.input):
        net.input_dim.append(5)
    return net


def random_v1_layer(rng: random.Random, type_: str, share: float) -> Any:
    layer = fill(rng, V1(), share, ("layer", "type"))
    layer.type = V1.LayerType.Value(type_)
    return layer


@pytest.mark.parametrize("share", (0.1, 0.3, 0.6, 1.0))
def test_v1_layers_of_every_type_with_every_field(tool: Tool, share: float) -> None:
    rng = random.Random(f"v1 {share}")
    for name in ("upgrade_net_proto_text", "upgrade_net_proto_binary"):
        net = random_net(rng, share)
        net.layers.extend(random_v1_layer(rng, type_, share) for type_ in V1_TYPES)
        mine = check_same(tool, net, name)
        assert len({layer.type for layer in mine.message.layer} | {"Input"}) == len(V1_TYPES) + 1
        assert not len(mine.message.layers) and not mine.lost


def test_v1_data_layers_with_old_and_new_transformations(tool: Tool) -> None:
    """The settings of every data layer are touched as soon as one has an old field."""
    rng = random.Random(2)
    for _ in range(12):
        net = caffe_pb2.NetParameter()
        net.layers.extend(random_v1_layer(rng, type_, 0.08) for type_ in ("DATA", "IMAGE_DATA", "WINDOW_DATA", "RELU"))
        check_same(tool, net)


def test_layers_beside_layer(tool: Tool) -> None:
    """Refused in V1; dropped in V0."""
    layer = 'layer { name: "b" type: "ReLU" }'
    assert "`layers` and `layer`" in check_same(tool, net_of(f'layers {{ name: "a" type: RELU }} {layer}')).died
    assert len(check_same(tool, net_of(f'layers {{ layer {{ type: "relu" }} }} {layer}')).message.layer) == 1


# ----------------------------------------------------------------------------------------------------------------- V0

V0_TYPES = ("accuracy bnll concat conv data dropout euclidean_loss flatten hdf5_data hdf5_output im2col images "
            "infogain_loss innerproduct lrn multinomial_logistic_loss pool relu sigmoid softmax softmax_loss split "
            "tanh window_data").split()


def random_v0_layer(rng: random.Random, type_: str, share: float, bottoms: List[str]) -> Any:
    layer = fill(rng, V1(), 0.2, ("layer", "bottom"))
    fill(rng, layer.layer, share, ("type",)).type = type_
    layer.bottom.extend(rng.choices(bottoms, k=rng.randint(0, 3) if bottoms else 0))
    return layer


@pytest.mark.parametrize("share", (0.05, 0.1, 0.3, 1.0))
def test_v0_layers_of_every_type_with_every_field(tool: Tool, share: float) -> None:
    """Most fields have no place in most types, and are lost."""
    rng = random.Random(f"v0 {share}")
    for name in ("upgrade_net_proto_text", "upgrade_net_proto_binary"):
        net = random_net(rng, share)
        tops = list(net.input)
        for type_ in V0_TYPES:
            net.layers.append(random_v0_layer(rng, type_, share, tops))
            tops += net.layers[-1].top
        net.layers.append(V1(name="no V0 layer", type=V1.RELU, top=["t"]))
        net.layers.append(V1(layer={"name": "no type", "num_output": 3, "scale": 2.0}))
        mine = check_same(tool, net, name)
        assert mine.lost and len(mine.message.layer) >= len(V0_TYPES) + 2


@pytest.mark.parametrize("type_", (*sorted({*map(str.lower, V1_TYPES)} - {*V0_TYPES}), "ReLU", ""))
def test_types_that_v0_does_not_have(tool: Tool, type_: str) -> None:
    mine = check_same(tool, caffe_pb2.NetParameter(layers=[V1(layer={"name": "a", "type": type_})]))
    assert mine.died.startswith(f"layer a: unknown type '{type_}'")


def padded(bottom: str = "p", top: str = "p", type_: str = "conv", **more: str) -> str:
    """A padding layer that pads x by 2, and a layer that reads p."""
    ends = {"pad_bottom": 'bottom: "x"', "pad": "pad: 2", "own": "", "before": "", "after": ""}
    ends.update(more)
    return f'''input: "x" input: "z" input_dim: [1, 2, 3, 4, 5, 6, 7, 8] {ends["before"]}
        layers {{ layer {{ name: "q" type: "padding" {ends["pad"]} }} {ends["pad_bottom"]} {top and f'top: "{top}"'} }}
        layers {{ layer {{ name: "c" type: "{type_}" {ends["own"]} }}
                  {" ".join(f'bottom: "{one}"' for one in bottom.split())} top: "y" }} {ends["after"]}'''


@pytest.mark.parametrize("text", (
    padded(), padded(type_="pool"), padded(own="pad: 7"), padded(pad="", own="pad: 7"), padded(top="x", bottom="x"),
    padded(bottom="x", type_="relu"), padded(bottom="z"),
    padded(before='layers { layer { type: "relu" } bottom: "x" top: "x" }'),
    padded(after='layers { layer { name: "d" type: "pool" kernelsize: 3 } bottom: "p" top: "z" }'),
    padded(after='layers { layer { name: "d" type: "relu" } bottom: "y" top: "p" }'
                 'layers { layer { name: "e" type: "relu" } bottom: "p" top: "z" }'),
))
def test_padding_layers_become_a_pad(tool: Tool, text: str) -> None:
    new = check_same(tool, net_of(text)).message
    assert new.layer and "q" not in {layer.name for layer in new.layer}


@pytest.mark.parametrize("text, words", (
    (padded(type_="relu"), "layer c: type relu reads the padding layer q: only conv and pool can"),
    (padded(type_="padding"), "layer c: type padding reads the padding layer q"),
    (padded(bottom="z p"), "layer c: reads the padding layer q: c must have one bottom, not 2"),
    (padded(pad_bottom='bottom: "x" bottom: "z"'), "layer c: reads the padding layer q: q must have one bottom, not 2"),
    (padded(pad_bottom=""), "q must have one bottom, not 0"),
    (padded(after='layers { layer { name: "d" type: "relu" } bottom: "w" }'), "layer d: unknown bottom 'w'"),
    (padded(top="w"), "layer c: unknown bottom 'p'"),
))
def test_nets_that_caffe_refuses_to_upgrade(tool: Tool, text: str, words: str) -> None:
    assert words in check_same(tool, net_of(text)).died


def test_a_padding_layer_with_two_tops(tool: Tool) -> None:
    net = net_of(padded())
    net.layers[0].top.append("p2")
    assert "q must have one top, not 2" in check_same(tool, net).died


# ------------------------------------------------------------------------------------------------ Inputs and batch norm

X = 'layer { name: "a" type: "ReLU" bottom: "x" top: "a" }'


@pytest.mark.parametrize("text", (
    f'input: "x" input_dim: [1, 2, 3, 4] {X}', f'input: "x" input: "y" input_shape {{ dim: 5 }} input_shape {{ }} {X}',
    f'input: "x" input_shape {{ dim: 5 }} input_shape {{ dim: 6 }} input_dim: 1 {X}', f'input: "x" {X}',
    f'input: "x" input_dim: [1, 2, 3, 4, 5, 6, 7, 8, 9] {X}', f"input_dim: [1, 2, 3, 4] {X}", f"input_shape {{ }} {X}",
    'layers { name: "a" type: RELU bottom: "x" } input: "x" input_shape { dim: 2 } state { level: 1 } debug_info: true',
    'layers { layer { type: "relu" } bottom: "x" } input: "x" input_shape { dim: 2 } state { level: 1 }',
    'layers { layer { type: "relu" } bottom: "x" } input: "x" input_dim: [1, 2, 3, 4] debug_info: true name: "n"'))
def test_inputs(tool: Tool, text: str) -> None:
    check_same(tool, net_of(text))


def test_inputs_without_shapes_enough() -> None:
    """Caffe reads beyond the end of its list."""
    for text in ('input: "x" input: "y" input_dim: [1, 2, 3, 4, 5, 6, 7]', 'input: "x" input: "y" input_shape {}'):
        with pytest.raises(ImpossibleNet, match=r"2 inputs, but 1 shapes \(input_shape, or four input_dim each\)"):
            upgrade_net(net_of(text))


def test_batch_norm(tool: Tool) -> None:
    rng, net = random.Random(3), caffe_pb2.NetParameter()
    for type_ in ("BatchNorm", "BatchNorm", "Scale", "BatchNorm"):
        layer = net.layer.add(name=type_, type=type_)
        for _ in range(3 if len(net.layer) != 2 else 2):
            fill(rng, layer.param.add(), 0.5)
    fixed = [{spec.lr_mult for spec in layer.param} == {0} for layer in check_same(tool, net).message.layer]
    assert fixed == [True, False, False, True]


def test_what_is_new_is_left_as_it_is(tool: Tool) -> None:
    net = net_of(f'name: "n" state {{ level: 3 }} {X} layer {{ type: "Data" data_param {{ scale: 2 }} }}')
    assert check_same(tool, net).message is net
    old = net_of(padded())
    new = upgrade_net(old)
    assert new is not old and upgrade_net(new) is new


@pytest.mark.parametrize("text, expected", (
    (padded(), [None, 1]), (X + X, [0, 1]), (f'input: "x" input_dim: [1, 2, 3, 4] {X}', [None, 0]),
    ("layers { type: RELU } layers { type: TANH }", [0, 1]), ("", [])))
def test_places_are_those_of_the_file(text: str, expected: List[Optional[int]]) -> None:
    net = net_of(text)
    assert places(net, upgrade_net(net)) == expected


# ------------------------------------------------------------------------------------------------------------- Solvers

def test_solvers(tool: Tool) -> None:
    for number in caffe_pb2.SolverParameter.SolverType.values():
        solver = fill(random.Random(number), caffe_pb2.SolverParameter(), 0.5, (
            "type", "net_param", "train_net_param", "test_net_param"))
        solver.solver_type = number
        before = solver.SerializeToString()
        new = upgrade_solver(solver)
        assert new == tool(solver, "upgrade_solver_proto_text").message
        assert new.type and upgrade_solver(new) is new
        assert solver.SerializeToString() == before


def test_a_solver_with_both_types(tool: Tool) -> None:
    solver = caffe_pb2.SolverParameter(type="SGD", solver_type=caffe_pb2.SolverParameter.ADAM)
    assert "cannot be both specified" in tool(solver, "upgrade_solver_proto_text").died
    with pytest.raises(UserError, match='solver_type: is given beside type: "SGD"; expected type alone'):
        upgrade_solver(solver)


# ------------------------------------------------------------------------------------------------- Without real Caffe

THREE_FORMATS = ("""
    input: "x" input_dim: [2, 3, 9, 9]
    layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "p" }
    layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 3 blobs_lr: [1, 2] weight_decay: [1, 0] }
             bottom: "p" top: "c" }
    layers { layer { name: "l" type: "euclidean_loss" } bottom: "c" bottom: "c" top: "l" }
""", """
    input: "x" input_shape { dim: [2, 3, 9, 9] }
    layers { name: "c" type: CONVOLUTION blobs_lr: [1, 2] weight_decay: [1, 0] bottom: "x" top: "c"
             convolution_param { num_output: 4 pad: 1 kernel_size: 3 } }
    layers { name: "l" type: EUCLIDEAN_LOSS bottom: "c" bottom: "c" top: "l" }
""", """
    layer { name: "input" type: "Input" top: "x" input_param { shape { dim: [2, 3, 9, 9] } } }
    layer { name: "c" type: "Convolution" param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
            bottom: "x" top: "c" convolution_param { num_output: 4 pad: 1 kernel_size: 3 } }
    layer { name: "l" type: "EuclideanLoss" bottom: "c" bottom: "c" top: "l" }
""")


def test_one_net_in_three_formats() -> None:
    v0, v1, today = map(net_of, THREE_FORMATS)
    assert upgrade_net(v0) == upgrade_net(v1) == today
    shape = infer(v0, "TRAIN", lambda layer: (3, 9, 9))
    assert shape == infer(v1, "TRAIN", lambda layer: (3, 9, 9)) == infer(today, "TRAIN", lambda layer: (3, 9, 9))
    assert shape.blobs["c"] == (2, 4, 9, 9)


def test_a_wrong_layer_is_named_by_its_place_in_the_file() -> None:
    net = net_of(THREE_FORMATS[0].replace("kernelsize: 3", "kernelsize: 30"))
    with pytest.raises(ImpossibleNet, match="layer c: ") as impossible:
        infer(net, "TRAIN", lambda layer: (3, 9, 9))
    assert impossible.value.place == 1
