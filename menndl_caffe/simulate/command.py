"""`menndl simulate`: what a search would do on so many ranks, on a virtual clock."""
from __future__ import annotations

import argparse
import functools
import json
import math
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Sequence

from menndl_caffe.arguments import add_json, new_folder, whole
from menndl_caffe.errors import UserError
from menndl_caffe.experiment.command import add_overrides
from menndl_caffe.text import say, show

MASTER = 1 / 7639  # seconds a trial, with fsync after every result on a local disk (docs/clusters.md)


def number(low: float, high: float) -> Callable[[str], float]:
    """The type of an argument that is a number above `low`, up to `high`."""
    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low < value <= high:
            raise argparse.ArgumentTypeError(f"{text!r}; expected a number above {low:g}, up to {high:g}")
        return value
    return convert


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl simulate`."""
    command.add_argument("searches", nargs="+", metavar="SEARCH", help="search file; several are shown side by side")
    command.add_argument("--ranks", type=whole(1, 10**6), nargs="+", required=True, metavar="N",
                         help="ranks that train; several are shown one after the other")
    times = command.add_mutually_exclusive_group()
    times.add_argument("--times", metavar="RUN", help="how long trainings take, as this run or table of trainings "
                       "(CSV: a column for each gene, accuracy, seconds) has it")
    times.add_argument("--rate", type=number(0, 1e9), metavar="GIGA", help="the same from billions of multiply-adds a "
                       "second that a rank reaches (without either: 18, as real Caffe on one core)")
    command.add_argument("--spread", type=number(0, 3), metavar="SIGMA", help="with --rate or nothing: spread of the "
                         "logarithm of times about that (default: none)")
    command.add_argument("--fitness", metavar="RUN", help="what individuals reach, as this run or table has it, others "
                         "from their nearest (without: by chance, which means nothing)")
    command.add_argument("--accuracy", type=float, metavar="A", help="also say when this fitness is reached")
    command.add_argument("--master", type=number(0, 3600), default=MASTER, metavar="SECONDS",
                         help=f"what the master needs for a trial (default: {MASTER:.2g}, as measured with fsync)")
    command.add_argument("--die", type=number(0, 3600), default=0.0, metavar="RATE",
                         help="deaths of a rank in an hour; its trial begins anew on another one (default: none)")
    command.add_argument("--limit-hours", type=number(0, 1e6), metavar="H", help="end after so many hours")
    add_overrides(command)
    command.add_argument("--out", type=new_folder, metavar="DIR", help="also write tables and a figure there")
    add_json(command)


def main(arguments: Any) -> None:
    """Simulate every search on every number of ranks, and print a row for each."""
    from menndl_caffe.simulate import answer
    from menndl_caffe.simulate.simulation import Circumstances, simulate

    if arguments.accuracy is not None and not arguments.fitness:
        raise UserError("--accuracy: when it is reached is not known without --fitness RUN")
    how = Circumstances(arguments.master, arguments.die, arguments.limit_hours)
    setups = list(_setups(arguments))
    outcomes, rows, of_each = [], [], []
    for setup in setups:
        for ranks in arguments.ranks:
            outcomes.append(simulate(setup, ranks, how, functools.partial(_note, setup.name, ranks)))
            rows.append(answer.row(outcomes[-1], setup, arguments.accuracy))
            of_each.append(setup)
    if arguments.json:
        show(json.dumps({"times": {one.name: one.times.said for one in setups},
                         "fitness": {one.name: one.landscape.said for one in setups},
                         "master_seconds": how.master, "simulations": rows}, indent=2))
    else:
        show(answer.text(rows, setups, outcomes, how))
    if arguments.out:
        _write(arguments.out, answer, outcomes, rows, of_each, arguments.accuracy)


def _note(name: str, ranks: int, individuals: int) -> None:
    """How far a long simulation is, for who sits and waits."""
    if individuals and sys.stderr.isatty():
        say(f"{name} on {ranks:,} rank{'s' * (ranks > 1)}: {individuals:,} individuals")


def _setups(arguments: Any) -> Iterator[Any]:
    from menndl_caffe.experiment import recorded, search_file
    from menndl_caffe.search import program, rungs_of
    from menndl_caffe.simulate.curves import shares_of
    from menndl_caffe.simulate.known import known
    from menndl_caffe.simulate.landscape import Chance, Neighbours
    from menndl_caffe.simulate.simulation import Setup
    from menndl_caffe.simulate.times import Work, assumed, fitted, image_of
    from menndl_caffe.trial import HYPERGRADIENT

    times = arguments.times
    image = image_of(recorded.read(Path(times))) if times and not Path(times).is_file() else None
    for name, path in zip(_names(arguments.searches), arguments.searches):
        experiment = search_file.load(path, arguments.seed, arguments.data, arguments.iterations)
        if program(experiment.message) == HYPERGRADIENT:
            raise UserError(f"{path}: goes down gradients, which no simulation has; expected another type")
        if experiment.message.warm_start:
            raise experiment.document.error(("warm_start", 0), "what earlier runs know is not simulated; leave it out")
        work = Work(experiment, image)
        found = fitted(times, experiment, work) if times else assumed(arguments.rate, work, arguments.spread or 0.0)
        shares = shares_of(rungs_of(experiment.message), work.passes, experiment.message.max_iter)
        landscape = (Neighbours(known(arguments.fitness, experiment), experiment.space, arguments.fitness, shares,
                                experiment.objectives[0])
                     if arguments.fitness else Chance(len(experiment.objectives), shares))
        yield Setup(name, experiment, work, found, landscape)


def _names(paths: Sequence[str]) -> List[str]:
    """Of several search files, the shortest that tell them apart."""
    names = [Path(path).name.split(".")[0] for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


def _write(folder: Path, answer: Any, outcomes: Sequence[Any], rows: Sequence[Any], setups: Sequence[Any],
           accuracy: Optional[float]) -> None:
    from menndl_caffe.files import replacing

    texts = {"simulated.csv": answer.csv(rows),
             "simulated_best.csv": answer.best_csv(outcomes, [one.landscape for one in setups])}
    contents = {name: text.encode() for name, text in texts.items()}
    contents.update(_figure(answer, outcomes, setups, accuracy))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            with replacing(folder / name) as aside:
                aside.write_bytes(content)
    except OSError as error:
        raise UserError(f"cannot write {error.filename or folder}: {error.strerror or error}") from None
    say(f"{folder}: {', '.join(contents)}")


def _figure(answer: Any, outcomes: Sequence[Any], setups: Sequence[Any], wanted: Optional[float]) -> Any:
    try:
        from menndl_caffe.report.figures import files_of, simulated_figure
        from menndl_caffe.report.figures.simulated import KINDS, Simulated
    except ImportError as error:
        say(f"menndl simulate: no figure, which needs matplotlib ({error}): `pip install 'menndl_caffe[report]'`")
        return {}
    several = len({one.name for one in setups}) > 1
    drawn = [Simulated((f"{one.search}, " if several else "") + f"{one.ranks:,} rank{'s' * (one.ranks > 1)}",
                       {kind: one.share(kind) for kind in KINDS},
                       answer.curve(one) if setup.landscape.is_known else [])
             for one, setup in zip(outcomes, setups)]
    fitness = setups[0].experiment.objectives[0].measure
    return dict(files_of("simulated", lambda: simulated_figure(drawn, fitness, wanted)))
