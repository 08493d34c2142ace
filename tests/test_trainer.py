"""The trainer: when it tests and what it reports; and the near side of its pipe: noise, a dead parent, last words."""
from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import numpy as np
import pytest

from menndl_caffe.rank.engine import TRAINER, Engine
from menndl_caffe.rank.process import TrainerProcess, last_words
from menndl_caffe.trainer import __main__ as program
from menndl_caffe.trainer import train as trainer
from tests.support import fake_engine, runs

# ---- trainer.train against an engine that only takes notes ----

@pytest.fixture(autouse=True)
def fresh_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_engine.events.clear()
    fake_engine.parameters.clear()


def script(monkeypatch: pytest.MonkeyPatch, **functions: Callable[[int], float]) -> None:
    for name, function in functions.items():
        monkeypatch.setattr(fake_engine.Script, name, staticmethod(function))


def train(solver: str, net: str = 'name: "quiet"') -> List[Dict[str, Any]]:
    """The test messages of a training."""
    said: List[Dict[str, Any]] = []
    trainer.train(fake_engine, {"net": net, "solver": solver}, trainer.Clock(), lambda **message: said.append(message))
    assert all(message["event"] == "test" for message in said)
    return said


@pytest.mark.parametrize(("settings", "max_iter", "tested"), [
    ("test_interval: 2", 6, [0, 2, 4, 6]),
    ("test_interval: 2 test_initialization: true", 6, [0, 2, 4, 6]),
    ("test_interval: 2 test_initialization: false", 6, [2, 4, 6]),
    ("test_interval: 4", 6, [0, 4, 6]),
    ("test_interval: 4 test_initialization: false", 6, [4, 6]),
    ("test_interval: 5 test_initialization: false", 5, [5]),
    ("test_interval: 9", 5, [0, 5]),
    ("test_interval: 9 test_initialization: false", 5, [5]),
    ("test_interval: 1 test_initialization: false", 3, [1, 2, 3]),
    ("test_interval: 0", 5, [5]),
    ("", 5, [5]),
])
def test_tests_come_when_caffe_tests_and_at_the_end(settings: str, max_iter: int, tested: List[int]) -> None:
    said = train(f"test_iter: 3 {settings} max_iter: {max_iter}")
    assert [message["iteration"] for message in said] == tested
    expected: List[Any] = []
    for iteration in range(max_iter + 1):
        expected += [("forward", "TEST")] * 3 * (iteration in tested) + [("step", 1)] * (iteration < max_iter)
    assert fake_engine.events == [("mode", "CPU"), ("share", "TEST", "TRAIN"), *expected]


def test_the_solver_itself_neither_tests_nor_writes() -> None:
    train('net: "somewhere" test_iter: 1 test_interval: 2 max_iter: 4 snapshot: 2 base_lr: 0.5 solver_mode: GPU',
          'name: "it"')
    solver, = fake_engine.parameters
    assert (solver.test_interval > 4, solver.test_initialization) == (True, False)
    assert (solver.snapshot, solver.snapshot_after_train) == (0, False)
    assert (solver.HasField("net"), solver.net_param.name) == (False, "it")
    assert (list(solver.test_iter), solver.base_lr) == ([1], 0.5)
    assert fake_engine.events[0] == ("mode", "GPU")


def test_a_test_pass_is_the_mean_of_its_batches_in_caffes_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, accuracy=lambda i: [0.1, 0.2, 0.6, 1.0, 1.0, 0.0][i], test_loss=lambda i: float(i))
    first, last = train("test_iter: 3 test_interval: 1 test_initialization: false max_iter: 2")
    assert first["outputs"] == {"accuracy": 0.3, "loss": 1.0, "aux": 0.0}  # per_class is no scalar
    assert last["outputs"] == {"accuracy": 0.666667, "loss": 4.0, "aux": 0.0}


