"""What the page says of decays that trainings learned."""
from __future__ import annotations

from typing import Any, Dict, List, Tuple

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.report.decays import Decays, best_decays
from menndl_caffe.report.nets import Nets
from menndl_caffe.report.summary import learned_text, learns_decays
from menndl_caffe.text import fixed, gene_text, printable

Data = Dict[str, Any]


def section(run: Run, nets: Nets) -> Tuple[Data, Data]:
    """The template's context, `decays`, and the script's data; neither has anything where no decays were learned."""
    found = best_decays(run, nets)
    if not found:
        return {"decays": None}, _of_all(run)
    predicts = any(decays.predicted for decays in found)
    told = {"rows": [_row(decays) for decays in found], "predicts": predicts,
            "on_the_way": any(decays.predicted and not decays.is_curve for decays in found),
            "distrusted": [(decays.trial.id, decays.learned["by"]["distrust"]) for decays in found
                           if decays.learned.get("by", {}).get("distrust")],
            "missing": [decays.missing for decays in found if decays.missing and not decays.named]}
    return {"decays": told}, {"decays": [_drawn(run, decays) for decays in found], **_of_all(run)}


def _of_all(run: Run) -> Data:
    """By row of the results, in words, what was learned."""
    if not learns_decays(run):
        return {}
    return {"learned": [printable(learned_text(result.learned), lines=True) if result.learned else None
                        for result in run.record.results.values()]}


def _row(decays: Decays) -> Data:
    """One individual in the table."""
    learned = decays.learned
    return {"id": decays.trial.id, "groups": learned["groups"], "count": learned["count"],
            "stated": ", ".join(map(gene_text, decays.stated)),
            "mean": gene_text(learned["mean"]), "lowest": gene_text(learned["quantiles"][0]),
            "highest": gene_text(learned["quantiles"][-1]),
            "without": decays.histogram.without if decays.histogram else None,
            "predicted": fixed(learned.get("predicted", {}).get("loss")), "loss": fixed(decays.result.loss)}


def _drawn(run: Run, decays: Decays) -> Data:
    """One individual as the script draws it."""
    learned, histogram = decays.learned, None if decays.named else decays.histogram
    named: List[Tuple[str, float]] = [(printable(name, lines=True), decay) for name, decay in decays.named.items()]
    title = f"individual {decays.trial.id}: {run.fitness.measure} {run.fitness.text(decays.result.fitness)}"
    predicted = {"points": decays.predicted, "curve": decays.is_curve, "decay": learned["mean"],
                 "loss": learned["predicted"]["loss"], "measured": decays.result.loss} if decays.predicted else None
    return {"id": decays.trial.id, "title": title, "stated": decays.stated, "named": named,
            "several": learned["count"] > 1,
            "histogram": {"edges": histogram.edges, "weights": histogram.weights} if histogram else None,
            "quantiles": learned["quantiles"], "path": learned["curve"], "unit": decays.unit, "predicted": predicted}
