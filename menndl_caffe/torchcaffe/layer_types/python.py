"""Layers that users write in Python: classes derived from `caffe.Layer`.

Sources: `python_layer.hpp`, `layer_factory.cpp`, `_caffe.cpp`.
"""
from __future__ import annotations

import importlib
from typing import Any, List

from menndl_caffe.errors import UserError
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.layer import Blobs, Layer, register
from menndl_caffe.torchcaffe.stand_in import stand_in


class BlobVec(List[Blob]):
    """A layer's parameters."""

    def add_blob(self, *shape: int) -> None:
        """Append a blob of this shape, filled with 0."""
        blob = Blob()
        blob.reshape(*shape)
        self.append(blob)


@register("Python")
class PythonLayer(Layer):
    """What a user's layer derives from; made itself, it is the class that the layer's `python_param` names.

    The class has setup(bottom, top), reshape(bottom, top), forward(bottom, top) and
    backward(top, propagate_down, bottom); reshape is called before every forward. It finds `param_str` and `phase`, and
    keeps its parameters in `blobs`. What it raises reaches whoever makes the net or runs the pass.
    """

    dynamic = True
    phase = 0  # type: ignore[assignment]  # an attribute, as in pycaffe, not a property

    def __new__(cls, param: Any) -> PythonLayer:
        return super().__new__(_users_class(param.python_param) if cls is PythonLayer else cls)

    def __init__(self, param: Any) -> None:
        super().__init__(param)
        self.blobs = BlobVec(self.blobs)
        self.param_str = str(param.python_param.param_str)
        self.phase = int(param.phase)

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        """Look at the parameters, once; nothing here."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        """Give the tops their shapes: the class must say which."""
        raise NotImplementedError(f"class {type(self).__name__} has no method reshape(bottom, top)")


def _users_class(param: Any) -> Any:
    """The class that `module` and `layer` name; UserError where it is not derived from `caffe.Layer`."""
    stand_in()
    found = getattr(importlib.import_module(param.module), param.layer)
    if not (isinstance(found, type) and issubclass(found, PythonLayer)):
        raise UserError(f"python_param: {param.module}.{param.layer} is {found!r}; expected a class derived from "
                        "caffe.Layer")
    return found
