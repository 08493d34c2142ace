"""What rungs have spared: how many trainings were stopped at which one, and how many iterations that left."""
from __future__ import annotations

from collections import Counter
from typing import Any, Dict

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.trial import STOPPED, Trial


def stopped(run: Run) -> Dict[str, Any]:
    """`count`: how many individuals were stopped, and `at` which rung. `share`: of the iterations that full trainings
    would have taken, those up to which all were trained that did not fail and were not met before; None where there are
    none."""
    ended = [(trial, result) for trial, result in run.record.individuals() if not result.failed]
    at = Counter(trial.until for trial, result in ended if result.status == STOPPED)
    trained = [trial for trial, result in ended if result.same_as is None]
    full = sum(trial.max_iter for trial in trained)
    return {"count": sum(at.values()), "at": {rung: at[rung] for rung in run.rungs if at[rung]},
            "share": round(sum(trial.end for trial in trained) / full, 4) if full else None}


def stopped_text(found: Dict[str, Any]) -> str:
    """`31 at 250, 9 at 750 iterations; 38% of the iterations that full trainings would have taken`"""
    at = ", ".join(f"{count:,} at {rung:,}" for rung, count in found["at"].items())
    share = found["share"]
    said = "" if share is None else f"; {100 * share:.0f}% of the iterations that full trainings would have taken"
    return (f"{at} iterations" if at else "none") + said


def own_iterations(run: Run, trial: Trial) -> int:
    """Iterations of a trial, but for those of the one that it continues."""
    return trial.end - (0 if trial.continues is None else run.record.trials[trial.continues].end)
