"""`menndl_caffe.nets.proto.caffe_pb2`, which is a namespace, as a module that can be imported by this name."""
from __future__ import annotations

from typing import Any, List

from menndl_caffe.nets.proto import caffe_pb2 as _messages

__all__ = sorted(vars(_messages))


def __getattr__(name: str) -> Any:
    return getattr(_messages, name)


def __dir__() -> List[str]:
    return __all__
