"""`menndl check`: what a search will meet, before it runs."""
from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, List, Optional, Sequence, Tuple

from menndl_caffe.arguments import add_search, whole
from menndl_caffe.experiment.command import add_overrides
from menndl_caffe.rank.arguments import add_engine
from menndl_caffe.text import aligned, large, memory, say, show

if TYPE_CHECKING:
    from menndl_caffe.experiment.corners import Look
    from menndl_caffe.experiment.experiment import Experiment
    from menndl_caffe.run.launch import Parts

REASONS = 5  # of impossible genomes that are told
MEASURES = {"parameters": ("parameters", large), "multiply_adds": ("multiply-adds of an image", large),
            "memory": ("memory of a training batch", memory)}  # of its blobs


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl check`."""
    add_search(command)
    command.add_argument("--samples", type=whole(0, 100_000), default=100, metavar="N",
                         help="random individuals that are rendered and checked (default: %(default)s)")
    command.add_argument("--measure", action="store_true",
                         help="train the default and the costliest one for some seconds, and say how long the search "
                              "will take")
    add_overrides(command)
    add_engine(command)


def main(arguments: Any) -> None:
    """Look at the corners of the ranges and at random individuals; UserError where the search cannot run."""
    from menndl_caffe.experiment import corners, recorded
    from menndl_caffe.experiment.appraise import check_experiment
    from menndl_caffe.experiment.render import Renderer
    from menndl_caffe.experiment.sources import sources
    from menndl_caffe.run.launch import Options, Parts
    from menndl_caffe.trial import DEFAULT

    parts: Optional[Parts] = None
    if arguments.measure:
        parts = Parts.of(Options(arguments.search, Path("."), arguments.engine, arguments.math, arguments.seed,
                                 arguments.data, arguments.iterations, threads=arguments.threads))
        experiment, renderer = parts.experiment, parts.renderer
    else:
        experiment = recorded.experiment_of(arguments.search, arguments.seed, arguments.data,
                                            arguments.iterations)
        renderer = Renderer(experiment)
        check_experiment(renderer)
    where = sources(experiment, DEFAULT)
    default = corners.look(renderer, where, experiment.space.default)
    named = list(corners.corners(experiment.space))
    at_corners = [corners.look(renderer, where, genome) for _, genome in named]
    samples = [corners.look(renderer, where, genome) for genome in corners.random_genomes(
        experiment.space, arguments.samples, experiment.message.random_seed)]

    show(_headline(experiment, arguments.search))
    show(_sizes(default, [default, *at_corners, *samples]))
    show("\n".join([*_corner_lines([what for what, _ in named], at_corners),
                    *_sample_lines(samples, experiment.message.random_seed)]))
    for line in _doubts(renderer, where):
        say(f"note: {line}")
    if parts is not None:
        _say_costs(parts, default, at_corners, samples)


def _headline(experiment: Experiment, search: str) -> str:
    from menndl_caffe.report.rungs import of_rungs

    message, total = experiment.message, _planned(experiment)
    individuals = "individuals" if total is None else f"{total:,} individual{'s' * (total != 1)}"
    rungs = of_rungs(message)
    return (f"{search}: {message.type}, {individuals} of {len(experiment.space.genes)} genes and {message.max_iter:,} "
            f"iterations{rungs and f'; {rungs}'}")


def _planned(experiment: Experiment) -> Optional[int]:
    """Individuals of the whole search, as far as it or its limit knows."""
    from menndl_caffe import search
    from menndl_caffe.run.numbering import Numbering

    problem = search.Problem(experiment.space, experiment.message.random_seed, Numbering(experiment),
                             objectives=experiment.objectives)
    algorithm = search.make(experiment.message, problem)
    return search.total(experiment.message, algorithm)


def _sizes(default: Look, looks: Sequence[Look]) -> str:
    """A table of what nets of these ranges measure."""
    from menndl_caffe.experiment.corners import spread

    rows: List[Tuple[str, ...]] = [("", "default", "least", "most")]
    for measure, (words, said) in MEASURES.items():
        ends = spread(looks, measure)
        if ends and measure in default.measures:
            rows.append((words, *map(said, (default.measures[measure], *ends))))
    return aligned(rows) if len(rows) > 1 else "how large the nets are is not known before they run"


def _corner_lines(names: Sequence[str], looks: Sequence[Look]) -> Iterator[str]:
    wrong = [(name, one.why_not) for name, one in zip(names, looks) if one.why_not]
    yield f"corners: {len(wrong)} of {len(looks)} impossible" if wrong else f"corners: all {len(looks)} possible"
    yield from (f"  {name}: {why_not}" for name, why_not in wrong)


def _sample_lines(samples: Sequence[Look], seed: int) -> Iterator[str]:
    from menndl_caffe.experiment.corners import reasons

    wrong = reasons(samples)
    count = sum(reason.often for reason in wrong)
    if not samples:
        return
    said = f"{100 * count / len(samples):.0f}% impossible" if count else "all possible"
    yield (f"random: {said}, of {len(samples):,} individuals (seed {seed})"
           + "; such ones are not trained and count as failed" * bool(count))
    for reason in wrong[:REASONS]:
        yield f"  {reason.often} like [{reason.example}]: {reason.words}"
    if len(wrong) > REASONS:
        yield f"  and {len(wrong) - REASONS} more reasons"


def _doubts(renderer: Any, where: Any) -> List[str]:
    from menndl_caffe.experiment.measured import measured_on, needed_outputs
    from menndl_caffe.experiment.solver_check import doubts

    experiment = renderer.experiment
    rendered = renderer.render(experiment.trial(0, experiment.space.default), where)
    needed = needed_outputs(rendered, experiment.objectives, experiment.message.fitness)
    return list(doubts(rendered, measured_on(rendered, needed), where))


def _say_costs(parts: Parts, default: Look, at_corners: Sequence[Look], samples: Sequence[Look]) -> None:
    """Train the default and the costliest, and say what follows for the whole search."""
    from menndl_caffe.run.cost import trainings
    from menndl_caffe.run.estimate import estimate

    cores = len(os.sched_getaffinity(0))
    say(f"training the default and the costliest for some seconds on {parts.engine.name} ({parts.engine.found})")
    with trainings(parts) as train:
        show("\n".join(estimate(parts, train, default, [*at_corners, *samples], samples, _planned(parts.experiment),
                                max(1, cores // parts.threads))))
