"""The time axis of every figure: generations, or for searches that have none, groups of consecutive individuals."""
from __future__ import annotations

from dataclasses import replace
from typing import Dict, Tuple

from menndl_caffe.journal import Record
from menndl_caffe.trial import INDIVIDUAL, Trial

GROUPS = 20  # into which a search without generations is divided


def staged(record: Record) -> Tuple[Record, str]:
    """The record with a generation for each individual, and what to call that: `generation`, or `group of 25`."""
    members = [trial for _, trial in sorted(record.trials.items()) if trial.role == INDIVIDUAL]
    if all(trial.generation is not None for trial in members):
        return record, "generation"
    size = max(1, -(-record.run["total"] // GROUPS))
    trials: Dict[int, Trial] = dict(record.trials)
    for place, trial in enumerate(members):
        trials[trial.id] = replace(trial, generation=place // size)
    groups = -(-record.run["total"] // size)
    run = {**record.run, "generations": groups, "total": groups * size}
    return Record(run, trials, record.results), f"group of {size}" if size > 1 else "individual"
