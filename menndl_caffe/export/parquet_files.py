"""Parquet: `pandas.read_parquet("trials.parquet")`, types included. The only module that imports pyarrow."""
from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import List

import pyarrow
import pyarrow.parquet

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.export.tables import Table, curves, trials
from menndl_caffe.files import replacing

OPEN = "pandas.read_parquet('{0}')"
TYPES = {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string(),
         datetime: pyarrow.timestamp("ms", "UTC")}


def write(run: Run, folder: Path) -> List[Path]:
    """trials.parquet and curves.parquet."""
    paths = []
    for name, table in (("trials.parquet", trials(run)), ("curves.parquet", curves(run))):
        with replacing(folder / name) as aside:
            pyarrow.parquet.write_table(_arrow(table), str(aside))
        paths.append(folder / name)
    return paths


def _arrow(table: Table) -> pyarrow.Table:
    schema = pyarrow.schema([(name, TYPES[type_]) for name, type_ in table.columns.items()])
    return pyarrow.Table.from_pylist([dict(zip(table.columns, row)) for row in table.rows], schema=schema)
