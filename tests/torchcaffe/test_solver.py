"""Solvers through pycaffe's API: where nets come from, what happens when in an iteration, and tests."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import menndl_caffe.torchcaffe as caffe
from menndl_caffe.errors import UserError
from menndl_caffe.torchcaffe.scores import SmoothedLoss
from menndl_caffe.torchcaffe.solver import Action
from menndl_caffe.trainer import train as trainer

NET = """
layer { name: "data" type: "DummyData" top: "data" top: "target" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } data_filler { type: "gaussian" } data_filler { type: "gaussian" } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "target" top: "loss" }
layer { name: "second" type: "Reduction" bottom: "target" top: "second" include { stage: "second" } }
"""
SETTINGS = 'base_lr: 0.1 lr_policy: "fixed" random_seed: 1 snapshot_prefix: "snap" snapshot_after_train: false '
NETS = {"net": 'net: "net.prototxt"', "net_param": f"net_param {{ {NET} }}", "train_net": 'train_net: "net.prototxt"',
        "train_net_param": f"train_net_param {{ {NET} }}"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    return tmp_path


def solver_of(text: str) -> Any:
    Path("solver.prototxt").write_text(SETTINGS + text)
    return caffe.get_solver("solver.prototxt")


def with_tests(more: str = "") -> Any:
    return solver_of(f'{NETS["net"]} test_iter: 2 test_interval: 2 {more}')


def weights(solver: Any) -> np.ndarray:
    return np.array(solver.net.params["ip"][0].data)


@pytest.mark.parametrize("source", NETS)
def test_every_source_gives_the_same_train_net(source: str) -> None:
    np.testing.assert_array_equal(weights(solver_of(NETS[source])), weights(solver_of(NETS["net"])))


@pytest.mark.parametrize("text, wrong", [
    ("", "one of net, net_param, train_net, train_net_param, not from none"),
    (f'{NETS["net"]} {NETS["train_net"]}', "not from net and train_net"),
    (f'{NETS["net"]} test_iter: 1', "test_interval: 0 with test nets"),
    (f'{NETS["train_net"]} test_iter: 1 test_interval: 1', "test_iter: given 1 times for 0 test nets"),
    (f'{NETS["net"]} test_net: "net.prototxt" test_interval: 1', "test_iter: given 0 times for 1 test nets"),
    (f'{NETS["net"]} test_iter: 1 test_interval: 1 test_state {{ }} test_state {{ }}',
     "test_state: given 2 times for 1 test nets"),
    (f'{NETS["net"]} test_iter: 0 test_interval: 1', "test_iter: expected 1 or more"),
    (f'{NETS["net"]} average_loss: 0', "average_loss: 0; expected 1 or more"),
    (f'{NETS["net"]} iter_size: 0', "iter_size: 0; expected 1 or more"),
    (f'{NETS["net"]} type: "Adma"', "type: 'Adma'; did you mean Adam"),
    (f'{NETS["net"]} type: "Adam" solver_type: ADAM', 'solver.prototxt: solver_type: is given beside type: "Adam"'),
    ('net: "nowhere.prototxt"', "nowhere.prototxt: No such file"),
])
def test_solvers_that_caffe_refuses(text: str, wrong: str) -> None:
    with pytest.raises(UserError, match=wrong):
        solver_of(text)


def test_the_class_follows_from_the_type() -> None:
    for name in ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"):
        solver = solver_of(f'{NETS["net"]} type: "{name}"')
        assert type(solver) is getattr(caffe, f"{name}Solver")
        assert isinstance(solver, caffe.SGDSolver)
    assert type(caffe.NesterovSolver("solver.prototxt")) is caffe.NesterovSolver  # whatever the file says


def test_test_nets_come_in_caffes_order_with_their_states() -> None:
    named = [NET.replace('layer { name: "data"', f'name: "{name}" layer {{ name: "data"') for name in "abc"]
    Path("b.prototxt").write_text(named[1])
    solver = solver_of(f"""net_param {{ {named[2]} }} test_net: "b.prototxt" test_net_param {{ {named[0]} }}
        test_iter: 1 test_iter: 1 test_iter: 1 test_iter: 1 test_interval: 1
        test_state {{ }} test_state {{ stage: "second" }} test_state {{ stage: "second" }} test_state {{ level: 3 }}
        train_state {{ stage: "second" }}""")
    assert [net.name for net in solver.test_nets] == ["a", "b", "c", "c"]
    assert ["second" in net.blobs for net in solver.test_nets] == [False, True, True, False]
    assert "second" in solver.net.blobs


def test_a_nets_own_state_counts_less_than_the_solvers() -> None:
    Path("net.prototxt").write_text(NET + 'state { phase: TEST stage: "second" }')
    assert solver_of(f'{NETS["net"]}').net.phase == caffe.TEST
    solver = solver_of(f'{NETS["net"]} train_state {{ phase: TRAIN }}')
    assert solver.net.phase == caffe.TRAIN and "second" in solver.net.blobs


def test_callbacks_surround_the_passes() -> None:
    solver = solver_of(f'{NETS["net"]} iter_size: 2')
    seen: List[Any] = []
    solver.net.before_forward(lambda layer: seen.append("forward") if layer == 0 else None)
    solver.net.after_backward(lambda layer: seen.append("backward") if layer == 0 else None)
    before = weights(solver)

    def ready() -> None:
        seen.append("ready")
        np.testing.assert_array_equal(weights(solver), before)
        assert solver.iter == 0

    solver.add_callback(lambda: seen.append("start"), ready)
    solver.step(1)
    assert seen == ["start", "forward", "backward", "forward", "backward", "ready"]
    assert solver.iter == 1 and not np.array_equal(weights(solver), before)


def test_passes_and_updates_by_hand_are_a_step() -> None:
    stepped = solver_of(NETS["net"])
    stepped.step(3)
    by_hand = solver_of(NETS["net"])
    for _ in range(3):
        by_hand.net.clear_param_diffs()
        by_hand.net.forward()
        by_hand.net.backward()
        by_hand.apply_update()
    assert by_hand.iter == 3
    np.testing.assert_array_equal(weights(by_hand), weights(stepped))


def test_settings_can_be_changed_between_steps() -> None:
    solver = solver_of(f'{NETS["net"]} max_iter: 7 display: 3')
    assert (solver.param.max_iter, solver.param.display, solver.param.layer_wise_reduce) == (7, 3, True)
    solver.param.base_lr = 0
    before = weights(solver)
    assert solver.lr == 0
    solver.step(2)
    np.testing.assert_array_equal(weights(solver), before)


def test_test_nets_have_the_train_nets_weights_from_the_first_test_on() -> None:
    solver = with_tests()
    solver.step(1)
    solver.net.params["ip"][0].data[...] = 5
    assert (solver.test_nets[0].params["ip"][0].data == 5).all()
    other = caffe.Net("net.prototxt", caffe.TEST)
    solver.share_weights(other)
    assert (other.params["ip"][0].data == 5).all()


def _tests(errors: str) -> int:
    return errors.count(", Testing net (#0)")


def test_when_tests_happen(capsys: pytest.CaptureFixture[str]) -> None:
    with_tests().step(4)
    assert _tests(capsys.readouterr().err) == 2
    with_tests("test_initialization: false max_iter: 4").solve()
    assert _tests(capsys.readouterr().err) == 2


def test_a_stop_is_obeyed_between_batches_and_iterations(capsys: pytest.CaptureFixture[str]) -> None:
    for asked, (iterations, said) in {
            0: (0, "Test interrupted."), 1: (0, "Test interrupted."), 2: (1, "Optimization stopped early."),
            3: (2, "Optimization stopped early.")}.items():
        solver = with_tests("max_iter: 9")
        answers = [Action.NONE] * asked + [Action.STOP]
        solver.answer_to(lambda answers=answers: answers.pop(0) if answers else Action.NONE)
        solver.solve()
        errors = capsys.readouterr().err
        assert solver.iter == iterations and said in errors and "Optimization Done." not in errors
        solver.solve()
        assert solver.iter == 9
        capsys.readouterr()


def test_a_snapshot_may_be_asked_for() -> None:
    solver = with_tests()
    answers = [Action.SNAPSHOT, Action.NONE, Action.NONE, Action.SNAPSHOT]
    solver.answer_to(lambda: answers.pop(0) if answers else Action.NONE)
    solver.step(2)
    assert Path("snap_iter_0.caffemodel").exists() and Path("snap_iter_1.solverstate").exists()


def test_all_that_was_asked_for_between_two_batches_is_done() -> None:
    solver = with_tests()
    answers = [Action.SNAPSHOT, Action.STOP]
    solver.answer_to(lambda: answers.pop(0) if answers else Action.NONE)
    solver.step(2)
    assert Path("snap_iter_0.caffemodel").exists() and solver.iter == 0


def test_each_call_of_step_smooths_the_loss_anew(capsys: pytest.CaptureFixture[str]) -> None:
    solver = solver_of(f'{NETS["net"]} display: 1 average_loss: 5')
    for _ in range(3):
        solver.step(1)
        shown = re.search(r"iters\), loss = (\S+)", capsys.readouterr().err)
        assert shown and shown[1] == f"{float(solver.net.blobs['loss'].data):g}"


def test_ranks_seed_differently_and_only_the_first_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    first = solver_of(NETS["net"])
    caffe.set_solver_rank(2)
    try:
        capsys.readouterr()
        other = solver_of(NETS["net"])
        assert "Solver scaffolding done" not in capsys.readouterr().err
    finally:
        caffe.set_solver_rank(0)
    Path("solver.prototxt").write_text(SETTINGS.replace("random_seed: 1", "random_seed: 3") + NETS["net"])
    third = caffe.get_solver("solver.prototxt")
    assert not np.array_equal(weights(first), weights(other))
    np.testing.assert_array_equal(weights(other), weights(third))


def test_debug_info_says_how_large_weights_and_gradients_are(capsys: pytest.CaptureFixture[str]) -> None:
    solver = solver_of(f'{NETS["net"]} debug_info: true display: 2')
    solver.net.params["ip"][0].data[...] = -2
    solver.step(2)
    lines = [line for line in capsys.readouterr().err.splitlines() if "[Backward] All net params" in line]
    assert len(lines) == 1 and "L1 norm = (12, " in lines[0] and "L2 norm = (4.89898, " in lines[0]


def test_a_net_without_parameters_can_be_stepped(capsys: pytest.CaptureFixture[str]) -> None:
    data, _, _ = NET.partition('layer { name: "ip"')
    solver_of(f"net_param {{ {data} }} debug_info: true display: 1 clip_gradients: 1").step(1)
    assert "L1 norm = (0, 0); L2 norm = (0, 0)" in capsys.readouterr().err


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30), st.integers(1, 8))
def test_the_smoothed_loss_is_the_mean_of_the_last(losses: List[float], size: int) -> None:
    smoothed = SmoothedLoss(size)
    for loss in losses:
        smoothed.add(loss)
    assert float(smoothed.mean) == pytest.approx(np.mean(losses[-size:]), abs=1e-2)


def test_the_trainer_trains_with_this_engine() -> None:
    said: List[Dict[str, Any]] = []
    solver = SETTINGS + 'net: "ignored" max_iter: 4 test_iter: 2 test_interval: 2 solver_mode: CPU'
    trainer.train(caffe, {"net": NET, "solver": solver}, trainer.Clock(), lambda **message: said.append(message))
    assert [(message["event"], message["iteration"]) for message in said] == [("test", 0), ("test", 2), ("test", 4)]
    assert all(np.isfinite(message["outputs"]["loss"]) for message in said)
    with pytest.raises(trainer.Diverged):
        solver = SETTINGS.replace("base_lr: 0.1", "base_lr: 1e30") + 'max_iter: 9 test_iter: 2 test_interval: 2'
        trainer.train(caffe, {"net": NET, "solver": solver}, trainer.Clock(), lambda **message: None)
