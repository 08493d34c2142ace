"""RUN/trials/ID: net, solver and the engine's log of single trials, kept for the failed ones and for the best so far."""
from __future__ import annotations

import shutil
from pathlib import Path

from menndl_caffe.errors import UserError
from menndl_caffe.evaluate import sources
from menndl_caffe.journal import Record
from menndl_caffe.render import Rendered, Renderer
from menndl_caffe.trial import OK, TEST, Result, Trial

NET, SOLVER, LOG = "train_test.prototxt", "solver.prototxt", "caffe.log"


def write_rendered(rendered: Rendered, directory: Path) -> None:
    """The two files of an individual, as `caffe train --solver=DIRECTORY/solver.prototxt` takes them."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / NET).write_text(rendered.net_text)
    (directory / SOLVER).write_text(rendered.solver_text)


class TrialFiles:
    """Decides which trials' files stay on disk: few, since a shared file system suffers from many small files."""

    def __init__(self, run: Path, renderer: Renderer, record: Record):
        self._folder, self._renderer = run / "trials", renderer
        trained = [(trial, result) for trial, result in record.best(1) if result.status == OK]
        self._best = (trained[0][1].fitness, trained[0][0].id) if trained else (-1.0, -1)

    def keep(self, trial: Trial, result: Result) -> None:
        """Write the trial's files where they are wanted; a new best takes the place of the one before."""
        if result.status != OK or trial.role == TEST:
            self._write(trial, result)
        elif result.fitness > self._best[0]:
            self._write(trial, result)
            shutil.rmtree(self._folder / str(self._best[1]), ignore_errors=True)
            self._best = (result.fitness, trial.id)

    def _write(self, trial: Trial, result: Result) -> None:
        directory = self._folder / str(trial.id)
        try:
            rendered = self._renderer.render(trial, sources(self._renderer.experiment, trial.role), str(directory))
            write_rendered(rendered, directory)
        except UserError:  # what cannot be rendered has no files; its reason is in the journal
            directory.mkdir(parents=True, exist_ok=True)
        (directory / LOG).write_text(result.log)
