"""CIFAR-10 in each form in which people have it: the binary and the python version, as archive or unpacked.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; https://www.cs.toronto.edu/~kriz/cifar.html
"""
from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Dict

import numpy as np

from menndl_caffe.data.download import WebFile
from menndl_caffe.data.inert_pickle import read_batch
from menndl_caffe.data.lmdb_data import Images
from menndl_caffe.data.source import Content, Source, opened, require_labels, require_size
from menndl_caffe.data.tar import TarError, regular_files
from menndl_caffe.errors import UserError

ARCHIVE = WebFile("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", 170_052_171,
                  "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd")
FORMS = ("valid are cifar-10-binary.tar.gz, cifar-10-python.tar.gz, and the folders cifar-10-batches-bin and "
         "cifar-10-batches-py that they hold")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
RECORDS = 10_000
RECORD_BYTES = 1 + 3 * 32 * 32
PICKLE_BYTES = 64_000_000  # the official batches have 31 million, written anew by Python 3 in protocol 2 they have 46

# The SHA-256 of the official batches in the binary layout: a label byte, then the red, green and blue plane.
OFFICIAL = {
    "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
BATCH_FILES = frozenset(name + suffix for name in OFFICIAL for suffix in (".bin", ""))


def read_cifar10(path: Path) -> Content:
    """All 60,000 images of an archive or a folder, in Caffe's order; UserError naming file and byte of what is wrong.

    The source's checksums are those of each batch in the binary layout, so that all forms can be compared.
    """
    container, files = ("folder", _folder_files(path)) if path.is_dir() else ("archive", _archive_files(path))
    version, suffix = ("binary", ".bin") if any(name.endswith(".bin") for name in files) else ("python", "")
    for name in OFFICIAL:
        if name + suffix not in files:
            raise UserError(f"{path}: {name}{suffix} is missing; {FORMS}")
    batches = {name: _rows(files.pop(name + suffix), f"{path}: {name}{suffix}") for name in OFFICIAL}
    sha256 = {name: hashlib.sha256(rows.data).hexdigest() for name, rows in batches.items()}
    test = _images(batches.pop("test_batch"))
    train = _images(np.concatenate(list(batches.values())))
    return Content(Source(f"{version} {container} of CIFAR-10", sha256 == OFFICIAL, sha256), train, test)


def _folder_files(path: Path) -> Dict[str, bytes]:
    """The batches in a folder, or in the unpacked archive's folder within it, by file name."""
    for folder in (path, path / "cifar-10-batches-bin", path / "cifar-10-batches-py"):
        names = sorted(name for name in BATCH_FILES if (folder / name).is_file())
        if names:
            return {name: _file(folder / name) for name in names}
    raise UserError(f"{path}: a folder without any batch of CIFAR-10; {FORMS}")


def _file(path: Path) -> bytes:
    with opened(path) as file:
        content = file.read(PICKLE_BYTES + 1)
    _require_batch_size(str(path), len(content))
    return content


def _archive_files(path: Path) -> Dict[str, bytes]:
    """The batches in a tar file, packed or not, by file name; all of it is read, so that gzip's checksum is checked."""
    files: Dict[str, bytes] = {}
    with opened(path) as stream:
        try:
            for member in regular_files(stream):
                name = PurePosixPath(member.name).name
                if name in BATCH_FILES:
                    _require_batch_size(f"{path}: {name} (from byte {member.start} of the tar file)", member.size)
                    files[name] = stream.read(member.size)
                    _require_batch_size(f"{path}: {name}", len(files[name]))
        except TarError as error:
            raise UserError(f"{path}: not a tar archive, or a damaged one ({error}) near byte {stream.tell()} of its "
                            f"content; {FORMS}") from None
    return files


def _require_batch_size(name: str, size: int) -> None:
    if ".bin" in name:
        require_size(name, size, RECORDS * RECORD_BYTES, f"{RECORDS} records of {RECORD_BYTES}")
    elif size > PICKLE_BYTES:
        raise UserError(f"{name}: more than {PICKLE_BYTES:,} bytes; a batch of the python version has 31 million")


def _rows(content: bytes, name: str) -> np.ndarray:
    """A batch in the binary layout: uint8 (records, 1 + 3072)."""
    if name.endswith(".bin"):
        rows = np.frombuffer(content, np.uint8).reshape(RECORDS, RECORD_BYTES)
        require_labels(name, rows[:, 0], 0, RECORD_BYTES)
        return rows
    try:
        labels, pixels = read_batch(content)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    if pixels.shape != (RECORDS, RECORD_BYTES - 1) or len(labels) != RECORDS:
        raise UserError(f"{name}: {len(labels)} labels and data of shape {pixels.shape}; "
                        f"{RECORDS} and {(RECORDS, RECORD_BYTES - 1)} are expected")
    return np.hstack([labels[:, np.newaxis], pixels])


def _images(rows: np.ndarray) -> Images:
    return Images(rows[:, 0], rows[:, 1:].reshape(-1, *SHAPE))
