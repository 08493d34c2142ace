"""The nets of Caffe's examples that `test_curves.py` trains, in our words and with small batches, and their data.

In our words because Caffe's own files are there only where real Caffe is; where they are, the test holds each net and
solver against its file. Only what the phase TRAIN needs is here.
"""
from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

import lmdb
import numpy as np

from menndl_caffe.data import records, write, write_synthetic
from menndl_caffe.data.lmdb_data import Images, write_lmdb
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.upgrade import upgrade_solver

REPOSITORY = Path(__file__).resolve().parents[3]
DOC = REPOSITORY / "build/caffe/root/usr/share/doc/caffe-doc"
CIFAR10 = REPOSITORY / "build/test-data/cifar10/cifar-10-batches-bin"
MNIST = REPOSITORY.parent / "shared/data"
SEEDS = {"small": (1, 2, 3, 4, 5), "full": (1, 2, 3)}  # of small trainings, and of those by Caffe's own files
BATCH = 20
PAIRS = "examples/siamese/mnist_siamese_train_leveldb"  # the name in Caffe's file; what stands there is an LMDB


class Training(NamedTuple):
    """A net, its solver's settings, and Caffe's solver file that has them once `changes` are merged into it."""

    name: str
    net: str
    solver: str
    file: str
    changes: str = ""


_CIFAR10 = 'base_lr: 0.001 momentum: 0.9 weight_decay: 0.004 lr_policy: "fixed" '
_LENET = 'base_lr: 0.01 weight_decay: 0.0005 lr_policy: "inv" gamma: 0.0001 power: 0.75 '
TRAININGS: List[Training] = [
    Training("cifar10_quick", "cifar10_quick", _CIFAR10, "examples/cifar10/cifar10_quick_solver.prototxt"),
    Training("cifar10_full", "cifar10_full", _CIFAR10, "examples/cifar10/cifar10_full_solver.prototxt"),
    Training("autoencoder", "autoencoder", 'base_lr: 0.01 lr_policy: "step" gamma: 0.1 stepsize: 10000 '
             'weight_decay: 0.0005 momentum: 0.9', "examples/mnist/mnist_autoencoder_solver.prototxt"),
    Training("siamese", "siamese", 'base_lr: 0.01 momentum: 0.9 weight_decay: 0 lr_policy: "inv" gamma: 0.0001 '
             'power: 0.75', "examples/siamese/mnist_siamese_solver.prototxt"),
    Training("lenet", "lenet", _LENET + "momentum: 0.9", "examples/mnist/lenet_solver.prototxt"),
    Training("lenet_nesterov", "lenet", _LENET + 'momentum: 0.9 type: "Nesterov"',
             "examples/mnist/lenet_solver.prototxt", 'type: "Nesterov"'),
    Training("lenet_adagrad", "lenet", _LENET + 'momentum: 0 type: "AdaGrad"',
             "examples/mnist/lenet_solver.prototxt", 'type: "AdaGrad" momentum: 0'),
    Training("lenet_rmsprop", "lenet", _LENET + 'momentum: 0 type: "RMSProp" rms_decay: 0.98',
             "examples/mnist/lenet_solver_rmsprop.prototxt"),
    Training("lenet_adadelta", "lenet", 'base_lr: 1 lr_policy: "fixed" momentum: 0.95 weight_decay: 0.0005 '
             'type: "AdaDelta" delta: 1e-6', "examples/mnist/lenet_adadelta_solver.prototxt"),
    Training("lenet_adam", "lenet", 'base_lr: 0.001 momentum: 0.9 momentum2: 0.999 lr_policy: "fixed" type: "Adam"',
             "examples/mnist/lenet_solver_adam.prototxt"),
]


# ----------------------------------------------------------------------------------------------------------------- Nets

_XAVIER = 'weight_filler { type: "xavier" } bias_filler { type: "constant" }'


def _layer(type_: str, name: str, bottoms: str, tops: str, more: str = "") -> str:
    names = [f'{side}: "{blob}"' for side, blobs in (("bottom", bottoms), ("top", tops)) for blob in blobs.split()]
    return f'layer {{ name: "{name}" type: "{type_}" {" ".join(names)} {more} }}\n'


