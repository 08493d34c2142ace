"""The records of a database, as they lie in it."""
from __future__ import annotations

from pathlib import Path
from typing import List, Tuple

import lmdb

Records = List[Tuple[bytes, bytes]]


def raw(path: Path) -> Records:
    """Keys and values of an LMDB, in its order."""
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return [(bytes(key), bytes(value)) for key, value in transaction.cursor()]
