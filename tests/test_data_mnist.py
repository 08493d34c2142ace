"""MNIST's IDX files, packed and not, whole and damaged."""
from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Callable

import numpy as np
import pytest

from menndl_caffe.data import describe, records, write
from menndl_caffe.data.mnist import read_mnist
from menndl_caffe.errors import UserError


def quiet(line: str) -> None:
    pass


def write_idx(folder: Path, train: int, test: int) -> Path:
    """MNIST's four files with so many random images, the labels packed."""
    folder.mkdir()
    random = np.random.RandomState(5)
    for part, count in (("train", train), ("t10k", test)):
        pixels = struct.pack(">IIII", 0x803, count, 28, 28) + random.bytes(count * 784)
        labels = struct.pack(">II", 0x801, count) + bytes(index % 10 for index in range(count))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(pixels)
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_idx(tmp_path / "mnist", 12, 5)


def test_packed_and_unpacked_files(folder: Path, tmp_path: Path) -> None:
    summary = write("mnist", tmp_path / "out", folder, validation=2, report=quiet)
    assert summary.records == {
        "mnist_train_lmdb": 12, "mnist_test_lmdb": 5, "mnist_fit_lmdb": 10, "mnist_validation_lmdb": 2}
    assert summary.shape == (1, 28, 28)
    assert not list((tmp_path / "out").glob("*.binaryproto"))
    assert describe(tmp_path / "out" / "mnist_train_lmdb").records == 12
    pixels = (folder / "train-images-idx3-ubyte").read_bytes()[16:]
    labels = gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes())[8:]
    for index, (label, image) in enumerate(records(tmp_path / "out" / "mnist_train_lmdb")):
        assert label == labels[index]
        assert image.tobytes() == pixels[784 * index:784 * (index + 1)]


@pytest.mark.parametrize(("name", "damage", "said"), [
    ("train-images-idx3-ubyte", lambda content: content[:-1], r"truncated: it ends at byte 9423; 16 \+ 12 images"),
    ("train-images-idx3-ubyte", lambda content: content + b"x", "too long: it goes on after byte 9424"),
    ("train-images-idx3-ubyte", lambda content: content[:10], "10 bytes, shorter than its header of 16"),
    ("t10k-images-idx3-ubyte", lambda content: b"\0\0\x08\x01" + content[4:], r"2049 \(bytes 0 to 3\), not 2051"),
    ("t10k-images-idx3-ubyte", lambda content: content[:12] + bytes(4), "a size of 0 at byte 12"),
    ("t10k-images-idx3-ubyte", lambda content: content[:12] + b"\xff" * 4 + content[16:],
     r"16 \+ 5 images of 28x4294967295 are 601,295,421,316 bytes; up to 268,435,456 are read"),
    ("t10k-images-idx3-ubyte", lambda content: content[:8] + struct.pack(">2I", 14, 56) + content[16:],
     "test images of"),
    ("t10k-labels-idx1-ubyte", lambda content: content[:10] + b"\x0b" + content[11:], r"label 11 at .* \(byte 10\)"),
    ("t10k-labels-idx1-ubyte", lambda content: content[:7] + b"\x04" + content[8:12], "4 labels .* for the 5 images"),
])
def test_damaged_files(folder: Path, name: str, damage: Callable[[bytes], bytes], said: str) -> None:
    packed = folder / f"{name}.gz"
    content = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / name).read_bytes()
    (folder / name).write_bytes(damage(content))
    with pytest.raises(UserError, match=said):
        read_mnist(folder)


@pytest.mark.parametrize(("name", "said"), [
    ("t10k-images-idx3-ubyte", "too long: it goes on after byte 3936"), ("t10k-labels-idx1-ubyte", "after byte 13")])
def test_no_more_is_unpacked_than_the_header_says(folder: Path, name: str, said: str) -> None:
    """128 MB of zeros in a file of 128 kB."""
    packed = folder / f"{name}.gz"
    content = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / name).read_bytes()
    (folder / name).unlink(missing_ok=True)
    packed.write_bytes(gzip.compress(content, mtime=0) + gzip.compress(bytes(1 << 27), mtime=0))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=said):
            read_mnist(folder)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    (folder / "train-images-idx3-ubyte").unlink()
    os.mkfifo(folder / "train-images-idx3-ubyte")
    with pytest.raises(UserError, match="train-images-idx3-ubyte is missing"):
        read_mnist(folder)


def test_damaged_gzip(folder: Path) -> None:
    labels = folder / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(labels.read_bytes()[:-3])
    size = labels.stat().st_size
    with pytest.raises(UserError, match=rf"t10k-labels-idx1-ubyte.gz: damaged gzip file .* near byte {size} of {size}"):
        read_mnist(folder)


def test_missing_files(folder: Path, tmp_path: Path) -> None:
    (folder / "train-images-idx3-ubyte").unlink()
    with pytest.raises(UserError, match="train-images-idx3-ubyte is missing, packed or not"):
        read_mnist(folder)
    with pytest.raises(UserError, match="not a folder"):
        read_mnist(tmp_path / "nowhere")
    with pytest.raises(UserError, match="needs --source FOLDER"):
        write("mnist", tmp_path / "out", report=quiet)
    assert not (tmp_path / "out").exists()
