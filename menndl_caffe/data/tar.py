"""The regular files of a tar archive, once from front to back: whatever stands in it, reading goes on to its end and
takes no memory. (Python's tarfile believes sizes below 0 and names of gigabytes, and calls itself for each header.)

Layout: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar's long names.
"""
from __future__ import annotations

import re
from typing import Iterator, NamedTuple

from menndl_caffe.data.source import ByteStream
from menndl_caffe.text import printable

BLOCK = 512
MOST_MEMBERS = 100_000
MOST_BYTES = 1 << 30      # of all members, unpacked; CIFAR-10's archives have 180 million
MOST_NAME_BYTES = 1 << 16  # of what comes ahead of a member with a long name
REGULAR, WITHOUT_CONTENT, GNU_NAME, PAX = b"0\0" + b"7", b"123456", b"L", b"x"
OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
PAX_PATH = re.compile(rb"^\d+ path=(.*)$", re.MULTILINE)


class TarError(ValueError):
    """The stream is no tar archive, or a damaged one; the text says what was found."""


class Member(NamedTuple):
    """A regular file; its `size` bytes begin at byte `start` of the archive's content."""

    name: str
    size: int
    start: int


def regular_files(stream: ByteStream) -> Iterator[Member]:
    """Each regular file, with `stream` at its first byte; what is not read of it is passed over, and what comes behind
    the archive is read, so that gzip's checksum is checked.

    TarError for a header that is none, and for more than `MOST_MEMBERS` or `MOST_BYTES`.
    """
    end, long_name = 0, b""
    for _ in range(MOST_MEMBERS):
        stream.seek(end)
        header = stream.read(BLOCK)
        if end and not header.strip(b"\0"):
            _read_rest(stream)
            return
        kind, size = header[156:157], _size(header)
        start = end + BLOCK
        end = start + -(-size // BLOCK) * BLOCK
        _require_few(end)
        if kind in (GNU_NAME, PAX):
            long_name = _long_name(kind, stream, size)
            continue
        if kind in REGULAR:
            yield Member(_text(long_name or _short_name(header)), size, start)
        long_name = b""
    raise TarError(f"more than {MOST_MEMBERS:,} members")


def _read_rest(stream: ByteStream) -> None:
    while stream.read(1 << 20):
        _require_few(stream.tell())


def _require_few(count: int) -> None:
    if count > MOST_BYTES:
        raise TarError(f"more than {MOST_BYTES:,} bytes")


def _size(header: bytes) -> int:
    """A member's bytes of content, 0 or more, of a header whose checksum is right."""
    checksum, size = (OCTAL.fullmatch(header[place]) for place in (slice(148, 156), slice(124, 136)))
    if len(header) < BLOCK:
        raise TarError(f"it ends {len(header)} bytes into a header of {BLOCK}")
    if checksum is None or int(checksum[1], 8) != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        raise TarError("no header, or one with a wrong checksum")
    if size is None:
        raise TarError(f"a size that is no octal number, {header[124:136]!r}")
    return 0 if header[156:157] in WITHOUT_CONTENT else int(size[1], 8)


def _short_name(header: bytes) -> bytes:
    """The name in a header, behind its prefix where it has one."""
    name, magic, prefix = (header[place].split(b"\0")[0] for place in
                           (slice(0, 100), slice(257, 263), slice(345, 500)))
    return prefix + b"/" + name if magic == b"ustar" and prefix else name


def _long_name(kind: bytes, stream: ByteStream, size: int) -> bytes:
    """The name that is told ahead of a member; empty where there is none."""
    if size > MOST_NAME_BYTES:
        raise TarError(f"a name or a list of properties of {size:,} bytes; {MOST_NAME_BYTES:,} are read")
    content = stream.read(size)
    if kind == GNU_NAME:
        return content.split(b"\0")[0]
    path = PAX_PATH.search(content)
    return path[1] if path else b""


def _text(name: bytes) -> str:
    return printable(name.decode("utf-8", "backslashreplace"))
