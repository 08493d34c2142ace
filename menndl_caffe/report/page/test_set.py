"""What the page says of the test set, in searches that fit the validation images."""
from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.objective import LOSS, Objective
from menndl_caffe.report.best import cell
from menndl_caffe.report.summary import learns_decays
from menndl_caffe.report.yardstick import ONLY_THE_TEST_SET_COUNTS, verdict
from menndl_caffe.trial import DEFAULT, TEST, YARDSTICK

Data = Dict[str, Any]


def section(run: Run, best: Data) -> Optional[Data]:
    """The template's context, `test_set`; None in searches without a yardstick. `best` is best_dict's."""
    if YARDSTICK not in best:
        return None
    return {"rows": _on_test_set(run, best), "measures": [objective.measure for objective in measured(run)],
            "verdict": verdict(run, best[TEST], best[YARDSTICK]), "warning": ONLY_THE_TEST_SET_COUNTS,
            "learned": learns_decays(run)}


def measured(run: Run) -> Sequence[Objective]:
    """The loss, and what else is optimized."""
    return [Objective(LOSS), *(one for one in run.objectives if one.measure != LOSS)]


def _on_test_set(run: Run, best: Data) -> List[Data]:
    """Who was trained on which images, and what was measured on the test set and on the validation set."""
    first = best["best"][0] if best["best"] else None
    known = [("best individual", "training", best[TEST], first),
             (YARDSTICK, "training and validation", best[YARDSTICK], None), (DEFAULT, "training", None, best[DEFAULT])]
    return [{"name": name, "images": images, "cells": [_cell(one, row) for row in rows for one in measured(run)]}
            for name, images, *rows in known]


def _cell(objective: Objective, row: Optional[Data]) -> str:
    if row is None:
        return ""
    return row["status"] if row["reason"] else objective.text(cell(row, objective))
