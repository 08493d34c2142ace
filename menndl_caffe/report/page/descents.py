"""What the page says of the descents of a search along gradients."""
from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.objective import LOSS
from menndl_caffe.report.descents import FAILED, Descent, descents, distrust, distrusted, leading, state
from menndl_caffe.report.page.test_set import measured
from menndl_caffe.report.summary import has_gradients
from menndl_caffe.search import descending
from menndl_caffe.text import fixed, gene_text, printable
from menndl_caffe.trial import Result, Trial

STYLES = 7  # descents that the script can tell apart: RUN_COLOURS
Data = Dict[str, Any]


def section(run: Run) -> Tuple[Data, Data]:
    """The template's context, `descents`, and the script's data; neither has anything for other searches."""
    if not has_gradients(run):
        return {"descents": None}, {}
    found = descents(run)
    told = {"rows": [_row(run, descent) for descent in found], "distrusted": distrusted(found),
            "measures": [objective.measure for objective in measured(run)], "genes": run.space.names}
    own = leading(found, STYLES)
    return {"descents": told}, {"descending": descending(run.message, run.space).names, "descents": [
        {"number": descent.number, "style": own.index(place) if place in own else None,
         "steps": [{"id": trial.id, "state": state(result), "gradient": _gradient(result)}
                   for trial, result in descent.steps]} for place, descent in enumerate(found)]}


def _row(run: Run, descent: Descent) -> Data:
    """One descent: where it began, and the step of its least loss."""
    (first, began), best = descent.steps[0], descent.best
    further = [one for one in measured(run) if one.measure != LOSS]
    return {"number": descent.number, "steps": len(descent.steps), "failed": descent.count(FAILED),
            "first": fixed(began.loss) or began.status, "best": fixed(best[1].loss) if best else "",
            "id": best[0].id if best else None,
            "reached": [one.text(best[1].fitness) if best else "" for one in further],
            "genes": _moved(run, first, best[0] if best else None), "end": descent.end}


def _moved(run: Run, first: Trial, best: Optional[Trial]) -> List[str]:
    """Of each gene the value at the first and at the best step; of one that does not descend its only one."""
    names = descending(run.message, run.space).names
    ends = best.genome.as_dict() if best else {}
    return [gene_text(value) + (f" → {gene_text(ends[name]) if best else '–'}" if name in names else "")
            for name, value in first.genome.as_dict().items()]


def _gradient(result: Result) -> str:
    """By the genes, or why there is none."""
    if result.failed:
        return "none: the trial failed"
    if not result.gradient:
        return printable(f"not trusted: {distrust(result)}", lines=True)
    return ", ".join(f"{name} {value:.4g}" for name, value in result.gradient.items())
