"""The program "train": a net is trained as `caffe train` does it, through pycaffe's API."""
from __future__ import annotations

import contextlib
import math
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional

from menndl_caffe.nets.passes import test_iterations
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


class Training:
    """A net that is trained as `caffe train` does it, up to one test pass and, at times, from there to a later one.

    Tests come at the iterations at which Caffe tests (solver.cpp, Solver::Step), and always at max_iter, since that one
    is the fitness. They are done here, on the solver's own test net and at its own data position, because pycaffe's
    solver does not hand out their results; the log gets Caffe's own lines. Snapshots are not written.

    Who goes on does to the same solver what an unbroken training does, call for call. The numbers are the same too if
    nobody has drawn random numbers meanwhile, for which Caffe has one generator in the whole process: see `Kept`.
    """

    def __init__(self, engine: Any, request: Mapping[str, Any], clock: Clock) -> None:
        parameter = solver_parameter(engine, request["net"], request["solver"])
        self._engine, self._texts = engine, (request["net"], request["solver"])
        self._max_iter, self._test_iter = parameter.max_iter, parameter.test_iter[0]
        self._tests = test_iterations(parameter)
        self._iteration = 0  # so many are done
        self._tested: Dict[int, Dict[str, float]] = {}  # iteration -> outputs
        self._check(request)
        take_tests_over(parameter)
        with clock.running():
            self._solver = make_solver(engine, parameter)
            self._solver.test_nets[0].share_with(self._solver.net)

    @property
    def is_done(self) -> bool:
        """Whether it has come to max_iter."""
        return self._iteration == self._max_iter

    def goes_on(self, request: Mapping[str, Any]) -> bool:
        """Whether a request of the program "train" is for this training, and for more of it than is done."""
        return self._texts == (request["net"], request["solver"]) and self._iteration < self._end(request)

    def run(self, request: Mapping[str, Any], clock: Clock, say: Callable[..., None]) -> None:
        """Train to the request's end, and say all test passes up to there, those of earlier requests first."""
        self._check(request)
        for iteration, outputs in self._tested.items():
            say(event="test", iteration=iteration, outputs=outputs)
        if self._iteration:
            self._engine.log(f"Iteration {self._iteration}, going on")
        else:
            self._test(clock, say)
        while self._iteration < self._end(request):
            self._step(clock)
            self._test(clock, say)

    def save(self, path: str) -> None:
        """Write the weights."""
        self._solver.net.save(path)

    def _end(self, request: Mapping[str, Any]) -> int:
        return int(request.get("until", self._max_iter))

    def _check(self, request: Mapping[str, Any]) -> None:
        if self._end(request) not in self._tests:
            raise ValueError(f"until: {self._end(request)}; expected an iteration after which a test pass is due: "
                             f"one of {', '.join(map(str, sorted(self._tests)[:5]))} ...")

    def _step(self, clock: Clock) -> None:
        with clock.running():
            self._solver.step(1)
        loss = total_loss(self._solver.net)
        if not math.isfinite(loss):
            raise Diverged(f"training loss is {loss} at iteration {self._iteration}")
        self._iteration += 1

    def _test(self, clock: Clock, say: Callable[..., None]) -> None:
        if self._iteration in self._tests:
            with clock.running():
                outputs = test(self._engine, self._solver.test_nets[0], self._test_iter, self._iteration)
            self._tested[self._iteration] = outputs
            say(event="test", iteration=self._iteration, outputs=outputs)


class Kept:
    """The last training, where it ended before its max_iter. There is never more than one solver: this one is gone
    before another is made."""

    def __init__(self) -> None:
        self._training: Optional[Training] = None

    def take(self, request: Mapping[str, Any]) -> Optional[Training]:
        """It, if this request goes on with it. In no case it is still kept then."""
        training, self._training = self._training, None
        plain = request.get("program", "train") == "train"
        return training if training is not None and plain and training.goes_on(request) else None

    def keep(self, training: Training) -> None:
        """For the next request, if there is more of it."""
        self._training = None if training.is_done else training


def train(engine: Any, request: Mapping[str, Any], clock: Clock, say: Callable[..., None],
          begun: Optional[Training] = None) -> Training:
    """Train a net up to `until`, without that to max_iter, going on with one that is `begun` if given. Report every
    test pass; at max_iter write the weights to `weights`, if given."""
    training = begun or Training(engine, request, clock)
    training.run(request, clock, say)
    if training.is_done and request.get("weights") is not None:
        training.save(request["weights"])
    return training


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
