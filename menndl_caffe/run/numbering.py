"""A run's trials, made one after the other."""
from __future__ import annotations

from typing import Optional

from menndl_caffe.experiment.experiment import Experiment
from menndl_caffe.genome import Genome
from menndl_caffe.trial import INDIVIDUAL, Trial


class Numbering:
    """Makes a run's trials and counts their ids: 0, 1, ... in the order in which they are made."""

    def __init__(self, experiment: Experiment):
        self._experiment, self._next = experiment, 0

    def __call__(self, genome: Genome, generation: Optional[int] = None, role: str = INDIVIDUAL) -> Trial:
        """The next trial."""
        trial = self._experiment.trial(self._next, genome, generation, role)
        self._next += 1
        return trial

    def take(self, trial: Trial) -> None:
        """This recorded trial has its id already."""
        self._next = max(self._next, trial.id + 1)
