"""The records of an LMDB or LevelDB, in the order of their keys, where they lie: batches are gathered, nothing is kept.

Sources: `db_lmdb.cpp`, `db_leveldb.cpp`, `io.cpp`. A record is a serialized Datum. Images of one size, a byte for each
pixel and channel, are read without parsing: their Datum is a header that is the same for all, the pixels, and a tail
with the label. They stay in the operating system's memory of the LMDB's file, which all processes of a machine share.
A LevelDB cannot be mapped, nor opened by two processes: its values are copied into this process, and it is closed.
"""
from __future__ import annotations

import ctypes
from math import prod
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple
from weakref import WeakValueDictionary

import lmdb
import numpy as np
import torch
from google.protobuf.message import DecodeError

from menndl_caffe.data.image_files import decode
from menndl_caffe.data.lmdb_data import require_whole
from menndl_caffe.errors import UserError, optional_module
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, Shape, text
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe.log import log

UNKNOWN = np.float32("nan")  # a label that has not been looked at
PIECE = 10_000               # records put on a device at a time


class Rows(NamedTuple):
    """A batch of records of one size: pixels n x C x H x W, uint8, and labels n, float32."""

    pixels: torch.Tensor
    labels: torch.Tensor


class Values(NamedTuple):
    """Where values lie in `content`; `owner` is what keeps it there."""

    content: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    owner: Any


class Records:
    """The records of a database at `path`: UserError for one that is damaged, when it is read."""

    def __init__(self, path: Path, values: Values) -> None:
        self.path, self._values = path, values
        self._labels = np.full(len(self), UNKNOWN, np.float32)
        self._labels_of_tails: Dict[bytes, Optional[int]] = {}
        self._held: Dict[torch.device, Optional[HeldRecords]] = {}
        self.shape = self._common_shape()
        if self.shape is not None:
            size = prod(self.shape)
            self._header = _header_of(self.shape)
            self._after = len(self._header) + size
            content = values.content
            self._windows = np.lib.stride_tricks.as_strided(
                content, (len(content) - size + 1, size), (1, 1), writeable=False)

    def __len__(self) -> int:
        return len(self._values.starts)

    def rows(self, indices: np.ndarray) -> Optional[Rows]:
        """The records at these places; None where they have to be read by `datum`.

        That is where one differs from the first in more than pixels and label, or the first has no image of bytes.
        """
        if self.shape is None:
            return None
        labels = self._labels[indices]
        if np.isnan(labels).any():
            if not all(map(self._look_at, indices.tolist())):
                return None
            labels = self._labels[indices]
        pixels = self._windows[self._values.starts[indices] + len(self._header)]
        return Rows(torch.from_numpy(pixels).view(-1, *self.shape), torch.from_numpy(labels))

    def on(self, device: torch.device) -> Optional[HeldRecords]:
        """All records, copied to a device once; None where `rows` gives None for some, or the device has no room."""
        if device not in self._held:
            self._held[device] = self._copied_to(device)
        return self._held[device]

    def _copied_to(self, device: torch.device) -> Optional[HeldRecords]:
        if self.shape is None or not _has_room(device, len(self) * prod(self.shape)):
            return None
        pixels = torch.empty((len(self), *self.shape), dtype=torch.uint8, device=device)
        labels = torch.empty(len(self), device=device)
        for start in range(0, len(self), PIECE):
            piece = self.rows(np.arange(start, min(start + PIECE, len(self))))
            if piece is None:
                return None
            pixels[start:start + PIECE], labels[start:start + PIECE] = piece
        return HeldRecords(pixels, labels)

    def datum(self, index: int) -> Any:
        """A record as a Datum."""
        try:
            return caffe_pb2.Datum.FromString(self._bytes(index))
        except DecodeError:
            raise UserError(f"{self.path}: record {index} of {len(self)} is not a Caffe Datum") from None

    def _bytes(self, index: int) -> bytes:
        start = self._values.starts[index]
        return self._values.content[start:start + self._values.lengths[index]].tobytes()

    def _common_shape(self) -> Optional[Shape]:
        """C, H, W, if the first record is an image whose header is what Caffe's and Google's libraries write."""
        datum = self.datum(0)
        shape = datum.channels, datum.height, datum.width
        is_plain = not datum.encoded and len(datum.data) == prod(shape) > 0 and min(shape) > 0
        return shape if is_plain and self._bytes(0).startswith(_header_of(shape)) else None

    def _look_at(self, index: int) -> bool:
        """Note the label of a record; False if it is not such as the first."""
        record = self._bytes(index)
        if not record.startswith(self._header) or len(record) < self._after:
            return False
        tail = record[self._after:]
        if tail not in self._labels_of_tails:
            self._labels_of_tails[tail] = _label_in(tail)
        label = self._labels_of_tails[tail]
        if label is not None:
            self._labels[index] = label
        return label is not None


class HeldRecords:
    """All records in a device's memory."""

    def __init__(self, pixels: torch.Tensor, labels: torch.Tensor) -> None:
        self._pixels, self._labels = pixels, labels

    def rows(self, indices: np.ndarray) -> Rows:
        """The records at these places."""
        places = torch.from_numpy(indices).to(self._pixels.device)
        return Rows(self._pixels.index_select(0, places), self._labels.index_select(0, places))