def _data(name: str, tops: str, source: str, transform: str) -> str:
    return _layer("Data", name, "", tops, f'transform_param {{ {transform} }} '
                  f'data_param {{ source: "{source}" batch_size: {BATCH} backend: LMDB }}')


def _rates(weights: str = "lr_mult: 1", biases: str = "lr_mult: 2") -> str:
    return f"param {{ {weights} }} param {{ {biases} }}"


def _gaussian(std: float) -> str:
    return f'weight_filler {{ type: "gaussian" std: {std} }} bias_filler {{ type: "constant" }}'


def _conv(name: str, bottom: str, outputs: int, fillers: str, rates: str) -> str:
    return _layer("Convolution", name, bottom, name,
                  f"{rates} convolution_param {{ num_output: {outputs} kernel_size: 5 stride: 1 {fillers} }}")


def _ip(name: str, bottom: str, outputs: int, fillers: str, rates: str) -> str:
    return _layer("InnerProduct", name, bottom, name,
                  f"{rates} inner_product_param {{ num_output: {outputs} {fillers} }}")


def _pool(name: str, bottom: str, kind: str, kernel: int) -> str:
    return _layer("Pooling", name, bottom, name, f"pooling_param {{ pool: {kind} kernel_size: {kernel} stride: 2 }}")


def _relu(name: str, blob: str) -> str:
    return _layer("ReLU", name, blob, blob)


def _norm(name: str, bottom: str) -> str:
    return _layer("LRN", name, bottom, name,
                  "lrn_param { local_size: 3 alpha: 5e-05 beta: 0.75 norm_region: WITHIN_CHANNEL }")


def _cifar10(name: str, normalised: bool, head: str, rates_of_conv3: str) -> str:
    def norm(number: int) -> str:
        return _norm(f"norm{number}", f"pool{number}") if normalised else ""

    below = "norm" if normalised else "pool"
    return "".join([
        f'name: "{name}"\n',
        _data("cifar", "data label", "examples/cifar10/cifar10_train_lmdb",
              'mean_file: "examples/cifar10/mean.binaryproto"'),
        _conv("conv1", "data", 32, "pad: 2 " + _gaussian(0.0001), _rates()), _pool("pool1", "conv1", "MAX", 3),
        _relu("relu1", "pool1"), norm(1),
        _conv("conv2", f"{below}1", 32, "pad: 2 " + _gaussian(0.01), _rates()), _relu("relu2", "conv2"),
        _pool("pool2", "conv2", "AVE", 3), norm(2),
        _conv("conv3", f"{below}2", 64, "pad: 2 " + _gaussian(0.01), rates_of_conv3), _relu("relu3", "conv3"),
        _pool("pool3", "conv3", "AVE", 3), head])


def cifar10_quick() -> str:
    """Text of examples/cifar10/cifar10_quick_train_test.prototxt."""
    head = (_ip("ip1", "pool3", 64, _gaussian(0.1), _rates()) + _ip("ip2", "ip1", 10, _gaussian(0.1), _rates())
            + _layer("SoftmaxWithLoss", "loss", "ip2 label", "loss"))
    return _cifar10("CIFAR10_quick", False, head, _rates())


def cifar10_full() -> str:
    """Text of examples/cifar10/cifar10_full_train_test.prototxt."""
    rates = _rates("lr_mult: 1 decay_mult: 250", "lr_mult: 2 decay_mult: 0")
    head = _ip("ip1", "pool3", 10, _gaussian(0.01), rates) + _layer("SoftmaxWithLoss", "loss", "ip1 label", "loss")
    return _cifar10("CIFAR10_full", True, head, "")


def _lenet(data: str, rates: Callable[[str], str], suffix: str = "") -> str:
    """LeNet's layers from the blob `data` to ip2."""
    def named(name: str) -> str:
        return name + suffix

    return "".join([
        _conv(named("conv1"), data, 20, _XAVIER, rates("conv1")), _pool(named("pool1"), named("conv1"), "MAX", 2),
        _conv(named("conv2"), named("pool1"), 50, _XAVIER, rates("conv2")),
        _pool(named("pool2"), named("conv2"), "MAX", 2),
        _ip(named("ip1"), named("pool2"), 500, _XAVIER, rates("ip1")), _relu(named("relu1"), named("ip1")),
        _ip(named("ip2"), named("ip1"), 10, _XAVIER, rates("ip2"))])


