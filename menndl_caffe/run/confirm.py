"""The best individuals and the default trained again from new seeds: at any time by `menndl confirm`, or in the end of
a search that asks for it."""
from __future__ import annotations

import itertools
from typing import Any, Dict, Iterator, List, Set, Tuple

from menndl_caffe import search
from menndl_caffe.errors import UserError
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.genome import Genome
from menndl_caffe.report.confirmation import candidates
from menndl_caffe.trial import CONFIRM, DEFAULT, LEARNING, RETRAIN, Result, Trial, training_seed

# The first one's id. Individuals are counted up to where these begin and go on behind them, so that a search goes on as
# if nobody had confirmed anything before its end.
FIRST = 1_000_000


def trials(run: Run, wanted: Any) -> List[Trial]:
    """The trainings that a ConfirmParameter asks for, those that are recorded and new ones, one seed of all before the
    next one. UserError where there is nothing to confirm."""
    pairs = [*candidates(run, wanted.best), *_defaults(run)]
    check(run, len(pairs) - 1)
    budget, record = wanted.iterations or run.message.max_iter, run.record
    known = {(trial.genome, trial.max_iter, trial.repetition): trial for trial in record.trials.values()
             if trial.role == CONFIRM}
    used = {trial.seed for trial in record.trials.values()}
    ids = itertools.count(max(FIRST, *(id + 1 for id in record.trials)))
    made: List[Trial] = []
    for repetition in range(1, wanted.seeds + 1):
        for trial, result in pairs:
            again = known.get((trial.genome, budget, repetition))
            if again is None:
                seed = _new_seed(run.message.random_seed, trial.genome, f"confirm {repetition} of {budget}", used)
                again = Trial(next(ids), trial.genome, seed, budget, role=CONFIRM, repetition=repetition,
                              **as_tested(run.message, trial, result))
            made.append(again)
    return made


def check(run: Run, found: int) -> None:
    """UserError where a run has no result of its default, or no individual that another training could confirm."""
    if not any(objective.is_tested for objective in run.objectives):
        raise UserError(f"{run.folder}: no seed changes what this search optimizes, so there is nothing to confirm")
    if not any(True for _ in _defaults(run)):
        raise UserError(f"{run.folder}: the default has no result yet, so there is nothing to hold the best against; "
                        "the command that started the run goes on with it")
    if not found:
        raise UserError(f"{run.folder}: no individual but the default's own genes has succeeded so far, so there is "
                        "nothing to confirm")


def as_tested(message: Any, trial: Trial, result: Result) -> Dict[str, Any]:
    """How an individual is trained where it is not for the search: plainly, or with the decays that it has learned."""
    if trial.role == DEFAULT or search.program(message) not in LEARNING:
        return {}
    return {"program": RETRAIN, "decays_of": trial.id, "decays": result.learned["sha256"]}


def _defaults(run: Run) -> Iterator[Tuple[Trial, Result]]:
    for id, trial in run.record.trials.items():
        if trial.role == DEFAULT and id in run.record.results:
            yield trial, run.record.results[id]


def _new_seed(run_seed: int, genome: Genome, salt: str, used: Set[int]) -> int:
    """One that no training of the run has had; it is used from now on."""
    salts = itertools.chain([salt], (f"{salt} {attempt}" for attempt in itertools.count(1)))
    seed = next(seed for seed in (training_seed(run_seed, genome, one) for one in salts) if seed not in used)
    used.add(seed)
    return seed
