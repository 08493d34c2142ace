"""The nets and solvers that ship with Caffe (package caffe-doc), and small files in the places that they name.

Databases of one record, lists of one image: enough to build every net. Two things are changed, for all who build them:
data layers prefetch one batch, and weights start at 0 (random ones take long).
"""
from __future__ import annotations

import functools
import gzip
import subprocess
from pathlib import Path
from typing import Any, Dict, NamedTuple, Tuple

import lmdb

from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from tests.support.torchcaffe.zoo import ask_real_caffe

Question = Tuple[str, str, Tuple[str, ...]]  # file, phase and stages of a net

IMAGENET = (3, 256, 256)
LMDBS = {"examples/cifar10/cifar10_": (3, 32, 32), "examples/mnist/mnist_": (1, 28, 28),
         "examples/imagenet/ilsvrc12_": IMAGENET}
LEVELDBS = {"examples/siamese/mnist_siamese_": (2, 28, 28)}
MEANS = {"examples/cifar10/mean.binaryproto": (3, 32, 32), "data/ilsvrc12/imagenet_mean.binaryproto": IMAGENET}
IMAGE_LISTS = ("examples/_temp/file_list.txt", "data/flickr_style/train.txt", "data/flickr_style/test.txt")
WINDOW_FILES = "examples/finetune_pascal_detection/window_file_2007_{}.txt"
STAGES = {"mnist_autoencoder.prototxt": ("test-on-train", "test-on-test"),
          "lenet_consolidated_solver.prototxt": ("test-on-train-set", "test-on-test-set")}


class Zoo(NamedTuple):
    """Files of caffe-doc, unpacked, by their path there."""

    nets: Dict[str, Path]
    solvers: Dict[str, Path]


def unpack(caffe_root: Path, out: Path) -> Zoo:
    """All net and solver files, below `out`."""
    folder, files = caffe_root / "root" / "usr" / "share" / "doc" / "caffe-doc", Zoo({}, {})
    for path in sorted(folder.glob("*/*/*.prototxt*")):
        name = str(path.relative_to(folder)).replace(".gz", "")
        content = path.read_bytes()
        write(out / name, gzip.decompress(content) if path.suffix == ".gz" else content)
        (files.solvers if "solver" in name else files.nets)[name] = out / name
    return files


def nets_to_build(zoo: Zoo) -> Dict[str, Any]:
    """The nets of the zoo, and the one that is written in a solver, in the V1 format."""
    nets = {name: prototxt.load(path, caffe_pb2.NetParameter).message for name, path in zoo.nets.items()}
    name = "examples/mnist/lenet_consolidated_solver.prototxt"
    nets[name] = prototxt.load(zoo.solvers[name], caffe_pb2.SolverParameter).message.net_param
    for net in nets.values():
        for layer in (*net.layer, *net.layers):
            layer.data_param.prefetch = 1
            layer.convolution_param.ClearField("weight_filler")
            layer.inner_product_param.ClearField("weight_filler")
    return nets


class Built(NamedTuple):
    """The nets, the folder in which they were built, and what real Caffe made of each in each phase and stage."""

    nets: Dict[str, Any]
    folder: Path
    answers: Dict[Question, Dict[str, Any]]


@functools.lru_cache(maxsize=1)
def built_by_caffe(caffe_root: Path, folder: Path) -> Built:
    """All nets built in real Caffe, once a session, in `folder / "zoo"`."""
    folder = folder / "zoo"
    nets = nets_to_build(unpack(caffe_root, folder / "caffe-doc"))
    write_data(folder, caffe_root)
    for name, net in nets.items():
        write(folder / name, prototxt.dumps(net).encode())
    questions = [(name, phase, (stage,) * bool(stage)) for name in nets for phase, stage in (
        ("TRAIN", ""), *(("TEST", stage) for stage in STAGES.get(Path(name).name, ("",))))]
    return Built(nets, folder, dict(zip(questions, ask_real_caffe(caffe_root, folder, "build", questions))))


# ------------------------------------------------------------------------------------------------ Files that nets name

def write(path: Path, content: bytes) -> None:
    """Write a file, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_data(folder: Path, caffe_root: Path) -> None:
    """A small file in every place that a net of the zoo names, HDF5 aside."""
    for start, shape in LMDBS.items():
        for part in ("train", "val") if "ilsvrc12" in start else ("train", "test"):
            write_record(folder / f"{start}{part}_lmdb", shape)
    for name, (channels, height, width) in MEANS.items():
        mean = caffe_pb2.BlobProto(num=1, channels=channels, height=height, width=width)
        mean.data.extend([0.0] * (channels * height * width))
        write(folder / name, mean.SerializeToString())
    write(folder / "image.ppm", b"P6 256 256 255\n" + bytes(3 * 256 * 256))
    for name in IMAGE_LISTS:
        write(folder / name, b"image.ppm 1\n")
    for part in ("trainval", "test"):
        windows = "1 0.9 10 10 99 99\n0 0.1 50 50 200 200\n"  # an object and background: class, overlap, corners
        write(folder / WINDOW_FILES.format(part), f"# 0\nimage.ppm\n3\n256\n256\n2\n{windows}".encode())
    (folder / "examples/hdf5_classification/data").mkdir(parents=True)
    write_siamese(folder, caffe_root)


def write_record(path: Path, shape: Tuple[int, int, int]) -> None:
    """An LMDB of one image."""
    channels, height, width = shape
    datum = caffe_pb2.Datum(channels=channels, height=height, width=width, data=bytes(channels * height * width))
    path.parent.mkdir(parents=True, exist_ok=True)
    with lmdb.open(str(path)) as database, database.begin(write=True) as writing:
        writing.put(b"0", datum.SerializeToString())


def write_siamese(folder: Path, caffe_root: Path) -> None:
    """LevelDBs of pairs, by Caffe's converter from MNIST's format."""
    def header(*numbers: int) -> bytes:
        return b"".join(number.to_bytes(4, "big") for number in numbers)

    write(folder / "images", header(2051, 4, 28, 28) + bytes(4 * 28 * 28))
    write(folder / "labels", header(2049, 4) + bytes(4))
    for start in LEVELDBS:
        for part in ("train", "test"):
            out = folder / f"{start}{part}_leveldb"
            out.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([str(caffe_root / "bin" / "convert_mnist_siamese_data"), str(folder / "images"),
                            str(folder / "labels"), str(out)], check=True, capture_output=True)


def datum_shape(layer: Any) -> Tuple[int, int, int]:
    """The shape of the images that this layer reads."""
    shapes = [shape for start, shape in {**LMDBS, **LEVELDBS}.items() if layer.data_param.source.startswith(start)]
    assert len(shapes) == 1, layer
    return shapes[0]
