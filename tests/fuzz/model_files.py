"""Weights, HDF5 files and encoded images: taken, or one line that says what is wrong."""
from __future__ import annotations

import functools
import io
import os
import random
from pathlib import Path
from typing import Any, Dict

import h5py
import numpy as np
from PIL import Image

import menndl_caffe.torchcaffe as caffe
from menndl_caffe.data.image_files import decode
from menndl_caffe.errors import UserError
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import io as caffe_io
from tests.fuzz.mangle import mangled_bytes

NET = """name: "n" force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "norm" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "ip" type: "InnerProduct" bottom: "c" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 1 }
"""
SOLVER = 'net: "net" type: "Adam" base_lr: 0.1 lr_policy: "fixed" max_iter: 9 snapshot_prefix: "s" snapshot_format: %s'
READ = """layer { name: "read" type: "HDF5Data" top: "data" hdf5_data_param { source: "list" batch_size: 2 } }"""
SHAPES = [(1, 3), (2, 0), (1 << 40,), (1 << 31, 1), (2,), (), (2, 3, 3, 3), (1 << 20, 1 << 8)]


@functools.cache
def sound() -> Dict[str, bytes]:
    """The weights that a solver writes, by name."""
    Path("net").write_text(NET)
    for form in ("BINARYPROTO", "HDF5"):
        Path("solver").write_text(SOLVER % form)
        solver = caffe.get_solver("solver")
        solver.step(1)
        solver.snapshot()
    return {path.name: path.read_bytes() for path in Path().iterdir() if "caffemodel" in path.name}


def claims(chance: random.Random, name: str) -> None:
    """Data sets of other sizes and types, written or not."""
    with h5py.File(name, "w") as file:
        for path in ("data/conv/0", "data/conv/1", "data/ip/0", "data"):
            if chance.random() < 0.5 and path not in file:
                shape = chance.choice(SHAPES)
                file.create_dataset(path, shape, chance.choice(("f4", "f8", "i8", "S4", "?")),
                                    chunks=True if shape and min(shape) else None)


def weights(chance: random.Random) -> None:
    name = chance.choice(list(sound()))
    Path(name).write_bytes(mangled_bytes(sound()[name], chance))
    if name.endswith(".h5") and chance.random() < 0.5:
        claims(chance, name)
    net = caffe.Net("net", caffe.TRAIN)
    net.copy_from(name)
    net.forward()


def rows(chance: random.Random) -> None:
    Path("list").write_text("rows.h5\n")
    with h5py.File("rows.h5", "w") as file:
        file["data"] = np.zeros((3, 2), np.float32)
    if chance.random() < 0.5:
        claims(chance, "rows.h5")
    else:
        Path("rows.h5").write_bytes(mangled_bytes(Path("rows.h5").read_bytes(), chance))
    Path("read").write_text(READ)
    caffe.Net("read", caffe.TRAIN).forward()


def image(chance: random.Random) -> None:
    content = io.BytesIO()
    mode, form = chance.choice((("RGB", "PNG"), ("L", "JPEG"), ("RGB", "JPEG"), ("P", "GIF"), ("L", "TIFF")))
    Image.new(mode, (5, 4)).save(content, form)
    decode(mangled_bytes(content.getvalue(), chance, 60), chance.choice((True, False, None)), "an image")


def message(chance: random.Random) -> None:
    """Of an array."""
    axes = chance.choice((0, 1, 2, 3, 40))
    shape: Any = [chance.choice((1, 2, -1, 0, 2**62, 274177, 67280421310721)) for _ in range(axes)]
    caffe_io.blobproto_to_array(caffe_pb2.BlobProto(shape={"dim": shape}, data=[0.0] * chance.choice((0, 1, 2, 4))))


def one(chance: random.Random, folder: Path) -> None:
    """A file of one of these kinds."""
    os.chdir(folder)
    Path("net").write_text(NET)
    try:
        chance.choice((weights, weights, weights, rows, image, message))(chance)
    except (UserError, ImpossibleNet) as error:
        assert len(str(error)) < 3000, str(error)[:3000]
    finally:
        os.chdir("/")
