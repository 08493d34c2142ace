"""RUN/trials/ID: net, solver and log of single trials: the failed, the best individual, and what it is held against."""
from __future__ import annotations

import contextlib
from pathlib import Path

from menndl_caffe.errors import UserError
from menndl_caffe.experiment.adaptive import LEARNED, TRIALS
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.experiment.sources import sources
from menndl_caffe.files import unlinked, write
from menndl_caffe.record import Record
from menndl_caffe.trial import CONFIRM, INDIVIDUAL, STOPPED, Result, Trial

LOG = "caffe.log"


class TrialFiles:
    """Decides which trials' files stay on disk: few, since a shared file system suffers from many small files."""

    def __init__(self, run: Path, renderer: Renderer, record: Record):
        self._run, self._renderer, self._record = run, renderer, record
        self._fitness = renderer.experiment.objectives[0]
        self._best = next((result for _, result in record.best(1, self._fitness) if result.finished), None)

    def keep(self, trial: Trial, result: Result) -> None:
        """Write the trial's files where they are wanted; those of a new best take the place of the one before."""
        if trial.role == CONFIRM and not result.failed or result.status == STOPPED:
            return
        if result.failed or trial.role != INDIVIDUAL:
            self._write(trial, result)
        elif self._best is None or self._fitness.rank_key(result) < self._fitness.rank_key(self._best):
            self._write(trial, result)
            if self._best is not None:
                self._drop(self._best)
            self._best = result

    def _directory(self, result: Result) -> Path:
        return unlinked(self._run, TRIALS, str(result.id))

    def _drop(self, result: Result) -> None:
        """All but what the trial learned, of which the journal has the checksum."""
        with contextlib.suppress(OSError):
            directory = self._directory(result)
            for path in directory.iterdir():
                if path.name != LEARNED:
                    path.unlink()
            directory.rmdir()

    def _write(self, trial: Trial, result: Result) -> None:
        directory = self._directory(result)
        try:
            where = sources(self._renderer.experiment, trial.role)
            self._renderer.render(trial, where, str(directory)).write(directory)
        except UserError:  # what cannot be rendered has no files; its reason is in the journal
            directory.mkdir(parents=True, exist_ok=True)
        write(directory / LOG, self._begin(trial) + result.log)

    def _begin(self, trial: Trial) -> str:
        """The first line of the log of one that went on from a rung, which its rank had in memory or not."""
        if trial.continues is None:
            return ""
        before = self._record.trials[trial.continues]
        return (f"menndl: this training went on from trial {before.id}, which ended at iteration {before.end:,}; where "
                "the log begins there, what came before it is not kept\n")
