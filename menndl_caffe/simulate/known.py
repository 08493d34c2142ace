"""What is known of trainings: individuals of a run, or rows of a table, with their results and times."""
from __future__ import annotations

import csv
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.experiment import Experiment
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.genome import Genome, SearchSpace
from menndl_caffe.objective import LOSS, Objective, translated, values
from menndl_caffe.trial import INDIVIDUAL, OK, STATUSES, STOPPED, Result, Trial

TAKEN_OVER = "same_as"  # a column of `menndl export`: rows that took no time of their own


class Known(NamedTuple):
    """One training of an individual, to its end or to the rung at which it was stopped."""

    genome: Genome
    status: str
    values: Optional[Tuple[float, ...]]  # of each objective, the fitness first, then; None where it failed
    seconds: float
    curve: Tuple[Tuple[float, float], ...] = ()  # share of the iterations, fitness; none where it is not known
    share: float = 1.0  # of the iterations, to which it came


def known(source: str, experiment: Experiment) -> List[Known]:
    """The trainings that RUN's journal or TABLE.csv has of this experiment's individuals; UserError where there are
    none. Of a run that has other genes or ranges, those that fit. Those that a run stopped early are known as far as
    they came; a table does not say how far that was, and they are left out."""
    path = Path(source)
    found = list(_of_table(path, experiment) if path.is_file() else _of_run(recorded.read(path), experiment))
    if not found:
        raise UserError(f"{source}: has no training of an individual that fits the genes of this search: "
                        f"{' '.join(experiment.space.names)}")
    return found


def _of_run(run: Run, experiment: Experiment) -> Iterator[Known]:
    several = any(one.is_tested for one in experiment.objectives[1:])  # of which a rung says nothing
    for trial, result in run.record.individuals():
        if result.same_as is not None or result.status == STOPPED and several:
            continue
        try:
            genome = experiment.space.adopted(trial.genome)
            measured = translated(result, run.objectives, experiment.objectives)
        except (ValueError, KeyError):
            continue
        yield Known(genome, result.status, None if result.failed else values(experiment.objectives, measured),
                    run.record.seconds(trial), _curve(run, trial, result, experiment.objectives[0]),
                    trial.end / trial.max_iter)


def _curve(run: Run, trial: Trial, result: Result, fitness: Objective) -> Tuple[Tuple[float, float], ...]:
    """Its curve, where that shows the fitness."""
    if fitness.measure not in (LOSS, run.curve_measure):
        return ()
    return tuple((at / trial.max_iter, loss if fitness.measure == LOSS else value) for at, value, loss in result.curve)


def _of_table(path: Path, experiment: Experiment) -> Iterator[Known]:
    """A row each: a column for each gene; `fitness`, or what the objectives measure by its name; `seconds`; and where
    it may be other than ok, `status`, which is empty where there is no result yet. Of an individual that went from rung
    to rung the last one counts, with the `seconds` of all."""
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        fitness = experiment.objectives[0].measure
        named = fitness if fitness in (reader.fieldnames or ()) else "fitness"
        wanted = [named, *(one.measure for one in experiment.objectives[1:])]
        missing = {*experiment.space.names, *wanted, "seconds"} - {*(reader.fieldnames or ())}
        if missing:
            raise UserError(f"{path}:1: has no column {', '.join(sorted(missing))}; expected one for each gene, "
                            f"{' and '.join(wanted)}, and seconds, as `menndl export --to csv` writes them")
        rungs: Dict[Optional[str], float] = {}  # seconds up to there, by id
        try:
            for row in reader:
                if not row.get(TAKEN_OVER) and row.get("role", INDIVIDUAL) == INDIVIDUAL and row.get("status") != "":
                    seconds = float(row["seconds"]) + rungs.get(row.get("continues"), 0.0)
                    if row.get("status") == STOPPED:
                        rungs[row.get("id")] = seconds
                    else:
                        yield _row(row, experiment.space, wanted, seconds)
        except (TypeError, ValueError, csv.Error):
            raise UserError(f"{path}:{reader.line_num}: is no training of this search's genes; expected values within "
                            "their ranges, and numbers") from None


def _row(row: Dict[str, str], space: SearchSpace, wanted: Sequence[str], seconds: float) -> Known:
    genome = space.genome(gene.parse(row[gene.name]) for gene in space.genes)
    status = row.get("status") or OK
    if status not in STATUSES:
        raise ValueError
    return Known(genome, status, tuple(float(row[name]) for name in wanted) if status == OK else None, seconds)
