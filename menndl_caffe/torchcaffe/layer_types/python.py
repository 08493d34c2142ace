"""Layers that users write in Python: classes derived from `caffe.Layer`.

Sources: `python_layer.hpp`, `layer_factory.cpp`, `_caffe.cpp`.
"""
from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any, List, Sequence

from menndl_caffe.errors import did_you_mean
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.layer import Blobs, Layer, blob_of, register
from menndl_caffe.torchcaffe.stand_in import stand_in


class BlobVec(List[Blob]):
    """A layer's parameters."""

    def add_blob(self, *shape: int) -> None:
        """Append a blob of this shape, filled with 0."""
        blob = Blob()
        blob.reshape(*shape)
        self.append(blob)


class PythonLayer:
    """What a user's layer derives from, as `caffe.Layer`.

    The class has reshape(bottom, top), forward(bottom, top), backward(top, propagate_down, bottom) and perhaps
    setup(bottom, top); reshape is called before every forward. It finds `param_str` and `phase`, and keeps its
    parameters in `blobs`. What it raises reaches whoever makes the net or runs the pass.
    """

    type = "Python"

    def __init__(self, param: Any) -> None:
        self.blobs = BlobVec(map(blob_of, param.blobs))
        self.param_str, self.phase = str(param.python_param.param_str), int(param.phase)

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        """Look at the parameters, once; nothing here."""


@register("Python")
class Hosted(Layer):
    """A user's layer in a net. Attributes that other layers have not are those of the user's object, `users`."""

    dynamic = True

    def __init__(self, param: Any) -> None:
        super().__init__(param)
        self.users = _users_class(param.python_param)(param)
        self.blobs = self.users.blobs

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        self.users.setup(bottom, top)

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        self.users.reshape(bottom, top)

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        self.users.forward(bottom, top)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        self.users.backward(top, propagate_down, bottom)

    def __getattr__(self, name: str) -> Any:
        if name == "users":  # not there yet
            raise AttributeError(name)
        return getattr(self.users, name)

    def __setattr__(self, name: str, value: Any) -> None:
        is_own = "users" not in vars(self) or name in vars(self)
        object.__setattr__(self if is_own else self.users, name, value)


def _users_class(param: Any) -> Any:
    """The class that `module` and `layer` name; ImpossibleNet where there is none derived from `caffe.Layer`."""
    stand_in()
    module = _module(param.module)
    if not hasattr(module, param.layer):
        raise ImpossibleNet(f"python_param: module {param.module} has no {param.layer!r}"
                            f"{did_you_mean(param.layer, _classes(module))}")
    found = getattr(module, param.layer)
    if not _is_layer(found):
        raise ImpossibleNet(f"python_param: {param.module}.{param.layer} is {found!r}; expected a class derived from "
                            "caffe.Layer")
    return found


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):  # else it is what the module itself imports
            file = f"{name.replace('.', '/')}.py"
            raise ImpossibleNet(f"python_param: there is no Python module {name!r}; expected {file} in a folder of "
                                "PYTHONPATH") from None
        raise
    except (ValueError, TypeError):  # an empty name, one that begins with a dot
        raise ImpossibleNet(f"python_param: module is {name!r}; expected the name of a Python module") from None


def _is_layer(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, PythonLayer)


def _classes(module: ModuleType) -> List[str]:
    return [name for name, found in vars(module).items() if _is_layer(found)]
