"""`menndl init`: of any net and solver either a search whose default is the very same files, or one line why not.

What must be the same is told by masking, in the user's file and in the rendered one, the few things that menndl sets.
"""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest

from menndl_caffe import cli
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.render import Rendered, Renderer
from menndl_caffe.experiment.sources import Sources
from menndl_caffe.nets.shapes import infer
from menndl_caffe.nets.wiring import layers_of_phase
from tests.support import zoo

SOURCES = Sources("some/train_lmdb", "some/test_lmdb", "some/mean.binaryproto")
OF_NET = r'(?:source|mean_file): *"[^"]*"|\s*backend: *\w+'
OF_SOLVER = r'(?:net|snapshot_prefix): *"[^"]*"|(?:solver_mode|random_seed|max_iter): *\w+'
QUICK = ("examples/cifar10/cifar10_quick_train_test.prototxt", "examples/cifar10/cifar10_quick_solver.prototxt")

NET = """\
name: "own"  # as it was
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        data_param { source: "here/own_train_lmdb" batch_size: 4 backend: LMDB } transform_param { crop_size: 12 } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
        data_param { source: "here/own_test_lmdb" batch_size: 4 backend: LMDB } transform_param { crop_size: 12 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 16 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = 'net: "own.prototxt"\ntest_iter: 5\ntest_interval: 10\nbase_lr: 0.01\nlr_policy: "fixed"\nmax_iter: 50\n'


class Init:
    """`menndl init` on files in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]):
        self.folder, self._capsys, self.said = folder, capsys, ""

    def __call__(self, net: str = NET, solver: str = SOLVER, *more: str) -> int:
        """The exit code for these texts."""
        (self.folder / "own.prototxt").write_bytes(net.encode("utf-8", "surrogateescape"))
        (self.folder / "solver.prototxt").write_text(solver)
        return self.of(self.folder / "own.prototxt", self.folder / "solver.prototxt", *more)

    def of(self, net: Path, solver: Path, *more: str) -> int:
        """The exit code for these files; `said`: all that was."""
        self._capsys.readouterr()
        code = cli.main(["init", str(net), str(solver), "--out", str(self.folder / "out"), *more])
        self.said = "".join(self._capsys.readouterr())
        return code

    @property
    def search(self) -> Any:
        return search_file.load(str(self.folder / "out" / "search.prototxt"))

    def rendered(self, *settings: str) -> Rendered:
        """The default individual but for these genes."""
        experiment = self.search
        genome = experiment.space.with_settings(list(settings))
        return Renderer(experiment).render(experiment.trial(0, genome), SOURCES, "a/folder")

    @property
    def genes(self) -> Dict[str, Tuple[float, ...]]:
        """Name -> least, most and default."""
        return {gene.name: (gene.minimum, gene.maximum, gene.default) for gene in self.search.space.genes}


