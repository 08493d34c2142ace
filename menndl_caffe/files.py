"""Files on disk, one way for each: written aside and moved into place, synced, locked, known by their SHA-256."""
from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
from pathlib import Path
from typing import IO, Iterator, Set, Union

from menndl_caffe.text import say

# What a file system that has no fsync says to it (fsync(2)); all else is a disk that fails.
NO_FSYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
_warned_of: Set[int] = set()  # file systems, by the number of their device


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write a file or a folder to, each process its own; in the end, unless an error came, it
    becomes `path`. So nobody ever sees half of it."""
    aside, earlier = (path.with_name(f".{path.name}.{which}.{os.getpid()}") for which in ("new", "old"))
    try:
        yield aside
        if aside.is_dir() and path.exists():  # a folder takes the place of a file, but not of a folder
            os.replace(path, earlier)
        os.replace(aside, path)
    finally:
        for left in (aside, earlier):
            shutil.rmtree(left, ignore_errors=True)
            with contextlib.suppress(OSError):
                left.unlink()


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """`folder`, new and empty, for what is moved out of it when all is there; gone at the end. What a killed process
    left under its name is removed before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; as `fsync`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync(descriptor: int) -> None:
    """Wait until what was written to an open file is on the disk. OSError, which names fsync, where that fails; but a
    file system that has none is told of once, since all else works there."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        path, device = os.readlink(f"/proc/self/fd/{descriptor}"), os.fstat(descriptor).st_dev
        if error.errno not in NO_FSYNC:
            raise OSError(error.errno, f"fsync: {error.strerror}", path) from None
        if device not in _warned_of:
            _warned_of.add(device)
            say(f"menndl: warning: the file system of {path} has no fsync ({error.strerror}): what menndl has written "
                "there is lost where this machine loses its power before the system has saved it")


def lock(opened: Union[int, IO[str]]) -> str:
    """Lock an open file or folder until it is closed or this process ends, however it ends.

    BlockingIOError where another process has locked it. What the file system says if it has no locks, such as a Lustre
    that is mounted without; else nothing.
    """
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        return error.strerror or str(error)
    return ""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
