"""The schemas: equal to real Caffe's, compiled, explained, and loaded beside the real one by old and new protobuf."""
from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Iterator, Set

import pytest
from google.protobuf import descriptor_pb2

from menndl_caffe.nets.proto import DESCRIPTORS, caffe_pb2, menndl_pb2

REPOSITORY = Path(__file__).resolve().parent.parent
DUMP = """
import sys
from caffe.proto import caffe_pb2
sys.stdout.buffer.write(caffe_pb2.DESCRIPTOR.serialized_pb)
"""
BESIDE = """
from caffe.proto import caffe_pb2 as real
from menndl_caffe.nets.proto import caffe_pb2, menndl_pb2
from google.protobuf.internal import api_implementation

net = real.NetParameter(name="n", layer=[real.LayerParameter(name="a", phase=real.TEST)])
net.layer[0].convolution_param.kernel_size.append(5)
ours = caffe_pb2.NetParameter.FromString(net.SerializeToString())
assert type(ours) is not type(net) and real.NetParameter.FromString(ours.SerializeToString()) == net
ours.layer.add(type="ReLU", phase=caffe_pb2.TEST)
ours.layer.extend([caffe_pb2.LayerParameter(param=[caffe_pb2.ParamSpec(share_mode=caffe_pb2.ParamSpec.PERMISSIVE)])])
assert isinstance(ours.layer[2], caffe_pb2.LayerParameter) and ours.layer[1].pooling_param.stride == 1
assert menndl_pb2.SearchParameter().ga_param.population == 500
print(api_implementation.Type())
"""


def run_python(caffe_root: Path, code: str, **variables: str) -> bytes:
    """What real Caffe's own Python (3.9, protobuf 3.12) prints."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **variables}
    return subprocess.run([str(caffe_root / "bin" / "python3"), "-c", code], env=environment, check=True,
                          stdout=subprocess.PIPE, timeout=600).stdout


def enum_facts(scope: str, enums: Any) -> Iterator[Any]:
    for enum in enums:
        yield from ((scope, enum.name, value.name, value.number) for value in enum.value)


def facts(file: Any) -> Set[Any]:
    """All that decides what a text or a serialized message means."""
    known = {("file", file.package, file.syntax or "proto2"), *enum_facts("", file.enum_type)}
    for message in file.message_type:
        assert not (message.nested_type or message.extension or message.oneof_decl or message.extension_range)
        known |= {("message", message.name), *enum_facts(message.name, message.enum_type)}
        for field in message.field:
            default = (field.HasField("default_value"), field.default_value)
            known.add((message.name, field.name, field.number, field.label, field.type, field.type_name, default,
                       field.options.packed))
    return known


def committed() -> Any:
    return descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())


def test_every_message_enum_and_field_is_as_in_real_caffe(caffe_root: Path) -> None:
    real = descriptor_pb2.FileDescriptorProto.FromString(run_python(caffe_root, DUMP))
    ours = next(file for file in committed().file if file.name == "caffe.proto")
    assert facts(ours) == facts(real)
    assert len(real.message_type) == 63 and sum(len(message.field) for message in real.message_type) > 400


def test_the_committed_descriptors_are_those_of_the_schemas(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    from menndl_caffe.nets.proto.compile import compile_into

    compile_into(tmp_path / "fresh.binpb")
    fresh = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "fresh.binpb").read_bytes())
    assert fresh == committed(), "run: python menndl_caffe/nets/proto/compile.py"


def test_every_field_is_explained(tmp_path: Path) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc")
    folder, out = DESCRIPTORS.parent, tmp_path / "comments.binpb"
    sources = [source.name for source in folder.glob("*.proto")]
    assert protoc.main(["protoc", f"-I{folder}", f"-o{out}", "--include_source_info", *sources]) == 0
    for file in descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file:
        explained = {tuple(place.path) for place in file.source_code_info.location
                     if place.leading_comments.strip() or place.trailing_comments.strip()}
        for i, message in enumerate(file.message_type):
            # (4, i, 2, k): descriptor.proto's own numbers for message i and its field k. A oneof's members are messages
            # that explain themselves.
            missing = [field.name for k, field in enumerate(message.field)
                       if (4, i, 2, k) not in explained and not field.HasField("oneof_index")]
            assert not missing, f"{file.name}: {message.name}: {missing}"


@pytest.mark.parametrize("backend", ["cpp", "python"])
def test_old_protobuf_loads_both_beside_the_real_one(caffe_root: Path, backend: str) -> None:
    printed = run_python(caffe_root, BESIDE, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=backend)
    assert printed.decode().split() == [backend]


def test_namespaces_hold_what_generated_modules_hold() -> None:
    assert (caffe_pb2.TRAIN, caffe_pb2.TEST) == (0, 1)
    assert caffe_pb2.Phase.Name(1) == "TEST" and caffe_pb2.Phase.Value("TRAIN") == 0
    assert caffe_pb2.PoolingParameter.AVE == 1 and caffe_pb2.PoolingParameter.RoundMode.Value("FLOOR") == 1
    assert menndl_pb2.RealRange.LOG == 1
    solver = caffe_pb2.SolverParameter()
    assert (solver.type, solver.snapshot_format, solver.random_seed) == ("SGD", solver.BINARYPROTO, -1)
    assert isinstance(caffe_pb2.NetParameter(layer=[{"name": "a"}]).layer[0], caffe_pb2.LayerParameter)
    assert not hasattr(caffe_pb2, "NetParameters")


def test_a_datum_has_the_bytes_that_caffe_reads() -> None:
    datum = caffe_pb2.Datum(channels=3, height=1, width=2, data=bytes(range(250, 256)), label=7)
    # Field numbers 1, 2, 3, 5 are varints (key = number * 8), 4 is bytes (key = 4 * 8 + 2, then the length).
    assert datum.SerializeToString() == b"\x08\x03\x10\x01\x18\x02\x22\x06\xfa\xfb\xfc\xfd\xfe\xff\x28\x07"
