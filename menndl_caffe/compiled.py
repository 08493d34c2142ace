"""C that is compiled where a compiler is, when it is first needed, and kept in the user's cache folder.

It is never needed: whoever asks for it has another way, which is slower.
"""
from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import subprocess
import tempfile
from pathlib import Path
from typing import Optional

COMMAND = ("cc", "-std=c99", "-O3", "-ffp-contract=off", "-shared", "-fPIC")
SECONDS = 60.0


def library(source: Path) -> Optional[ctypes.CDLL]:
    """The functions of a C file; None where they cannot be compiled, kept or loaded.

    Processes that start at once each compile it, and the last one's stays.
    """
    try:
        text = source.read_bytes()
        key = hashlib.sha256(b"\0".join([text, *map(str.encode, COMMAND)])).hexdigest()[:16]
        kept = _folder() / f"{source.stem}-{key}-{platform.machine()}.so"
        if not kept.exists():
            _compile(source, kept)
        return ctypes.CDLL(str(kept))
    except (OSError, RuntimeError, subprocess.SubprocessError):
        return None


def _folder() -> Path:
    """Where the user's programs keep what they can make again; RuntimeError where a user has no home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "menndl_caffe"


def _compile(source: Path, kept: Path) -> None:
    """Written aside and renamed, so that no one loads half of it."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        made = Path(folder) / kept.name
        subprocess.run([*COMMAND, "-o", str(made), str(source), "-lm"], check=True, timeout=SECONDS,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.replace(made, kept)
