"""The program "train": a net is trained as `caffe train` does it, through pycaffe's API."""
from __future__ import annotations

import contextlib
import math
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Set

from menndl_caffe.trainer.nets import make_solver, solver_parameter, take_tests_over


class Diverged(Exception):
    """A loss, weight or score that is not finite: what follows is NaN for ever, so the rest is not trained.

    The process must not be used again: max pooling finds no maximum among NaN and then writes its gradient before the
    start of the blob (pooling_layer.cpp, the mask stays -1), which damages the heap.
    """


class Unsuitable(ValueError):
    """A net or a solver for which a program is not made: the message says what was found and what would do."""


class Clock:
    """Seconds spent inside the engine."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Counts the time of its block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start


def train(engine: Any, request: Mapping[str, Any], clock: Clock, say: Callable[..., None]) -> None:
    """Train a net as `caffe train` does, report every test pass, and write the weights to `weights`, if given.

    Tests come at the iterations at which Caffe tests (solver.cpp, Solver::Step), and always at max_iter, since that one
    is the fitness. They are done here, on the solver's own test net and at its own data position, because pycaffe's
    solver does not hand out their results; the log gets Caffe's own lines. Snapshots are not written.
    """
    parameter = solver_parameter(engine, request["net"], request["solver"])
    tests, test_iter = test_iterations(parameter), parameter.test_iter[0]
    take_tests_over(parameter)
    with clock.running():
        training = make_solver(engine, parameter)
        training.test_nets[0].share_with(training.net)
    for iteration in range(parameter.max_iter + 1):
        if iteration in tests:
            with clock.running():
                outputs = test(engine, training.test_nets[0], test_iter, iteration)
            say(event="test", iteration=iteration, outputs=outputs)
        if iteration < parameter.max_iter:
            with clock.running():
                training.step(1)
            loss = total_loss(training.net)
            if not math.isfinite(loss):
                raise Diverged(f"training loss is {loss} at iteration {iteration}")
    if request.get("weights") is not None:
        training.net.save(request["weights"])


def test_iterations(parameter: Any) -> Set[int]:
    """The numbers of iterations after which a test pass is due."""
    interval, max_iter = parameter.test_interval, parameter.max_iter
    regular = range(0 if parameter.test_initialization else interval, max_iter, interval) if interval else ()
    return {*regular, max_iter}


def test(engine: Any, net: Any, batches: int, iteration: int,
         show: Callable[[int], None] = lambda number: None) -> Dict[str, float]:
    """Mean of every scalar output of the test net over `batches` batches (solver.cpp, Solver::Test). `show` is called
    with the number of each, before its pass.

    A finite loss is no proof that the accuracy means anything: HingeLoss takes max(0, NaN) for 0. So the weights and
    the scores that Accuracy layers read must be finite too.
    """
    engine.log(f"Iteration {iteration}, Testing net (#0)")
    for layer, weights in net.params.items():
        if not all(_is_finite(blob) for blob in weights):
            raise Diverged(f"weights of layer {layer} are not finite at iteration {iteration}")
    scores = scores_of_accuracy(net)
    # Summed in Caffe's float32, since more precise means are rounded to other digits now and then.
    sums = {name: net.blobs[name].data.dtype.type(0) for name in sorted(net.outputs) if net.blobs[name].data.size == 1}
    for number in range(batches):
        show(number)
        net.forward()
        for name in scores:
            if not _is_finite(net.blobs[name]):
                raise Diverged(f"scores {name} of the test net are not finite at iteration {iteration}")
        for name in sums:
            sums[name] += net.blobs[name].data.ravel()[0]
    # As many digits as Caffe prints.
    means = {name: float(f"{float(value / value.dtype.type(batches)):.6g}") for name, value in sums.items()}
    for i, (name, mean) in enumerate(means.items()):
        engine.log(f"    Test net output #{i}: {name} = {mean:g}")
        if not math.isfinite(mean):
            raise Diverged(f"test output {name} is {mean} at iteration {iteration}")
    return means


def scores_of_accuracy(net: Any) -> List[str]:
    """The blobs from which Accuracy layers decide what a net recognizes."""
    return [net.bottom_names[name][0] for name, layer in net.layer_dict.items() if layer.type == "Accuracy"]


def _is_finite(blob: Any) -> bool:
    return math.isfinite(float(abs(blob.data).max()))


def total_loss(net: Any) -> float:
    """The net's loss in its last forward pass: every top times its loss weight (layer.hpp, Layer::Forward)."""
    return sum(weight * float(net.blobs[name].data.sum()) for name, weight in net.blob_loss_weights.items() if weight)