def test_the_mean_is_taken_in_caffes_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of these numbers the exact mean is printed as 2.32291 (solver.cpp, Solver::Test)."""
    script(monkeypatch, test_loss=lambda i: [2.145456, 2.668421, 2.154868][i])
    only, = train("test_iter: 3 max_iter: 1")
    assert only["outputs"]["loss"] == 2.32292


def test_the_training_loss_is_weighted() -> None:
    net = fake_engine.Net("TRAIN")
    net.blobs.update(loss=fake_engine.blob(2.0), aux=fake_engine.blob(3.0), accuracy=fake_engine.blob(math.nan))
    assert trainer.total_loss(net) == 1.0 * 2.0 + 0.5 * 3.0


def test_weights_are_those_after_the_last_step_and_written_only_if_asked_for(monkeypatch: pytest.MonkeyPatch,
                                                                             tmp_path: Path) -> None:
    script(monkeypatch, weight=lambda step: 10.0 + step)
    solver, path = "test_iter: 1 test_interval: 2 max_iter: 4", tmp_path / "w.caffemodel"
    request = {"net": "", "solver": solver, "weights": str(path)}
    trainer.train(fake_engine, request, trainer.Clock(), lambda **message: None)
    assert fake_engine.events[-2:] == [("forward", "TEST"), ("save", "TRAIN", str(path))]
    assert np.load(path) == 14.0
    train(solver)
    assert [event for event in fake_engine.events if event[0] == "save"] == [("save", "TRAIN", str(path))]


def answer(kept: trainer.Kept, solver: str, net: str = 'name: "quiet"', **more: Any) -> List[Any]:
    """What is said of a request, iterations of tests and the other events, and how many steps it took."""
    said: List[Any] = []
    before = fake_engine.events.count(("step", 1))
    program.answer(fake_engine, {"net": net, "solver": solver, **more}, kept,
                   lambda **message: said.append(message.get("iteration", message["event"])))
    return [*said, fake_engine.events.count(("step", 1)) - before]


LONG = "test_iter: 1 test_interval: 2 max_iter: 8"


def test_a_training_that_ended_at_a_rung_is_gone_on_with() -> None:
    kept = trainer.Kept()
    assert answer(kept, LONG, until=2) == [0, 2, "done", 2]
    assert answer(kept, LONG, until=6) == [0, 2, 4, 6, "done", 4]
    assert answer(kept, LONG) == [0, 2, 4, 6, 8, "done", 2]
    assert len(fake_engine.parameters) == 1
    assert answer(kept, LONG) == [0, 2, 4, 6, 8, "done", 8], "what came to max_iter is not kept"


@pytest.mark.parametrize("between", [
    dict(solver=LONG + " base_lr: 1", until=2), dict(solver=LONG, net='name: "other"', until=2),
    dict(solver=LONG, until=5), dict(solver="no solver"), dict(solver=LONG, program="retrain"),
    dict(solver=LONG, program="unknown")], ids=str)
def test_any_other_request_drops_what_was_kept(between: Dict[str, Any]) -> None:
    """Also what is refused."""
    kept = trainer.Kept()
    answer(kept, LONG, until=4)
    answer(kept, **between)
    assert answer(kept, LONG) == [0, 2, 4, 6, 8, "done", 8]


@pytest.mark.parametrize("until", [2, 4])
def test_as_much_or_less_is_trained_anew(until: int) -> None:
    kept = trainer.Kept()
    answer(kept, LONG, until=4)
    assert answer(kept, LONG, until=until)[-2:] == ["done", until]


def test_nobody_is_kept_while_another_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """So there is never more than one solver."""
    kept, alive = trainer.Kept(), []
    make = fake_engine.get_solver

    def watched(path: str) -> fake_engine.Solver:
        assert not any(one() for one in alive)
        solver = make(path)
        alive.append(weakref.ref(solver))
        return solver

    monkeypatch.setattr(fake_engine, "get_solver", watched)
    for number in range(3):
        assert answer(kept, f"{LONG} base_lr: {number}", until=2)[-2] == "done"
    assert len(alive) == 3 and alive[-1]()


def test_what_failed_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = trainer.Kept()
    assert answer(kept, LONG, until=2) == [0, 2, "done", 2]
    script(monkeypatch, train_loss=lambda step: math.nan if step == 3 else 2.0)
    assert answer(kept, LONG, until=6) == [0, 2, "diverged", 2]
    script(monkeypatch, train_loss=lambda step: 2.0)
    assert answer(kept, LONG, until=6) == [0, 2, 4, 6, "done", 6]


def test_weights_are_written_at_the_end_alone(tmp_path: Path) -> None:
    kept, path = trainer.Kept(), tmp_path / "w"
    answer(kept, LONG, until=4, weights=str(path))
    assert not path.exists()
    answer(kept, LONG, weights=str(path))
    assert path.exists()


def test_a_rung_without_a_test_is_refused() -> None:
    with pytest.raises(ValueError, match="until: 3; expected an iteration after which a test pass is due: one of 0, 2"):
        trainer.train(fake_engine, {"net": "", "solver": LONG, "until": 3}, trainer.Clock(), lambda **message: None)


@pytest.mark.parametrize(("functions", "reason", "steps"), [
    ({"train_loss": lambda step: math.nan if step == 2 else 2.0}, "training loss is nan at iteration 2", 3),
    ({"train_loss": lambda step: math.inf}, "training loss is inf at iteration 0", 1),
    ({"test_loss": lambda forward: math.nan if forward == 3 else 1.0}, "test output loss is nan at iteration 4", 4),
    ({"accuracy": lambda forward: math.inf}, "test output accuracy is inf at iteration 2", 2),
    ({"weight": lambda step: math.nan if step == 6 else 1.0}, "weights of layer ip2 are not finite at iteration 6", 6),
    ({"score": lambda forward: -math.inf if forward == 5 else 0.0},
     "scores ip2 of the test net are not finite at iteration 6", 6),
])
def test_what_is_not_finite_ends_the_training(monkeypatch: pytest.MonkeyPatch, functions: Dict[str, Any], reason: str,
                                              steps: int) -> None:
    """Though loss and accuracy may look perfect."""
    script(monkeypatch, **functions)
    with pytest.raises(trainer.Diverged, match=f"^{reason}$"):
        train("test_iter: 2 test_interval: 2 test_initialization: false max_iter: 6")
    assert fake_engine.events.count(("step", 1)) == steps


# ---- the real trainer process around that engine ----

@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, str]:
    """In which `import caffe` finds that engine."""
    folder = tmp_path_factory.mktemp("engine")
    (folder / "caffe.py").write_text("from tests.support.fake_engine import *\n"
                                     "from tests.support.fake_engine import __version__\n")
    return {**os.environ, "PYTHONPATH": f"{folder}:{runs.REPOSITORY}"}


REAL = [sys.executable, "-m", "menndl_caffe.trainer", "caffe"]
SOLVER = "test_iter: 2 test_interval: 2 test_initialization: false max_iter: 4"


def all_messages(process: TrainerProcess, last: Sequence[str] = ("done", "diverged", "error")) -> List[Dict[str, Any]]:
    """What the trainer says up to the end of a training."""
    said: List[Dict[str, Any]] = []
    deadline = time.monotonic() + runs.PATIENCE
    while (not said or said[-1]["event"] not in last) and time.monotonic() < deadline:
        message = process.poll(1.0)
        said += [message] if message else []
    return said


def training(process: TrainerProcess, net: str) -> List[str]:
    """The events of a training of this net."""
    process.start()
    process.send({"net": f'name: "{net}"', "solver": SOLVER}, 4)
    return [message["event"] for message in all_messages(process)]


def test_what_the_engine_prints_does_not_disturb_the_protocol(environment: Dict[str, str]) -> None:
    with contextlib.closing(TrainerProcess(REAL, environment)) as process:
        assert training(process, "noisy") == ["ready", "test", "test", "done"]
        for line in ("an engine that talks", "and its library, not ending the line", "Iteration 4, Testing net (#0)"):
            assert line in process.log()
        assert training(process, "quiet") == ["test", "test", "done"]
        assert "Iteration 4, Testing net (#0)" in process.log() and "talks" not in process.log()


def test_weights_are_there_when_the_trainer_says_done(environment: Dict[str, str], tmp_path: Path) -> None:
    with contextlib.closing(TrainerProcess(REAL, environment)) as process:
        process.start()
        request = {"net": 'name: "quiet"', "solver": SOLVER}
        process.send({**request, "weights": str(tmp_path / "w.caffemodel")}, 4)
        assert all_messages(process)[-1]["event"] == "done" and np.load(tmp_path / "w.caffemodel") == 1.0
        process.send({**request, "weights": str(tmp_path / "no folder" / "w.caffemodel")}, 4)
        last = all_messages(process)[-1]
        assert last["event"] == "error" and "no folder" in last["reason"]


def test_a_trainer_says_who_it_is(environment: Dict[str, str]) -> None:
    with contextlib.closing(TrainerProcess(REAL, environment)) as process:
        process.start()
        ready, = all_messages(process, ["ready"])
        assert not runs.has_ended(ready.pop("pid"))
        versions = ready.pop("versions")
        assert ready == {"event": "ready", "engine": "caffe", "math": "float32", "version": "0.fake"}
        assert versions == {"version": "0.fake", "blas": versions["blas"], "numpy": np.__version__,
                            "python": platform.python_version()}


def test_started_by_its_path_it_takes_nothing_else_from_there_and_no_other_menndl(environment: Dict[str, str],
                                                                                  tmp_path: Path) -> None:
    """What is installed beside menndl must not come before the engine's own modules."""
    for folder, module in (("beside", "numpy.py"), ("other", "menndl_caffe.py")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / module).write_text("raise ImportError('the wrong one')")
    (tmp_path / "beside" / "menndl_caffe").symlink_to(runs.REPOSITORY / "menndl_caffe")
    command = [sys.executable, str(tmp_path / "beside" / "menndl_caffe" / "trainer"), "caffe"]
    path = f"{tmp_path / 'other'}:{environment['PYTHONPATH']}"
    with contextlib.closing(TrainerProcess(command, {**environment, "PYTHONPATH": path})) as process:
        assert training(process, "quiet") == ["ready", "test", "test", "done"]


