"""Nets in text format: read, and their shapes told, or refused in one line with its place."""
from __future__ import annotations

import random
import re
from pathlib import Path

from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.prototxt import PrototxtError
from menndl_caffe.nets.shapes import ImpossibleNet, UnknownShape, infer, located
from tests.fuzz.mangle import mangled_bytes, mangled_tokens
from tests.support.shape_nets import WIRINGS, small_nets

NETS = [*WIRINGS.values(), *small_nets().values()]
OTHERS = ("layer", "layers", "{", "}", "<", ">", "[", "]", ":", ",", ";", "#", "'", '"', "\\", '\\"', "\n", "\0", " ",
          "-", "-1", "0", "1", "2147483647", "2147483648", "4294967295", "9223372036854775807", "-9223372036854775808",
          "1e39", "1e400", "nan", "-inf", "0x7fffffff", "077777777777", "1" * 5000, "true", "name", "type", "top",
          "bottom", "bottom: 'x'", "'x'", '"y"', '"\\377\\312"', "\udcca\udcfd", "type: 'ROIPooling'", "dim: 0",
          "roi_pooling_param { }", "loss_weight: 1", "include { phase: TEST }", "x" * 5000, "{ {", "layer { layer { ",
          "num_output: 0", "kernel_size: 0", "stride: 0", "axis: -9", "group: 0", "propagate_down: true", "input: 'q'",
          "param { name: 'w' share_mode: PERMISSIVE }", "pad: 4294967295", "engine: CUDNN", "/*", "é", "\ufeff")
TOKEN = re.compile(r"\s+|\w+|.", re.DOTALL)


def one(chance: random.Random, folder: Path) -> None:
    """A mangled net."""
    text = mangled_tokens(TOKEN.findall(chance.choice(NETS)), OTHERS, chance)
    content = text.encode("utf-8", "surrogateescape")
    (folder / "net").write_bytes(mangled_bytes(content, chance) if chance.random() < 0.2 else content)
    try:
        net = prototxt.load(folder / "net", caffe_pb2.NetParameter)
        with located(net):
            for phase in ("TRAIN", "TEST"):
                infer(net.message, phase, lambda layer: (3, 32, 32), cpu=True)
    except (PrototxtError, ImpossibleNet, UnknownShape) as error:
        said = str(error)
        assert re.match(rf"{folder}/net:\d+: ", said) and len(said) < 50_000, said
