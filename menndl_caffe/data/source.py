"""What every published data set has in common: where it came from, and reading files that may be packed."""
from __future__ import annotations

import gzip
import io
import os
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, Optional, Union

import numpy as np

from menndl_caffe.data.lmdb_data import Images
from menndl_caffe.errors import UserError

CLASSES = 10
ByteStream = Union[gzip.GzipFile, io.BufferedReader]


@dataclass(frozen=True)
class Source:
    """Where images came from, in words, and the SHA-256 of what was read, by file name (none where nothing was).

    `official`: whether it is what was published; None for a user's own.
    """

    kind: str
    official: Optional[bool]
    sha256: Dict[str, str]

    def __str__(self) -> str:
        if not self.sha256 or self.official is None:
            return self.kind
        return f"{'official' if self.official else 'unofficial'} {self.kind}"


@dataclass(frozen=True)
class Content:
    """A data set in memory: training and test images in file order, and their source."""

    source: Source
    train: Images
    test: Images


@contextmanager
def opened(path: Path) -> Iterator[ByteStream]:
    """A file's content, unpacked where it is a gzip file; UserError with file and byte where it cannot be read."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise UserError(f"{path}: neither a file nor a folder")
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            try:
                yield gzip.GzipFile(fileobj=raw) if packed else raw
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                size = os.fstat(raw.fileno()).st_size
                raise UserError(f"{path}: damaged gzip file ({error}) near byte {raw.tell()} of {size}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def require_size(name: str, size: int, expected: int, what: str) -> None:
    """UserError with the byte at which a file ends too early or goes on too long."""
    if size != expected:
        problem = "truncated: it ends at" if size < expected else "too long: it goes on after"
        raise UserError(f"{name}: {problem} byte {min(size, expected)}; {what} are {expected} bytes")


def require_labels(name: str, labels: np.ndarray, first_byte: int, record_bytes: int) -> None:
    """UserError with record and byte of the first label that is no class."""
    wrong = np.flatnonzero(labels >= CLASSES)
    if wrong.size:
        record = int(wrong[0])
        byte = first_byte + record * record_bytes
        raise UserError(f"{name}: label {labels[record]} at record {record} (byte {byte}); "
                        f"0 to {CLASSES - 1} are valid")
