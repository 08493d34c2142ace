"""Files on disk, one way for each: written aside and moved into place, reached without links, synced, locked, known by
their SHA-256."""
from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import IO, Iterator, Optional, Set, Union

from menndl_caffe.text import say

# What a file system that has no fsync says to it (fsync(2)); all else is a disk that fails.
NO_FSYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
_warned_of: Set[int] = set()  # file systems, by the number of their device


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write a file or a folder to, each process its own; in the end, unless an error came, it
    becomes `path`. So nobody ever sees half of it."""
    aside, earlier = (path.with_name(f".{path.name}.{which}.{os.getpid()}") for which in ("new", "old"))
    _remove(aside, earlier)  # of a process that was killed, or a link to elsewhere
    try:
        yield aside
        if aside.is_dir() and os.path.lexists(path):  # a folder takes the place of a file, but not of a folder
            os.replace(path, earlier)
        os.replace(aside, path)
    finally:
        _remove(aside, earlier)


def _remove(*paths: Path) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            path.unlink()


def write(path: Path, text: str, errors: str = "backslashreplace") -> None:
    """Write a text file; what stands there is replaced, also where it is a link. `errors`: what becomes of halves of
    surrogate pairs."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8", errors=errors)


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


def unlinked(folder: Path, *names: str) -> Path:
    """The path that these names lead to from the folder, there or not; OSError where one of them is a link, which may
    lead anywhere: a run can come from elsewhere."""
    path = folder
    for name in names:
        path = path / name
        if path.is_symlink():
            raise OSError(errno.ELOOP, "is a link, which is not followed", str(path))
    return path


def inside(folder: Path, *names: str) -> IO[bytes]:
    """The regular file that is reached from the folder by these names, opened to be read; OSError where it is none, or
    one of them is a link."""
    flags = os.O_RDONLY | os.O_NOFOLLOW
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in names[:-1]:
            inner = os.open(name, flags | os.O_DIRECTORY, dir_fd=place)
            os.close(place)
            place = inner
        return open(opened(Path(names[-1]), flags, place), "rb")
    finally:
        os.close(place)


def opened(path: Path, flags: int = os.O_RDONLY, folder: Optional[int] = None) -> int:
    """The descriptor of a regular file; OSError where it is something else, such as a named pipe, which would hold its
    reader up. `folder`: the descriptor of the folder that it is in."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return descriptor


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
