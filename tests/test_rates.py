"""Learning rates: every policy against real Caffe over 30 iterations, to the last bit, and what Caffe refuses."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest

import menndl_caffe.torchcaffe as caffe
from menndl_caffe.errors import UserError
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.rates import learning_rate
from tests.support.torchcaffe.training import Arrays, Job, run_in_real_caffe, run_job

POLICIES = {
    "fixed": 'lr_policy: "fixed" base_lr: 0.1',
    "step": 'lr_policy: "step" base_lr: 0.1 gamma: 0.3 stepsize: 4',
    "multistep": 'lr_policy: "multistep" base_lr: 0.1 gamma: 0.3 stepvalue: 3 stepvalue: 4 stepvalue: 4 stepvalue: 20',
    "exp": 'lr_policy: "exp" base_lr: 0.07 gamma: 0.93',
    "inv": 'lr_policy: "inv" base_lr: 0.013 gamma: 0.37 power: 0.75',
    "poly": 'lr_policy: "poly" base_lr: 0.01 power: 0.7',
    "poly1": 'lr_policy: "poly" base_lr: 0.01 power: 1',
    "sigmoid": 'lr_policy: "sigmoid" base_lr: 0.33 gamma: 0.07 stepsize: 12',
}


def job(name: str) -> Job:
    return Job(name, f'net: "net.prototxt" max_iter: 30 snapshot_prefix: "snap" {POLICIES[name]}', steps=30, rates=True)


@pytest.fixture(scope="module")
def real(caffe_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Arrays]:
    return run_in_real_caffe(caffe_root, [job(name) for name in POLICIES], tmp_path_factory.mktemp("rates"))


@pytest.mark.parametrize("name", POLICIES)
def test_rates_are_caffes(name: str, real: Dict[str, Arrays], tmp_path: Path) -> None:
    np.testing.assert_array_equal(run_job(caffe, job(name), tmp_path)["rates"], real[name]["rates"])


def _param(text: str) -> Any:
    return prototxt.parse(text, caffe_pb2.SolverParameter).message


def test_multistep_advances_once_each_time_it_is_asked() -> None:
    param = _param('lr_policy: "multistep" base_lr: 1 gamma: 0.5 stepvalue: 2 stepvalue: 3')
    step, rates = 0, []
    for _ in range(4):
        rate, step = learning_rate(param, 10, step)
        rates.append(rate)
    assert rates == [0.5, 0.25, 0.25, 0.25]


def test_beyond_max_iter_a_fractional_power_is_not_a_number() -> None:
    rate, _ = learning_rate(_param('lr_policy: "poly" base_lr: 1 power: 0.5 max_iter: 10'), 11, 0)
    assert np.isnan(rate)


@pytest.mark.parametrize("text, wrong", [
    ('lr_policy: "stepp"', "lr_policy: 'stepp'; did you mean step"),
    ("", "lr_policy: ''"),
    ('lr_policy: "step" gamma: 1', "stepsize: 0 with lr_policy step"),
    ('lr_policy: "exp" gamma: -1', "gamma: -1 with lr_policy exp"),
    ('lr_policy: "sigmoid" gamma: 1 stepsize: -3', "stepsize: -3 with lr_policy sigmoid"),
])
def test_settings_that_caffe_refuses(text: str, wrong: str) -> None:
    with pytest.raises(UserError, match=wrong):
        learning_rate(_param(f"base_lr: 1 {text}"), 0, 0)
