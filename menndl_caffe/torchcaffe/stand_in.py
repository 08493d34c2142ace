"""This engine under the name `caffe`, for programs and Python layers that say `import caffe`."""
from __future__ import annotations

import importlib
import sys
from types import ModuleType

from menndl_caffe.errors import UserError

ENGINE = "menndl_caffe.torchcaffe"
SUBMODULES = ("classifier", "coord_map", "detector", "draw", "io", "net_spec", "proto", "proto.caffe_pb2")


def stand_in() -> ModuleType:
    """The engine, which `import caffe` and `import caffe.io` give from now on, in the whole process.

    UserError where another module `caffe` has been imported before.
    """
    engine = importlib.import_module(ENGINE)
    loaded = sys.modules.setdefault("caffe", engine)
    if loaded is not engine:
        raise UserError(f"the module caffe of {getattr(loaded, '__file__', None)} is loaded already: {ENGINE} cannot "
                        "stand in for it, start a process that does not import it first")
    for name in SUBMODULES:
        sys.modules[f"caffe.{name}"] = importlib.import_module(f"{ENGINE}.{name}")
    return engine
