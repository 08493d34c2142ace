"""MNIST's four IDX files, packed with gzip or not."""
from __future__ import annotations

import hashlib
import struct
from math import prod
from pathlib import Path
from typing import Dict, Iterable, NamedTuple, Tuple

import numpy as np

from menndl_caffe.data.lmdb_data import Images
from menndl_caffe.data.source import Content, Source, opened, require_labels, require_size
from menndl_caffe.errors import UserError

IMAGES_MAGIC = 2051
LABELS_MAGIC = 2049
MOST_BYTES = 1 << 28  # of a file, unpacked; MNIST's largest has 47 million

# The SHA-256 of the official files, unpacked.
OFFICIAL = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
NEEDED = f"a folder with {', '.join(OFFICIAL)}, each as it is or as .gz, is needed"


class IdxFile(NamedTuple):
    """A file's path, its unpacked content, and the numbers in that: uint8, labels (N,) or images (N, height, width)."""

    path: str
    content: bytes
    values: np.ndarray


Files = Dict[str, IdxFile]


def read_mnist(folder: Path) -> Content:
    """Training and test images of the four files in `folder`; UserError naming file and byte of what is wrong."""
    files = read_files(folder, OFFICIAL)
    train, test = (images_of(files, part) for part in ("train", "t10k"))
    if train.shape != test.shape:
        raise UserError(f"{folder}: training images of {train.shape[1:]} and test images of {test.shape[1:]}; {NEEDED}")
    sha256 = {name: hashlib.sha256(file.content).hexdigest() for name, file in files.items()}
    return Content(Source("IDX files of MNIST", sha256 == OFFICIAL, sha256), train, test)


def read_files(folder: Path, names: Iterable[str]) -> Files:
    """These files of a folder, packed or not; UserError naming file and byte where one is missing or damaged."""
    if not folder.is_dir():
        raise UserError(f"{folder}: not a folder; {NEEDED}")
    return {name: _idx_file(name, path) for name, path in [(name, _find(folder, name)) for name in names]}


def _idx_file(name: str, path: Path) -> IdxFile:
    """A file that is as long as its header says: so much is read of it, and no more."""
    magic, dimensions = (IMAGES_MAGIC, 3) if "-images-" in name else (LABELS_MAGIC, 1)
    with opened(path) as file:
        header = file.read(4 * (1 + dimensions))
        sizes = _sizes(header, str(path), magic, dimensions)
        items = f"images of {sizes[1]}x{sizes[2]}" if dimensions == 3 else "labels"
        what, expected = f"{len(header)} + {sizes[0]} {items}", len(header) + prod(sizes)
        if expected > MOST_BYTES:
            raise UserError(f"{path}: {what} are {expected:,} bytes; up to {MOST_BYTES:,} are read")
        content = header + file.read(expected - len(header) + 1)
    require_size(str(path), len(content), expected, what)
    return IdxFile(str(path), content, np.frombuffer(content, np.uint8, offset=len(header)).reshape(sizes))


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise UserError(f"{folder}: {name} is missing, packed or not; {NEEDED}")


def images_of(files: Files, part: str) -> Images:
    """Images and labels of `train` or `t10k`; UserError naming file and byte where they do not fit or are no digits."""
    images, labels = files[f"{part}-images-idx3-ubyte"], files[f"{part}-labels-idx1-ubyte"]
    if len(images.values) != len(labels.values):
        raise UserError(f"{labels.path}: {len(labels.values)} labels (bytes 4 to 7) for the {len(images.values)} "
                        f"images of {images.path}")
    require_labels(labels.path, labels.values, 8, 1)
    return Images(labels.values, images.values[:, np.newaxis])


def _sizes(header: bytes, name: str, magic: int, dimensions: int) -> Tuple[int, ...]:
    """The sizes in an IDX file's header: big-endian 32-bit numbers after the magic number."""
    length = 4 * (1 + dimensions)
    if len(header) < length:
        raise UserError(f"{name}: {len(header)} bytes, shorter than its header of {length}")
    found, *sizes = struct.unpack(f">{1 + dimensions}I", header)
    if found != magic:
        raise UserError(f"{name}: not an IDX file of this kind: it begins with {found} (bytes 0 to 3), not {magic}")
    if 0 in sizes:
        raise UserError(f"{name}: a size of 0 at byte {4 * (1 + sizes.index(0))}; {NEEDED}")
    return tuple(sizes)
