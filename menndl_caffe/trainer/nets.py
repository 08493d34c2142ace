"""From texts to the engine's own nets and solvers. pycaffe wants paths; none of these leaves a file behind."""
from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
from typing import Any, Iterator


def solver_parameter(engine: Any, net: str, solver: str) -> Any:
    """The solver's message with the net inside it, in place of the path that it names."""
    proto = importlib.import_module(f"{engine.__name__}.proto.caffe_pb2")
    text_format = importlib.import_module("google.protobuf.text_format")
    parameter = text_format.Parse(solver, proto.SolverParameter())
    parameter.ClearField("net")
    text_format.Parse(net, parameter.net_param)
    return parameter


def take_tests_over(parameter: Any) -> None:
    """Leave the test net in place but let the solver itself neither test nor write files."""
    parameter.test_interval = parameter.max_iter + 1
    parameter.test_initialization = False
    parameter.snapshot = 0
    parameter.snapshot_after_train = False


def make_solver(engine: Any, parameter: Any) -> Any:
    """The solver of a SolverParameter, on the processor that it names."""
    if parameter.HasField("solver_mode") and parameter.solver_mode == parameter.GPU:  # as caffe.cpp: not by default
        engine.set_mode_gpu()
    else:
        engine.set_mode_cpu()
    with _path_of(parameter) as path:
        return engine.get_solver(path)


def make_net(engine: Any, parameter: Any, phase: int) -> Any:
    """The net of a NetParameter in a phase."""
    with _path_of(parameter) as path:
        return engine.Net(path, phase)


@contextlib.contextmanager
def _path_of(message: Any) -> Iterator[str]:
    """The path of a message as a text. In memory: nothing is left behind where Caffe aborts in the middle of it."""
    # From the C library: the Python 3.6 of NVIDIA's Caffe images has no os.memfd_create.
    with os.fdopen(ctypes.CDLL(None).memfd_create(b"prototxt", 0), "w") as file:
        file.write(str(message))
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"
