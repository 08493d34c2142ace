"""What an individual costs: the time of an iteration and of a test batch, measured, and what follows for a search.

    t(k, b) = s + k i + b q

    t       the engine's seconds for a training of k iterations and one test pass of b batches
    s       to make the nets
    i, q    of an iteration, of a test batch: differences of trainings of which one has more of them
    m       multiply-adds of a training batch's way forward

Between nets that were measured, i and q are straight lines over m; below the smallest one they go down to half of it at
most, since small layers cost more than they compute.
"""
from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, Sequence

import numpy as np

from menndl_caffe.errors import UserError
from menndl_caffe.experiment.measured import needed_outputs
from menndl_caffe.experiment.render import Rendered
from menndl_caffe.nets import prototxt
from menndl_caffe.rank.process import TrainerDied
from menndl_caffe.run.launch import Parts

# How long one of (iterations, test batches) takes, a training of this net: seconds.
Train = Callable[[Rendered, int, int], float]

ENOUGH_SECONDS = 1.0  # that one training takes longer than another, for what they differ by
MOST = 1000  # iterations or batches of a training that measures


@dataclass(frozen=True)
class Timing:
    """Seconds s, i, q of a net, and its m."""

    setup: float
    iteration: float
    test_batch: float
    batch_cost: float

    def training(self, iterations: int, test_batches: int) -> float:
        """Of so many iterations, and of so many test batches in all test passes together."""
        return self.setup + iterations * self.iteration + test_batches * self.test_batch


def measure(train: Train, rendered: Rendered, batch_cost: float) -> Timing:
    """By trainings that differ in their iterations, or in their test batches."""
    train(rendered, 1, 1)  # the first is slower: it reads files, and makes the engine's work space
    once = train(rendered, 1, 1)
    iteration = _each(lambda more: train(rendered, 1 + more, 1) - once)
    test_batch = _each(lambda more: train(rendered, 1, 1 + more) - once)
    return Timing(max(0.0, once - iteration - test_batch), iteration, test_batch, batch_cost)


def _each(longer: Callable[[int], float]) -> float:
    """Seconds of one of what there are more of, so many that the clock can tell."""
    more, seconds = 1, longer(1)
    while seconds < ENOUGH_SECONDS and more < MOST:
        more *= 10
        seconds = longer(more)
    return max(0.0, seconds / more)


def between(timings: Sequence[Timing], batch_cost: float) -> Timing:
    """The timing of a net of this m, by those that were measured."""
    known = sorted(timings, key=lambda timing: timing.batch_cost)
    least, costs = known[0], [timing.batch_cost for timing in known]
    values: Dict[str, float] = {}
    for name in ("setup", "iteration", "test_batch"):
        of_known = [getattr(timing, name) for timing in known]
        values[name] = float(np.interp(batch_cost, [0.0, *costs], [getattr(least, name) / 2, *of_known]))
    return Timing(batch_cost=batch_cost, **values)


@contextlib.contextmanager
def trainings(parts: Parts) -> Iterator[Train]:
    """Short trainings by the engine, in a trainer of their own. UserError where one fails."""
    with contextlib.closing(parts.engine.trainer(parts.threads)) as trainer:
        def train(rendered: Rendered, iterations: int, batches: int) -> float:
            solver = type(rendered.solver.message).FromString(rendered.solver.message.SerializeToString())
            solver.max_iter, solver.test_iter[:], solver.test_interval = iterations, [batches], 0
            solver.test_initialization = False
            message = parts.experiment.message
            needed = needed_outputs(rendered, parts.experiment.objectives, message.fitness)
            texts = {"net": rendered.net_text, "solver": prototxt.dumps(solver)}
            try:
                trainer.start()
                trainer.send(texts, iterations, needed.accuracies)
                while True:
                    said = trainer.poll(1.0) or {}
                    if said.get("event") == "done":
                        return float(said["engine_seconds"])
                    if "reason" in said:
                        raise UserError(f"it does not train: {said['reason']}")
            except TrainerDied as death:
                raise UserError(f"it does not train: {death}") from None
        yield train
