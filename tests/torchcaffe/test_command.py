"""The command: log lines of real Caffe's own, word by word, on the same files; signals; and a user's mistakes."""
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Callable, Iterator, List, Sequence

import lmdb
import pytest

from menndl_caffe import torchcaffe
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.command import Signals, main
from menndl_caffe.torchcaffe.log import init_log, show_prefix
from menndl_caffe.torchcaffe.solver import Action
from tests.conftest import REPOSITORY

NET = """
name: "tiny"
layer { name: "data" type: "DummyData" top: "data" top: "target" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } data_filler { type: "gaussian" } data_filler { type: "gaussian" } } }
layer { name: "ip1" type: "InnerProduct" bottom: "data" top: "ip1" param { lr_mult: 1 } param { lr_mult: 2 }
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "vector" type: "Reduction" bottom: "ip2" top: "a_vector" reduction_param { axis: 1 }
  include { phase: TEST not_stage: "short" } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip2" bottom: "target" top: "loss" loss_weight: 0.5 }
"""
BASE = """base_lr: 0.01 lr_policy: "multistep" gamma: 0.5 stepvalue: 3 momentum: 0.9 weight_decay: 0.001 display: 2
max_iter: 8 snapshot: 4 snapshot_prefix: "snap" solver_mode: CPU random_seed: 3 """
TESTED = f'{BASE} net: "net.prototxt" test_iter: 2 test_interval: 4 '
SOLVERS = {
    "plain": TESTED,
    "clipped": f"{TESTED} clip_gradients: 0.5 average_loss: 3 test_compute_loss: true iter_size: 2",
    "hdf5": f'{TESTED} snapshot_format: HDF5 type: "Adam"',
    "old": f"{TESTED} solver_type: NESTEROV test_initialization: false",
    "folder": f'{TESTED} snapshot_after_train: false'.replace('"snap"', '"."').replace("snapshot: 4", "snapshot: 3"),
    "no_prefix": TESTED.replace('snapshot_prefix: "snap"', "").replace("max_iter: 8", "max_iter: 7"),
    "files": f"""{BASE} train_net: "net.prototxt" test_net: "net.prototxt" test_net: "net.prototxt" test_iter: 1
        test_iter: 2 test_interval: 3 test_state {{ stage: "short" }} test_state {{ }} type: "AdaDelta" """,
    "inline": f'{BASE} net_param {{ {NET} }} test_iter: 1 test_interval: 5 display: 0'.replace("display: 2", ""),
    "finetuned": f'{TESTED} weights: "made.caffemodel, made.caffemodel"',
}
DATA_NET = """
layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "images" backend: LMDB batch_size: 5 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2
  weight_filler { type: "uniform" min: -1e-3 max: 1e-3 } } }
layer { name: "silence" type: "Silence" bottom: "ip" }
"""
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?|-?inf|-?nan")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the nets and solvers."""
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    for name, text in SOLVERS.items():
        Path(f"{name}.prototxt").write_text(text)
    ip1 = caffe_pb2.LayerParameter(name="ip1", type="InnerProduct", blobs=[
        caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=shape), data=[0.1] * size)
        for shape, size in (([5, 3], 15), ([5], 5))])
    unknown = caffe_pb2.LayerParameter(name="unknown", type="ReLU")
    model = caffe_pb2.NetParameter(layer=[unknown, ip1])
    Path("made.caffemodel").write_bytes(model.SerializeToString())
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    with lmdb.open("images", map_size=1 << 20) as environment, environment.begin(write=True) as transaction:
        for index in range(13):
            datum = caffe_pb2.Datum(channels=1, height=2, width=2, label=index, data=bytes(4))
            transaction.put(b"%05d" % index, datum.SerializeToString())
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)
    mode.set_mode_cpu()


Logs = Callable[[Sequence[str]], List[List[str]]]


@pytest.fixture
def logs(folder: Path, caffe_root: Path, capfd: pytest.CaptureFixture[str]) -> Logs:
    """Runs a command in real Caffe and here; the records of both logs that are of the solver or the command."""

    def run(arguments: Sequence[str]) -> List[List[str]]:
        done = subprocess.run([str(caffe_root / "bin" / "caffe"), *arguments], text=True, capture_output=True,
                              env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr[-2000:]
        capfd.readouterr()
        assert main(arguments) == 0
        return [_records(done.stderr), _records(capfd.readouterr().err)]

    return run


def _records(text: str) -> List[str]:
    """What the solver and the command log, with its place in Caffe."""
    found = re.split(r"^[IWEF]\d{4} [\d:.]+ +\d+ (\w+\.\w+:\d+)\] ", text, flags=re.MULTILINE)
    records = [f"{place}] {said.strip()}" for place, said in zip(found[1::2], found[2::2])]
    ours = re.compile(r"(solver|sgd_solver|caffe|upgrade_proto)\.cpp|net.cpp:(678|746|801)")
    return [record for record in records if ours.match(record)]


def _assert_alike(theirs: str, ours: str) -> None:
    """The same words; and the same numbers but for those of clocks."""
    assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs)
    is_clock = re.search(r" ms\.| iter/s", theirs)
    expected, found = ([float(match.group()) for match in NUMBER.finditer(text)] for text in (theirs, ours))
    if is_clock:
        expected, found = expected[:1] + expected[4:], found[:1] + found[4:]
    if " ms." not in theirs:
        assert found == pytest.approx(expected, rel=2e-5, abs=1e-6), (theirs, ours)


