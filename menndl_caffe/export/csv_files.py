"""CSV: `pandas.read_csv("trials.csv", parse_dates=["started"])`."""
from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, List

from menndl_caffe import files
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.export.tables import curves, trials
from menndl_caffe.text import as_csv

OPEN = "pandas.read_csv('{0}', parse_dates=['started'])"


def write(run: Run, folder: Path) -> List[Path]:
    """trials.csv and curves.csv; numbers with all their digits, times as 2026-11-21T15:04:05.678+00:00."""
    paths = []
    for name, table in (("trials.csv", trials(run)), ("curves.csv", curves(run))):
        text = as_csv(list(table.columns), ([_field(value) for value in row] for row in table.rows))
        files.write(folder / name, text)
        paths.append(folder / name)
    return paths


def _field(value: Any) -> Any:
    # Milliseconds also where they are 0: pandas wants all times of a column in one form.
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value
