"""The experiment of Loshchilov and Hutter 2016: its two search files, at both ends of every range, in both engines."""
from __future__ import annotations

import math
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

from menndl_caffe import journal
from menndl_caffe.data.dataset import write
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.appraise import check, measures
from menndl_caffe.experiment.render import Rendered, Renderer
from menndl_caffe.experiment.sources import sources
from menndl_caffe.genome import Genome
from menndl_caffe.nets.rates import learning_rate
from menndl_caffe.rank.engine import find
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.trial import OK, Result, Trial
from tests.conftest import REPOSITORY
from tests.support import caffe_runs
from tests.support import clone as clones
from tests.test_data_mnist import write_idx

PROBLEMS = ("adam", "adadelta")
# Of peers' reports of the paper: each hyper-parameter's value at x = 0, 1/2 and 1.
NET = {"batch_size": [2 ** (4 + 4 * x) for x in (0, 0.5, 1)], "filters1": [2 ** (3 + 5 * x) for x in (0, 0.5, 1)],
       "filters2": [2 ** (3 + 5 * x) for x in (0, 0.5, 1)], "units": [2 ** (4 + 5 * x) for x in (0, 0.5, 1)],
       "bn_alpha": [0.01 + 0.2 * x for x in (0, 0.5, 1)], "bn_eps": [10 ** (-8 + 5 * x) for x in (0, 0.5, 1)],
       **{f"dropout{i}": [0.8 * x for x in (0, 0.5, 1)] for i in (1, 2, 3)}}
