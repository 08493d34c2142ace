"""How long a search will take, from two nets of it that were trained for a moment."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, List, Optional, Sequence

from menndl_caffe.errors import UserError
from menndl_caffe.experiment.corners import Look
from menndl_caffe.experiment.render import Rendered
from menndl_caffe.experiment.sources import sources
from menndl_caffe.genome import Genome
from menndl_caffe.nets.passes import test_iterations
from menndl_caffe.run.cost import Timing, Train, between, measure
from menndl_caffe.run.launch import Parts
from menndl_caffe.search import program
from menndl_caffe.text import rough
from menndl_caffe.trial import DEFAULT, TRAIN

HOURS = 2  # for which it is told how far a search comes


@dataclass(frozen=True)
class Budget:
    """Of every individual: its iterations, and the batches of all its test passes."""

    iterations: int
    test_batches: int

    @staticmethod
    def of(rendered: Rendered) -> Budget:
        """By a rendered solver."""
        param = rendered.solver.message
        return Budget(param.max_iter, param.test_iter[0] * len(test_iterations(param)))


def estimate(parts: Parts, train: Train, default: Look, looks: Sequence[Look], samples: Sequence[Look],
             individuals: Optional[int], slots: int) -> Iterator[str]:
    """Lines that say it. The costliest of `looks` is measured beside the default; `samples` are random individuals,
    whose mean is what one of the search is taken to cost; `slots` train side by side.

    UserError where the default does not train.
    """
    rendered = _rendered(parts, default.genome)
    budget, timeout = Budget.of(rendered), parts.experiment.message.trial_timeout
    timings = [measure(train, rendered, default.batch_cost)]
    yield _measured("default", timings[0], budget)
    costliest = max(looks, key=lambda one: one.batch_cost, default=default)
    if costliest.batch_cost > default.batch_cost:
        try:
            timings.append(measure(train, _rendered(parts, costliest.genome), costliest.batch_cost))
        except UserError as error:
            yield f"costliest [{costliest.genome}]: {error}"
        else:
            yield _measured(f"costliest [{costliest.genome}]", timings[-1], budget)
    possible = [one for one in samples if not one.why_not] or [default]
    seconds = [between(timings, one.batch_cost).training(budget.iterations, budget.test_batches) for one in possible]
    share = len([one for one in samples if not one.why_not]) / len(samples) if samples else 1.0
    yield from _whole(seconds, share, individuals, slots)
    if program(parts.experiment.message) != TRAIN:
        yield f"that is for plain trainings; those of {parts.experiment.message.type} take longer"
    if parts.experiment.message.HasField("stop"):
        yield "that is as if no training was stopped early"
    if 0 < timeout < max(seconds):
        yield f"trial_timeout: {timeout:g} s, and the longest takes {rough(max(seconds))}: such ones would be given up"


def _rendered(parts: Parts, genome: Genome) -> Rendered:
    return parts.renderer.render(parts.experiment.trial(0, genome), sources(parts.experiment, DEFAULT))


def _measured(which: str, timing: Timing, budget: Budget) -> str:
    whole = timing.training(budget.iterations, budget.test_batches)
    iteration, batch = (f"{seconds * 1000:,.1f} ms" for seconds in (timing.iteration, timing.test_batch))
    return (f"{which}: {iteration} an iteration, {batch} a test batch; {budget.iterations:,} and "
            f"{budget.test_batches:,} of them take {rough(whole)}")


def _whole(seconds: List[float], share: float, individuals: Optional[int], slots: int) -> Iterator[str]:
    """`share` of the individuals are possible, and train for about as long as these."""
    mean = sum(seconds) / len(seconds)
    each, where = mean * share, f"{slots} cores" if slots > 1 else "1 core"
    takes = f"one takes {rough(mean)} on average, {rough(min(seconds))} to {rough(max(seconds))}"
    if individuals:
        yield f"this search: about {rough(individuals * each / slots)} on {where} ({takes})"
    else:
        yield f"this search goes on until its limit, on {where} ({takes})"
    if each:
        yield f"in {HOURS} hours: about {HOURS * 3600 * slots / each:,.0f} individuals"
    yield "An estimate, as if all were random ones: a search comes to prefer some, which may be larger or smaller."
