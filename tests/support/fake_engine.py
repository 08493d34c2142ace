"""As much of pycaffe as a trainer uses, with nothing to train: a net has one weight, three scores and the outputs that
its script gives them. `events` says in order what was asked of it. The net's name may ask for bad manners:

    noisy: prints on standard output        endless: its first step takes an hour        broken: its first step raises
"""
from __future__ import annotations

import os
import sys
import time
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
from google.protobuf import text_format

from menndl_caffe.nets.proto import caffe_pb2

__version__ = "0.fake"
for _name in (__name__, "caffe"):
    sys.modules[f"{_name}.proto.caffe_pb2"] = caffe_pb2  # type: ignore[assignment]

Event = Tuple[Any, ...]
events: List[Event] = []
parameters: List[Any] = []  # the SolverParameters that solvers were made from


class Script:
    """What the outputs are: functions of the number of the step or of the forward pass of the test net, from 0."""

    train_loss: Callable[[int], float] = staticmethod(lambda step: 2.0)
    test_loss: Callable[[int], float] = staticmethod(lambda forward: 1.5)
    accuracy: Callable[[int], float] = staticmethod(lambda forward: 0.25)
    score: Callable[[int], float] = staticmethod(lambda forward: 0.0)
    weight: Callable[[int], float] = staticmethod(lambda step: 1.0)


def blob(*values: float) -> Any:
    """A blob of these values; of a single one in Caffe's shape of a scalar, ()."""
    return SimpleNamespace(data=np.array(values if len(values) > 1 else values[0], np.float32))


class Net:
    """Either of the two nets of a solver."""

    def __init__(self, phase: str):
        self.phase, self.forwards = phase, 0
        scalars = {name: blob(0) for name in ("loss", "aux", "accuracy")}
        self.blobs = {"ip2": blob(0, 0, 0), **scalars, "per_class": blob(0, 0)}
        self.outputs = ["loss", "aux", "accuracy", "per_class"]
        self.blob_loss_weights = {"ip2": 0.0, "loss": 1.0, "aux": 0.5, "accuracy": 0.0, "per_class": 0.0}
        self.params = {"ip2": [blob(1.0)]}
        self.layer_dict = {"ip2": SimpleNamespace(type="InnerProduct"), "accuracy": SimpleNamespace(type="Accuracy")}
        self.bottom_names: Dict[str, List[str]] = {"ip2": [], "accuracy": ["ip2", "label"]}

    def share_with(self, other: Net) -> None:
        events.append(("share", self.phase, other.phase))
        self.params = other.params

    def forward(self) -> None:
        events.append(("forward", self.phase))
        values = {"loss": Script.test_loss, "accuracy": Script.accuracy, "ip2": Script.score}
        for name, value in values.items():
            self.blobs[name].data[...] = value(self.forwards)
        self.forwards += 1

    def save(self, path: str) -> None:
        events.append(("save", self.phase, path))
        with open(path, "wb") as file:
            np.save(file, self.params["ip2"][0].data)


class Solver:
    """Steps without moving."""

    def __init__(self, name: str):
        self.name, self.steps = name, 0
        self.net, self.test_nets = Net("TRAIN"), [Net("TEST")]

    def step(self, n: int) -> None:
        events.append(("step", n))
        if self.name == "noisy":
            print("an engine that talks")
            os.write(1, b"and its library, not ending the line")
        if self.name == "endless":
            time.sleep(3600)
        if self.name == "broken":
            raise RuntimeError("no such thing")
        self.net.blobs["loss"].data[...] = Script.train_loss(self.steps)
        self.steps += n
        self.net.params["ip2"][0].data[...] = Script.weight(self.steps)


def get_solver(path: str) -> Solver:
    with open(path) as file:
        parameters.append(text_format.Parse(file.read(), caffe_pb2.SolverParameter()))
    return Solver(parameters[-1].net_param.name)


def init_log(level: int, stderr: bool) -> None:
    events.append(("init_log", level, stderr))


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def set_mode_cpu() -> None:
    events.append(("mode", "CPU"))


def set_mode_gpu() -> None:
    events.append(("mode", "GPU"))
