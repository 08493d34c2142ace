"""Databases and means against those of Caffe's own convert_cifar_data, convert_mnist_data and compute_image_mean."""
from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import List, Tuple

import lmdb
import numpy as np
import pytest

from menndl_caffe.data import describe, records, write
from menndl_caffe.data.lmdb_data import Images, write_lmdb, write_mean


def raw_records(path: Path) -> List[Tuple[bytes, bytes]]:
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return [(bytes(key), bytes(value)) for key, value in transaction.cursor()]


def tool(caffe_root: Path, name: str, *arguments: object) -> None:
    subprocess.run([caffe_root / "bin" / name, *map(str, arguments)], check=True, capture_output=True, timeout=600)


def real_mean(caffe_root: Path, database: Path, path: Path) -> bytes:
    tool(caffe_root, "compute_image_mean", "-backend=lmdb", database, path)
    return path.read_bytes()


def test_cifar10_equals_the_tools_in_every_byte(
        caffe_root: Path, cifar10_source: Path, cifar10_data: Path, tmp_path: Path) -> None:
    tool(caffe_root, "convert_cifar_data", cifar10_source, tmp_path, "lmdb")
    for name, count in (("cifar10_train_lmdb", 50_000), ("cifar10_test_lmdb", 10_000)):
        real = raw_records(tmp_path / name)
        assert len(real) == count
        assert raw_records(cifar10_data / name) == real
        apparent = (cifar10_data / name / "data.mdb").stat().st_size
        assert apparent <= 1.001 * (tmp_path / name / "data.mdb").stat().st_size
    mean = real_mean(caffe_root, tmp_path / "cifar10_train_lmdb", tmp_path / "mean.binaryproto")
    assert (cifar10_data / "mean.binaryproto").read_bytes() == mean


def test_validation_split_is_the_training_set_cut_in_two(caffe_root: Path, cifar10_data: Path, tmp_path: Path) -> None:
    train = raw_records(cifar10_data / "cifar10_train_lmdb")
    fit = raw_records(cifar10_data / "cifar10_fit_lmdb")
    held_out = raw_records(cifar10_data / "cifar10_validation_lmdb")
    assert fit == train[:45_000]
    assert [value for _, value in held_out] == [value for _, value in train[45_000:]]
    assert [key for key, _ in held_out] == [key for key, _ in train[:5_000]]
    mean = real_mean(caffe_root, cifar10_data / "cifar10_fit_lmdb", tmp_path / "mean.binaryproto")
    assert (cifar10_data / "mean_fit.binaryproto").read_bytes() == mean


@pytest.mark.parametrize(("train", "test", "height", "width"), [(1, 1, 28, 28), (1000, 999, 5, 3), (2_345, 10, 28, 28)])
def test_mnist_equals_the_tool_in_every_byte(
        caffe_root: Path, tmp_path: Path, train: int, test: int, height: int, width: int) -> None:
    random = np.random.RandomState(train)
    for part, count in (("train", train), ("t10k", test)):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">4I", 2051, count, height, width) + random.bytes(count * height * width))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 2049, count) + bytes(random.randint(0, 10, count).tolist()))
    write("mnist", tmp_path / "ours", tmp_path, report=lambda line: None)
    for part, name in (("train", "mnist_train_lmdb"), ("t10k", "mnist_test_lmdb")):
        tool(caffe_root, "convert_mnist_data", "--backend=lmdb", tmp_path / f"{part}-images-idx3-ubyte",
             tmp_path / f"{part}-labels-idx1-ubyte", tmp_path / name)
        assert raw_records(tmp_path / "ours" / name) == raw_records(tmp_path / name)
        assert describe(tmp_path / name) == describe(tmp_path / "ours" / name)


def test_mean_loses_what_caffes_float32_sum_loses(caffe_root: Path, tmp_path: Path) -> None:
    """The sum of 70,000 times 255 is above 2**24, so each addition is rounded, and the order matters."""
    random = np.random.RandomState(2)
    pixels = np.full((70_000, 1, 2, 2), 255, np.uint8)
    pixels[:, 0, 0, 1] -= random.randint(0, 2, 70_000).astype(np.uint8)
    images = Images(np.zeros(70_000, np.uint8), pixels)
    write_lmdb(tmp_path / "lmdb", images, key_digits=5)
    write_mean(tmp_path / "ours", images.pixels)
    assert (tmp_path / "ours").read_bytes() == real_mean(caffe_root, tmp_path / "lmdb", tmp_path / "real")
    exact = np.float32(255).tobytes()
    assert not (tmp_path / "ours").read_bytes().endswith(exact)


def test_the_tools_databases_can_be_read(caffe_root: Path, cifar10_source: Path, tmp_path: Path) -> None:
    tool(caffe_root, "convert_cifar_data", cifar10_source, tmp_path, "lmdb")
    batch = np.fromfile(cifar10_source / "test_batch.bin", np.uint8).reshape(10_000, 3073)
    for row, (label, pixels) in zip(batch, records(tmp_path / "cifar10_test_lmdb")):
        assert label == row[0]
        assert pixels.tobytes() == row[1:].tobytes()
