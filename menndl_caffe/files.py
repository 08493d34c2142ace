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
from typing import IO, Iterator, Optional, Union


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
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
