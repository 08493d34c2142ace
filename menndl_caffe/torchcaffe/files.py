"""Files of messages and of arrays: read or refused in one clear line, written whole or not at all."""
from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Optional, Tuple

import numpy as np
from google.protobuf.message import DecodeError

from menndl_caffe.errors import UserError, optional_module
from menndl_caffe.files import replacing, sync
from menndl_caffe.nets.layer_rules.blob import INT_MAX, text
from menndl_caffe.text import printable

MOST_PACKED = 1100  # times its size a file can become: gzip's best is 1032
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
FIXED_SIZES = {1: 8, 5: 4}  # bytes of protobuf's wire types that are neither a varint (0) nor bytes with a length (2)


def read_message(path: Path, message_class: Any) -> Any:
    """A file's message; UserError, with what was found, where the file is truncated or something else."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    try:
        return message_class.FromString(content)
    except DecodeError:
        expected = f"expected a serialized {message_class.DESCRIPTOR.name}"
        field = _truncated_field(content, message_class.DESCRIPTOR)
        found = f"begins with {content[:16]!r}" if field is None else f"ends at byte {len(content)} within {field}"
        raise UserError(f"{path}: {found}; {expected}") from None


def read_list(path: Path, what: str) -> str:
    """A list's text; UserError, with what it should be, where it cannot be read."""
    try:
        return os.fsdecode(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: no {what} ({error.strerror})") from None


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that it is there as a whole or not at all; UserError where that fails."""
    try:
        target = path.resolve()
        if target.exists() and not target.is_file():  # such as /dev/null
            target.write_bytes(content)
            return
        with replacing(target) as aside:
            aside.write_bytes(content)
            sync(aside)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 files do; UserError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(len(HDF5_MAGIC)) == HDF5_MAGIC
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """An HDF5 file to read; UserError where it cannot be read, is none or truncated, or is found damaged within."""
    library = h5py()
    is_hdf5(path)  # says in one clear line why a file cannot be read
    try:
        file = library.File(path, "r")
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: not an HDF5 file, or truncated: {printable(str(error))}") from None
    try:
        with file:
            yield file
    except UserError:
        raise
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:  # all are h5py's
        raise UserError(f"{path}: damaged: {printable(str(error))}") from None


def read_group(parent: Any, name: str, path: Path) -> Any:
    """A group within a group of an HDF5 file; UserError for anything else."""
    group = parent.get(name)
    if not isinstance(group, h5py().Group):
        raise _unexpected(parent, name, path, "a group of datasets")
    return group


def dataset_of(group: Any, name: str, path: Path) -> Any:
    """A dataset of numbers, for `read_array` once its shape is known to fit; UserError for anything else.

    A file can claim more numbers than it has. As in Caffe a blob has up to INT_MAX.
    """
    dataset = group.get(name)
    is_one = isinstance(dataset, h5py().Dataset) and dataset.shape is not None and dataset.dtype.kind in "biuf"
    if not is_one:
        raise _unexpected(group, name, path, "a dataset of numbers")
    if dataset.size > INT_MAX or dataset.nbytes > MOST_PACKED * path.stat().st_size:
        raise UserError(f"{path}: {printable(dataset.name)}: of shape {text(dataset.shape)}, {dataset.nbytes:,} bytes "
                        f"in a file of {path.stat().st_size:,}")
    return dataset


def read_array(dataset: Any) -> np.ndarray:
    """The numbers of a dataset as float32."""
    return np.array(dataset, np.float32)


def read_value(group: Any, name: str, path: Path) -> Any:
    """The number or the bytes, up to a 0, of a dataset that has just one; UserError for anything else."""
    dataset = group.get(name)
    if not isinstance(dataset, h5py().Dataset) or dataset.size != 1:
        raise _unexpected(group, name, path, "a dataset of one value")
    value = np.ravel(dataset[()])[0]
    return value.rstrip(b"\0") if isinstance(value, bytes) else np.asarray(value).item()


def _unexpected(group: Any, name: str, path: Path, expected: str) -> UserError:
    return UserError(f"{path}: {printable(group.name.rstrip('/'))}/{printable(name)}: expected {expected}")


def h5py() -> Any:
    """The library for HDF5 files; UserError with what to do where it is missing."""
    return optional_module("h5py", "an HDF5 file", "h5py")


def _truncated_field(content: bytes, descriptor: Any) -> Optional[str]:
    """The message's field in which the bytes end, and where it begins; None where the bytes are not such fields."""
    place = 0
    while place < len(content):
        start = place
        tag, place = _varint(content, place)
        field, wire_type = descriptor.fields_by_number.get(tag >> 3), tag & 7
        if field is None or wire_type not in (0, 1, 2, 5):
            return None
        size, place = (FIXED_SIZES[wire_type], place) if wire_type in FIXED_SIZES else _varint(content, place)
        place += 0 if wire_type == 0 else size
        if place > len(content):
            return f"field {field.name}, which begins at byte {start}"
    return None


def _varint(content: bytes, place: int) -> Tuple[int, int]:
    """protobuf's integer of 7 bits a byte, and the place after it, which is beyond the end if the integer is cut."""
    number, shift = 0, 0
    while place < len(content):
        byte = content[place]
        number |= (byte & 127) << shift
        shift, place = shift + 7, place + 1
        if byte < 128:
            return number, place
    return number, len(content) + 1
