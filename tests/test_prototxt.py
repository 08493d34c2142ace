"""Text format: read as protobuf reads it, old and new; every spelling of a value; positions."""
from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2, menndl_pb2
from menndl_caffe.nets.prototxt import PrototxtError
from tests.test_proto import run_python

NET, SOLVER, SEARCH = caffe_pb2.NetParameter, caffe_pb2.SolverParameter, menndl_pb2.SearchParameter


def caffe_files(caffe_root: Path) -> Dict[str, str]:
    """Name -> text of every net and solver in Caffe's examples and models."""
    folder = caffe_root / "root" / "usr" / "share" / "doc" / "caffe-doc"
    texts = {}
    for path in sorted([*folder.rglob("*.prototxt"), *folder.rglob("*.prototxt.gz")]):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        texts[str(path.relative_to(folder))] = data.decode()
    return texts


def class_of(name: str) -> Any:
    return SOLVER if "solver" in name else NET


def test_caffes_own_nets_and_solvers_read_as_by_protobuf(caffe_root: Path) -> None:
    texts = caffe_files(caffe_root)
    assert len(texts) > 45
    for name, text in texts.items():
        expected = text_format.Parse(text, class_of(name)())
        assert prototxt.parse(text, class_of(name), name).message == expected, name


OLD_PYTHON = """
import gzip, sys
from pathlib import Path
from google.protobuf import text_format
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
for path in Path(sys.prefix, "share", "doc", "caffe-doc").rglob("*.prototxt*"):
    text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
    message_class = caffe_pb2.SolverParameter if "solver" in path.name else caffe_pb2.NetParameter
    message = prototxt.parse(text, message_class, str(path)).message
    assert message == text_format.Parse(text, message_class()), path
    assert prototxt.parse(prototxt.dumps(message), message_class).message == message, path
    print(path.name)
try:
    prototxt.parse("layer {\\n clip_param { min: 1 }\\n}", caffe_pb2.NetParameter, "x")
except prototxt.PrototxtError as error:
    print(error)
"""


@pytest.mark.parametrize("backend", ["cpp", "python"])
def test_old_protobuf_reads_them_too(caffe_root: Path, backend: str) -> None:
    printed = run_python(caffe_root, OLD_PYTHON, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=backend).decode().splitlines()
    assert len(printed) > 45 and printed[-1] == "x:2: layer[0].clip_param.max: is missing; it must be given"


# --- random messages, printed by protobuf, come back equal

SIMPLE = {FieldDescriptor.TYPE_INT32: st.integers(-2**31, 2**31 - 1),
          FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
          FieldDescriptor.TYPE_INT64: st.integers(-2**63, 2**63 - 1), FieldDescriptor.TYPE_BOOL: st.booleans(),
          FieldDescriptor.TYPE_FLOAT: st.floats(width=32, allow_nan=False),
          FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False), FieldDescriptor.TYPE_BYTES: st.binary(max_size=6),
          FieldDescriptor.TYPE_STRING: st.text(st.characters(codec="utf-8"), max_size=6)}


def values(field: Any, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type:
        return contents(field.message_type, depth - 1)
    if field.enum_type:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return SIMPLE[field.type]


@st.composite
def contents(draw: Any, descriptor: Any, depth: int = 4) -> Dict[str, Any]:
    """Arguments for a message of this descriptor: some fields, at most one of each oneof."""
    if descriptor.name == "ClipParameter":  # whose fields are required
        return {"min": 0.5, "max": 1.5}
    eligible = [field for field in descriptor.fields if depth or not field.message_type]
    group = {field.name: field.containing_oneof.name for field in eligible if field.containing_oneof}
    chosen = st.lists(st.sampled_from(eligible), max_size=4, unique_by=lambda field: group.get(field.name, field.name))
    taken = {}
    for field in draw(chosen) if eligible else []:
        one = values(field, depth)
        repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == FieldDescriptor.LABEL_REPEATED
        taken[field.name] = draw(st.lists(one, max_size=3) if repeated else one)
    return taken


def filled(message: Any, arguments: Dict[str, Any]) -> Any:
    for name, value in arguments.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                target = getattr(message, name)
                target = target.add() if isinstance(value, list) else target
                target.SetInParent()
                filled(target, item)
            elif isinstance(value, list):
                getattr(message, name).append(item)
            else:
                setattr(message, name, item)
    return message


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from([NET, SOLVER, SEARCH, caffe_pb2.LayerParameter, caffe_pb2.Datum]))
def test_what_protobuf_prints_reads_back(data: Any, message_class: Any) -> None:
    message = filled(message_class(), data.draw(contents(message_class.DESCRIPTOR)))
    options = ("as_utf8", "as_one_line", "use_short_repeated_primitives")
    text = text_format.MessageToString(message, **{option: data.draw(st.booleans()) for option in options})
    assert prototxt.parse(text, message_class).message == message


def test_dumps_is_read_back_by_protobuf() -> None:
    solver = SOLVER(net="a\"\\é\n", base_lr=0.001, test_iter=[1, 2], solver_mode=SOLVER.CPU)
    assert text_format.Parse(prototxt.dumps(solver), SOLVER()) == solver


# --- every way to write a value

def layer(text: str) -> Any:
    return prototxt.parse(f"layer {{ {text} }}", NET).message.layer[0]


