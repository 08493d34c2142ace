"""`menndl check`: impossible individuals are counted as they are, solvers that cannot work end it (and a run), and the
time of a search follows from two measured nets."""
from __future__ import annotations

import re
import subprocess
from math import ceil
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from menndl_caffe.experiment import corners, search_file
from menndl_caffe.experiment.corners import Look
from menndl_caffe.experiment.render import Rendered
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.solver_rules import refused
from menndl_caffe.run import cost
from menndl_caffe.run.cost import Timing
from menndl_caffe.run.estimate import estimate
from menndl_caffe.run.launch import Options, Parts
from menndl_caffe.text import rough
from tests.support import runs, zoo
from tests.support.in_process import Menndl

SOLVER = (runs.REPOSITORY / "solvers" / "quick.solver.prototxt.j2").read_text()
FILE = r"own\.solver\.prototxt\.j2 \(rendered\)"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 training and 50 test images of 32x32."""
    return runs.small_data(tmp_path_factory.mktemp("small") / "data")


@pytest.fixture
def menndl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Menndl:
    return Menndl(monkeypatch, capsys)


def searching(folder: Path, data: Path, solver: str = SOLVER, kernel3: str = "min: 4 max: 5", **settings: int) -> Path:
    """A search over cifar10_quick with this solver, kernel3 in this range. A test batch has 100 images."""
    own = folder / "own.solver.prototxt.j2"
    own.write_text(solver)
    search = runs.write_search(folder / "search.prototxt", data, kind='type: "RANDOM" limit {{ trials: 30 }}',
                               **settings)
    text = search.read_text().replace("solvers/quick.solver.prototxt.j2", str(own))
    text = text.replace('"kernel3" int_range { min: 4 max: 5 }', f'"kernel3" int_range {{ {kernel3} }}')
    search.write_text(text)
    return search


def test_corners_are_each_gene_at_its_ends_and_all_genes_at_theirs(data: Path, tmp_path: Path) -> None:
    space = search_file.load(str(searching(tmp_path, data))).space
    named = {what: genome.as_dict() for what, genome in corners.corners(space)}
    default = space.default.as_dict()
    assert named["kernel1=1"] == {**default, "kernel1": 1} and named["output3=126"] == {**default, "output3": 126}
    assert "kernel2=5" not in named  # which is the default
    assert named["all genes at their smallest (or first)"] == {
        "kernel1": 1, "output1": 16, "kernel2": 4, "output2": 16, "kernel3": 4, "output3": 16}
    assert len(named) == 2 * 6 - 2 + 2


def last_image(genes: Dict[str, Any]) -> int:
    """Pixels on a side of what kernel3 sees: after two convolutions with pad 2 and pools of 3 by 2, rounded up."""
    size = 32
    for kernel in (genes["kernel1"], genes["kernel2"]):
        size = ceil((size + 5 - kernel - 3) / 2) + 1
    return size


def test_impossible_individuals_are_counted_and_told(menndl: Menndl, data: Path, tmp_path: Path) -> None:
    """kernel3 is larger than its padded image; or as large, and the last pool then has a single pixel for 3."""
    search = searching(tmp_path, data, kernel3="min: 4 max: 19")
    assert menndl("check", search, "--samples", 100) == 0
    space = search_file.load(str(search)).space
    beyond = [genes["kernel3"] - last_image(genes) - 4
              for genes in (genome.as_dict() for genome in corners.random_genomes(space, 100, 1))]
    larger, alike = sum(one > 0 for one in beyond), beyond.count(0)
    assert larger > alike > 0
    assert f"random: {larger + alike}% impossible, of 100 individuals (seed 1)" in menndl.out
    told = re.findall(r"^  (\d+) like \[kernel1=.*\]: .*layer (\w+): kernel_size", menndl.out, re.M)
    assert told == [(str(larger), "conv3"), (str(alike), "pool3")]
    assert re.search(r"corners: 2 of 13 impossible\n  kernel3=19: .*conv3.*\n  all genes at their largest", menndl.out)


def test_what_is_seen_is_told_in_numbers_people_read(menndl: Menndl, data: Path, tmp_path: Path) -> None:
    """The default is Caffe's own net: 145,578 parameters."""
    assert menndl("check", searching(tmp_path, data, max_iter=4000), "--samples", 5) == 0
    assert "search.prototxt: RANDOM, 30 individuals of 6 genes and 4,000 iterations" in menndl.out
    assert re.search(r"^parameters +146 thousand +\d+ thousand +[\d.]+ (million|thousand)$", menndl.out, re.M)
    assert re.search(r"^multiply-adds of an image +12 million ", menndl.out, re.M)
    assert "corners: all 12 possible\nrandom: all possible, of 5 individuals (seed 1)\n" in menndl.out


