"""What a person or a script is told about a run, all from its journal: status, the best individuals, tables, a figure.

Generations are counted from 1 here, as in the progress line; in the journal they are counted from 0.
"""
from __future__ import annotations

from menndl_caffe.report.best import best_dict, best_text
from menndl_caffe.report.files import write_comparison, write_report
from menndl_caffe.report.status import status_dict, status_text

__all__ = ["best_dict", "best_text", "status_dict", "status_text", "write_comparison", "write_report"]
