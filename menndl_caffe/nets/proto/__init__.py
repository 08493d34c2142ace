"""Caffe's messages (`caffe_pb2`) and the search file's (`menndl_pb2`).

Both namespaces hold message classes, enums and their values by name, as generated modules do: `caffe_pb2.NetParameter`,
`caffe_pb2.TRAIN`. They are made at import from `descriptors.binpb`, which is `caffe.proto` and `menndl.proto` compiled
(see `compile.py`): generated code would work with one protobuf version only. They live in a descriptor pool of their
own, so that the real `caffe.proto.caffe_pb2` may be loaded beside them.
"""
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

DESCRIPTORS = Path(__file__).with_name("descriptors.binpb")
_pool = descriptor_pool.DescriptorPool()


def _message_class(descriptor: Any) -> Any:
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return _factory.GetPrototype(descriptor)  # protobuf before 4.22


def _namespace(file: Any) -> Any:
    """What a generated module would hold for this file."""
    names = {name: _message_class(message) for name, message in file.message_types_by_name.items()}
    for name, enum in file.enum_types_by_name.items():
        names[name] = EnumTypeWrapper(enum)
        names.update((value.name, value.number) for value in enum.values)
    return SimpleNamespace(DESCRIPTOR=file, **names)


if not hasattr(message_factory, "GetMessageClass"):
    _factory = message_factory.MessageFactory(_pool)
for _file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file:
    _pool.AddSerializedFile(_file.SerializeToString())

caffe_pb2: Any = _namespace(_pool.FindFileByName("caffe.proto"))
menndl_pb2: Any = _namespace(_pool.FindFileByName("menndl.proto"))