def lenet() -> str:
    """Text of examples/mnist/lenet_train_test.prototxt."""
    return ('name: "LeNet"\n' + _data("mnist", "data label", "examples/mnist/mnist_train_lmdb", "scale: 0.00390625")
            + _lenet("data", lambda name: _rates()) + _layer("SoftmaxWithLoss", "loss", "ip2 label", "loss"))


def siamese() -> str:
    """Text of examples/siamese/mnist_siamese_train_test.prototxt, with an LMDB: two LeNets of one set of weights."""
    def rates(name: str) -> str:
        return _rates(f'name: "{name}_w" lr_mult: 1', f'name: "{name}_b" lr_mult: 2')

    def tower(data: str, suffix: str) -> str:
        return _lenet(data, rates, suffix) + _ip("feat" + suffix, "ip2" + suffix, 2, _XAVIER, rates("feat"))

    return "".join([
        'name: "mnist_siamese_train_test"\n', _data("pair_data", "pair_data sim", PAIRS, "scale: 0.00390625"),
        _layer("Slice", "slice_pair", "pair_data", "data data_p", "slice_param { slice_dim: 1 slice_point: 1 }"),
        tower("data", ""), tower("data_p", "_p"),
        _layer("ContrastiveLoss", "loss", "feat feat_p sim", "loss", "contrastive_loss_param { margin: 1 }")])


def autoencoder() -> str:
    """Text of examples/mnist/mnist_autoencoder.prototxt."""
    fillers = 'weight_filler { type: "gaussian" std: 1 sparse: 15 } bias_filler { type: "constant" value: 0 }'
    rates = _rates("lr_mult: 1 decay_mult: 1", "lr_mult: 1 decay_mult: 0")
    sizes = {"encode1": 1000, "encode2": 500, "encode3": 250, "encode4": 30,
             "decode4": 250, "decode3": 500, "decode2": 1000, "decode1": 784}
    layers = ['name: "MNISTAutoencoder"\n',
              _data("data", "data", "examples/mnist/mnist_train_lmdb", "scale: 0.0039215684"),
              _layer("Flatten", "flatdata", "data", "flatdata")]
    bottom = "data"
    for name, outputs in sizes.items():
        layers.append(_ip(name, bottom, outputs, fillers, rates))
        bottom = name
        if name not in ("encode4", "decode1"):
            bottom = name + "neuron"
            layers.append(_layer("Sigmoid", bottom, name, bottom))
    return "".join([
        *layers, _layer("SigmoidCrossEntropyLoss", "loss", "decode1 flatdata", "cross_entropy_loss", "loss_weight: 1"),
        _layer("Sigmoid", "decode1neuron", "decode1", "decode1neuron"),
        _layer("EuclideanLoss", "loss", "decode1neuron flatdata", "l2_error", "loss_weight: 0")])


NETS: Dict[str, Callable[[], str]] = {"cifar10_quick": cifar10_quick, "cifar10_full": cifar10_full, "lenet": lenet,
                                      "siamese": siamese, "autoencoder": autoencoder}


def net_of(training: Training) -> Any:
    """The NetParameter, of the phase TRAIN alone, in our words."""
    return prototxt.parse(NETS[training.net](), caffe_pb2.NetParameter).message


def solver_file(folder: Path, name: str, seed: int) -> Path:
    """Where `make_small` and `make_full` write the solver of a training."""
    return folder / f"{name}_{seed}.solver.prototxt"


def make_small(folder: Path) -> None:
    """Every training in our words, with drawn images, below `folder`."""
    _write_drawn_data(folder)
    for training in TRAININGS:
        net = folder / f"{training.net}.prototxt"
        net.write_text(NETS[training.net]())
        for seed in SEEDS["small"]:
            solver_file(folder, training.name, seed).write_text(
                f'net: "{net.name}" {training.solver} random_seed: {seed}\n')


# ---------------------------------------------------------------------------------------------------- Caffe's own files

def caffes_solver(doc: Path, training: Training) -> Any:
    """The SolverParameter of Caffe's file below `doc`, with the training's changes."""
    solver = upgrade_solver(prototxt.load(doc / training.file, caffe_pb2.SolverParameter).message)
    solver.MergeFrom(prototxt.parse(training.changes, caffe_pb2.SolverParameter).message)
    return solver


