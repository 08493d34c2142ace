"""All nets and solvers that ship with Caffe: read, upgraded, and their shapes inferred as real Caffe builds them.

The nets are built where small files lie in the places that they name: databases of one record, lists of one image.
Two things are changed, on both sides: data layers prefetch one batch, and weights start at 0 (random ones take long).
"""
from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import lmdb
import pytest

from menndl_caffe import prototxt
from menndl_caffe.net_upgrade import upgrade_net, upgrade_solver
from menndl_caffe.proto import caffe_pb2
from menndl_caffe.shapes import infer

IMAGENET = (3, 256, 256)
LMDBS = {"examples/cifar10/cifar10_": (3, 32, 32), "examples/mnist/mnist_": (1, 28, 28),
         "examples/imagenet/ilsvrc12_": IMAGENET}
LEVELDBS = {"examples/siamese/mnist_siamese_": (2, 28, 28)}
MEANS = {"examples/cifar10/mean.binaryproto": (3, 32, 32), "data/ilsvrc12/imagenet_mean.binaryproto": IMAGENET}
IMAGE_LISTS = ("examples/_temp/file_list.txt", "data/flickr_style/train.txt", "data/flickr_style/test.txt")
WINDOW_FILES = "examples/finetune_pascal_detection/window_file_2007_{}.txt"
STAGES = {"mnist_autoencoder.prototxt": ("test-on-train", "test-on-test"),
          "lenet_consolidated_solver.prototxt": ("test-on-train-set", "test-on-test-set")}
# Their shapes stand in files, or in Python: on our side Input layers of Caffe's shapes are in their place.
TOLD_BY_CAFFE = ("HDF5Data", "WindowData", "Python")

PROBE = r'''
import json, os, re, sys, tempfile
import caffe, h5py, numpy
sys.path.append(sys.argv[1])  # of pyloss.py, linreg.prototxt's Python layer
for part in ("train", "test"):
    name = "examples/hdf5_classification/data/" + part
    with h5py.File(name + ".h5", "w") as file:
        file["data"], file["label"] = numpy.zeros((12, 4)), numpy.zeros(12)
    with open(name + ".txt", "w") as text:
        text.write(name + ".h5\n")
log = tempfile.TemporaryFile()
os.dup2(log.fileno(), 2)

def shapes(blobs):
    return [list(blob.shape) for blob in blobs]

def build(path, phase, stages):
    net = caffe.Net(path, ["TRAIN", "TEST"].index(phase), stages=stages or None)
    names = list(net._blob_names)
    log.seek(0)
    memory = re.findall(rb"Memory required for data: (\d+)", log.read())
    params = {blob.data.ctypes.data: blob.count for layer in net.layers for blob in layer.blobs}
    return {"blobs": list(zip(names, shapes(net._blobs))),
            "memory": int(memory[-1]), "parameters": sum(params.values()),
            "layers": [[name, [names[i] for i in net._bottom_ids(n)], [names[i] for i in net._top_ids(n)],
                        shapes(layer.blobs)] for n, (name, layer) in enumerate(zip(net._layer_names, net.layers))]}

for line in sys.stdin:
    print(json.dumps(build(*json.loads(line))), flush=True)
'''


class Zoo(NamedTuple):
    """Files of caffe-doc, unpacked, by their path there."""

    nets: Dict[str, Path]
    solvers: Dict[str, Path]


