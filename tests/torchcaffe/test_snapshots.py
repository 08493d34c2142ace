"""Snapshots: exchanged with real Caffe in both directions, resumed to the last bit, and files that do not fit."""
from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import lmdb
import numpy as np
import pytest

import menndl_caffe.torchcaffe as caffe
from menndl_caffe.errors import UserError
from menndl_caffe.nets.proto import caffe_pb2
from tests.support.torchcaffe.training import (
    NET,
    TYPES,
    Arrays,
    Job,
    differences,
    run_in_real_caffe,
    run_job,
    solver_text,
)

FORMATS = {"binary": ("", ""), "hdf5": ("snapshot_format: HDF5", ".h5")}
STRAIGHT = {f"{type_}-{format_}": Job(f"{type_}-{format_}", solver_text(type_, FORMATS[format_][0]), steps=8,
                                      snapshot_after=4) for type_, format_ in itertools.product(TYPES, FORMATS)}


def _resumed(name: str, state: Path) -> Job:
    job = STRAIGHT[name]
    return job._replace(name=f"resume-{name}", steps=4, snapshot_after=None, restore=str(state))


def _state(folder: Path, name: str) -> Path:
    return folder / name / f"snap_iter_4.solverstate{'.h5' if 'hdf5' in name else ''}"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The jobs' folders after they have run in the torch engine."""
    folder = tmp_path_factory.mktemp("here")
    for name, job in STRAIGHT.items():
        run_job(caffe, job, folder / name)
    return folder


class There(NamedTuple):
    """The jobs in real Caffe, and those that it resumed from snapshots of the torch engine."""

    folder: Path
    results: Dict[str, Arrays]


@pytest.fixture(scope="module")
def there(caffe_root: Path, here: Path, tmp_path_factory: pytest.TempPathFactory) -> There:
    folder = tmp_path_factory.mktemp("there")
    resumed = [_resumed(name, Path(_state(here, name).name)) for name in STRAIGHT]
    for name, job in zip(STRAIGHT, resumed):
        shutil.copytree(here / name, folder / job.name)  # real Caffe looks for the weights in the current folder alone
    jobs = [*STRAIGHT.values(), *resumed]
    return There(folder, run_in_real_caffe(caffe_root, jobs, folder))


@pytest.mark.parametrize("name", STRAIGHT)
def test_real_caffe_goes_on_from_here(name: str, there: There) -> None:
    assert differences(there.results[name], there.results[f"resume-{name}"], 3e-6) == []


@pytest.mark.parametrize("name", STRAIGHT)
def test_what_real_caffe_began_goes_on_here(name: str, there: There, tmp_path: Path) -> None:
    found = run_job(caffe, _resumed(name, _state(there.folder, name)), tmp_path)
    assert differences(there.results[name], found, 3e-6) == []


@pytest.mark.parametrize("name", STRAIGHT)
def test_resuming_changes_nothing(name: str, here: Path, tmp_path: Path) -> None:
    straight = run_job(caffe, STRAIGHT[name], tmp_path / "straight")
    resumed = run_job(caffe, _resumed(name, _state(here, name)), tmp_path / "resumed")
    assert differences(straight, resumed, 0) == []


# A net whose passes depend on its place in the data and on random numbers -------------------------------------------

