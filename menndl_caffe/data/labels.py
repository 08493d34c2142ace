"""Which labels a database has: as the summary beside it says, else as its records do."""
from __future__ import annotations

import functools
from pathlib import Path
from typing import Dict, List, NamedTuple

from menndl_caffe.data.advice import written
from menndl_caffe.data.lmdb_data import describe, sampled_labels
from menndl_caffe.errors import UserError


class Labels(NamedTuple):
    """Label -> how many images have it; the classes' names, where they are known.

    `is_whole`: all images were counted. A large database without a summary is sampled.
    """

    counts: Dict[int, int]
    names: List[str]
    is_whole: bool

    def name(self, label: int) -> str:
        """The name of a class, else its label."""
        return self.names[label] if 0 <= label < len(self.names) else str(label)


def labels(database: Path) -> Labels:
    """The labels of an LMDB; counted once, of as many records as `checksum` reads. UserError where it is none."""
    try:
        stat = (database / "data.mdb").stat()
    except OSError:
        return _labels(database, 0, 0)  # says what is wrong
    return _labels(database, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _labels(database: Path, size: int, changed: int) -> Labels:
    records = describe(database).records
    names: List[str] = []
    try:
        summary = written(database.parent) or {}
        names = list(summary.get("classes", []))
        counts = summary["labels"][database.name]
        if sum(counts) == records:
            return Labels({label: count for label, count in enumerate(counts) if count}, names, True)
    except (UserError, KeyError, TypeError):
        pass
    found = sampled_labels(database)
    return Labels(found, names, sum(found.values()) == records)
