"""The plain training of a net in hand, iteration by iteration: what the program "train" does with the same texts."""
from __future__ import annotations

import math
from typing import Any, Callable, Mapping, NamedTuple

import numpy as np

from menndl_caffe.nets.passes import test_iterations
from menndl_caffe.nets.rates import learning_rate
from menndl_caffe.trainer.net_in_hand import TRAIN, VALIDATION, NetInHand
from menndl_caffe.trainer.nets import solver_parameter
from menndl_caffe.trainer.train import Diverged, Unsuitable, test


class Batches(NamedTuple):
    """How many there are."""

    train: int  # in an epoch
    validation: int  # in a test pass
    train_period: int  # after how many the images come again
    validation_period: int


Tested = Callable[[int], None]  # told the iterations that are done, after each: a test pass may be due


def check_plain(hand: NetInHand) -> None:
    """Unsuitable where the steps of a net in hand are not those of the plain training, or not v <- mu v + a (g + d w).
    """
    param = hand.param
    if param.HasField("solver_type"):
        raise Unsuitable("the solver states solver_type; expected type")
    if param.clip_gradients > 0:
        raise Unsuitable(f"the solver has clip_gradients: {param.clip_gradients:g}; expected none")
    if param.iter_size != 1:
        raise Unsuitable(f"the solver has iter_size: {param.iter_size}; expected 1, with a larger batch_size")
    if param.regularization_type != "L2":
        raise Unsuitable(f'the solver has regularization_type: "{param.regularization_type}"; expected "L2"')
    if hand.has_random_images:
        raise Unsuitable("the training images are mirrored or cropped at random; expected images that are the same "
                         "each time (no mirror, no crop_size)")


def learning_rates(param: Any) -> np.ndarray:
    """The learning rate of each iteration of a SolverParameter, shape (max_iter,)."""
    rates, step = np.empty(param.max_iter), 0
    for iteration in range(param.max_iter):
        rates[iteration], step = learning_rate(param, iteration, step)
    return rates


def advance(hand: NetInHand, iteration: int) -> None:
    """One iteration, on the batch of its number. Diverged where the loss is not finite."""
    hand.show(TRAIN, iteration)
    loss = hand.step()
    if not math.isfinite(loss):
        raise Diverged(f"training loss is {loss} at iteration {iteration}")


def retrain(hand: NetInHand, tested: Tested) -> None:
    """The whole plain training of a net in hand that is as made."""
    tested(0)
    for iteration in range(hand.param.max_iter):
        advance(hand, iteration)
        tested(iteration + 1)


def tester(hand: NetInHand, request: Mapping[str, Any], batches: int, say: Callable[..., None]) -> Tested:
    """What says a test pass of so many validation batches wherever the program "train" tests in this request."""
    tests = test_iterations(solver_parameter(hand.engine, request["net"], request["solver"]))

    def tested(iteration: int) -> None:
        if iteration in tests:
            outputs = test(hand.engine, hand.solver.test_nets[0], batches, iteration,
                           lambda number: hand.show(VALIDATION, number))
            say(event="test", iteration=iteration, outputs=outputs)

    return tested