RANDOM_NET = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mirror: true crop_size: 6 scale: 0.01 } data_param { source: "train" backend: LMDB batch_size: 5 } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  data_param { source: "test" backend: LMDB batch_size: 5 } transform_param { crop_size: 6 scale: 0.01 } }
layer { name: "noise" type: "DummyData" top: "noise" include { phase: TRAIN }
  dummy_data_param { shape { dim: 5 dim: 8 } data_filler { type: "gaussian" std: 0.1 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip1" type: "InnerProduct" bottom: "conv" top: "ip1"
  inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "ip1" top: "ip1" }
layer { name: "sum" type: "Eltwise" bottom: "ip1" bottom: "noise" top: "sum" include { phase: TRAIN } }
layer { name: "ip2" type: "InnerProduct" bottom: "sum" top: "ip2" include { phase: TRAIN } param { name: "w" }
  param { name: "b" } inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" include { phase: TEST } param { name: "w" }
  param { name: "b" } inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy" include { phase: TEST } }
"""
RANDOM_SOLVER = """
net: "net.prototxt" base_lr: 0.05 momentum: 0.9 lr_policy: "multistep" gamma: 0.5 stepvalue: 3 stepvalue: 9
test_iter: 2 test_interval: 3 snapshot: 6 max_iter: 12 random_seed: 7 snapshot_prefix: "snap" display: 1 type: "Adam"
"""


def _write_images(path: Path, count: int, seed: int) -> None:
    random = np.random.RandomState(seed)
    with lmdb.open(str(path), map_size=1 << 20) as environment, environment.begin(write=True) as transaction:
        for index in range(count):
            datum = caffe_pb2.Datum(channels=3, height=8, width=8, label=index % 3, data=random.bytes(3 * 64))
            transaction.put(b"%05d" % index, datum.SerializeToString())


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    _write_images(Path("train"), 17, 1)
    _write_images(Path("test"), 13, 2)
    Path("net.prototxt").write_text(RANDOM_NET)
    Path("solver.prototxt").write_text(RANDOM_SOLVER)
    return tmp_path


def _outcome(solver: Any, errors: str) -> List[Any]:
    """All weights, and every loss and score from iteration 6 on."""
    weights = [blob.data.copy() for blobs in solver.net.params.values() for blob in blobs]
    lines = [line.split("] ", 1)[1] for line in errors.splitlines() if " output #" in line or "] Iteration " in line]
    begin = next(index for index, line in enumerate(lines) if line.startswith("Iteration 6, Testing"))
    return [weights, [line for line in lines[begin:] if "iter/s" not in line]]


def test_resuming_is_exact(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    straight = caffe.get_solver("solver.prototxt")
    straight.solve()
    weights, lines = _outcome(straight, capsys.readouterr().err)
    assert len([line for line in lines if "Test net output" in line]) == 3 * 2
    for resume in (lambda solver: solver.solve("snap_iter_6.solverstate"),
                   lambda solver: (solver.restore("snap_iter_6.solverstate"), solver.solve())):
        caffe.set_random_seed(99)
        resumed = caffe.get_solver("solver.prototxt")
        resume(resumed)
        found, found_lines = _outcome(resumed, capsys.readouterr().err)
        assert found_lines == lines
        for array, expected in zip(found, weights):
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("written", range(4))
def test_a_snapshot_that_was_killed_has_no_state_or_all_of_it(written: int, images: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    solver = caffe.get_solver("solver.prototxt")
    replace, done = os.replace, []

    def killed(source: Path, target: Path) -> None:
        if len(done) == written:
            raise KeyboardInterrupt
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt) if written < 3 else nullcontext():
        solver.snapshot()
    names = {path.name for path in done}
    assert ("snap_iter_0.solverstate" in names) == (len(names) == 3), names


def test_a_full_disk_leaves_nothing_behind(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    solver = caffe.get_solver("solver.prototxt")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="snap_iter_0.caffemodel: cannot be written: fsync: No space left on device"):
        solver.snapshot()
    assert list(images.glob("snap*")) == []


def test_without_the_own_file_resuming_is_caffes(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    caffe.get_solver("solver.prototxt").solve()
    resume = Path("snap_iter_6.solverstate.resume.json")
    written = json.loads(resume.read_text())
    del written["sha256"]
    foreign = json.dumps({**written, "solverstate_sha256": "0"})
    first = []
    for content, said in ((foreign, "is of another snapshot"), (None, "There is no snap_iter_6.solverstate.resume")):
        resume.write_text(content) if content else resume.unlink()
        solver = caffe.get_solver("solver.prototxt")
        capsys.readouterr()
        solver.restore("snap_iter_6.solverstate")
        assert said in capsys.readouterr().err
        solver.net.forward()
        first.append(solver.net.blobs["label"].data.tolist())
    assert first == [[0, 1, 2, 0, 1]] * 2
    whole = json.loads(foreign)
    whole["solverstate_sha256"] = hashlib.sha256(Path("snap_iter_6.solverstate").read_bytes()).hexdigest()
    for damaged in ("{", "[]", '["a"]', json.dumps({**whole, "generator": {"key": [1], "pos": 0}}),
                    json.dumps({name: value for name, value in whole.items() if name != "generator"})):
        resume.write_text(damaged)
        with pytest.raises(UserError, match="resume.json: not what a snapshot wrote"):
            solver.restore("snap_iter_6.solverstate")


# Files that do not fit ----------------------------------------------------------------------------------------------

@pytest.fixture
def snapshot(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with snapshots of the types and formats, which is the current one."""
    for name in STRAIGHT:
        shutil.copytree(here / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    return tmp_path


def _solver(type_: str = "SGD", net: str = NET) -> Any:
    Path("net.prototxt").write_text(net)
    Path("solver.prototxt").write_text(solver_text(type_))
    return caffe.get_solver("solver.prototxt")


@pytest.mark.parametrize("name", ["SGD-binary", "SGD-hdf5"])
def test_moved_snapshots_are_found_beside_the_state(name: str, snapshot: Path) -> None:
    solver = _solver()
    suffix = ".h5" if "hdf5" in name else ""
    solver.restore(f"{name}/snap_iter_4.solverstate{suffix}")
    assert solver.iter == 4
    (snapshot / name / f"snap_iter_4.caffemodel{suffix}").unlink()
    with pytest.raises(UserError, match=f"weights are neither at snap_iter_4.caffemodel{suffix} nor at {name}/snap_it"):
        _solver().restore(f"{name}/snap_iter_4.solverstate{suffix}")


@pytest.mark.parametrize("name", ["Adam-binary", "Adam-hdf5"])
def test_another_type_of_solver(name: str, snapshot: Path) -> None:
    suffix = ".h5" if "hdf5" in name else ""
    with pytest.raises(UserError, match="has 8 histories; a solver of type SGD for this net has 4"):
        _solver().restore(f"{name}/snap_iter_4.solverstate{suffix}")


@pytest.mark.parametrize("name", ["SGD-binary", "SGD-hdf5"])
def test_another_net(name: str, snapshot: Path) -> None:
    suffix = ".h5" if "hdf5" in name else ""
    solver = _solver(net=NET.replace("num_output: 5", "num_output: 6"))
    with pytest.raises(UserError, match="history 0 has shape 5x3 there, 6x3 here"):
        solver.restore(f"{name}/snap_iter_4.solverstate{suffix}")
    assert solver.iter == 0


@pytest.mark.parametrize("name, wrong", [
    ("SGD-binary/snap_iter_4.caffemodel", "has no iter|begins with|ends at byte"),
    ("SGD-hdf5/snap_iter_4.caffemodel.h5", "has no iter, current_step, history: not a .solverstate.h5"),
    ("net.prototxt", "net.prototxt: .*expected a serialized SolverState"),
    ("nowhere", "nowhere: No such file"),
    ("nowhere.h5", "nowhere.h5: No such file"),
])
def test_a_file_of_something_else(name: str, wrong: str, snapshot: Path) -> None:
    with pytest.raises(UserError, match=wrong):
        _solver().restore(name)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", ["SGD-binary", "SGD-hdf5"])
def test_a_truncated_state(name: str, share: float, snapshot: Path) -> None:
    path = snapshot / name / f"snap_iter_4.solverstate{'.h5' if 'hdf5' in name else ''}"
    path.write_bytes(path.read_bytes()[:int(path.stat().st_size * share)])
    solver = _solver()
    with pytest.raises(UserError, match="ends at byte|truncated"):
        solver.restore(str(path))
    assert solver.iter == 0


def _all_of(solver: Any) -> List[np.ndarray]:
    """Weights, gradients, histories, counts, and what layers and the generator go on from."""
    kept = [[layer.state() for layer in net.layers] for net in (solver.net, *solver.test_nets)]
    blobs = [blob for blobs in solver.net.params.values() for blob in blobs]
    return [*(side.copy() for blob in blobs for side in (blob.data, blob.diff)),
            *(tensor.numpy().copy() for tensor in solver.updates.history),
            np.array([solver.iter, solver.current_step, json.dumps([kept, caffe.mode.generator().state()])])]


def _damaged(content: bytes, random: Any) -> bytes:
    """One to three bytes changed, added or lost: near the beginning as often as anywhere."""
    damaged = bytearray(content)
    for _ in range(random.randint(1, 4)):
        place = random.randint(min(len(damaged), 400) if random.randint(2) else len(damaged))
        new = bytes(random.randint(0, 256, random.randint(3), dtype=np.uint8))
        damaged[place:place + random.randint(3)] = new
    return bytes(damaged)


@pytest.mark.parametrize("name", ["SGD-binary", "SGD-hdf5"])
@pytest.mark.parametrize("what", ["caffemodel", "solverstate", "solverstate.resume.json"])
def test_whatever_is_damaged_is_read_or_one_clear_error(name: str, what: str, snapshot: Path) -> None:
    suffix = ".h5" if "hdf5" in name else ""
    state = Path(name, f"snap_iter_4.solverstate{suffix}")
    path = Path(f"{state}.resume.json") if what.endswith("json") else Path(name, f"snap_iter_4.{what}{suffix}")
    content, random, solver, errors = path.read_bytes(), np.random.RandomState(1), _solver(), 0
    for _ in range(60):
        path.write_bytes(_damaged(content, random))
        before = _all_of(solver)
        try:
            solver.restore(str(state))
        except UserError as error:
            assert "\n" not in str(error) and str(error).isprintable()
            assert all(map(np.array_equal, _all_of(solver), before)), str(error)
            errors += 1
        assert solver.iter >= 0 and solver.current_step >= 0
    assert errors > (50 if what.endswith("json") else 20)


@pytest.mark.parametrize("field, value, wrong", [
    ("iter", -1, "iter is -1; expected an integer from 0"), ("current_step", -2, "current_step is -2; expected"),
    ("iter", 2**31, "iter is 2147483648; expected"), ("iter", 1.5, "iter is 1.5; expected an integer"),
    ("iter", b"four", "iter is b'four'; expected an integer"), ("iter", [4, 4], "/iter: expected a dataset of one"),
    ("learned_net", 3, "learned_net is 3; expected the name of a file"), ("history", 3, "/history: expected a group"),
    ("learned_net", b"\x1b[1m", r"neither at \\u001b\[1m nor at"),
])
def test_an_hdf5_state_of_odd_things(field: str, value: Any, wrong: str, snapshot: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = Path("SGD-hdf5/snap_iter_4.solverstate.h5")
    with h5py.File(path, "r+") as file:
        del file[field]
        file[field] = value
    solver = _solver()
    before = _all_of(solver)
    with pytest.raises(UserError, match=wrong):
        solver.restore(str(path))
    assert all(map(np.array_equal, _all_of(solver), before))


@pytest.mark.parametrize("change, wrong", [
    ({"iter": -1}, "iter is -1; expected an integer from 0"), ({"current_step": -7}, "current_step is -7; expected"),
    ({"history": 2}, "history 3: a blob of shape 2 comes with 1 numbers"),
])
def test_a_state_of_odd_numbers(change: Dict[str, int], wrong: str, snapshot: Path) -> None:
    path = Path("SGD-binary/snap_iter_4.solverstate")
    state = caffe_pb2.SolverState.FromString(path.read_bytes())
    for field, number in change.items():
        if field == "history":
            state.history[-1].data.pop()
        else:
            setattr(state, field, number)
    path.write_bytes(state.SerializeToString())
    solver = _solver()
    before = _all_of(solver)
    with pytest.raises(UserError, match=wrong):
        solver.restore(str(path))
    assert all(map(np.array_equal, _all_of(solver), before))


def test_a_resume_file_of_an_older_version_has_no_checksum(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solver = caffe.get_solver("solver.prototxt")
    solver.step(2)
    solver.snapshot()
    path = Path("snap_iter_2.solverstate.resume.json")
    resume = json.loads(path.read_text())
    del resume["sha256"]
    path.write_text(json.dumps(resume))
    caffe.get_solver("solver.prototxt").restore("snap_iter_2.solverstate")
    assert "Data and random numbers go on" in capsys.readouterr().err


def test_an_hdf5_state_ends_its_string_as_c_does(snapshot: Path) -> None:
    """Caffe reads learned_net into as many bytes as it has, and up to a 0."""
    h5py = pytest.importorskip("h5py")
    with h5py.File("SGD-hdf5/snap_iter_4.solverstate.h5", "r") as file:
        name = "snap_iter_4.caffemodel.h5"
        assert file["learned_net"].dtype == f"S{len(name) + 1}" and file["learned_net"][()] == name.encode()
        assert file["iter"].shape == file["current_step"].shape == (1,)


@pytest.mark.parametrize("format_, suffix", FORMATS.values())
def test_the_step_of_the_rate_is_kept(format_: str, suffix: str, snapshot: Path) -> None:
    text = solver_text("SGD", format_).replace('"step" stepsize: 3', '"multistep" stepvalue: 1')
    Path("solver.prototxt").write_text(text)
    solver = caffe.get_solver("solver.prototxt")
    solver.step(3)
    solver.snapshot()
    other = caffe.get_solver("solver.prototxt")
    other.restore(f"snap_iter_3.solverstate{suffix}")
    assert other.current_step == solver.current_step == 1


def test_where_snapshots_cannot_be_written(snapshot: Path) -> None:
    Path("solver.prototxt").write_text(solver_text("SGD").replace('"snap"', '"nowhere/snap" snapshot: 5'))
    with pytest.raises(UserError, match="snapshot_prefix: 'nowhere/snap': cannot write nowhere/snap_iter_0.tempfile"):
        caffe.get_solver("solver.prototxt")