@pytest.mark.parametrize("flags", [
    *(["-solver", f"{name}.prototxt"] for name in SOLVERS),
    ["--solver=plain.prototxt", "--weights=made.caffemodel"],
    ["--solver", "finetuned.prototxt", "--weights", "made.caffemodel"],
    ["-solver=plain.prototxt", "-stage", "short,other", "-level=1"],
])
def test_training_says_what_caffe_says(flags: List[str], logs: Logs) -> None:
    theirs, ours = logs(["train", *flags])
    assert len(ours) == len(theirs)
    for expected, found in zip(theirs, ours):
        _assert_alike(expected, found)


@pytest.mark.parametrize("name, suffix", [("plain", ""), ("hdf5", ".h5"), ("finetuned", "")])
def test_resuming_says_what_caffe_says(name: str, suffix: str, logs: Logs) -> None:
    logs(["train", "-solver", f"{name}.prototxt"])
    Path(f"snap_iter_4.solverstate{suffix}.resume.json").unlink()
    theirs, ours = logs(["train", "-solver", f"{name}.prototxt", "-snapshot", f"snap_iter_4.solverstate{suffix}"])
    assert len(ours) == len(theirs)
    for expected, found in zip(theirs, ours):
        _assert_alike(expected, found)


def test_testing_says_what_caffe_says(logs: Logs) -> None:
    constant = NET.replace('"gaussian"', '"constant" value: 0.7').replace('"xavier"', '"constant"')
    Path("net.prototxt").write_text(constant)
    theirs, ours = logs(["test", "-model", "net.prototxt", "-weights", "made.caffemodel", "-iterations", "3"])
    assert len(ours) == len(theirs) > 10
    for expected, found in zip(theirs, ours):
        _assert_alike(expected, found)


def test_a_test_goes_on_where_the_last_one_ended(logs: Logs) -> None:
    Path("data.prototxt").write_text(DATA_NET)
    Path("solver.prototxt").write_text(
        f'{BASE} net: "data.prototxt" test_iter: 3 test_interval: 2'.replace("display: 2", "display: 1"))
    theirs, ours = logs(["train", "-solver", "solver.prototxt"])
    assert len(ours) == len(theirs) > 5 * 5 + 9 * 5
    for expected, found in zip(theirs, ours):
        _assert_alike(expected, found)


def test_timing_says_what_caffe_says(logs: Logs) -> None:
    theirs, ours = logs(["time", "-model", "net.prototxt", "-iterations", "2", "-phase", "TEST"])
    assert [NUMBER.sub("#", record) for record in ours] == [NUMBER.sub("#", record) for record in theirs]


@pytest.fixture
def log_as_before() -> Iterator[None]:
    yield
    init_log()
    show_prefix(True)


@pytest.mark.parametrize("flags", [
    "-logtostderr=1", "--logtostderr", "-nologtostderr", "-alsologtostderr=true", "-v=1", "--v 1", "-vmodule=a=1",
    "--stderrthreshold=2", "-colorlogtostderr=F", "-max_log_size=2", "-log_prefix=yes"])
def test_flags_of_glog_change_nothing_here(flags: str, folder: Path, capsys: pytest.CaptureFixture[str],
                                           log_as_before: None) -> None:
    """The switch before the command takes it not for a value."""
    assert main([*flags.split(), "time", "-model", "net.prototxt", "-iterations", "1"]) == 0
    assert re.match(r"I\d{4} .* caffe.cpp:343\] Use CPU.\n", capsys.readouterr().err)


