"""A training that goes from rung to rung is the training at once, bit for bit, in real Caffe and in the torch engine:
on the trainer that has it, on another one, after a kill, and where others were trained in between."""
from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import pytest

from menndl_caffe.rank import engine
from menndl_caffe.rank.process import TrainerProcess
from tests.support import runs

RUNGS, MAX_ITER = (2, 6, 18), 20
DATA = """\
layer {{ name: "images" type: "Data" top: "data" top: "label" include {{ phase: TRAIN }}
  transform_param {{ scale: 0.01 crop_size: 20 mirror: true }}
  data_param {{ source: "{folder}/cifar10_train_lmdb" batch_size: 7 backend: LMDB }} }}
layer {{ name: "images" type: "Data" top: "data" top: "label" include {{ phase: TEST }}
  transform_param {{ scale: 0.01 crop_size: 20 }}
  data_param {{ source: "{folder}/cifar10_test_lmdb" batch_size: 15 backend: LMDB }} }}
"""
LAYERS = """\
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 4 kernel_size: 5 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "active" type: "ReLU" bottom: "norm" top: "norm" }
layer { name: "drop" type: "Dropout" bottom: "norm" top: "norm" dropout_param { dropout_ratio: 0.3 } }
layer { name: "score" type: "InnerProduct" bottom: "norm" top: "score"
  inner_product_param { num_output: 10 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""
SOLVER = """\
base_lr: 0.02 weight_decay: 0.004 max_iter: 20 test_iter: 2 test_interval: 2 random_seed: 5 display: 4 snapshot: 3
snapshot_prefix: "nowhere/x" solver_mode: CPU
"""
SOLVERS = {"poly": 'lr_policy: "poly" power: 0.5 momentum: 0.9',
           "step": 'lr_policy: "step" gamma: 0.3 stepsize: 5 momentum: 0.9 iter_size: 2 average_loss: 4',
           "multistep": 'lr_policy: "multistep" gamma: 0.3 stepvalue: 3 stepvalue: 6 stepvalue: 17 type: "Nesterov"'
                        ' momentum: 0.5 clip_gradients: 0.7',
           "Adam": 'lr_policy: "inv" gamma: 0.1 power: 0.75 type: "Adam" momentum: 0.9 test_initialization: false'}
OTHER = SOLVER.replace("random_seed: 5", "random_seed: 6") + SOLVERS["poly"]


class Trainer:
    """A trainer of an engine, and what it answers."""

    def __init__(self, name: str, net: str):
        self._net, found = net, engine.find(name)
        self._process, self._pid = TrainerProcess(found.command, found.environment(1)), 0

    def ask(self, solver: str, until: Optional[int] = None, weights: Optional[Path] = None) -> Any:
        """The test messages up to the end of a training, and the weights if it wrote some."""
        more = {"until": until, "weights": weights and str(weights)}
        self._process.start()
        self._process.send({"net": self._net, "solver": solver,
                            **{name: value for name, value in more.items() if value is not None}}, MAX_ITER)
        said: List[Dict[str, Any]] = []
        while not said or said[-1]["event"] == "test":
            message = self._process.poll(runs.PATIENCE)
            assert message is not None
            self._pid = message.get("pid", self._pid)
            said += [message] if message["event"] != "ready" else []
        assert said[-1]["event"] == "done", said[-1]
        return [(one["iteration"], one["outputs"]) for one in said[:-1]], (
            weights.read_bytes() if weights and weights.exists() else None)

    @property
    def went_on(self) -> bool:
        """Whether the last answer came of a training that was kept."""
        return "going on" in self._process.log()

    def kill(self) -> None:
        """kill -9 of the process, and all of its threads are gone."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)

    def close(self) -> None:
        """End it."""
        self._process.close()


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    return DATA.format(folder=runs.small_data(tmp_path_factory.mktemp("data") / "data")) + LAYERS


@pytest.fixture(scope="module", params=["caffe", "torch"])
def trainer(request: pytest.FixtureRequest, net: str) -> Iterator[Trainer]:
    if request.param == "caffe":
        request.getfixturevalue("caffe_root")
    else:
        pytest.importorskip("torch")
    with contextlib.closing(Trainer(request.param, net)) as made:
        yield made


def check(answer: Any, whole: Any, until: int) -> None:
    """That an answer at a rung is the beginning of the whole one, and that nothing was written."""
    assert answer == ([one for one in whole[0] if one[0] <= until], None)


@pytest.mark.parametrize("solver", SOLVERS)
def test_from_rung_to_rung_on_the_same_trainer(trainer: Trainer, solver: str, tmp_path: Path) -> None:
    text = SOLVER + SOLVERS[solver]
    whole = trainer.ask(text, weights=tmp_path / "whole")
    assert [iteration for iteration, _ in whole[0]][-10:] == list(range(2, 21, 2))
    for rung in RUNGS:
        check(trainer.ask(text, rung, tmp_path / "none" if rung == 6 else None), whole, rung)
        assert trainer.went_on == (rung > 2)
    assert trainer.ask(text, weights=tmp_path / "last") == whole and trainer.went_on
    assert trainer.ask(text, weights=tmp_path / "again") == whole and not trainer.went_on


def test_where_others_are_trained_in_between(trainer: Trainer, tmp_path: Path) -> None:
    """Those draw from the same generator, and take the kept training's place."""
    text = SOLVER + SOLVERS["poly"]
    whole = trainer.ask(text, weights=tmp_path / "whole")
    other = trainer.ask(OTHER, weights=tmp_path / "other")
    assert other != whole
    check(trainer.ask(text, 2), whole, 2)
    check(trainer.ask(OTHER, 6), other, 6)
    check(trainer.ask(text, 6), whole, 6)
    assert not trainer.went_on
    assert trainer.ask(OTHER, weights=tmp_path / "other") == other and not trainer.went_on
    assert trainer.ask(text, weights=tmp_path / "last") == whole and not trainer.went_on


def test_after_a_kill_and_on_a_trainer_that_knows_nothing_of_it(trainer: Trainer, tmp_path: Path) -> None:
    text = SOLVER + SOLVERS["step"]
    whole = trainer.ask(text, weights=tmp_path / "whole")
    check(trainer.ask(text, 6), whole, 6)
    trainer.kill()
    check(trainer.ask(text, 18), whole, 18)
    assert not trainer.went_on
    assert trainer.ask(text, weights=tmp_path / "last") == whole and trainer.went_on