@pytest.mark.parametrize("token, value", [
    ("1", 1.0), ("-2", -2.0), ("- 3", -3.0), ("1e-3", 1e-3), (".5", 0.5), ("5.", 5.0), ("1.5E+3", 1500.0), ("1f", 1.0),
    ("-.5F", -0.5), ("inf", float("inf")), ("-Infinity", float("-inf")), ("1e400", float("inf")),
    ("-#c\n 4", -4.0), ("-0", -0.0)])
def test_numbers(token: str, value: float) -> None:
    found = layer(f"loss_weight: {token}").loss_weight[0]
    assert str(found) == str(value) or found == pytest.approx(value, rel=1e-7)


def test_not_a_number() -> None:
    for value in layer("loss_weight: [nan, NAN, -nan]").loss_weight:
        assert value != value


@pytest.mark.parametrize("token, value", [
    ("7", 7), ("-7", -7), ("- 7", -7), ("0x1F", 31), ("-0X1f", -31), ("017", 15), ("00", 0), ("2147483647", 2**31 - 1),
    ("-2147483648", -2**31)])
def test_integers(token: str, value: int) -> None:
    assert prototxt.parse(f"state {{ level: {token} }}", NET).message.state.level == value


@pytest.mark.parametrize("literal, value", [
    ('"a"', "a"), ("'a'", "a"), ("'a\"b'", 'a"b'), ('"a" "b"\'c\'', "abc"), ('"a" # one\n # two\n "b"', "ab"),
    ('""', ""), ('"a""b"', "ab"), (r'"\n\t\r\a\b\f\v\\\'\"\?"', "\n\t\r\a\b\f\v\\'\"?"),
    (r'"\101\x41\x4a\u00e9\U0001F600"', "AAJé😀"), (r'"\18"', "\0018"), ('"é # {"', "é # {")])
def test_texts(literal: str, value: str) -> None:
    assert prototxt.parse(f"name: {literal}", NET).message.name == value


def test_bytes() -> None:
    datum = prototxt.parse(r'data: "\000\377\x80a" "é" channels: 1', caffe_pb2.Datum).message
    assert datum.data == b"\x00\xff\x80a\xc3\xa9"


@pytest.mark.parametrize("value, tokens", [(True, "true t True 1 0x1 01"), (False, "false f False 0 0x0")])
def test_booleans(value: bool, tokens: str) -> None:
    for token in tokens.split():
        assert prototxt.parse(f"force_backward: {token}", NET).message.force_backward is value


SPELLINGS = [
    'layer { name: "a" bottom: "x" bottom: "y" include { phase: TEST } }',
    'layer: { name: "a"; bottom: ["x", "y"], include < phase: 1 >, }',
    'layer<name:"a"bottom:["x"]bottom:[ ]bottom:"y"include:[{phase:TEST}]>',
    '# a comment {\nlayer [ # "another\n{ name: \'a\' bottom: "x" bottom: "y" include { phase : TEST; } }\r\n]\f\v#',
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_spellings_of_one_net(text: str) -> None:
    expected = NET(layer=[{"name": "a", "bottom": ["x", "y"], "include": [{"phase": caffe_pb2.TEST}]}])
    assert prototxt.parse(text, NET).message == expected


def test_empty_messages_are_there() -> None:
    parsed = layer("pooling_param {} param {} param: < >")
    assert parsed.HasField("pooling_param") and len(parsed.param) == 2 and not parsed.HasField("lrn_param")


# --- positions and files

SEARCH_TEXT = """\
# a search
net: "n"

gene { name: "a" int_range { min: 1 max: 2 } }
gene {
  name:
    "b"
  choice {
    value: [
      "x",
      "y" ]
    value: "z"
  }
}
"""


@pytest.mark.parametrize("path, line", [
    ((), 2), (("net",), 2), (("gene",), 4), (("gene", 0), 4), (("gene", 1), 5), (("gene", 1, "name"), 6),
    (("gene", 1, "choice"), 8), (("gene", 1, "choice", "value", 0), 10), (("gene", 1, "choice", "value", 1), 11),
    (("gene", 1, "choice", "value", 2), 12), (("gene", 0, "int_range", "max"), 4), (("gene", 1, "int_range", "min"), 5),
    (("gene", 1, "choice", "default"), 8), (("gene", 7, "name"), 2), (("ga_param", "population"), 2)])
def test_positions(path: Tuple[Any, ...], line: int) -> None:
    assert prototxt.parse(SEARCH_TEXT, SEARCH).line(path) == line


def test_errors_of_later_checks_name_their_place() -> None:
    document = prototxt.parse(SEARCH_TEXT, SEARCH, "my.search.prototxt")
    wrong = document.error(("gene", 1, "choice", "value", 1), "is wrong")
    assert str(wrong) == "my.search.prototxt:11: gene[1].choice.value[1]: is wrong"
    assert str(document.error((), "is wrong")) == "my.search.prototxt:2: is wrong"


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "net.prototxt"
    file.write_bytes(b"# caf\xe9: bytes of any kind may stand in a comment\r\nname: 'a'\r\n")
    document = prototxt.load(file, NET)
    assert (document.message.name, document.file, document.line(("name",))) == ("a", str(file), 2)
    for missing in (tmp_path / "none.prototxt", tmp_path):
        with pytest.raises(PrototxtError, match=f"^{re.escape(str(missing))}: "):
            prototxt.load(str(missing), NET)
    file.write_text("")
    assert prototxt.load(file, NET).line(("name",)) == 1
