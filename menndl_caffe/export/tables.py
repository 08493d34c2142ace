"""A run as two tables: a row a trial, and a row a test pass (the learning curves, in long form)."""
from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from menndl_caffe.experiment.recorded import Run, counted
from menndl_caffe.genome import ChoiceGene, Gene, IntGene
from menndl_caffe.objective import LOSS, MEASURES
from menndl_caffe.report.descents import distrust, gradient_cells, gradient_columns
from menndl_caffe.report.summary import has_gradients, learns_decays, told_fitness
from menndl_caffe.trial import Result, Trial

BEFORE_GENES: Dict[str, type] = {"id": int, "generation": int, "role": str}
RUNGS: Dict[str, type] = {"until": int, "continues": int}
AFTER_GENES: Dict[str, type] = {
    "status": str, "fitness": float, "loss": float, "seconds": float, "engine_seconds": float, "rank": int, "host": str,
    "started": datetime, "seed": int, "reason": str, "same_as": int, **dict.fromkeys(MEASURES, int)}


class Table(NamedTuple):
    """Column -> type of its values (int, float, str, datetime in UTC), and rows; None where there is no value."""

    columns: Dict[str, type]
    rows: List[Tuple[Any, ...]]


def trials(run: Run) -> Table:
    """Every trial that was handed out, by id, the default and the final test too; without a status while it has no
    result. `fitness` is an accuracy in [0, 1], 0 for the failed, or what else the first objective measures, of a trial
    that was stopped what it was then; a trial
    with `same_as` cost no time of its own. Parameters, multiply-adds and memory are as in experiment.appraise.measures;
    in the end `measured_NAME`, what further objectives measure, and of a search along gradients `descent`, counted from
    1, `tolerance`, `gradient.GENE` and `distrust`, why a gradient was not used; of one whose trainings learn decays
    `learned_mean`, their geometric mean; of one with rungs `until`, the iteration at which a trial ends, and
    `continues`, the one with whose training it goes on. There an individual is several trials, and the last one's
    result is its own."""
    genes, record = run.space.genes, run.record
    further = [one.measure for one in run.objectives[1:] if one.measure not in (LOSS, *MEASURES)]
    columns = {**BEFORE_GENES, **{column(gene): _type(gene) for gene in genes}, **AFTER_GENES,
               **{f"measured_{measure}": float for measure in further}, **_descent_columns(run),
               **({"learned_mean": float} if learns_decays(run) else {}), **(RUNGS if run.rungs else {})}
    rows = []
    for id, trial in sorted(record.trials.items()):
        result = record.results.get(id)
        rows.append((*_row(run, trial, result), *(result and result.measures.get(measure) for measure in further),
                     *(_descent_cells(run, trial, result) if has_gradients(run) else ()),
                     *([result and result.learned.get("mean")] if learns_decays(run) else []),
                     *((trial.end, trial.continues) if run.rungs else ())))
    return Table(columns, rows)


def _descent_columns(run: Run) -> Dict[str, type]:
    if not has_gradients(run):
        return {}
    return {"descent": int, "tolerance": float, **dict.fromkeys(gradient_columns(run), float), "distrust": str}


def _descent_cells(run: Run, trial: Trial, result: Optional[Result]) -> Iterator[Any]:
    yield from (counted(trial.descent), trial.tolerance)
    yield from gradient_cells(run, result) if result else [None] * len(run.space.genes)
    yield result and trial.descent is not None and distrust(result) or None


def column(gene: Gene) -> str:
    """The gene's name; `gene_NAME` where that is another column's."""
    taken = gene.name in BEFORE_GENES or gene.name in AFTER_GENES
    return f"gene_{gene.name}" if taken else gene.name


def _type(gene: Gene) -> type:
    return str if isinstance(gene, ChoiceGene) else int if isinstance(gene, IntGene) else float


def _row(run: Run, trial: Trial, result: Optional[Result]) -> Tuple[Any, ...]:
    before = (trial.id, counted(trial.generation), trial.role, *trial.genome.values)
    if result is None:
        known = dict.fromkeys(AFTER_GENES)
    else:
        known = {name: getattr(result, name, None) for name in AFTER_GENES}
        known["fitness"] = told_fitness(run, result)
        known.update((name, int(result.measures[name])) for name in MEASURES if name in result.measures)
        known.update(started=datetime.fromtimestamp(result.started, timezone.utc), reason=result.reason or None)
    return (*before, *{**known, "seed": trial.seed}.values())


def curves(run: Run) -> Table:
    """Every test pass of every training, by trial; a trial with `same_as` has that one's curve, and one that goes on
    with another has all that one's passes."""
    record = run.record
    passed_on = {record.trials[id].continues for id, result in record.results.items()
                 if result.curve and result.same_as is None}

    def passes() -> Iterator[Tuple[Any, ...]]:
        for id, result in sorted(record.results.items()):
            if result.same_as is None and id not in passed_on:
                for iteration, value, loss in result.curve:
                    yield id, iteration, *{run.curve_measure: value, LOSS: loss}.values()

    columns = {"id": int, "iteration": int, run.curve_measure: float, LOSS: float}
    return Table(columns, list(passes()))