_open: WeakValueDictionary[Tuple[Any, ...], Records] = WeakValueDictionary()  # an LMDB can be open once in a process


def open_records(source: str, backend: int) -> Records:
    """The records of a DataParameter's source; those who ask for the same get the same."""
    path = Path(source)
    is_lmdb = backend == caffe_pb2.DataParameter.LMDB
    if not path.is_dir():
        raise UserError(f"{path}: no such {'LMDB' if is_lmdb else 'LevelDB'}")
    if not is_lmdb and (path / "data.mdb").exists():
        raise UserError(f"{path}: an LMDB, while data_param has backend LEVELDB (the default): say backend: LMDB")
    file = path / ("data.mdb" if is_lmdb else "CURRENT")
    if not file.exists():
        raise UserError(f"{path}: not {'an LMDB' if is_lmdb else 'a LevelDB'}: it has no {file.name}")
    stat = file.stat()
    key = path.resolve(), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
    records = _open.get(key)
    if records is None:
        records = _open[key] = Records(path, _in_lmdb(path) if is_lmdb else _in_leveldb(path))
    log(f"Opened {'lmdb' if is_lmdb else 'leveldb'} {path}", source="db_lmdb.cpp:35")
    return records


def image_of(datum: Any, param: Any, what: str) -> torch.Tensor:
    """The C x H x W image of a Datum, uint8 or float32, decoded as a TransformationParameter says.

    UserError, beginning with `what`, where it is not what the Datum promises.
    """
    if datum.encoded:
        if param.force_color and param.force_gray:
            raise ImpossibleNet("force_color and force_gray exclude each other")
        color = True if param.force_color else False if param.force_gray else None
        return torch.from_numpy(decode(datum.data, color, what)).permute(2, 0, 1)
    shape = datum.channels, datum.height, datum.width
    values = np.frombuffer(datum.data, np.uint8).copy() if datum.data else np.array(datum.float_data, np.float32)
    if min(shape) < 1 or values.size != prod(shape):
        raise UserError(f"{what}: {values.size} numbers for an image of {text(shape)}")
    return torch.from_numpy(values.reshape(shape))


def _in_lmdb(path: Path) -> Values:
    """Where LMDB has the file in memory; a read transaction, which locks nothing, keeps it there."""
    try:
        environment = lmdb.open(str(path), readonly=True, lock=False, create=False)
        require_whole(path, environment)
        transaction = environment.begin(buffers=True)
        count = transaction.stat()["entries"]
        if not count:
            raise UserError(f"{path}: an LMDB without records")
        places = np.fromiter(map(_address, transaction.cursor().iternext(keys=False)), np.int64, count)
        lengths = np.fromiter(map(len, transaction.cursor().iternext(keys=False)), np.int64, count)
    except lmdb.Error as error:
        raise UserError(f"{path}: not an LMDB that can be read ({error})") from None
    first, last = int(places.min()), int((places + lengths).max())
    content = np.ctypeslib.as_array((ctypes.c_uint8 * (last - first)).from_address(first))
    return Values(content, places - first, lengths, (environment, transaction))


def _address(value: memoryview) -> int:
    address: int = np.frombuffer(value, np.uint8).__array_interface__["data"][0]
    return address


def _in_leveldb(path: Path) -> Values:
    """A copy of all values."""
    try:
        plyvel = optional_module("plyvel", f"{path}: reading a LevelDB", "plyvel")
    except UserError as error:
        raise UserError(f"{error}, or make an LMDB of the data (convert_imageset -backend=lmdb)") from None
    try:
        database = plyvel.DB(str(path), create_if_missing=False)
        try:
            values: List[bytes] = list(database.iterator(include_key=False))
        finally:
            database.close()
    except plyvel.Error as error:
        raise UserError(f"{path}: not a LevelDB that can be read ({error})") from None
    if not values:
        raise UserError(f"{path}: a LevelDB without records")
    lengths = np.array([len(value) for value in values])
    return Values(np.frombuffer(b"".join(values), np.uint8), np.cumsum(lengths) - lengths, lengths, None)


def _header_of(shape: Shape) -> bytes:
    """What a Datum with C x H x W bytes begins with: all that comes before the bytes."""
    channels, height, width = shape
    size = prod(shape)
    whole = caffe_pb2.Datum(channels=channels, height=height, width=width, data=bytes(size)).SerializeToString()
    return bytes(whole[:-size])


def _label_in(tail: bytes) -> Optional[int]:
    """The label in what follows a Datum's bytes; None where there is more than Caffe's tools write."""
    try:
        datum = caffe_pb2.Datum.FromString(tail)
    except DecodeError:
        return None
    fields = {field.name for field, _ in datum.ListFields()}
    return datum.label if fields <= {"label", "encoded"} and not datum.encoded else None


def _has_room(device: torch.device, size: int) -> bool:
    """Whether a data set may take so many bytes of a device: half of what a GPU has free."""
    return device.type != "cuda" or size <= torch.cuda.mem_get_info(device)[0] // 2