def caffes_net(doc: Path, solver: Any) -> Any:
    """The NetParameter that a solver's file names; LMDBs in place of LevelDBs."""
    net = prototxt.load(doc / solver.net, caffe_pb2.NetParameter).message
    for layer in net.layer:
        if layer.type == "Data":
            layer.data_param.backend = caffe_pb2.DataParameter.LMDB
    return net


def make_full(folder: Path, doc: Path = DOC, cifar10: Path = CIFAR10, mnist: Path = MNIST) -> None:
    """Every training by Caffe's own files, with real images, below `folder`.

    Test nets are there, but no test passes, which would take most of the time.
    """
    _write_real_data(folder, cifar10, mnist)
    for training in TRAININGS:
        solver = caffes_solver(doc, training)
        (folder / solver.net).write_text(prototxt.dumps(caffes_net(doc, solver)))
        solver.test_initialization = False
        for field in ("display", "snapshot", "snapshot_prefix"):
            solver.ClearField(field)
        for solver.random_seed in SEEDS["full"]:
            solver_file(folder, training.name, solver.random_seed).write_text(prototxt.dumps(solver))


# ----------------------------------------------------------------------------------------------------------------- Data

def _write_drawn_data(folder: Path) -> None:
    """Drawn images in place of CIFAR-10's and of MNIST's; the same on every machine."""
    write_synthetic(folder / "drawn", images_train=1000, images_test=100, report=lambda line: None)
    _link_cifar10(folder, folder / "drawn")
    _write_digits(folder, {part: _grey(folder / f"drawn/cifar10_{part}_lmdb") for part in ("train", "test")})


def _write_real_data(folder: Path, cifar10: Path, mnist: Path) -> None:
    """CIFAR-10, and MNIST's test images: 8,000 to train with, 2,000 to test."""
    images, labels = (np.frombuffer(gzip.decompress((mnist / f"t10k-{name}-ubyte.gz").read_bytes()), np.uint8)
                      for name in ("images-idx3", "labels-idx1"))
    digits = Images(labels[8:], images[16:].reshape(-1, 1, 28, 28))
    write("cifar10", folder / "cifar10", cifar10, report=lambda line: None)
    _link_cifar10(folder, folder / "cifar10")
    _write_digits(folder, {"train": digits.part(0, 8000), "test": digits.part(8000, 10000)})


def _link_cifar10(folder: Path, data: Path) -> None:
    """CIFAR-10's databases and mean where the examples' nets look for them."""
    (folder / "examples/cifar10").mkdir(parents=True)
    for name in ("cifar10_train_lmdb", "cifar10_test_lmdb", "mean.binaryproto"):
        (folder / "examples/cifar10" / name).symlink_to(data / name)


def _write_digits(folder: Path, parts: Dict[str, Images]) -> None:
    """MNIST's databases `train` and `test` where the examples' nets look for them, and pairs of these for siamese."""
    for name in ("mnist", "siamese"):
        (folder / "examples" / name).mkdir(parents=True)
    for part, images in parts.items():
        write_lmdb(folder / f"examples/mnist/mnist_{part}_lmdb", images, 8)
        _write_pairs(folder / PAIRS.replace("train", part), images)


def _grey(path: Path) -> Images:
    """The middle 28 x 28 pixels of the green channel: MNIST's format."""
    labels, pixels = zip(*records(path))
    return Images(np.array(labels, np.uint8), np.stack(pixels)[:, 1:2, 2:30, 2:30])


def _write_pairs(path: Path, images: Images) -> None:
    """As many random pairs as there are images, two channels each; the label says whether both show one class."""
    pairs = np.random.RandomState(1).randint(len(images), size=(len(images), 2))
    with lmdb.open(str(path), map_size=1 << 30) as database, database.begin(write=True) as writing:
        for index, (one, other) in enumerate(pairs):
            datum = caffe_pb2.Datum(channels=2, height=28, width=28, data=images.pixels[[one, other]].tobytes(),
                                    label=int(images.labels[one] == images.labels[other]))
            writing.put(f"{index:08}".encode(), datum.SerializeToString())