@pytest.fixture(scope="module")
def zoo(caffe_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    folder, out = caffe_root / "root" / "usr" / "share" / "doc" / "caffe-doc", tmp_path_factory.mktemp("zoo")
    files = Zoo({}, {})
    for path in sorted(folder.glob("*/*/*.prototxt*")):
        name = str(path.relative_to(folder)).replace(".gz", "")
        content = path.read_bytes()
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(gzip.decompress(content) if path.suffix == ".gz" else content)
        (files.solvers if "solver" in name else files.nets)[name] = out / name
    return files


def test_files_are_read_and_upgraded_as_by_caffes_tools(caffe_root: Path, zoo: Zoo, tmp_path: Path) -> None:
    assert (len(zoo.nets), len(zoo.solvers)) == (29, 25)
    for kind, files, message, upgrade in (("net", zoo.nets, caffe_pb2.NetParameter, upgrade_net),
                                          ("solver", zoo.solvers, caffe_pb2.SolverParameter, upgrade_solver)):
        for path in files.values():
            tool = caffe_root / "bin" / f"upgrade_{kind}_proto_text"
            subprocess.run([str(tool), str(path), str(tmp_path / "new")], check=True, capture_output=True)
            theirs = prototxt.load(tmp_path / "new", message).message
            assert upgrade(prototxt.load(path, message).message) == theirs, path


# ------------------------------------------------------------------------------------------------ Files that nets name

def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_data(folder: Path, caffe_root: Path) -> None:
    """A small file in every place that a net of the zoo names; the HDF5 files are written by PROBE."""
    for start, (channels, height, width) in LMDBS.items():
        datum = caffe_pb2.Datum(channels=channels, height=height, width=width, data=bytes(channels * height * width))
        for part in ("train", "val") if "ilsvrc12" in start else ("train", "test"):
            (folder / start).parent.mkdir(parents=True, exist_ok=True)
            with lmdb.open(str(folder / f"{start}{part}_lmdb")) as database, database.begin(write=True) as writing:
                writing.put(b"0", datum.SerializeToString())
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
    shapes = [shape for start, shape in {**LMDBS, **LEVELDBS}.items() if layer.data_param.source.startswith(start)]
    assert len(shapes) == 1, layer
    return shapes[0]


# --------------------------------------------------------------------------------------------------------------- Shapes

Question = Tuple[str, str, Tuple[str, ...]]  # file, phase and stages of a net


def ours(net: Any, phase: str, stages: Tuple[str, ...], told: Dict[str, List[int]]) -> Dict[str, Any]:
    """What we say of the net, in the form of PROBE's answers; `told` are the shapes of its blobs by Caffe."""
    bottoms = {layer.name: list(layer.bottom) for layer in net.layer if layer.type in TOLD_BY_CAFFE}
    for layer in net.layer:
        if layer.type in TOLD_BY_CAFFE:
            layer.type = "Input"
            del layer.bottom[:]
            for top in layer.top:
                layer.input_param.shape.add(dim=told[top])
    shape = infer(net, phase, datum_shape, stages=stages)
    layers = [[one.name, bottoms.get(one.name, list(one.bottoms)), list(one.tops), list(map(list, one.params))]
              for one in shape.layers]
    return {"blobs": [[name, list(dims)] for name, dims in shape.blobs.items()], "memory": shape.memory,
            "parameters": shape.parameters, "layers": layers}


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


def built_by_caffe(caffe_root: Path, folder: Path, questions: List[Question]) -> List[Dict[str, Any]]:
    """Answers of PROBE, which runs in this folder."""
    layers = caffe_root / "root" / "usr" / "share" / "doc" / "caffe-doc" / "examples" / "pycaffe" / "layers"
    done = subprocess.run([str(caffe_root / "bin" / "python3"), "-c", PROBE, str(layers)], cwd=folder, text=True,
                          input="".join(json.dumps(question) + "\n" for question in questions),
                          stdout=subprocess.PIPE, env={"OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0 and done.stdout.count("\n") == len(questions), done.stdout[-500:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_shapes_are_those_of_caffes_nets(caffe_root: Path, zoo: Zoo, tmp_path: Path) -> None:
    write_data(tmp_path, caffe_root)
    nets, questions = nets_to_build(zoo), []
    for name, net in nets.items():
        write(tmp_path / name, prototxt.dumps(net).encode())
        questions += [(name, phase, (stage,) * bool(stage)) for phase, stage in (
            ("TRAIN", ""), *(("TEST", stage) for stage in STAGES.get(Path(name).name, ("",))))]
    assert len(questions) == 2 * 30 + 2
    answers = built_by_caffe(caffe_root, tmp_path, questions)
    for (name, phase, stages), theirs in zip(questions, answers):
        net = caffe_pb2.NetParameter()
        net.CopyFrom(nets[name])
        assert ours(net, phase, stages, dict(theirs["blobs"])) == theirs, (name, phase, stages)
    quick = answers[questions.index(("examples/cifar10/cifar10_quick_train_test.prototxt", "TRAIN", ()))]
    assert quick["memory"] == 31_978_804
