"""Whose is what in a data folder: nothing is written over, or beside, what menndl did not write."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List

from menndl_caffe.data.advice import SUMMARY, is_data, written
from menndl_caffe.data.lmdb_data import describe, mean_shape
from menndl_caffe.errors import UserError
from menndl_caffe.files import sha256_of

NAME = re.compile(r"[a-z0-9]+_(train|test|fit|validation)_lmdb|mean(_fit)?\.binaryproto")


def own_names(folder: Path) -> List[str]:
    """The databases and means that menndl wrote into `folder`, or was about to.

    UserError where there are others: a whole one under the same name, with other content, is somebody else's as well.
    """
    try:
        fields = written(folder) or {"records": {}, "means": {}}
    except UserError as error:
        raise UserError(f"{error}; {_ways_out(SUMMARY)}") from None
    names = [name for name in (*fields["records"], *fields["means"]) if NAME.fullmatch(name)]
    others = [path.name for path in sorted(folder.iterdir())
              if (path.name not in names and is_data(path)) or _is_replaced(path, fields)]
    if others:
        raise UserError(f"{folder} holds {', '.join(others)}, which menndl did not write; {_ways_out('them')}")
    return names


def _is_replaced(path: Path, fields: Dict[str, Any]) -> bool:
    """Whether it can be read, and is not what the summary says; that of a set that was being written says nothing."""
    records, checksum = fields["records"].get(path.name), fields["means"].get(path.name)
    try:
        return ((records is not None and describe(path).records != records)
                or (checksum is not None and sha256_of(path) != checksum and bool(mean_shape(path))))
    except (UserError, OSError):
        return False  # damaged


def _ways_out(them: str) -> str:
    return f"give another --out, or move {them} away"