def test_flags_of_glog_for_what_is_shown(folder: Path, capsys: pytest.CaptureFixture[str], log_as_before: None) -> None:
    command = "time -model net.prototxt -iterations 1".split()
    assert main([*command, "-log_prefix=false", "--log_dir=logs"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["-log_dir: no log files are written here; standard error has all lines", "Use CPU."]
    assert main([*command, "-minloglevel=1"]) == 0
    assert capsys.readouterr().err == ""


def test_the_version_is_caffes(caffe_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("-version", "--version"):
        with pytest.raises(SystemExit, match="0"):
            main([flag])
        said = subprocess.run([str(caffe_root / "bin" / "caffe"), flag], capture_output=True, text=True, check=True)
        assert capsys.readouterr().out == said.stdout == f"caffe version {torchcaffe.__version__}\n"


def test_device_query_without_a_gpu(logs: Logs) -> None:
    theirs, ours = logs(["device_query"])
    assert ours == theirs


MISTAKES = {
    "foo": r"unknown action: foo; valid: device_query, test, time, train",
    "train": r"-solver: need a solver definition to train",
    "train -solver nowhere.prototxt": r"nowhere.prototxt: No such file or directory",
    "train -solver plain.prototxt -weights made.caffemodel -snapshot a": r"-snapshot and -weights: .* not both",
    "train -solver plain.prototxt -weights net.prototxt": r"net.prototxt: .*expected a serialized NetParameter",
    "train -solver plain.prototxt -snapshot made.caffemodel": r"made.caffemodel: .*(not a|expected).*",
    "train -solver plain.prototxt -sigint_effect foo": r".*-sigint_effect.*invalid choice: 'foo'.*",
    "train -solver plain.prototxt -gpu x": r"-gpu x: expected a GPU's number, or all",
    "time -logtostderr=maybe": "-logtostderr=maybe: valid: -logtostderr, -nologtostderr, .*",
    "time -v=x": "argument -v/--v: invalid int value: 'x'",
    "train -sovler plain.prototxt": r"unrecognized arguments: .*-sovler.*",
    "train -solver plain.prototxt --math half": r".*--math.*invalid choice: 'half'.*",
    "test -model net.prototxt": r"-weights: need model weights to score",
    "test -weights made.caffemodel": r"-model: need a model definition to score",
    "test -model net.prototxt -weights made.caffemodel -iterations 0": r".*-iterations.*'0'; expected a whole .*",
    "time": r"-model: need a model definition to time",
    "time -model bad.prototxt": r"bad.prototxt:2: layer ip: .*",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(line: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.prototxt").write_text("""layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 } } }
        layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { axis: 3 } }""")
    assert main(line.split()) == 2
    errors = [text for text in capsys.readouterr().err.splitlines() if text.startswith("caffe: ")]
    assert len(errors) == 1
    assert re.fullmatch(f"caffe: {MISTAKES[line]}", errors[0]), errors[0]


@pytest.mark.skipif(bool(mode.gpus()), reason="there is a GPU")
def test_a_gpu_asked_for_and_absent(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("gpu.prototxt").write_text(TESTED.replace("CPU", "GPU"))
    assert main(["train", "-solver", "gpu.prototxt"]) == 2
    assert capsys.readouterr().err == ("caffe: gpu.prototxt: solver_mode: GPU, but PyTorch finds no GPU here: set "
                                       "solver_mode: CPU\n")
    for flags in ("train -solver plain.prototxt -gpu 0", "time -model net.prototxt -gpu all"):
        assert main(flags.split()) == 2
        errors = capsys.readouterr().err
        assert errors.startswith("caffe: a GPU was asked for, but PyTorch finds none here") and errors.count("\n") == 1


def test_without_a_command_it_explains_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["-help"])
    assert capsys.readouterr().out == said
    for words in ("train         train or finetune a model", "-solver", "--math", "device_query"):
        assert words in said


def test_each_signal_asks_once_and_hangup_first(folder: Path) -> None:
    signals = Signals({signal.SIGINT: "stop", signal.SIGHUP: "snapshot"})
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGHUP):
        os.kill(os.getpid(), number)
    assert [signals.requested() for _ in range(3)] == [Action.SNAPSHOT, Action.STOP, Action.NONE]


class Running:
    """The command in a process of its own; `until` reads its log up to some words."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "menndl_caffe.torchcaffe", *arguments], text=True,
                                        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})

    def until(self, words: str) -> None:
        assert self.process.stderr is not None
        seen: List[str] = []
        for line in self.process.stderr:
            seen.append(line)
            if words in line:
                return
        raise AssertionError(f"{words} is not said, but {''.join(seen[-20:])}")

    def rest(self) -> str:
        _, errors = self.process.communicate(timeout=600)
        return str(errors)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()


def test_signals_ask_for_snapshots_and_for_the_end(folder: Path) -> None:
    Path("long.prototxt").write_text(TESTED.replace("max_iter: 8", "max_iter: 100000000").replace("snapshot: 4", ""))
    with Running("train", "-solver", "long.prototxt") as running:
        running.until("Iteration 20,")
        running.process.send_signal(signal.SIGHUP)
        running.until("Snapshotting solver state")
        running.until("iter/s")  # an iteration goes on; a test before it would stop where this snapshot was taken
        running.process.send_signal(signal.SIGINT)
        rest = running.rest()
    assert running.process.returncode == 0
    assert len(list(folder.glob("snap_iter_*.solverstate"))) == 2
    said = [record.split("] ")[1] for record in _records(rest)][-4:]
    assert said[0].startswith("Snapshotting to binary") and said[2:] == ["Optimization stopped early.",
                                                                         "Optimization Done."]