@pytest.fixture
def init(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Init:
    return Init(tmp_path, capsys)


@pytest.fixture(scope="module")
def files(caffe_root: Path, tmp_path_factory: pytest.TempPathFactory) -> zoo.Zoo:
    return zoo.unpack(caffe_root, tmp_path_factory.mktemp("zoo"))


def same(rendered: Rendered, net: Path, solver: Path) -> None:
    """But for what menndl sets, and for the lines at the solver's end that it had not."""
    masked = re.sub(OF_NET, "", rendered.net_text), re.sub(OF_NET, "", net.read_text())
    assert masked[0] == masked[1]
    ours, theirs = (re.sub(OF_SOLVER, "", text) for text in (rendered.solver_text, solver.read_text()))
    assert ours.rstrip("\n") == theirs.rstrip("\n")


# ---------------------------------------------------------------------------------------------------- Caffe's own files

NO_LOSS = "has no loss in phase TRAIN, so nothing is learned"
REFUSED = {"cifar10_full.prototxt": NO_LOSS, "cifar10_quick.prototxt": NO_LOSS, "lenet.prototxt": NO_LOSS,
           "bvlc_caffenet_full_conv.prototxt": NO_LOSS, "conv.prototxt": NO_LOSS, "mnist_siamese.prototxt": NO_LOSS,
           "deploy.prototxt": NO_LOSS, "mnist_autoencoder.prototxt": "layer flatdata: unknown bottom 'data'",
           "pascal_finetune_trainval_test.prototxt": "loss loss has no top",
           "lenet_auto_solver.prototxt": "train_net: is a net for training alone",
           "lenet_consolidated_solver.prototxt": "net_param: is a net inside the solver",
           **{f"mnist_autoencoder_solver{of}.prototxt": "test_state: chooses layers by stage or level"
              for of in ("", "_adadelta", "_adagrad", "_nesterov")}}


def test_every_net_of_caffes_becomes_a_search_or_one_line(files: zoo.Zoo, init: Init) -> None:
    """GoogLeNet with a few of its 87 genes, since all ranges are tried."""
    refused = 0
    for number, (name, net) in enumerate(sorted(files.nets.items())):
        init.folder = init.folder / str(number)
        init.folder.mkdir()
        genes = ["--genes", "dropout,base_lr"] * ("googlenet" in name)
        code, solver = init.of(net, files.solvers[QUICK[1]], *genes), files.solvers[QUICK[1]]
        why = REFUSED.get(Path(name).name)
        if why:
            refused += 1
            assert code == 2 and why in init.said and init.said.count("\n") == 1, (name, init.said)
        else:
            assert code == 0, (name, init.said)
            same(init.rendered(), net, solver)
    assert (refused, len(files.nets)) == (13, 29)


def test_every_solver_of_caffes_does(files: zoo.Zoo, init: Init) -> None:
    refused = 0
    for number, (name, solver) in enumerate(sorted(files.solvers.items())):
        init.folder = init.folder / str(number)
        init.folder.mkdir()
        why = REFUSED.get(Path(name).name)
        code = init.of(files.nets[QUICK[0]], solver)
        if why:
            refused += 1
            assert code == 2 and why in init.said and init.said.count("\n") == 1, (name, init.said)
        else:
            assert code == 0, (name, init.said)
            same(init.rendered(), files.nets[QUICK[0]], solver)
    assert (refused, len(files.solvers)) == (6, 25)


def test_the_genes_of_cifar10_quick(files: zoo.Zoo, init: Init) -> None:
    assert init.of(files.nets[QUICK[0]], files.solvers[QUICK[1]]) == 0
    assert init.genes == {
        "conv1_kernel": (1, 9, 5), "conv1_filters": (8, 64, 32), "conv2_kernel": (1, 9, 5),
        "conv2_filters": (8, 64, 32), "conv3_kernel": (1, 9, 5), "conv3_filters": (16, 128, 64),
        "ip1_units": (16, 128, 64), "base_lr": (1e-5, 0.01, 0.001), "weight_decay": (4e-5, 0.04, 0.004),
        "momentum": (0.5, 0.99, 0.9)}  # ip2 has the classes
    message = init.search.message
    assert (message.type, message.limit.trials, message.max_iter, message.data) == (
        "GUIDED_GA", 100, 4000, str(Path("examples/cifar10")))


def test_padding_goes_on_keeping_the_size(files: zoo.Zoo, init: Init) -> None:
    assert init.of(files.nets[QUICK[0]], files.solvers[QUICK[1]]) == 0
    net = init.rendered("conv1_kernel=9", "conv2_kernel=1", "conv2_filters=8").net.message
    conv = {layer.name: layer.convolution_param for layer in net.layer if layer.type == "Convolution"}
    assert [(list(conv[f"conv{i}"].kernel_size), list(conv[f"conv{i}"].pad)) for i in (1, 2, 3)] == [
        ([9], [4]), ([1], [0]), ([5], [2])]
    assert conv["conv2"].num_output == 8
    blobs = infer(net, "TEST", lambda layer: (3, 32, 32)).blobs
    assert blobs["conv1"][2:] == (32, 32) and blobs["conv2"][2:] == (16, 16)


def test_layers_that_share_weights_share_genes(files: zoo.Zoo, init: Init) -> None:
    """And a net of LevelDBs gets LMDBs, one without classes its loss."""
    path = "examples/siamese/mnist_siamese_{}.prototxt"
    assert init.of(files.nets[path.format("train_test")], files.solvers[path.format("solver")]) == 0
    rendered = init.rendered("conv1_filters=30", "conv2_kernel=3")
    params = {layer.name: layer.convolution_param for layer in rendered.net.message.layer}
    for suffix in ("", "_p"):
        assert params[f"conv1{suffix}"].num_output == 30 and list(params[f"conv2{suffix}"].kernel_size) == [3]
    assert not any(name.startswith(("conv1_p", "feat")) for name in init.genes)
    readers = [layer.data_param for layer in rendered.net.message.layer if layer.type == "Data"]
    assert [(one.source, one.backend) for one in readers] == [
        (SOURCES.train, readers[0].LMDB), (SOURCES.test, readers[0].LMDB)]
    assert [(one.measure, one.minimize) for one in init.search.message.objective] == [("loss", True)]
    assert "examples/siamese/*_train_lmdb, an LMDB, and this is a LevelDB" in init.said


def test_every_end_of_a_range_is_a_net_that_can_be(files: zoo.Zoo, init: Init) -> None:
    """CaffeNet: groups of 2, kernels without padding, images cropped to 227."""
    folder = "models/bvlc_reference_caffenet"
    assert init.of(files.nets[f"{folder}/train_val.prototxt"], files.solvers[f"{folder}/solver.prototxt"]) == 0
    genes = init.genes
    for name, (low, high, _) in genes.items():
        for value in (low, high):
            infer(init.rendered(f"{name}={value}").net.message, "TRAIN", lambda layer: (3, 256, 256))
    kernels = [f"{name}={high}" for name, (_, high, _) in genes.items() if name.endswith("_kernel")]
    assert kernels and infer(init.rendered(*kernels).net.message, "TRAIN", lambda layer: (3, 256, 256))
    steps = {gene.name: gene.step for gene in init.search.space.genes if gene.name.endswith("filters")}
    assert steps and not any(step % 2 for step in steps.values())


# -------------------------------------------------------------------------------------------------------- Small nets

def test_other_spellings_of_numbers_and_jinjas_signs_stay(init: Init) -> None:
    net = NET.replace("# as it was", "# {{ as }} {% it %} {# was #}, größer").replace("output: 16", "output: 0x10")
    solver = SOLVER.replace("0.01", "1e-2") + "weight_decay: 5e-4f # {{\nmomentum: .9"
    assert init(net, solver) == 0
    same(init.rendered(), init.folder / "own.prototxt", init.folder / "solver.prototxt")
    assert init.genes["weight_decay"] == (5e-6, 0.005, 0.0005) and init.genes["momentum"] == (0.5, 0.99, 0.9)
    changed = init.rendered("weight_decay=0.001", "conv_filters=18", "base_lr=0.02")
    assert changed.net.message.layer[2].convolution_param.num_output == 18
    assert (changed.solver.message.weight_decay, changed.solver.message.base_lr) == (
        pytest.approx(0.001), pytest.approx(0.02))


def test_what_menndl_sets(init: Init) -> None:
    assert init(NET, SOLVER + 'snapshot_prefix: "far/away/own" # so far') == 0
    assert init.search.message.data == "here"
    solver = init.rendered().solver.message
    assert (solver.net, solver.snapshot_prefix, solver.max_iter) == ("a/folder/train_test.prototxt", "a/folder/own", 50)
    assert solver.random_seed == init.search.trial(0, init.search.space.default).seed
    assert (solver.solver_mode, solver.test_iter) == (solver.CPU, [5])
    sources = [layer.data_param.source for layer in init.rendered().net.message.layer[:2]]
    assert sources == [SOURCES.train, SOURCES.test]


def test_a_kernel_is_no_larger_than_its_image(init: Init) -> None:
    """12 pixels are cropped; the convolution pads none."""
    assert init(NET.replace("kernel_size: 5", "kernel_size: 9")) == 0
    assert init.genes["conv_kernel"] == (5, 12, 9)
    two = NET.replace('layer { name: "ip"', 'layer { name: "conv2" type: "Convolution" bottom: "conv" top: "conv2" '
                      'convolution_param { num_output: 9 kernel_size: 5 } }\nlayer { name: "ip"')
    init.folder = init.folder / "two"
    init.folder.mkdir()
    assert init(two) == 0
    assert [init.genes[f"{name}_kernel"] for name in ("conv", "conv2")] == [(1, 6, 5), (1, 6, 5)]  # 12 - 5 - 5 = 2


def test_filters_that_a_sum_ties_are_no_genes(init: Init) -> None:
    branch = ('layer { name: "branch" type: "Convolution" bottom: "data" top: "branch" '
              'convolution_param { num_output: 16 kernel_size: 5 } }\n'
              'layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "branch" top: "sum" }\n')
    net = NET.replace('bottom: "conv" top: "ip"', 'bottom: "sum" top: "ip"')
    assert init(net.replace('layer { name: "ip"', branch + 'layer { name: "ip"')) == 0
    assert "no gene conv_filters (layer conv: num_output 16): with another value, layer sum: " in init.said
    assert set(init.genes) == {"base_lr"}


def test_data_of_other_names_are_told_until_they_are_there(init: Init) -> None:
    other = NET.replace("own_test_lmdb", "own_val_lmdb").replace("crop_size", 'mean_file: "m" crop_size')
    assert init(other) == 0
    assert "layer data of phase TEST read here/own_val_lmdb; menndl reads here/*_test_lmdb: a link" in init.said
    assert "the mean was m; menndl reads here/mean.binaryproto" in init.said and "of phase TRAIN" not in init.said
    data = init.folder / "data"
    for name in ("a_train_lmdb", "a_test_lmdb", "mean.binaryproto"):
        (data / name).mkdir(parents=True)
    (init.folder / "out" / "search.prototxt").unlink()
    assert init(other, SOLVER, "--data", str(data)) == 0
    assert "menndl reads" not in init.said and init.search.message.data == str(data)
    assert init.rendered().net.message.layer[0].transform_param.mean_file == SOURCES.mean


def test_genes_of_choice(init: Init) -> None:
    assert init(NET, SOLVER, "--genes", "filters, base_lr") == 0
    assert set(init.genes) == {"conv_filters", "base_lr"}
    assert init(NET, SOLVER, "--genes", "filter") == 2
    assert "--genes filter: no kind or name of a gene here; did you mean filters or conv_filters?" in init.said


def test_nothing_is_overwritten(init: Init) -> None:
    assert init() == 0 and init() == 0  # the same again
    out = init.folder / "out"
    (out / "search.prototxt").write_text("mine")
    (out / "solver.prototxt.j2").unlink()
    assert init() == 2
    assert f"{out / 'search.prototxt'}: there already" in init.said
    assert (out / "search.prototxt").read_text() == "mine" and not (out / "solver.prototxt.j2").exists()


ACCURACY = re.compile(r'layer \{ name: "accuracy".*\n')


def test_without_accuracy_the_loss_counts_and_the_lines_to_add_are_told(init: Init) -> None:
    bare = ACCURACY.sub("", NET)
    assert init(bare) == 0
    assert init.search.objectives[0].measure == "loss"
    told = ACCURACY.search(init.said)
    assert told and "for an accuracy add this to the net" in init.said
    init.folder = init.folder / "again"
    init.folder.mkdir()
    assert init(bare + told[0]) == 0 and "layer of type Accuracy" not in init.said
    assert init.search.objectives[0].measure == "accuracy"
    made = layers_of_phase(init.rendered().net.message, "TEST", 0, ())[-1]
    assert (made.bottoms, made.tops) == (("ip", "label"), ("accuracy",))


def test_of_several_accuracies_one_is_named(init: Init) -> None:
    line = ACCURACY.search(NET)
    assert line
    more = [line[0].replace('"accuracy"', f'"{top}"').replace("include", f"accuracy_param {{ top_k: {k} }} include")
            for top, k in (("top1", 1), ("top2", 2))]
    assert init(ACCURACY.sub("".join(more), NET)) == 0
    assert init.search.message.fitness == "top1" and "2 accuracies, top1, top2: top1 is the fitness" in init.said


Change = Tuple[str, str]  # of a text by another
SAME: Change = ("", "")
WRONG: Dict[str, Tuple[Change, Change, str]] = {
    "V0": ((NET, 'layers { layer { name: "d" type: "data" source: "x" batchsize: 2 } top: "d" }'), SAME,
           "own.prototxt:1: layers: is of the format of Caffe's first months"),
    "latin-1": (("as it was", "gr\udcf6\udcdfer"), SAME, "own.prototxt:1: is not UTF-8"),
    "no test_iter": (SAME, ("test_iter: 5\n", ""), "test_iter: is missing; expected it once"),
    "two test_iter": (SAME, ("test_iter: 5\n", "test_iter: 5 test_iter: 7\n"), "test_iter: is given 2 times"),
    "test_net": (SAME, ("test_iter", 'test_net: "x"\ntest_iter'), "solver.prototxt:2: test_net: is a net for testing"),
    "exchanged": ((NET, SOLVER), SAME, "own.prototxt: is a SolverParameter, expected a NetParameter"),
    "a fork's layer": (('"SoftmaxWithLoss"', '"SoftmaxWithLos"'), SAME,
                       r"own.prototxt:10: layer loss: unknown type 'SoftmaxWithLos'; did you mean SoftmaxWithLoss"),
    "loss in TRAIN": (('top: "loss"', 'top: "loss" include { phase: TRAIN }'), SAME,
                      "own.prototxt:10: layer.5.: loss loss is in phase TRAIN alone"),
    "too large a kernel": (("kernel_size: 5", "kernel_size: 13"), SAME,
                           "own.prototxt:6: layer conv: kernel_size 13x13 is larger than its padded input 12x12"),
    "no number": (('"Convolution" bottom: "data" top: "conv"\n        convolution_param { num_output: 16 kernel_size: '
                   '5 weight_filler { type: "xavier" } } }', '"ReLU" bottom: "data" top: "conv" }'),
                  ("base_lr: 0.01\n", ""), "own.prototxt: has no number that a search may vary"),
}


@pytest.mark.parametrize("of_net, of_solver, why", WRONG.values(), ids=WRONG)
def test_what_cannot_be_searched_is_said_in_one_line(init: Init, of_net: Change, of_solver: Change, why: str) -> None:
    net, solver = NET.replace(*of_net, 1), SOLVER.replace(*of_solver, 1)
    assert (net, solver) != (NET, SOLVER)
    assert init(net, solver) == 2
    assert re.search(why, init.said) and init.said.count("\n") == 1
    assert not (init.folder / "out").exists()


def test_layers_of_the_second_format_work(init: Init) -> None:
    """`layers` and types in capitals."""
    old = NET.replace("layer {", "layers {")
    for new, capitals in (("Data", "DATA"), ("Convolution", "CONVOLUTION"), ("InnerProduct", "INNER_PRODUCT"),
                          ("Accuracy", "ACCURACY"), ("SoftmaxWithLoss", "SOFTMAX_LOSS")):
        old = old.replace(f'type: "{new}"', f"type: {capitals}")
    assert init(old) == 0
    same(init.rendered(), init.folder / "own.prototxt", init.folder / "solver.prototxt")
    assert init.genes["conv_kernel"] == (1, 9, 5)
    assert init.rendered("conv_kernel=7").net.message.layers[2].convolution_param.kernel_size == [7]


def test_data_that_are_not_databases_stay(init: Init) -> None:
    """And nothing reads the train database in place of both."""
    lines = NET.splitlines(keepends=True)
    both = "".join(lines[:3] + lines[5:]).replace(" include { phase: TRAIN }", "")
    assert init(both) == 0
    assert "phase TEST takes its images from data (Data), which stays as it is" in init.said
    assert init.rendered().net.message.layer[0].data_param.source == "here/own_train_lmdb"