@pytest.mark.parametrize(("files", "answer"), [([], "False"), (["__init__.py"], "False"),
                                               (["__init__.py", "pycaffe.py"], "True")])
def test_whether_there_is_a_pycaffe_is_told_without_an_import(files: List[str], answer: str, tmp_path: Path) -> None:
    """An unrelated package of that name has no pycaffe.py."""
    (tmp_path / "caffe").mkdir()
    for name in files:
        (tmp_path / "caffe" / name).write_text("raise ImportError('imported')")
    command = [sys.executable, "-S", TRAINER, "--has", "caffe"]
    done = subprocess.run(command, cwd="/", env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{answer}\n", "")


def test_an_exception_of_the_engine_is_the_end_of_its_training_alone(environment: Dict[str, str]) -> None:
    with contextlib.closing(TrainerProcess(REAL, environment)) as process:
        process.start()
        process.send({"net": 'name: "broken"', "solver": SOLVER}, 4)
        assert all_messages(process)[-1] == {"id": 1, "event": "error", "reason": "RuntimeError: no such thing"}
        assert training(process, "quiet") == ["test", "test", "done"]


PARENT = """
import json, os, sys
from menndl_caffe.rank.process import TrainerProcess
process = TrainerProcess(json.loads(sys.argv[1]), os.environ)
process.start()
process.send({"net": 'name: "endless"', "solver": sys.argv[2]}, 4)
message = None
while message is None:
    message = process.poll(1.0)
print(message["pid"], flush=True)
process.poll(3600)
"""


# As a container's own process does: it starts the trainer and stays.
UNDER = [sys.executable, "-c", "import subprocess, sys; subprocess.call(sys.argv[1:])"]


@pytest.mark.parametrize("under", [[], UNDER], ids=["by itself", "under another process"])
def test_a_trainer_does_not_outlive_its_parent(under: List[str], environment: Dict[str, str]) -> None:
    """In the middle of a step, where it looks at no pipe."""
    command = [sys.executable, "-c", PARENT, json.dumps([*under, *REAL]), SOLVER]
    parent = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
        time.sleep(0.2)
        assert not runs.has_ended(pid)
        parent.kill()
        parent.wait()
    assert runs.wait_until(lambda: runs.has_ended(pid)), "the trainer lives on"


def test_threads_are_set_for_every_blas(environment: Dict[str, str]) -> None:
    engine = Engine("caffe", "here", ())
    counts = {name: value for name, value in engine.environment(3).items() if name.endswith("_NUM_THREADS")}
    libraries = ("OPENBLAS", "OMP", "MKL", "BLIS")
    assert counts == {f"{library}_NUM_THREADS": "3" for library in libraries}


def test_a_trainer_reads_and_writes_utf8_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUTF8", "0")
    assert Engine("caffe", "here", ()).environment(1)["PYTHONUTF8"] == "1"


@pytest.mark.parametrize(("log", "words"), [
    ("", ""),
    ("one\ntwo\n\n", "two"),
    ("I1121 08:03:04.6 1 net.cpp:1] Setting up\n    @  0x7f (unknown)\n", "Setting up"),
    ("W1121 08:03:04.6 1 a.cpp:1] so\n*** Aborted at 17 ***\nPC: @  0x0 main\n*** SIGSEGV (@0x0) ***\n    @  0x1 f()\n",
     "so"),
    ("F1121 08:03:04.6 1 a.cpp:1] first\nF1121 08:03:04.6 1 a.cpp:1] second\nlater\n", "first"),
    ("Far too late] it was\n", "Far too late] it was"),
])
def test_last_words(log: str, words: str) -> None:
    assert last_words(log) == words
