"""LMDBs of `Datum` and mean images: written byte for byte as Caffe's own tools do (convert_cifar_data.cpp,
convert_mnist_data.cpp, convert_imageset.cpp, compute_image_mean.cpp), and read and checked before Caffe opens them."""
from __future__ import annotations

import errno
import hashlib
import itertools
import os
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple, Union, cast

import lmdb
import numpy as np
from google.protobuf.message import DecodeError

from menndl_caffe.data.advice import how_to_make
from menndl_caffe.data.image_files import decode
from menndl_caffe.errors import UserError
from menndl_caffe.nets.layer_rules.blob import MAX_AXES, blob_shape, text
from menndl_caffe.nets.proto import caffe_pb2

Shape = Tuple[int, int, int]
Bytes = Union[bytes, memoryview]
Record = Tuple[bytes, bytes]  # key, and a serialized Datum
RECORDS_A_TRANSACTION, BYTES_A_TRANSACTION = 10_000, 1 << 25
ALL_BYTES = 2**28  # of records, are read for a checksum; a second of work


@dataclass(frozen=True)
class Images:
    """Labelled images in file order: labels uint8 (N,), pixels uint8 (N, channels, height, width)."""

    labels: np.ndarray
    pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> Shape:
        """Channels, height, width."""
        return cast(Shape, tuple(int(size) for size in self.pixels.shape[1:]))

    def part(self, start: int, stop: int) -> Images:
        """The images from `start` up to, not including, `stop`."""
        return Images(self.labels[start:stop], self.pixels[start:stop])


@dataclass(frozen=True)
class LmdbInfo:
    """How many records an LMDB has, and the size of its first image in pixels."""

    records: int
    channels: int
    height: int
    width: int
    encoded: bool = False  # as JPEG, PNG, ...: the size is then that of the image in it

    @property
    def shape(self) -> Shape:
        return self.channels, self.height, self.width


def write_lmdb(folder: Path, images: Images, key_digits: int) -> None:
    """A new LMDB of one `Datum` an image; the keys are the running index in `key_digits` decimal digits.

    As `write_records`.
    """
    channels, height, width = images.shape
    datum = caffe_pb2.Datum(channels=channels, height=height, width=width)

    def serialized() -> Iterator[Record]:
        for index, (label, pixels) in enumerate(zip(images.labels, images.pixels)):
            datum.data, datum.label = pixels.tobytes(), int(label)
            yield b"%0*d" % (key_digits, index), datum.SerializeToString()
    write_records(folder, serialized())


def write_records(folder: Path, records: Iterable[Record]) -> None:
    """A new LMDB of these records, whose keys ascend; few of them are in memory at a time.

    `folder` holds data.mdb alone: no lock file, so whoever reads it first owns the lock. When it is on the disk is left
    to files.sync. Raises OSError or lmdb.Error.
    """
    folder.mkdir()
    with closing(lmdb.open(str(folder), map_size=1 << 20, mode=0o664, lock=False, sync=False)) as environment:
        for some in _transactions(records):
            environment.set_mapsize(_used(environment) + sum(map(_room, some)) + (1 << 20))
            with environment.begin(write=True) as transaction:
                for key, value in some:
                    transaction.put(key, value, append=True)


def _transactions(records: Iterable[Record]) -> Iterator[List[Record]]:
    """The records in pieces that are written at once."""
    piece: List[Record] = []
    size = 0
    for record in records:
        piece.append(record)
        size += len(record[1])
        if len(piece) == RECORDS_A_TRANSACTION or size >= BYTES_A_TRANSACTION:
            yield piece
            piece, size = [], 0
    yield piece


def _used(environment: lmdb.Environment) -> int:
    """Bytes of the pages that are in use."""
    pages: int = environment.info()["last_pgno"] + 1
    return pages * int(environment.stat()["psize"])


