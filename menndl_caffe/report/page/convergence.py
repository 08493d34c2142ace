"""What the page draws of each generation, or where a search has none, of each group of individuals."""
from __future__ import annotations

from typing import Any, Dict, List, Sequence

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.genome import ChoiceGene, Gene
from menndl_caffe.report.boxes import Shares, Spread, spreads
from menndl_caffe.report.page.columns import finite
from menndl_caffe.report.summary import generations

Data = Dict[str, Any]


def section(run: Run) -> Data:
    """The script's data, `stages`: columns of the fitness by stage (see Generation), and in `genes` for each gene its
    spread by stage: [number, whisker, quartile, median, quartile, whisker], of a choice [number, counts by choice]."""
    rows, found = generations(run), spreads(run)
    quartiles = [[finite(row.quartiles[place]) for row in rows] for place in (0, 2)]
    return {"stages": {
        "counted": ("failures count as 0" if run.fitness.worst is not None else "without failures")
        + ", without those that were stopped" * bool(run.rungs),
        "until": run.stages.until, "number": [row.number for row in rows], "evaluated": [row.evaluated for row in rows],
        "failed": [row.failed for row in rows], "stopped": [row.stopped for row in rows],
        "mean": [finite(row.mean) for row in rows],
        "lower": quartiles[0], "upper": quartiles[1], "best": [finite(row.best) for row in rows],
        "soFar": [finite(row.best_so_far) for row in rows],
        "genes": [_spread(gene, found[gene.name]) for gene in run.space.genes]}}


def _spread(gene: Gene, found: Sequence[Spread]) -> List[List[Any]]:
    choices = gene.choices if isinstance(gene, ChoiceGene) else ()
    return [[one.generation, [one.counts.get(choice, 0) for choice in choices]] if isinstance(one, Shares)
            else [one.generation, one.whiskers[0], *one.quartiles, one.whiskers[1]] for one in found]
