"""What the page says of a search along gradients: its descents, and what the test set says in the end."""
from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.objective import LOSS, Objective
from menndl_caffe.report.best import cell
from menndl_caffe.report.descents import FAILED, Descent, descents, distrust, distrusted, leading, state
from menndl_caffe.report.summary import has_gradients
from menndl_caffe.report.yardstick import ONLY_THE_TEST_SET_COUNTS, verdict
from menndl_caffe.text import fixed, gene_text, printable
from menndl_caffe.trial import DEFAULT, TEST, YARDSTICK, Result

STYLES = 7  # descents that the script can tell apart: RUN_COLOURS
Data = Dict[str, Any]


def section(run: Run, best: Data) -> Tuple[Data, Data]:
    """The template's context, `descents`, and the script's data; neither has anything for other searches. `best` is
    best_dict's."""
    if not has_gradients(run):
        return {"descents": None}, {}
    found = descents(run)
    told = {"rows": [_row(run, descent) for descent in found], "distrusted": distrusted(found),
            "measures": [objective.measure for objective in _measured(run)], "genes": run.space.names,
            "on_test_set": _on_test_set(run, best), "verdict": verdict(run, best[TEST], best[YARDSTICK]),
            "warning": ONLY_THE_TEST_SET_COUNTS}
    own = leading(found, STYLES)
    return {"descents": told}, {"descents": [
        {"number": descent.number, "style": own.index(place) if place in own else None,
         "steps": [{"id": trial.id, "state": state(result), "gradient": _gradient(result)}
                   for trial, result in descent.steps]} for place, descent in enumerate(found)]}


def _measured(run: Run) -> Sequence[Objective]:
    """The loss, and what else is optimized."""
    return [Objective(LOSS), *(one for one in run.objectives if one.measure != LOSS)]


def _row(run: Run, descent: Descent) -> Data:
    """One descent: where it began, and the step of its least loss."""
    (first, began), best = descent.steps[0], descent.best
    further = [one for one in _measured(run) if one.measure != LOSS]
    return {"number": descent.number, "steps": len(descent.steps), "failed": descent.count(FAILED),
            "first": fixed(began.loss) or began.status, "best": fixed(best[1].loss) if best else "",
            "id": best[0].id if best else None,
            "reached": [one.text(best[1].fitness) if best else "" for one in further],
            "genes": [(gene_text(value), gene_text(best[0].genome.values[place]) if best else "")
                      for place, value in enumerate(first.genome.values)],
            "end": descent.end}


def _on_test_set(run: Run, best: Data) -> List[Data]:
    """Who was trained on which images, and what was measured on the test set and on the validation set."""
    first = best["best"][0] if best["best"] else None
    known = [("best individual", "training", best[TEST], first),
             (YARDSTICK, "training and validation", best[YARDSTICK], None), (DEFAULT, "training", None, best[DEFAULT])]
    return [{"name": name, "images": images, "cells": [_cell(one, row) for row in rows for one in _measured(run)]}
            for name, images, *rows in known]


def _cell(objective: Objective, row: Optional[Data]) -> str:
    if row is None:
        return ""
    return row["status"] if row["reason"] else objective.text(cell(row, objective))


def _gradient(result: Result) -> str:
    """By the genes, or why there is none."""
    if result.failed:
        return "none: the trial failed"
    if not result.gradient:
        return printable(f"not trusted: {distrust(result)}", lines=True)
    return ", ".join(f"{name} {value:.4g}" for name, value in result.gradient.items())