REFUSED: Dict[str, str] = {  # what stands in place of lr_policy: "fixed", in line 14 -> what is said
    'lr_policy: "step"': ":14: stepsize: 0 with lr_policy step; expected a positive number of iterations",
    'lr_policy: "steep" gamma: 1': ":14: lr_policy: 'steep'; did you mean step",
    'lr_policy: "fixed"\ntype: "SDG"': ":15: type: 'SDG'; did you mean SGD",
    'lr_policy: "fixed" type: "AdaGrad"': ":12: momentum: 0.9 with type AdaGrad, which takes none; expected 0",
    'lr_policy: "fixed" iter_size: 0': ":14: iter_size: 0; expected 1 or more",
    'lr_policy: "fixed" regularization_type: "L3"': ":14: regularization_type: 'L3'; valid: L1, L2",
    'lr_policy: "fixed" type: "Adam" solver_type: ADAM': ":14: solver_type: is given beside type",
    'lr_policy: "fixed" train_net: "x"': ":14: train_net: is a net for training alone; menndl trains and tests",
}


@pytest.mark.parametrize("policy", REFUSED)
def test_a_solver_that_cannot_work_ends_check_and_run(policy: str, menndl: Menndl, data: Path, tmp_path: Path) -> None:
    search = searching(tmp_path, data, SOLVER.replace('lr_policy: "fixed"', policy))
    assert menndl("check", search) == 2
    assert re.search(FILE + REFUSED[policy], menndl.said)
    assert menndl("run", search, "--out", tmp_path / "run") == 2
    assert re.search(FILE + REFUSED[policy], menndl.said) and not (tmp_path / "run").exists()


SETTINGS = (  # of a solver with base_lr; whether Caffe takes them is asked
    'lr_policy: "fixed"', 'lr_policy: "step"', 'lr_policy: "step" stepsize: 5', 'lr_policy: "steep"', "",
    'lr_policy: "fixed" type: "SDG"', 'lr_policy: "fixed" type: "AdaGrad" momentum: 0.9',
    'lr_policy: "fixed" type: "AdaDelta" momentum: 0.9', 'lr_policy: "fixed" average_loss: 0',
    'lr_policy: "fixed" weight_decay: 0.1 regularization_type: "L3"', 'lr_policy: "fixed" regularization_type: "L3"',
    'lr_policy: "fixed" type: "Adam" solver_type: ADAM', 'lr_policy: "fixed" solver_type: ADAGRAD momentum: 0.5',
    'lr_policy: "multistep"', 'lr_policy: "sigmoid" stepsize: 0', 'lr_policy: "sigmoid" stepsize: -1',
    'lr_policy: "fixed" type: "RMSProp" rms_decay: 1.5', 'lr_policy: "exp" gamma: -1', 'lr_policy: "inv" gamma: -1')
LEARNS = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
        dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
IN_REAL_CAFFE = """
import os, sys, caffe
for path in sys.argv[1:]:  # each in a process of its own, as Caffe aborts
    child = os.fork()
    if not child:
        caffe.get_solver(path).step(2)
        os._exit(0)
    print(os.WIFSIGNALED(os.waitpid(child, 0)[1]))
"""


def test_what_is_refused_is_what_caffe_aborts_on(caffe_root: Path, tmp_path: Path) -> None:
    (tmp_path / "net").write_text(LEARNS)
    paths = [tmp_path / f"{number}.prototxt" for number in range(len(SETTINGS))]
    for path, settings in zip(paths, SETTINGS):
        path.write_text(f'net: "{tmp_path}/net" base_lr: 0.1 max_iter: 3 {settings}')
    done = subprocess.run([caffe_root / "bin" / "python3", "-c", IN_REAL_CAFFE, *paths], check=True, text=True,
                          capture_output=True)
    ours = [bool(list(refused(prototxt.load(path, caffe_pb2.SolverParameter).message))) for path in paths]
    assert done.stdout.split() == list(map(str, ours))
    assert 0 < sum(ours) < len(SETTINGS)


def notes(menndl: Menndl) -> List[str]:
    """What was noted, but of snapshots."""
    found = re.findall(r"^note: .*own\.solver\.prototxt\.j2 \(rendered\):(\d+: .*)$", menndl.said, re.M)
    return [note for note in found if ": snapshot: " not in note]


