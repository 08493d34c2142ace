"""MNIST's four IDX files, packed with gzip or not."""
from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Dict, Iterable, Tuple

import numpy as np

from menndl_caffe.data.lmdb_data import Images
from menndl_caffe.data.source import Content, Source, opened, require_labels, require_size
from menndl_caffe.errors import UserError

IMAGES_MAGIC = 2051
LABELS_MAGIC = 2049
LARGEST_FILE = 1 << 30

# The SHA-256 of the official files, unpacked.
OFFICIAL = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
NEEDED = f"a folder with {', '.join(OFFICIAL)}, each as it is or as .gz, is needed"
Files = Dict[str, Tuple[str, bytes]]  # name -> path and unpacked content


def read_mnist(folder: Path) -> Content:
    """Training and test images of the four files in `folder`; UserError naming file and byte of what is wrong."""
    files = read_files(folder, OFFICIAL)
    train, test = (images_of(files, part) for part in ("train", "t10k"))
    if train.shape != test.shape:
        raise UserError(f"{folder}: training images of {train.shape[1:]} and test images of {test.shape[1:]}; {NEEDED}")
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, (_, content) in files.items()}
    return Content(Source("IDX files of MNIST", sha256 == OFFICIAL, sha256), train, test)


def read_files(folder: Path, names: Iterable[str]) -> Files:
    """These files of a folder, packed or not; UserError where one is missing or damaged."""
    if not folder.is_dir():
        raise UserError(f"{folder}: not a folder; {NEEDED}")
    files: Files = {}
    for name, path in [(name, _find(folder, name)) for name in names]:
        with opened(path) as file:
            files[name] = str(path), file.read(LARGEST_FILE)
    return files


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise UserError(f"{folder}: {name} is missing, packed or not; {NEEDED}")


def images_of(files: Files, part: str) -> Images:
    """Images and labels of `train` or `t10k`; UserError naming file and byte of what is wrong."""
    pixels_name, pixels = files[f"{part}-images-idx3-ubyte"]
    labels_name, labels = files[f"{part}-labels-idx1-ubyte"]
    count, height, width = _header(pixels, pixels_name, IMAGES_MAGIC, 3)
    require_size(pixels_name, len(pixels), 16 + count * height * width, f"16 + {count} images of {height}x{width}")
    (label_count,) = _header(labels, labels_name, LABELS_MAGIC, 1)
    require_size(labels_name, len(labels), 8 + label_count, f"8 + {label_count} labels")
    if count != label_count:
        raise UserError(f"{labels_name}: {label_count} labels (bytes 4 to 7) for the {count} images of {pixels_name}")
    label_array = np.frombuffer(labels, np.uint8, offset=8)
    require_labels(labels_name, label_array, 8, 1)
    return Images(label_array, np.frombuffer(pixels, np.uint8, offset=16).reshape(count, 1, height, width))


def _header(content: bytes, name: str, magic: int, dimensions: int) -> Tuple[int, ...]:
    """The sizes in an IDX file's header: big-endian 32-bit numbers after the magic number."""
    length = 4 * (1 + dimensions)
    if len(content) < length:
        raise UserError(f"{name}: {len(content)} bytes, shorter than its header of {length}")
    found, *sizes = struct.unpack(f">{1 + dimensions}I", content[:length])
    if found != magic:
        raise UserError(f"{name}: not an IDX file of this kind: it begins with {found} (bytes 0 to 3), not {magic}")
    if 0 in sizes:
        raise UserError(f"{name}: a size of 0 at byte {4 * (1 + sizes.index(0))}; {NEEDED}")
    return tuple(sizes)