def _room(record: Record) -> int:
    """Enough bytes of address space for a record; the file itself grows only as far as it is written.

    A value that fills half a page gets whole pages of its own, and its key an entry in a leaf page.
    """
    key, value = record
    return (1 + (len(value) + 64) // 4096) * 4096 + 256 + len(key)


def write_mean(path: Path, pixels: Iterable[np.ndarray]) -> None:
    """The mean image of a training set as a `BlobProto`: a float32 sum in file order, then divided, as in Caffe."""
    images = iter(pixels)
    total = next(images).astype(np.float32)
    count = 1
    for image in images:
        total += image
        count += 1
    channels, height, width = total.shape
    blob = caffe_pb2.BlobProto(num=1, channels=channels, height=height, width=width)
    blob.data.extend((total / np.float32(count)).ravel().tolist())
    path.write_bytes(blob.SerializeToString())


def describe(path: Path) -> LmdbInfo:
    """How many records there are, and the shape of the first. UserError for what Caffe could not read."""
    with _reading(path) as transaction:
        cursor = transaction.cursor()
        if not cursor.first():
            raise UserError(f"{path}: an LMDB without records; {how_to_make(path)}")
        datum, pixels = _decoded(path, cursor.key(), cursor.value())
        return LmdbInfo(transaction.stat()["entries"], *cast(Shape, pixels.shape), datum.encoded)


def records(path: Path) -> Iterator[Tuple[int, np.ndarray]]:
    """Every record in Caffe's order, which is the keys': label, and pixels uint8 (channels, height, width)."""
    with _reading(path) as transaction:
        for key, value in transaction.cursor():
            datum, pixels = _decoded(path, key, value)
            yield datum.label, pixels


def raw_records(path: Path) -> Iterator[Record]:
    """The same as they lie there, unread."""
    with _reading(path) as transaction:
        for key, value in transaction.cursor():
            yield bytes(key), bytes(value)


def label_of(path: Path, record: Record) -> int:
    """The label of a record as it lies there."""
    return int(_datum(path, *record).label)


def fingerprint(path: Path, sample: int = 100) -> str:
    """SHA-256 of the number of records and of the first `sample` ones, by which journals tell data sets apart."""
    with _reading(path) as transaction:
        digest = hashlib.sha256(b"%d" % transaction.stat()["entries"])
        for key, value in itertools.islice(transaction.cursor(), sample):
            digest.update(bytes(key))
            digest.update(bytes(value))
    return digest.hexdigest()


def checksum(path: Path) -> str:
    """SHA-256 of the keys of all records, and of the records themselves: of all of them where these are less than
    ALL_BYTES (CIFAR-10 is), else of as many, evenly spread. So no more is read than a training soon reads anyway."""
    digest = hashlib.sha256()
    with _reading(path) as transaction:
        for key, value in _sampled(transaction):
            digest.update(b"%d " % len(key) + bytes(key))
            if value is not None:
                digest.update(b"%d " % len(value) + bytes(value))
    return digest.hexdigest()


def sampled_labels(path: Path) -> Dict[int, int]:
    """Label -> how many of the records that `checksum` reads have it."""
    with _reading(path) as transaction:
        return dict(Counter(int(_datum(path, key, value).label) for key, value in _sampled(transaction)
                            if value is not None))


def _sampled(transaction: lmdb.Transaction) -> Iterator[Tuple[Bytes, Optional[Bytes]]]:
    """All keys, and the records of less than ALL_BYTES of them, evenly spread."""
    cursor = transaction.cursor()
    size = len(cursor.value()) if cursor.first() else 0
    step = -(-size * transaction.stat()["entries"] // ALL_BYTES) or 1
    for number, key in enumerate(cursor.iternext(values=False)):
        yield key, None if number % step else cursor.value()


def check_data(train: Path, test: Path, mean: Optional[Path]) -> Shape:
    """Channels, height, width that both LMDBs and the mean (None: no mean) agree on; UserError if they do not."""
    shape = describe(train).shape
    others = {test: describe(test).shape}
    if mean is not None:
        others[mean] = mean_shape(mean)
    for path, other in others.items():
        if other != shape:
            raise UserError(f"{path}: {text(other)}, but the images of {train} are {text(shape)}; "
                            f"{how_to_make(train)}")
    return shape


def mean_shape(path: Path) -> Shape:
    """Channels, height, width of a mean file, from its legacy fields or its `shape`, as in Caffe's blob.cpp."""
    blob = caffe_pb2.BlobProto()
    try:
        blob.ParseFromString(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: no mean file ({error.strerror}); {how_to_make(path)}") from None
    except DecodeError:
        raise UserError(f"{path}: not a mean file (a BlobProto); {how_to_make(path)}") from None
    sizes = blob_shape(blob)
    values = len(blob.data) or len(blob.double_data)
    if len(sizes) != 4 or sizes[0] != 1 or min(sizes) < 1 or values != prod(sizes):
        shape = f"the shape {text(sizes)}" if len(sizes) <= MAX_AXES else f"a shape of {len(sizes):,} axes"
        raise UserError(f"{path}: not one mean image: {values} values in {shape}; {how_to_make(path)}")
    return cast(Shape, tuple(int(size) for size in sizes[1:]))


def lock_refusal(database: Path) -> str:
    """Why LMDB as Caffe opens it could not have the lock file; "" where it could. Leaves no lock file behind.

    LMDB does without one on a file system that is read-only, and only there.
    """
    lock = database / "lock.mdb"
    try:
        os.close(os.open(lock, os.O_RDWR))
    except FileNotFoundError:
        read_only = os.statvfs(database).f_flag & os.ST_RDONLY
        if not read_only and not os.access(database, os.W_OK | os.X_OK, effective_ids=True):
            return f"{lock} is not there and may not be made"
    except OSError as error:
        if error.errno != errno.EROFS:
            return f"{lock} cannot be opened for writing: {error.strerror}"
    return ""


@contextmanager
def _reading(path: Path) -> Iterator[lmdb.Transaction]:
    """A read transaction that needs neither a lock file nor the right to write one."""
    if not path.is_dir():
        raise UserError(f"{path}: no such LMDB; {how_to_make(path)}")
    try:
        environment = lmdb.open(str(path), readonly=True, lock=False, create=False)
    except lmdb.Error as error:
        raise UserError(f"{path}: not an LMDB that can be read ({error}); {how_to_make(path)}") from None
    with closing(environment), environment.begin() as transaction:
        require_whole(path, environment)
        try:
            yield transaction
        except lmdb.Error as error:
            raise UserError(f"{path}: damaged ({error}); {how_to_make(path)}") from None


def require_whole(path: Path, environment: lmdb.Environment) -> None:
    """Reading past the end of a truncated data.mdb would kill the process (SIGBUS), and Caffe's too."""
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    size = (path / "data.mdb").stat().st_size
    if size < needed:
        raise UserError(f"{path / 'data.mdb'}: truncated: {size} bytes of {needed}; {how_to_make(path)}")


def _datum(path: Path, key: Bytes, value: Bytes) -> Any:
    try:
        return caffe_pb2.Datum.FromString(bytes(value))
    except DecodeError:
        raise UserError(f"{path}: record {_name(key)} is not a Caffe Datum; {how_to_make(path)}") from None


def _decoded(path: Path, key: Bytes, value: Bytes) -> Tuple[Any, np.ndarray]:
    """The Datum, and its pixels."""
    datum = _datum(path, key, value)
    if datum.encoded:
        return datum, decode(datum.data, None, f"{path}: record {_name(key)}").transpose(2, 0, 1)
    shape = datum.channels, datum.height, datum.width
    if min(shape) < 1 or len(datum.data) != prod(shape):
        raise UserError(f"{path}: record {_name(key)} is {len(datum.data)} bytes for {text(shape)}; "
                        f"one byte for each pixel and channel is needed; {how_to_make(path)}")
    return datum, np.frombuffer(datum.data, np.uint8).reshape(shape)


def _name(key: Bytes) -> str:
    return bytes(key).decode("ascii", "backslashreplace")