SOLVER = {
    "adam": {"lr_begin": [10 ** (-1 - 3 * x) for x in (1, 0.5, 0)], "lr_end": [10 ** (-3 - 3 * x) for x in (1, 0.5, 0)],
             "beta1": [0.8 + 0.199 * x for x in (0, 0.5, 1)], "beta2_gap": [10 ** (-2 - 2 * x) for x in (1, 0.5, 0)],
             "eps": [10 ** (-3 - 6 * x) for x in (1, 0.5, 0)]},
    "adadelta": {**{f"lr_{when}": [10 ** (0.5 - 2 * x) for x in (1, 0.5, 0)] for when in ("begin", "end")},
                 "rho": [0.8 + 0.199 * x for x in (0, 0.5, 1)], "eps": [10 ** (-3 - 6 * x) for x in (1, 0.5, 0)]}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few images of MNIST's shape."""
    folder = tmp_path_factory.mktemp("mnist")
    write("mnist", folder / "data", write_idx(folder / "idx", 300, 120), validation=100, report=lambda line: None)
    return folder / "data"


@pytest.fixture
def renderer(request: pytest.FixtureRequest, data: Path, tmp_path: Path) -> Renderer:
    """Of the problem that a test names, testing on one batch after two iterations."""
    text = (REPOSITORY / "solvers" / f"lenet_{request.param}.search.prototxt").read_text()
    text = re.sub(r'(name: "test_(?:iter|interval)" value: )"\d+"', r'\1"1"', text)
    path = tmp_path / "lenet.search.prototxt"
    path.write_text(text)
    return Renderer(search_file.load(str(path), data=str(data), max_iter=2))


BOTH = pytest.mark.parametrize("renderer", PROBLEMS, indirect=True)


def trial(renderer: Renderer, genome: Genome) -> Trial:
    return renderer.experiment.trial(1, genome)


def rendered(renderer: Renderer, genome: Genome) -> Rendered:
    this = trial(renderer, genome)
    return renderer.render(this, sources(renderer.experiment, this.role))


def corner(renderer: Renderer, u: float, **values: Any) -> Genome:
    """Every gene at `u` of its range, but for these."""
    space = renderer.experiment.space
    return space.from_dict({**space.from_unit([u] * len(space.genes)).as_dict(), **values})


@pytest.mark.parametrize("problem", PROBLEMS)
def test_ranges_and_defaults_are_the_papers_and_its_middle(problem: str) -> None:
    experiment = search_file.load(f"solvers/lenet_{problem}.search.prototxt")
    expected = {**NET, **SOLVER[problem]}
    assert list(experiment.space.names) == list(expected)
    for gene in experiment.space.genes:
        low, middle, high = expected[gene.name]
        for u, value in ((0.0, low), (0.5, middle), (1.0, high)):
            assert gene.from_unit(u) == pytest.approx(value, rel=1e-5, abs=1e-12), gene
        assert gene.default == pytest.approx(middle, rel=1e-5)
    assert np.allclose(experiment.space.to_unit(experiment.space.default), 0.5, atol=1e-4)
    message = experiment.message
    assert (message.type, message.cma_es_param.population, message.cma_es_param.sigma) == ("CMA_ES", 30, 0.2)
    assert (message.fitness_set, message.data) == (message.VALIDATION, "data/mnist")


@BOTH
def test_every_end_of_every_range_is_a_net(renderer: Renderer) -> None:
    space = renderer.experiment.space
    names = space.names
    points = [[u] * len(names) for u in (0.0, 0.5, 1.0)]
    points += [[u if i == k else 0.5 for i in range(len(names))] for k in range(len(names)) for u in (0.0, 1.0)]
    for point in points:
        check(rendered(renderer, space.from_unit(point)))


@BOTH
def test_genes_are_where_they_belong(renderer: Renderer) -> None:
    made = rendered(renderer, corner(renderer, 0.5, dropout2=0.0, bn_alpha=0.2, bn_eps=2e-5, batch_size=17.5,
                                     filters1=8.6, filters2=9.4, units=20.0, lr_begin=0.04, lr_end=0.0009
                                     if "beta1" in renderer.experiment.space.names else 0.05))
    layers: Dict[str, List[Any]] = {}
    for layer in made.net.message.layer:
        layers.setdefault(layer.type, []).append(layer)
    assert [layer.data_param.batch_size for layer in layers["Data"]] == [18, 100]
    assert [layer.convolution_param.num_output for layer in layers["Convolution"]] == [9, 9]
    assert [layer.inner_product_param.num_output for layer in layers["InnerProduct"]] == [20, 10]
    assert [(layer.bottom[0], layer.dropout_param.dropout_ratio) for layer in layers["Dropout"]] == [
        ("pool1", pytest.approx(0.4)), ("ip1", pytest.approx(0.4))]
    for layer in layers["BatchNorm"]:
        assert layer.batch_norm_param.moving_average_fraction == pytest.approx(0.8)
        assert layer.batch_norm_param.eps == pytest.approx(2e-5)
    assert [layer.bottom[0] for layer in layers["BatchNorm"]] == ["conv1", "conv2", "ip1"]
    assert len(layers["Scale"]) == len(layers["ReLU"]) == 3
    # 25 weights a filter and channel, 4x4 pixels of 9 channels reach ip1; a factor and an offset a channel, and what
    # each BatchNorm keeps: mean and variance a channel, and their count
    weights = 25 * 9 + 25 * 9 * 9 + 16 * 9 * 20 + 20 * 10 + 10
    assert check(made).parameters == weights + 4 * (9 + 9 + 20) + 3


@BOTH
def test_the_solver_has_its_genes_and_the_rate_comes_to_its_end(renderer: Renderer) -> None:
    renderer.experiment.message.max_iter = 1000
    begin, end = (0.02, 0.0005) if "beta1" in renderer.experiment.space.names else (0.05, 2.0)
    solver = rendered(renderer, corner(renderer, 0.25, lr_begin=begin, lr_end=end)).solver.message
    assert solver.max_iter == 1000
    assert learning_rate(solver, 0, 0)[0] == pytest.approx(begin)
    assert learning_rate(solver, 500, 0)[0] == pytest.approx(math.sqrt(begin * end), rel=1e-4)
    assert learning_rate(solver, 1000, 0)[0] == pytest.approx(end, rel=1e-4)
    assert solver.momentum == pytest.approx(0.8 + 0.199 / 4) and solver.delta == pytest.approx(10 ** -7.5, rel=1e-5)
    if solver.type == "Adam":
        assert solver.momentum2 == pytest.approx(1 - 10 ** -3.5)


@pytest.fixture(params=["caffe", "torch"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("MENNDL_TRAINER", raising=False)
    if request.param == "caffe":
        root = request.getfixturevalue("caffe_root")
        monkeypatch.setenv("MENNDL_CAFFE_PYTHON", str(root / "bin" / "python3"))
    return find(request.param, "float32")


def trained(renderer: Renderer, engine: Any, genomes: List[Genome]) -> List[Tuple[Rendered, Result]]:
    evaluator = Evaluator(renderer, engine.trainer(1), 0, engine)
    try:
        return [(rendered(renderer, genome), evaluator.evaluate(trial(renderer, genome))) for genome in genomes]
    finally:
        evaluator.close()


@BOTH
def test_both_engines_train_both_ends(renderer: Renderer, engine: Any) -> None:
    """The largest net with the smallest batch, and the other way round, as together they would take minutes."""
    genomes = [corner(renderer, 0.0), corner(renderer, 0.5), corner(renderer, 1.0, batch_size=16.0),
               corner(renderer, 1.0, filters1=8.0, filters2=8.0)]
    for made, result in trained(renderer, engine, genomes):
        assert result.status == OK and [point[0] for point in result.curve] == [1, 2], result
        assert result.measures == measures(made)


@BOTH
def test_the_engines_agree(renderer: Renderer, caffe_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the loss after two iterations, dropout and averages included."""
    monkeypatch.delenv("MENNDL_TRAINER", raising=False)
    monkeypatch.setenv("MENNDL_CAFFE_PYTHON", str(caffe_root / "bin" / "python3"))
    genomes = [corner(renderer, u, filters1=8.0, filters2=8.0) for u in (0.3, 0.6)]
    caffe, torch = ([result.loss for _, result in trained(renderer, find(name, "float32"), genomes)]
                    for name in ("caffe", "torch"))
    assert caffe == pytest.approx(torch, rel=1e-3)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, caffe_root: Path) -> Path:
    """Of which the set-up is done, with the same search over narrow nets and for a moment."""
    folder = clones.make(tmp_path_factory.mktemp("cma") / "clone", caffe_root)
    (folder / "build" / "venv" / "search").touch()
    text = (REPOSITORY / "solvers" / "lenet_adam.search.prototxt").read_text()
    text = re.sub(r"min: 8 max: 256 scale: LOG } default: \S+", "min: 2 max: 8 scale: LOG } default: 4", text)
    (folder / "small.search.prototxt").write_text(text.replace("trials: 60", "trials: 5"))
    return folder


def make(clone: Path, *settings: str) -> str:
    """`make cma-es` with real Caffe on two ranks; what it says."""
    command = ["make", "cma-es", "NP=2", "SEARCH=small.search.prototxt", "OPTIONS=--iterations 2", *settings]
    done = subprocess.run(command, cwd=clone, env=caffe_runs.environment(clone / "build" / "caffe"), text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_make_cma_es_searches_on_mnist(clone: Path, tmp_path: Path) -> None:
    """On the validation set; the best is tested once on the test set. The second time all is there."""
    said = make(clone, f"MNIST={write_idx(tmp_path / 'idx', 10_100, 1000)}")
    assert "menndl run small.search.prototxt --out runs/cma-es on 2 ranks, data data/mnist" in said
    record = journal.read(clone / "runs" / "cma-es")
    assert [result.status for result in record.results.values()] == [OK] * 7
    assert Counter(trial.role for trial in record.trials.values()) == {"default": 1, "individual": 5, "test": 1}
    assert (clone / "runs" / "cma-es" / "report" / "report.html").exists()
    assert "already there" in make(clone) and len(journal.read(clone / "runs" / "cma-es").results) == 7


def test_make_cma_es_says_where_synthetic_images_take_the_place(clone: Path) -> None:
    if (clone / "data" / "mnist").exists():
        (clone / "data" / "mnist").rename(clone / "elsewhere")
    said = make(clone, "OUT=runs/drawn")
    assert "no MNIST here, so synthetic images take its place" in said and "on 2 ranks, data data/synthetic" in said
    assert journal.read(clone / "runs" / "drawn").run["data_folder"] == "data/synthetic"
