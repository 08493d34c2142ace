"""An Optuna study: `optuna-dashboard RUN/export/optuna.log`.

A JournalStorage file, since Optuna takes a third of a millisecond to write a trial to it and 20 to write one to SQLite.

| Optuna | a run |
|---|---|
| trials, by number | the default, then the individuals, by id; the user attribute `id` is the journal's |
| values, to maximize or to minimize | what the objectives measure, the fitness first |
| distributions | the genes' ranges |
| intermediate values | accuracy, or another measure, by iteration |
| state | COMPLETE; PRUNED if stopped early; FAIL with the attributes `status` and `reason`; RUNNING without a result |
| user attributes of the study | the journal's first line; results on the test set: `test`, of the best; `yardstick` |

Of an individual that went from rung to rung there is its last trial alone, whose curve is the whole one.
"""
from __future__ import annotations

import shutil
import tempfile
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, List, Optional

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from menndl_caffe.experiment.recorded import Run, counted, seconds
from menndl_caffe.files import replacing
from menndl_caffe.genome import ChoiceGene, Gene, IntGene
from menndl_caffe.objective import MEASURES, values
from menndl_caffe.report.descents import distrust, gradient_cells, gradient_columns
from menndl_caffe.report.summary import of_role, roles, trainings
from menndl_caffe.trial import DEFAULT, INDIVIDUAL, Result, Trial

OPEN = "optuna-dashboard '{0}'"
ATTRIBUTES = ("status", "reason", "loss", "seconds", "engine_seconds", "rank", "host", "same_as")


def write(run: Run, folder: Path) -> List[Path]:
    """optuna.log, with one study of the run's name."""
    path = folder / "optuna.log"
    # Optuna locks and syncs the file for each trial, which a cluster's file system should not have to do.
    with tempfile.TemporaryDirectory() as temporary, replacing(path) as aside:
        _write_study(run, Path(temporary) / "study")
        shutil.copyfile(Path(temporary) / "study", aside)
    return [path]


def _write_study(run: Run, path: Path) -> None:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(path))), study_name=run.name,
                                    directions=["minimize" if objective.minimize else "maximize"
                                                for objective in run.objectives])
    finally:
        optuna.logging.set_verbosity(verbosity)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([objective.measure for objective in run.objectives])
    tested = {role: of_role(run, role) for role in roles(run) if role != DEFAULT}
    about = {**run.line, **{role: pair and pair[1].as_dict() for role, pair in tested.items()}}
    for key, value in about.items():
        if key != "event":
            study.set_user_attr(key, value)
    distributions = {gene.name: distribution(gene) for gene in run.space.genes}
    # The final tests measure something else: they would pass for the best.
    study.add_trials([_frozen(run, trial, run.record.results.get(id), distributions)
                      for id, trial in sorted(run.record.trials.items())
                      if trial.role in (INDIVIDUAL, DEFAULT) and id not in run.record.continued])


def distribution(gene: Gene) -> BaseDistribution:
    """The gene's range in Optuna's terms."""
    if isinstance(gene, ChoiceGene):
        return CategoricalDistribution(gene.choices)
    if isinstance(gene, IntGene):
        highest = gene.minimum + gene.step * (gene.size - 1)
        return IntDistribution(gene.minimum, highest, step=gene.step)
    return FloatDistribution(gene.minimum, gene.maximum, log=gene.log)


def _of_descent(run: Run, trial: Trial, result: Result) -> Dict[str, Any]:
    gradient = dict(zip(gradient_columns(run), gradient_cells(run, result)))
    return {"descent": counted(trial.descent), "tolerance": trial.tolerance, **gradient, "distrust": distrust(result)}


def _state(result: Optional[Result]) -> TrialState:
    if result is None:
        return TrialState.RUNNING
    return TrialState.FAIL if result.failed else TrialState.COMPLETE if result.finished else TrialState.PRUNED


def _frozen(run: Run, trial: Trial, result: Optional[Result],
            distributions: Dict[str, BaseDistribution]) -> FrozenTrial:
    known: Dict[str, Any] = {
        "id": trial.id, "role": trial.role, "generation": counted(trial.generation), "seed": trial.seed,
        **{name: getattr(result, name, None) for name in ATTRIBUTES},
        **({"seconds": seconds(run.record, trial), "until": trial.end} if run.rungs and result else {}),
        **{name: result.measures.get(name) for name in MEASURES if result},
        **(_of_descent(run, trial, result) if trial.descent is not None and result else {})}
    state = _state(result)
    frozen = create_trial(
        state=state, values=values(run.objectives, result) if result and state == TrialState.COMPLETE else None,
        params=trial.genome.as_dict(), distributions=distributions,
        intermediate_values={iteration: value for iteration, value, _ in result.curve} if result else {},
        user_attrs={name: value for name, value in known.items() if value not in (None, "")})
    if result:  # naive times of this machine's zone, as Optuna's own
        frozen.datetime_start = datetime.fromtimestamp(trainings(run, trial)[0].started)
        frozen.datetime_complete = datetime.fromtimestamp(result.started + result.seconds)
    return frozen
