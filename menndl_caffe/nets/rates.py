"""The learning rate of an iteration, in Caffe's float32 arithmetic (`SGDSolver::GetLearningRate`, `sgd_solver.cpp`).

    b           base_lr
    g, p        gamma, power
    i           iteration, from 0
    s           step: how often the rate has dropped
    size        stepsize
    m           max_iter

    fixed       b
    step        b g^s, s = floor(i / size)
    multistep   b g^s, s grows by one when i has reached stepvalue[s], at most by one each time the rate is asked for
    exp         b g^i
    inv         b (1 + g i)^-p
    poly        b (1 - i / m)^p
    sigmoid     b / (1 + exp(-g (i - size)))
"""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, Tuple

import numpy as np

from menndl_caffe.errors import UserError, did_you_mean

f32 = np.float32
Policy = Callable[[Any, int, int], np.floating]

POLICIES: Dict[str, Policy] = {
    "fixed": lambda param, i, s: f32(param.base_lr),
    "step": lambda param, i, s: _dropped(param, s),
    "multistep": lambda param, i, s: _dropped(param, s),
    "exp": lambda param, i, s: _dropped(param, i),
    "inv": lambda param, i, s: f32(param.base_lr) * (1 + f32(param.gamma) * f32(i)) ** -f32(param.power),
    "poly": lambda param, i, s: f32(param.base_lr) * (1 - f32(i) / f32(param.max_iter)) ** f32(param.power),
    "sigmoid": lambda param, i, s: f32(param.base_lr) * (1 / (1 + _exp(-f32(param.gamma) * f32(i - param.stepsize)))),
}
WITH_GAMMA = ("step", "multistep", "exp", "inv", "sigmoid")
WITH_STEPSIZE = ("step", "sigmoid")


def learning_rate(param: Any, iteration: int, step: int) -> Tuple[float, int]:
    """The rate by a SolverParameter, and the step from now on; UserError for settings that Caffe refuses."""
    for field, text in wrong_rate(param):
        raise UserError(f"{field}: {text}")
    step = _step(param, iteration, step)
    with np.errstate(all="ignore"):  # what overflows is infinite, as in C
        return float(f32(POLICIES[param.lr_policy](param, iteration, step))), step


def is_steady(param: Any, iteration: int, end: int) -> bool:
    """Whether the rate of the last of `end` iterations is within a factor of two of that of `iteration`: what a net
    has learned by then says how it goes on. Every policy is monotonic, so those in between are within it, too.

    Settings must be such as Caffe takes.
    """
    with np.errstate(all="ignore"):
        now, last = (float(POLICIES[param.lr_policy](param, i, _steps(param, i))) for i in (iteration, end - 1))
    return now < 2 * last and last < 2 * now


def wrong_rate(param: Any) -> Iterator[Tuple[str, str]]:
    """The fields of a SolverParameter by which Caffe knows no rate, and what is said of each."""
    policy = param.lr_policy
    if policy not in POLICIES:
        yield "lr_policy", f"'{policy}'{did_you_mean(policy, POLICIES)}"
    if policy in WITH_GAMMA and not param.gamma >= 0:
        yield "gamma", f"{param.gamma:g} with lr_policy {policy}; expected 0 or more"
    if policy in WITH_STEPSIZE and param.stepsize <= 0:
        yield "stepsize", f"{param.stepsize} with lr_policy {policy}; expected a positive number of iterations"


def _step(param: Any, iteration: int, step: int) -> int:
    if param.lr_policy == "step":
        return int(iteration // param.stepsize)
    reached = step < len(param.stepvalue) and iteration >= param.stepvalue[step]
    return step + 1 if param.lr_policy == "multistep" and reached else step


def _steps(param: Any, iteration: int) -> int:
    """How often the rate has dropped, of a training that was not begun in the middle."""
    step, reached = 0, -1
    for value in param.stepvalue if param.lr_policy == "multistep" else ():
        reached = max(value, reached + 1)
        step += iteration >= reached
    return step if param.lr_policy == "multistep" else _step(param, iteration, 0)


def _exp(x: np.float32) -> np.float32:
    """Correctly rounded, as the C library's; NumPy's own in float32 is not."""
    return f32(np.exp(np.float64(x)))


def _dropped(param: Any, times: int) -> np.floating:
    """base_lr gamma^times; the power of an integer is computed in double precision."""
    return np.float64(param.base_lr) * np.float64(param.gamma) ** times
