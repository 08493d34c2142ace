"""A run as columns: what the page's script draws. Plain data, one list a column, an entry for each result.

The journal's text may hold anything; what leaves here is numbers, or text that the script shows as text.
"""
from __future__ import annotations

import math
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from menndl_caffe.experiment.recorded import Run, seconds
from menndl_caffe.genome import ChoiceGene, Gene, IntGene, RealGene
from menndl_caffe.objective import LOSS, Objective, values
from menndl_caffe.report.busy import BusyTime
from menndl_caffe.report.summary import of_role, roles
from menndl_caffe.text import printable
from menndl_caffe.trial import CONFIRM, INDIVIDUAL, STATUSES, STOPPED, Result, Trial

# What is measured of a net -> its significant digits in the page; more would double the column there.
MEASURED = {"parameters": 9, "multiply_adds": 3}


class Names:
    """Texts that occur often, each kept once: `index(text)` is its place in `texts`."""

    def __init__(self) -> None:
        self.texts: List[str] = []
        self._places: Dict[str, int] = {}

    def index(self, text: Any) -> int:
        """The place of this text, a new one if need be."""
        place = self._places.setdefault(str(text), len(self.texts))
        if place == len(self.texts):
            self.texts.append(printable(str(text), lines=True))
        return place


def columns(run: Run) -> Dict[str, Any]:
    """All results in the order of their coming, with genes and curves.

    `time` is when a result came and `begin` when its training began, both on the run's clock of BusyTime; a result
    taken over from the same individual takes no time. Only a training that went to its end has a fitness; with rungs,
    `until` is where a trial ended, None for its end, and `reached` what one had that was stopped. An individual is its
    last trial, whose `seconds` are those of all its rungs; one that goes on is none yet. `generation` is the stage of
    Run.stages, and `stage` what that is called. `measures` has the columns that any result has a value in, `objectives`
    a column for each of several, `front` the rows that no other one dominates in these. `role` has the rows of the
    default, of the best's test and of the yardstick; the test of one that was the best earlier has none.
    """
    stages, trials = run.stages, run.record.trials
    pairs = [(trials[id], result) for id, result in run.record.results.items() if trials[id].role != CONFIRM]
    ends = {pair[0].id for pair in (of_role(run, role) for role in roles(run)) if pair}
    hosts, reasons = Names(), Names()
    begin, end = _clock([result for _, result in pairs])
    curves, curve_of = _curves(pairs)
    return {
        "genes": [gene_dict(gene) for gene in run.space.genes], "stage": stages.name,
        "statuses": list(STATUSES),
        "id": [trial.id for trial, _ in pairs],
        "individual": [int(trial.role == INDIVIDUAL and trial.id not in run.record.continued) for trial, _ in pairs],
        "role": {trial.role: row for row, (trial, _) in enumerate(pairs)
                 if trial.id in ends},
        "generation": [stages.of(trial) for trial, _ in pairs],
        "values": [[_position(gene, trial.genome.values[i]) for trial, _ in pairs]
                   for i, gene in enumerate(run.space.genes)],
        "status": [STATUSES.index(result.status) for _, result in pairs],
        "fitness": [finite(result.fitness) if result.finished else None for _, result in pairs], **_rungs(run, pairs),
        "measure": run.fitness.measure, "minimize": run.fitness.minimize,
        "label": run.fitness.label(run.fitness_set),
        "curve_measure": run.curve_measure,
        "curve_label": Objective(run.curve_measure).label(run.fitness_set), **_objectives(run, pairs),
        "loss": [finite(result.loss) for _, result in pairs],
        "begin": begin, "time": end,
        "seconds": [finite(round(seconds(run.record, trial), 3)) for trial, _ in pairs],
        "measures": _measures(run, [result for _, result in pairs]),
        "rank": [result.rank for _, result in pairs],
        "host": [hosts.index(result.host) for _, result in pairs],
        "reason": [reasons.index(result.reason) for _, result in pairs],
        "seed": [trial.seed for trial, _ in pairs],
        "same": [result.same_as for _, result in pairs],
        "curve": curve_of, "curves": curves, "hosts": hosts.texts, "reasons": reasons.texts,
    }