@pytest.mark.parametrize("solver, expected", [
    (("base_lr: 0.001\n", ""), [r"1?\d: base_lr: is missing or 0, so nothing is learned"]),
    (('"fixed"', '"multistep" gamma: 0.1'), ["14: stepvalue: is missing with lr_policy multistep"]),
    (('"fixed"', '"step" stepsize: 3'), ["14: gamma: is missing, so it is 0, with lr_policy step"]),
    (('"fixed"', '"step" gamma: 0.1 stepsize: 9'), ["14: stepsize: is 9, and a training has 9 iterations"]),
    (('"fixed"', '"step" gamma: 0.1 stepsize: 8'), []),
    (('"fixed"', '"multistep" gamma: 0.1 stepvalue: 5\nstepvalue: 10'), [r"15: stepvalue\[1\]: is 10, and a training"]),
])
def test_what_is_hardly_meant_is_noted(solver: Tuple[str, str], expected: List[str], menndl: Menndl, data: Path,
                                       tmp_path: Path) -> None:
    """50 test images: half a batch; that is noted every time."""
    search = searching(tmp_path, data, SOLVER.replace(*solver), max_iter=9, test_iter=1)
    assert menndl("check", search, "--samples", 0) == 0, menndl.said
    assert "random:" not in menndl.out and ": snapshot: 4,000 is not done" in menndl.said
    *first, last = notes(menndl)
    assert len(first) == len(expected) and all(map(re.match, expected, first)), first
    assert last.startswith("6: test_iter: 1 batches of 100 are 100 images, and there are 50: some count twice")


@pytest.mark.parametrize("batch, test_iter, note", [
    (10, 5, ""), (10, 4, "4 batches of 10 are 40 of 50 test images; test_iter: 5 is all of them, once"),
    (10, 6, "6 batches of 10 are 60 images, and there are 50: some count twice; test_iter: 5 is all of them, once"),
    (20, 2, "2 batches of 20 are 40 of 50 test images; expected a batch_size in phase TEST that divides 50")])
def test_how_a_test_pass_covers_the_test_images(batch: int, test_iter: int, note: str, menndl: Menndl, data: Path,
                                                tmp_path: Path) -> None:
    search = searching(tmp_path, data, test_iter=test_iter, test_interval=90)
    net = (runs.REPOSITORY / "templates" / "cifar10_quick" / "train_test.prototxt.j2").read_text()
    (tmp_path / "net.j2").write_text(net.replace("batch_size: 100", f"batch_size: {batch}"))
    search.write_text(search.read_text().replace("templates/cifar10_quick/train_test.prototxt.j2",
                                                 str(tmp_path / "net.j2")))
    assert menndl("check", search, "--samples", 0) == 0
    assert notes(menndl) == ["7: test_interval: is 90, and a training has 4 iterations: it is tested at its end alone, "
                             "so there is no curve", *([f"6: test_iter: {note}"] if note else [])]


# -------------------------------------------------------------------------------------------------------------- Time

def machine(setup: float, iteration: float, test_batch: float) -> Any:
    """A training takes exactly this; the first of all a second more. The width of the net counts for iterations."""
    seen: List[int] = []

    def train(rendered: Rendered, iterations: int, batches: int) -> float:
        wide = re.findall(r"num_output: (\d+)", rendered.net_text)[0] == "126"
        seen.append(iterations)
        return (len(seen) == 1) + setup + (1 + 3 * wide) * iterations * iteration + batches * test_batch
    return train


@pytest.fixture
def parts(menndl: Menndl, data: Path, tmp_path: Path) -> Parts:
    """Of a search of 30 individuals of 100 iterations, tested twice on 5 batches."""
    search = searching(tmp_path, data, max_iter=100, test_iter=5, test_interval=50)
    return Parts.of(Options(str(search), tmp_path))


@pytest.mark.parametrize("iteration, test_batch", [(0.25, 0.125), (0.004, 0.5), (0.02, 0.0002)])
def test_seconds_are_told_apart(iteration: float, test_batch: float, parts: Parts) -> None:
    timing = cost.measure(machine(0.5, iteration, test_batch), parts.default, 7.0)
    assert timing == Timing(pytest.approx(0.5), pytest.approx(iteration), pytest.approx(test_batch), 7.0)
    assert timing.training(100, 10) == pytest.approx(0.5 + 100 * iteration + 10 * test_batch)


