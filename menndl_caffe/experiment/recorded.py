"""A run as its journal tells it: the record, and the experiment that its first line describes, parsed once."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.experiment.search_file import of_text
from menndl_caffe.genome import SearchSpace
from menndl_caffe.journal import Record


class Run:
    """What every reader of a run gets. `record` may grow while a Follower reads on; the experiment never changes."""

    def __init__(self, folder: Path, record: Record):
        """UserError where the run has not begun, or its search is not one of this version of menndl."""
        if not record.run:
            raise UserError(f"{folder}: the journal has no first line: the run has not begun, or died before it did; "
                            "start it again")
        self.folder, self.record = folder, record
        self.experiment = of_text(record.run["search"], f"{folder / journal.NAME}:1: search")

    @property
    def message(self) -> Any:
        """The SearchParameter, with the command line's settings in it."""
        return self.experiment.message

    @property
    def space(self) -> SearchSpace:
        """The space of the genes."""
        return self.experiment.space


def read(folder: Path) -> Run:
    """The run of a folder; UserError where there is none, where it has not begun, or where its journal is damaged."""
    return Run(folder, journal.read(folder))
