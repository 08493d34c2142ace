"""Who writes a run: RUN/lock, held by the master as long as it lives, with its process id and its machine as text."""
from __future__ import annotations

import contextlib
import os
import re
import socket
from pathlib import Path
from typing import IO, NamedTuple, Optional

from menndl_caffe.errors import UserError
from menndl_caffe.files import inside, lock, opened
from menndl_caffe.text import say

NAME = "lock"
_OWNER = re.compile(r"process (\d{1,9}) on (\S{1,255})\n")


class Writer(NamedTuple):
    """The last process that wrote a run. `lives` is None where that cannot be seen from here: on another machine."""

    process: int
    host: str
    lives: Optional[bool]

    def __str__(self) -> str:
        """`process 12 on node7`"""
        return f"process {self.process} on {self.host}"


def locked(run: Path) -> IO[str]:
    """RUN/lock, held until it is closed or this process ends, however it ends. UserError where another one holds it."""
    file = open(opened(run / NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW), "a+")
    try:
        refusal = lock(file)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip() or "another process"
        file.close()
        raise UserError(f"{run} is being written by {owner}; wait for it, or give `menndl run` another --out") from None
    if refusal:
        say(f"menndl run: warning: {run}/lock cannot be locked ({refusal}): see to it yourself that no other "
            "menndl run writes there")
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file


def writer(run: Path) -> Optional[Writer]:
    """Who writes a run, or wrote it last; None where that is not recorded. Nothing is locked on the way, which could
    hold up a run that begins."""
    try:
        with inside(run, NAME) as file:
            said = _OWNER.fullmatch(file.read(300).decode(errors="replace"))
            number = os.fstat(file.fileno()).st_ino
    except OSError:
        return None
    if said is None:
        return None
    process, host = int(said[1]), said[2]
    return Writer(process, host, _lives(process, number, run) if host == socket.gethostname() else None)


def _lives(process: int, number: int, run: Path) -> bool:
    """Whether this process holds the lock on the file of this number (proc(5), locks), or where the file system has no
    locks, has a file of the run open."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if str(process) in words and any(word.endswith(f":{number}") for word in words):
                return True
    return _has_open(process, run / NAME)


def _has_open(process: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                if link.samefile(path):
                    return True
    return False
