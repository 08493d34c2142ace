"""What `menndl run --ranks N` and the ranks that it has started tell each other, in a folder of theirs alone.

    FOLDER/master   process id of rank 0, which gets the signals: a launcher has ways of its own with them
    FOLDER/code     rank 0's exit code. The ranks themselves exit with 0 then, or the launcher would say at length that
                    a rank has failed, and end with a code of its own
"""
from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

FOLDER = "MENNDL_LAUNCHED"  # the variable that names it
MASTER, CODE = "master", "code"

_is_master: Optional[bool] = None  # until the ranks have met


def meet(is_master: bool) -> None:
    """This process is one of the ranks, and has met the others."""
    global _is_master
    _is_master = is_master
    if is_master and FOLDER in os.environ:
        _path(MASTER).write_text(str(os.getpid()))


def answer(code: int) -> int:
    """With what this process shall exit whose exit code this is."""
    if FOLDER not in os.environ or _is_master is None:
        return code
    if _is_master:
        _path(CODE).write_text(str(code))
    return 0


def _path(name: str) -> Path:
    return Path(os.environ[FOLDER]) / name
