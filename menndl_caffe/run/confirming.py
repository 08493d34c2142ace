"""`menndl confirm`, as the ranks play it: a run's journal is opened again, and what is missing of it is trained."""
from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import Any, NamedTuple, Optional, Tuple

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.farm import Farm
from menndl_caffe.journal import Journal
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.record import Record
from menndl_caffe.run import confirm as confirming
from menndl_caffe.run.launch import Job, Options, Parts, circumstances, explained, play
from menndl_caffe.run.loop import Loop
from menndl_caffe.run.numbering import Numbering
from menndl_caffe.run.trial_files import TrialFiles
from menndl_caffe.trial import STOPPED, Result, Trial
from menndl_caffe.walltime import Walltime


class Asked(NamedTuple):
    """What the command line says; None where it says nothing."""

    best: Optional[int] = None
    seeds: Optional[int] = None
    iterations: Optional[int] = None
    data: Optional[Path] = None
    threads: Optional[int] = None
    trial_timeout: Optional[int] = None  # seconds


class NoSearch:
    """In place of a run's search: it takes what is told, and asks for nothing."""

    finished = True
    total = None
    generations = None

    def ask(self) -> Optional[Trial]:
        """Nothing."""
        return None

    def asked(self, trial: Trial) -> None:
        """Whatever it was."""

    def tell(self, trial: Trial, result: Result) -> None:
        """Whatever came of it."""


class _Confirming(Job):
    """Every rank reads the run's journal, which all have to see."""

    def __init__(self, run: Run, options: Options, asked: Asked, walltime: Walltime):
        super().__init__(options, walltime)
        self._run, self._asked, self.wanted = run, asked, _wanted(run, asked)

    @functools.cached_property
    def parts(self) -> Parts:
        """What this rank needs, as it was when the run began."""
        confirming.trials(self._run, self.wanted)  # whether there is anything to confirm is told first
        parts = Parts.of_run(self._run, self._asked.data)
        parts.threads = self._asked.threads or parts.threads
        parts.experiment.message.trial_timeout = self._asked.trial_timeout or 0
        return parts

    def master(self, farm: Farm, ranks: int) -> None:
        """Train what the journal does not have yet."""
        out, parts = self.options.out, self.parts
        with contextlib.closing(farm), explained(out), Journal(out, judging=recorded.judging) as journal:
            record, fitness = journal.record, parts.experiment.objectives[0]
            journal.begin(circumstances(parts, farm, ranks, self.walltime))
            trials = confirming.trials(Run(out, record), self.wanted)
            done = sum(1 for _ in record.individuals())
            with contextlib.closing(self.options.progress(done, None, fitness)) as progress:
                progress.confirms = len(trials)
                files = TrialFiles(out, parts.renderer, record)
                with progress.repeating():
                    loop = Loop(NoSearch(), farm, journal, Numbering(parts.experiment), None, files.keep, progress,
                                self.walltime)
                    for trial, result in record.individuals():
                        if result.status == STOPPED:
                            progress.stopped(trial)
                loop.run(trials)
            self.record = record


def _wanted(run: Run, asked: Asked) -> Any:
    """The ConfirmParameter of the search file with the command line's settings; UserError where there are too few
    iterations."""
    wanted = menndl_pb2.ConfirmParameter()
    wanted.CopyFrom(run.message.confirm)
    for name in ("best", "seeds", "iterations"):
        value = getattr(asked, name)
        if value is not None:
            setattr(wanted, name, value)
    if wanted.iterations and wanted.iterations < run.message.max_iter:
        raise UserError(f"--iterations {wanted.iterations}: the run has trained {run.message.max_iter:,} iterations; "
                        "expected as many or more")
    return wanted


def confirm(folder: Path, asked: Asked, expect_ranks: Optional[int], live: bool, walltime: Walltime
            ) -> Optional[Tuple[Record, int]]:
    """Confirm a run; its record and the number of iterations on the master, None on the other ranks.

    UserError where there is no run, nothing to confirm, or where templates, data or engine are not those of the run.
    Stopped as in `play`.
    """
    run = recorded.read(folder)
    options = Options(str(run.line.get("search_file", "")), folder, run.engine, expect_ranks=expect_ranks, live=live)
    job = _Confirming(run, options, asked, walltime)
    record = play(job)
    return None if record is None else (record, job.wanted.iterations or run.message.max_iter)
