"""What Caffe refuses in a SolverParameter, and what it takes although hardly anybody means it.

Sources: `solver.cpp` (Init), `sgd_solver.cpp`, `sgd_solvers.hpp`, `solver_factory.hpp`.
"""
from __future__ import annotations

from typing import Any, Iterator, Tuple, Union

from menndl_caffe.errors import UserError, did_you_mean
from menndl_caffe.nets.rates import WITH_GAMMA, wrong_rate
from menndl_caffe.nets.upgrade import SOLVER_TYPES, upgrade_solver

WITHOUT_MOMENTUM = ("AdaGrad", "RMSProp")
REGULARIZATIONS = ("L1", "L2")

Wrong = Tuple[str, str]  # a field, and what is said of it: what was found, and what is expected
Doubt = Tuple[Tuple[Union[str, int], ...], str]  # a field's path, and the same


def wrong_of_type(type_: str, param: Any) -> Iterator[Wrong]:
    """What Caffe refuses for a type of solver."""
    if type_ in WITHOUT_MOMENTUM and param.momentum:
        yield "momentum", f"{param.momentum:g} with type {type_}, which takes none; expected 0"
    if type_ == "RMSProp" and not 0 <= param.rms_decay < 1:
        yield "rms_decay", f"{param.rms_decay:g}; expected at least 0 and less than 1"


def refused(param: Any) -> Iterator[Wrong]:
    """On what Caffe aborts before the first update or in it, whatever the nets are; by iter_size 0 it divides."""
    try:
        param = upgrade_solver(param)
    except UserError as error:
        yield "solver_type", str(error).partition(": ")[2]
        return
    if param.type not in SOLVER_TYPES:
        yield "type", f"'{param.type}'{did_you_mean(param.type, SOLVER_TYPES)}"
    for name in ("average_loss", "iter_size"):
        if getattr(param, name) < 1:
            yield name, f"{getattr(param, name)}; expected 1 or more"
    if param.weight_decay and param.regularization_type not in REGULARIZATIONS:
        yield "regularization_type", (f"'{param.regularization_type}'"
                                      f"{did_you_mean(param.regularization_type, REGULARIZATIONS)}")
    yield from wrong_of_type(param.type, param)
    yield from wrong_rate(param)


def doubtful(param: Any) -> Iterator[Doubt]:
    """What Caffe takes, and what it then does. SolverParameters that are `refused` are not for this."""
    policy, end = param.lr_policy, param.max_iter
    if not param.base_lr:
        yield ("base_lr",), "is missing or 0, so nothing is learned; expected a learning rate such as 0.01"
    if policy in WITH_GAMMA and not param.HasField("gamma"):
        yield ("gamma",), f"is missing, so it is 0, with lr_policy {policy}; expected a factor such as 0.1"
    if policy == "step" and param.stepsize >= end:
        yield ("stepsize",), (f"is {param.stepsize}, and a training has {end} iterations: the learning rate never "
                              f"drops; expected less than {end}")
    if policy == "multistep" and not len(param.stepvalue):
        yield ("stepvalue",), "is missing with lr_policy multistep: the learning rate never drops; expected iterations"
    for number, value in enumerate(param.stepvalue if policy == "multistep" else ()):
        if value >= end:
            yield ("stepvalue", number), (f"is {value}, and a training has {end} iterations: it is never reached; "
                                          f"expected less than {end}")
