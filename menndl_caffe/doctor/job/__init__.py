"""Where the ranks of a job run: what each sees of its place, what of that is wrong, and a table of it. No MPI here."""
from __future__ import annotations

from menndl_caffe.doctor.job.judge import Trouble, judge
from menndl_caffe.doctor.job.place import Place, look
from menndl_caffe.doctor.job.table import report

__all__ = ["Place", "Trouble", "judge", "look", "report"]
