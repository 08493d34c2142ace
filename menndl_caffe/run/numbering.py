"""A run's trials, made one after the other."""
from __future__ import annotations

from typing import Optional, Set

from menndl_caffe.experiment.experiment import Experiment
from menndl_caffe.genome import Genome
from menndl_caffe.trial import INDIVIDUAL, Trial


class Numbering:
    """Makes a run's trials and counts their ids: 0, 1, ... in the order in which they are made, but for those taken."""

    def __init__(self, experiment: Experiment):
        self._experiment, self._next = experiment, 0
        self._taken: Set[int] = set()

    def __call__(self, genome: Genome, generation: Optional[int] = None, role: str = INDIVIDUAL) -> Trial:
        """The next trial."""
        while self._next in self._taken:
            self._next += 1
        trial = self._experiment.trial(self._next, genome, generation, role)
        self._next += 1
        return trial

    def take(self, trial: Trial) -> None:
        """This recorded trial has its id already."""
        self._taken.add(trial.id)
