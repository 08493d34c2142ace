"""Trials whose program learns decays, or is "retrain", which trains with them: where the decays lie, and what the
trainer is told beside the texts for "adaptive" and "retrain"."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional

from menndl_caffe.errors import UserError
from menndl_caffe.experiment.experiment import Experiment
from menndl_caffe.experiment.hypergradient import batches_of, check_held_out
from menndl_caffe.experiment.render import Rendered
from menndl_caffe.files import sha256_of, unlinked
from menndl_caffe.search import learning
from menndl_caffe.trial import LEARNING, RETRAIN, Trial

RATE, DESCENT_RATE = 0.02, 0.5  # of T1T2, and of the methods that train anew in each step
TRIALS, LEARNED = "trials", "learned.npz"  # RUN/trials/ID/learned.npz


def asked_of_trainer(rendered: Rendered, trial: Trial, message: Any) -> Dict[str, Any]:
    """The settings of a request (docs/trainer.md); UserError where the net does not read its images by Data layers."""
    batches = {"batches": batches_of(rendered)}
    if trial.program == RETRAIN:
        return batches
    settings = learning(message).adaptive_param
    method = settings.Method.Name(settings.method)
    return {"method": method, "groups": settings.Groups.Name(settings.groups), "every": settings.every,
            "steps": settings.steps, "rate": settings.rate or (RATE if method == "T1T2" else DESCENT_RATE), **batches}


def file_of(run: Optional[Path], trial: Trial) -> Optional[Path]:
    """Where a trial writes the decays that it learns, or reads those that it trains with; None where it has none.

    UserError where those are not what was learned.
    """
    if run is None or trial.program not in (*LEARNING, RETRAIN):
        return None
    of = trial.id if trial.decays_of is None else trial.decays_of
    try:
        path = unlinked(run.absolute(), TRIALS, str(of), LEARNED)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from None
    if trial.program == RETRAIN:
        found = sha256_of(path) if path.is_file() else ""
        if found != trial.decays:
            what = f"has the SHA-256 {found[:12]}..." if found else "is not there"
            raise UserError(f"{path}: {what}; expected the decays that individual {of} learned, of SHA-256 "
                            f"{str(trial.decays)[:12]}..., to train with them for the test set")
    return path


def hash_of(path: Path) -> str:
    """Of what a trainer has written; UserError where it has not."""
    if not path.exists():
        raise UserError(f"{path}: the trainer wrote no decays there: it is of another version, or in a container that "
                        "does not see this folder")
    return sha256_of(path)


def check(experiment: Experiment, rendered: Rendered) -> None:
    """UserError where the default net or the data's parts make it impossible to learn decays."""
    check_held_out(experiment)
    batches_of(rendered)
