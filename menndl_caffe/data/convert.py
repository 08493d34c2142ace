"""Images of a folder or of a list as LMDBs, byte for byte as Caffe's convert_imageset.cpp writes them, and its order.

Key: the image's number in the list, in 8 digits, `_`, its name in the list. Pixels are OpenCV's (see image_files); an
encoded record is the file itself where Caffe's Data layer will read these pixels from it, and is encoded anew where it
would read others: of another size, turned by EXIF, with transparency, or in colour where grey is wanted.
"""
from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from menndl_caffe.data.folder import DataSummary
from menndl_caffe.data.image_files import decode, encode, read_bytes, resize
from menndl_caffe.data.image_list import NAMED, Entry, ImageList, Parts, Report, read_parts, sizes
from menndl_caffe.data.lmdb_data import Record, write_records
from menndl_caffe.data.own import TEST, TRAIN, Made, told, write_own
from menndl_caffe.data.source import Source
from menndl_caffe.data.stratified import Share, put_aside
from menndl_caffe.errors import UserError, optional_module
from menndl_caffe.nets.layer_rules.blob import text
from menndl_caffe.nets.proto import caffe_pb2

PIECE = 64  # images that are read at once
KEY_BYTES = 511  # LMDB's most; Caffe aborts on longer ones
DEFAULT_TEST = 0.2


@dataclass(frozen=True)
class Options:
    """How images become records.

    `size`: height and width, None as they are. `encoding`: None for pixels, "" as the file's name says, else jpg or
    png. `test`, `validation`: how many of the images are for these parts, None: as the source has them.
    """

    size: Optional[Tuple[int, int]] = None
    gray: bool = False
    encoding: Optional[str] = None
    test: Optional[Share] = None
    validation: Optional[Share] = None
    shuffle: bool = True
    seed: int = 1
    skip_broken: bool = False


class Converted(NamedTuple):
    """A serialized Datum, and height, width and channels of its image."""

    datum: bytes
    shape: Tuple[int, ...]


def write_images(source: Path, root: Optional[Path], out: Path, options: Options, force: bool,
                 report: Report) -> DataSummary:
    """The data set of a folder or a list; as `read_parts` and `write_own`.

    UserError for images that cannot be read, unless they are to be skipped, and for images of different sizes.
    """
    parts = _divided(read_parts(source, root, out, report), options)
    random = np.random.RandomState([options.seed, 0])
    train, held_out = _joined(parts, options, random)
    test = parts.test or train
    if options.shuffle:
        order = random.permutation(len(train.entries))
        train, held_out = train.in_order(order), held_out[order]
        test = test.in_order(random.permutation(len(test.entries)))

    def make(folder: Path) -> Made:
        converter = Converter(options, report)
        report(f"writing {out / TRAIN}: {len(train.entries):,} images")
        kept = converter.write(folder / TRAIN, train.entries)
        report(f"writing {out / TEST}: {len(test.entries):,} images")
        kept_test = converter.write(folder / TEST, test.entries)
        converter.finish()
        return Made(train.labels[kept], held_out[kept], test.labels[kept_test], train.classes)
    return write_own("images", _source_of(source, parts, options), out, force, report, make)


def _divided(parts: Parts, options: Options) -> Parts:
    """With test images in any case: those of the source, or some of the training images."""
    for option, given, apart in (("--test", options.test, parts.test),
                                 ("--validation", options.validation, parts.validation)):
        if given is not None and apart is not None:
            raise UserError(f"{option} {given}: the folder has such images of its own; leave the option out")
    if parts.test is not None:
        return parts
    aside = put_aside(parts.train.labels, options.test or DEFAULT_TEST, np.random.RandomState([options.seed, 1]),
                      "--test")
    return Parts(parts.train.where(~aside), parts.train.where(aside))


def _joined(parts: Parts, options: Options, random: np.random.RandomState) -> Tuple[ImageList, np.ndarray]:
    """All images to train on in the end, and which of them are held out for validation."""
    if parts.validation is not None:
        entries = [*parts.train.entries, *parts.validation.entries]
        return ImageList(entries, parts.train.classes), np.arange(len(entries)) >= len(parts.train.entries)
    if options.validation is None:
        return parts.train, np.zeros(len(parts.train.entries), bool)
    return parts.train, put_aside(parts.train.labels, options.validation, random, "--validation")