def test_between_two_nets_time_is_a_line() -> None:
    timings = [Timing(1, 0.8, 0.4, 300), Timing(0.5, 0.2, 0.1, 100)]
    assert cost.between(timings, 200) == Timing(*map(pytest.approx, (0.75, 0.5, 0.25)), 200)
    assert cost.between(timings, 50) == Timing(*map(pytest.approx, (0.375, 0.15, 0.075)), 50)
    assert cost.between(timings, 0) == Timing(0.25, 0.1, 0.05, 0)  # half of the smallest
    assert cost.between(timings, 999) == Timing(1, 0.8, 0.4, 999)


def test_the_whole_search_is_its_individuals_on_these_cores(parts: Parts) -> None:
    """Half of the random ones are impossible; the others cost as the default, and as the costliest: 26 and 101 s."""
    space = parts.experiment.space
    wide = space.with_settings(["output1=126"])
    default, costliest = Look(space.default, batch_cost=100), Look(wide, batch_cost=300)
    samples = [default, costliest, Look(wide, "no"), Look(wide, "no")]
    said = "\n".join(estimate(parts, machine(0.5, 0.25, 0.05), default, [costliest], samples, 30, 2))
    assert "default: 250.0 ms an iteration, 50.0 ms a test batch; 100 and 10 of them take 26 s" in said
    assert re.search(r"costliest \[kernel1=5 output1=126 .*\]: 1,000.0 ms an iteration, .* take 1.7 min$", said, re.M)
    each = (26 + 101) / 2 / 2
    assert 30 * each / 2 == 476.25 and 7200 * 2 / each == pytest.approx(453.5, abs=0.1)
    assert "this search: about 7.9 min on 2 cores (one takes 64 s on average, 26 s to 1.7 min)" in said
    assert "in 2 hours: about 454 individuals" in said


def test_a_timeout_that_is_too_short_is_told(parts: Parts) -> None:
    parts.experiment.message.trial_timeout = 20
    default = Look(parts.experiment.space.default, batch_cost=100)
    said = list(estimate(parts, machine(0.5, 0.25, 0.05), default, [], [default], None, 1))
    assert said[1:3] == ["this search goes on until its limit, on 1 core (one takes 26 s on average, 26 s to 26 s)",
                         "in 2 hours: about 277 individuals"]
    assert said[-1] == "trial_timeout: 20 s, and the longest takes 26 s: such ones would be given up"


def test_the_engine_is_asked(menndl: Menndl, data: Path, tmp_path: Path) -> None:
    """The fake trainer says 10 ms for whatever it trains."""
    assert menndl("check", searching(tmp_path, data), "--measure", "--samples", 3) == 0, menndl.said
    assert "training the default and the costliest for some seconds on caffe (MENNDL_TRAINER)" in menndl.said
    assert "\ndefault: 0.0 ms an iteration, 0.0 ms a test batch; 4 and 2 of them take 0.01 s\n" in menndl.out
    assert re.search(r"^this search: about [\d.]+ s on \d+ cores?", menndl.out, re.M)


def test_a_default_that_does_not_train_is_said(menndl: Menndl, data: Path, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAILURES", "yes")
    search = searching(tmp_path, data)
    search.write_text(search.read_text().replace("max: 8 } default: 5", "max: 8 } default: 3"))
    assert menndl("check", search, "--measure", "--samples", 0) == 2
    assert "menndl check: it does not train: training loss is nan at iteration 3" in menndl.said


@pytest.mark.parametrize("seconds, said", [(0.0123, "0.012 s"), (9.96, "10 s"), (45.4, "45 s"), (150, "2.5 min"),
                                           (1200, "20 min"), (11_160, "3.1 h"), (10 * 86400, "10.0 days")])
def test_rough_durations(seconds: float, said: str) -> None:
    assert rough(seconds) == said


# -------------------------------------------------------------------------------------------------- After `menndl init`

def test_what_init_makes_is_fine_for_check(menndl: Menndl, data: Path, tmp_path: Path, caffe_root: Path) -> None:
    """All ranges of cifar10_quick and of cifar10_full, on images that are here."""
    files = zoo.unpack(caffe_root, tmp_path / "zoo")
    for name in ("quick", "full"):
        net, solver = (f"examples/cifar10/cifar10_{name}_{what}.prototxt" for what in ("train_test", "solver"))
        out = tmp_path / name
        assert menndl("init", files.nets[net], files.solvers[solver], "--out", out, "--data", data) == 0, menndl.said
        assert menndl("check", out / "search.prototxt", "--samples", 20) == 0, menndl.said
        assert re.search(r"corners: all \d+ possible\nrandom: all possible, of 20", menndl.out), menndl.out
