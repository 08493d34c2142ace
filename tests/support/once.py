"""Folders that are made once for all processes that run tests, and kept."""
from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Callable


def made(folder: Path, fill: Callable[[Path], object]) -> Path:
    """The folder as `fill` fills it; whoever comes meanwhile waits, and what was interrupted is begun anew."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = folder.with_name(f"{folder.name}.new")
    with open(folder.with_name(f"{folder.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            fill(new)
            os.replace(new, folder)
    return folder