def _source_of(path: Path, parts: Parts, options: Options) -> Source:
    """Which images, by names, labels and sizes, and which options: a second call knows whether it is the same set."""
    digest = hashlib.sha256(json.dumps(asdict(options)).encode())
    for part in filter(None, parts):
        found = sizes(part, not options.skip_broken)
        for entry in part.entries:
            digest.update(os.fsencode(f"{entry.name} {entry.label} {found[entry.path]}\n"))
    return Source(f"images of {path}", None, {"list and options": digest.hexdigest()})


class Converter:
    """Writes images as records, of one size all of them."""

    def __init__(self, options: Options, report: Report):
        self._options, self._report = options, report
        self._first: Optional[Tuple[str, Tuple[int, ...]]] = None
        self._broken: List[str] = []

    def write(self, folder: Path, entries: List[Entry]) -> List[int]:
        """A new LMDB; the places in the list of the images that are in it."""
        kept: List[int] = []
        write_records(folder, self._records(entries, kept))
        if not kept:
            raise UserError(f"{self._broken[0]}; none of the {len(entries):,} images can be read")
        return kept

    def finish(self) -> None:
        """Say what was left out."""
        if self._broken:
            more = f"; and {len(self._broken) - NAMED:,} more" if len(self._broken) > NAMED else ""
            self._report(f"broken images left out: {len(self._broken):,}: {'; '.join(self._broken[:NAMED])}{more}")

    def _records(self, entries: List[Entry], kept: List[int]) -> Iterator[Record]:
        for index, converted in enumerate(told(self._converted(entries), len(entries), self._report)):
            if isinstance(converted, UserError):
                if not self._options.skip_broken:
                    raise UserError(f"{converted} (--skip-broken goes on without such images)")
                self._broken.append(str(converted))
                continue
            self._require_size(entries[index].path, converted.shape)
            kept.append(index)
            yield (b"%08d_%s" % (index, os.fsencode(entries[index].name)))[:KEY_BYTES], converted.datum

    def _converted(self, entries: List[Entry]) -> Iterator[Union[Converted, UserError]]:
        """In order, some at a time side by side: Pillow and numpy let other threads run."""
        optional_module("PIL.Image", "reading images", "pillow").init()  # of two threads that do so one may miss some
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for start in range(0, len(entries), PIECE):
                yield from pool.map(self._of, entries[start:start + PIECE])

    def _of(self, entry: Entry) -> Union[Converted, UserError]:
        try:
            return convert(entry, self._options)
        except UserError as error:
            return error

    def _require_size(self, path: str, shape: Tuple[int, ...]) -> None:
        self._first = self._first or (path, shape)
        if shape != self._first[1]:
            raise UserError(f"{path}: {text(shape[:2])} pixels, but {self._first[0]} has {text(self._first[1][:2])}; "
                            "images of one size are needed: give --resize HxW")


def convert(entry: Entry, options: Options) -> Converted:
    """The record of one image; UserError where it cannot be read."""
    content = read_bytes(entry.path, entry.path)
    pixels = decode(content, not options.gray, entry.path)
    if options.size is not None:
        pixels = resize(pixels, *options.size)
    if options.encoding is None:
        height, width, channels = pixels.shape
        datum = caffe_pb2.Datum(channels=channels, height=height, width=width, label=entry.label, encoded=False,
                                data=pixels.transpose(2, 0, 1).tobytes())
    else:
        datum = caffe_pb2.Datum(label=entry.label, encoded=True, data=_encoded(content, pixels, entry.path, options))
    return Converted(datum.SerializeToString(), pixels.shape)


def _encoded(content: bytes, pixels: np.ndarray, path: str, options: Options) -> bytes:
    own = os.path.splitext(path)[1][1:].lower().replace("jpeg", "jpg")
    wanted = options.encoding or own
    if wanted == own:
        try:
            if np.array_equal(decode(content, None, path), pixels):
                return content
        except UserError:  # of 16 bits
            pass
    return encode(pixels, wanted)