def _rungs(run: Run, pairs: Sequence[Tuple[Trial, Result]]) -> Dict[str, Any]:
    """Where trials ended, and what the stopped had there; nothing without rungs."""
    if not run.rungs:
        return {}
    return {"until": [trial.until for trial, _ in pairs],
            "reached": [finite(result.fitness) if result.status == STOPPED else None for _, result in pairs]}


def _objectives(run: Run, pairs: Sequence[Tuple[Trial, Result]]) -> Dict[str, Any]:
    """The values of several objectives; nothing where there is one."""
    if len(run.objectives) == 1:
        return {}
    none = [None] * len(run.objectives)
    by_row = [values(run.objectives, result) if result.finished else none for _, result in pairs]
    front = {trial.id for trial, _ in run.front()}
    return {"front": [row for row, (trial, _) in enumerate(pairs) if trial.id in front],
            "objectives": [{"measure": objective.measure, "minimize": objective.minimize,
                            "label": objective.label(run.fitness_set), "values": [finite(row[place]) for row in by_row]}
                           for place, objective in enumerate(run.objectives)]}


def _measures(run: Run, results: Sequence[Result]) -> Dict[str, List[Optional[float]]]:
    """Those of the nets, and what further objectives measure."""
    def column(name: str, digits: int) -> List[Optional[float]]:
        values = (result.measures.get(name) for result in results)
        return [None if value is None else _short(float(f"{value:.{digits}g}")) for value in values]

    further = {objective.measure: 6 for objective in run.objectives[1:] if objective.measure not in (LOSS, *MEASURED)}
    return {name: column(name, digits) for name, digits in {**MEASURED, **further}.items()
            if any(name in result.measures for result in results)}


def _short(value: float) -> float:
    return int(value) if value.is_integer() else value


def finite(value: Any) -> Optional[float]:
    """A number as JSON can write it; None for none, and for what is not finite."""
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


def gene_dict(gene: Gene) -> Dict[str, Any]:
    """A gene as the script knows it; the default of a choice is its place among the choices."""
    if isinstance(gene, ChoiceGene):
        choices = [printable(choice, lines=True) for choice in gene.choices]
        return {"name": gene.name, "kind": "choice", "choices": choices, "default": gene.choices.index(gene.default)}
    kind = "log" if isinstance(gene, RealGene) and gene.log else "whole" if isinstance(gene, IntGene) else "linear"
    return {"name": gene.name, "kind": kind, "low": gene.minimum, "high": gene.maximum,
            "step": gene.step if isinstance(gene, IntGene) else 0, "default": gene.default}


def _position(gene: Gene, value: Any) -> Optional[float]:
    """A gene's value as a number: of a choice its place among the choices."""
    if isinstance(gene, ChoiceGene):
        return gene.choices.index(value) if value in gene.choices else None
    return finite(value)


def _clock(results: Sequence[Result]) -> Tuple[List[float], List[float]]:
    """When each result's training began and when the result came, in seconds of BusyTime."""
    clock = BusyTime(results)
    begin = clock.at([result.started for result in results])
    end = clock.at([result.started + result.seconds for result in results])
    copied = np.array([result.same_as is not None for result in results], dtype=bool)
    # A copied result came when the one before it came, not when its individual was trained.
    end = np.where(copied, np.maximum.accumulate(np.where(copied, 0.0, end)), end) if len(results) else end
    begin = np.where(copied, end, begin)
    return begin.round(3).tolist(), end.round(3).tolist()


def _curves(pairs: Sequence[Tuple[Trial, Result]]) -> Tuple[Dict[str, Any], List[Optional[int]]]:
    """The different learning curves, and the place among them of each result's own; None where it has none.

    Curves over the same iterations share one list of them in `iterations`.
    """
    grids: Dict[Tuple[int, ...], int] = {}
    place: Dict[int, Optional[int]] = {}
    kept: Dict[str, List[Any]] = {"grid": [], "value": [], "loss": []}
    for trial, result in pairs:
        if result.same_as in place or not result.curve:
            place[trial.id] = place.get(result.same_as) if result.same_as is not None else None
            continue
        iterations, shown, loss = zip(*result.curve)
        place[trial.id] = len(kept["grid"])
        kept["grid"].append(grids.setdefault(iterations, len(grids)))
        kept["value"].append([finite(value) for value in shown])
        kept["loss"].append([finite(value) for value in loss])
    return {"iterations": list(grids), **kept}, [place[trial.id] for trial, _ in pairs]
