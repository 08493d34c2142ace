"""Where the ranks of a job run: what each sees of its place, what of that is wrong, and a table of it. No MPI here."""
from __future__ import annotations

from menndl_caffe.placement.judge import Trouble, judge
from menndl_caffe.placement.place import Place, look
from menndl_caffe.placement.table import report

__all__ = ["Place", "Trouble", "judge", "look", "report"]
