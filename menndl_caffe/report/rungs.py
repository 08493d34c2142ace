"""Where rungs are, and what they have spared: how many trainings were stopped at which one, and how many iterations
that left."""
from __future__ import annotations

from collections import Counter
from typing import Any, Dict

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.search import rungs_of
from menndl_caffe.trial import STOPPED


def of_rungs(message: Any) -> str:
    """Where a search file's `stop` decides: `rungs at 250, 750 and 2,250 of 4,000 iterations`; nothing without it."""
    at = [f"{rung:,}" for rung in rungs_of(message)]
    if not at:
        return ""
    words = f"rungs at {', '.join(at[:-1])} and {at[-1]}" if at[1:] else f"a rung at {at[0]}"
    return f"{words} of {message.max_iter:,} iterations"


def stopped(run: Run) -> Dict[str, Any]:
    """`count`: how many individuals were stopped, and `at` which rung. `iterations`: up to which all were trained that
    did not fail and were not met before; `whole`: what full trainings of these would have taken; `share`: the one of
    the other, None where there are none."""
    ended = [(trial, result) for trial, result in run.record.individuals() if not result.failed]
    at = Counter(trial.until for trial, result in ended if result.status == STOPPED)
    trained = [trial for trial, result in ended if result.same_as is None]
    given, whole = sum(trial.end for trial in trained), sum(trial.max_iter for trial in trained)
    return {"count": sum(at.values()), "at": {rung: at[rung] for rung in run.rungs if at[rung]},
            "iterations": given, "whole": whole, "share": round(given / whole, 4) if whole else None}


def stopped_text(found: Dict[str, Any]) -> str:
    """`31 at 250, 9 at 750 iterations; 38% of the iterations that full trainings would have taken`"""
    at = ", ".join(f"{count:,} at {rung:,}" for rung, count in found["at"].items())
    share = found["share"]
    said = "" if share is None else f"; {100 * share:.0f}% of the iterations that full trainings would have taken"
    return (f"{at} iterations" if at else "none") + said


def given_text(found: Dict[str, Any]) -> str:
    """`12,500 iterations given so far of the 33,000 that whole trainings would have taken`; nothing before any is."""
    if not found["whole"]:
        return ""
    of_all = f"{found['whole']:,} that whole trainings would have taken"
    return f"{found['iterations']:,} iterations given so far of the {of_all}"
