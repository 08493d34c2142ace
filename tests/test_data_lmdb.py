"""LMDBs and means: their bytes worked out by hand, and what is said of files that Caffe could not use."""
from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import lmdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from menndl_caffe.data import LmdbInfo, check_data, checksum, describe, records
from menndl_caffe.data.lmdb_data import Images, write_lmdb, write_mean
from menndl_caffe.errors import UserError
from menndl_caffe.nets.proto import caffe_pb2


def some_images(count: int = 3, channels: int = 3, height: int = 4, width: int = 5) -> Images:
    random = np.random.RandomState(count)
    pixels = random.randint(0, 256, (count, channels, height, width)).astype(np.uint8)
    return Images(random.randint(0, 10, count).astype(np.uint8), pixels)


def lmdb_of(path: Path, *values: bytes) -> Path:
    with lmdb.open(str(path), lock=False) as environment, environment.begin(write=True) as transaction:
        for index, value in enumerate(values):
            transaction.put(b"%05d" % index, value)
    return path


def test_one_record_byte_by_byte(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)
    write_lmdb(tmp_path / "lmdb", Images(np.array([0], np.uint8), pixels), key_digits=5)
    with lmdb.open(str(tmp_path / "lmdb"), readonly=True, lock=False) as database, database.begin() as transaction:
        # channels 3, height 2, width 2, 12 bytes of data, and a label that is written although it is 0
        value = b"\x08\x03\x10\x02\x18\x02" + b"\x22\x0c" + bytes(range(12)) + b"\x28\x00"
        assert list(transaction.cursor()) == [(b"00000", value)]
    assert [path.name for path in (tmp_path / "lmdb").iterdir()] == ["data.mdb"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(st.integers(1, 40), st.integers(1, 4), st.integers(1, 40), st.integers(1, 40)).flatmap(
    lambda shape: st.tuples(arrays.arrays(np.uint8, shape[0], elements=st.integers(0, 9)),
                            arrays.arrays(np.uint8, shape))))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, content: tuple) -> None:
    labels, pixels = content
    folder = tmp_path_factory.mktemp("lmdb")
    write_lmdb(folder / "lmdb", Images(labels, pixels), key_digits=8)
    assert describe(folder / "lmdb") == LmdbInfo(*pixels.shape)
    read = list(records(folder / "lmdb"))
    assert [label for label, _ in read] == labels.tolist()
    assert (np.stack([image for _, image in read]) == pixels).all()


@pytest.mark.parametrize("most", [2**28, 2000])
def test_a_checksum_is_of_more_than_the_first_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                      most: int) -> None:
    """Of all that is less than ALL_BYTES, else of every tenth, where 20 bytes times 1,000 are ten times as much."""
    monkeypatch.setattr("menndl_caffe.data.lmdb_data.ALL_BYTES", most)
    values = [b"%020d" % index for index in range(1000)]
    sound = checksum(lmdb_of(tmp_path / "sound", *values))
    assert checksum(lmdb_of(tmp_path / "copy", *values)) == sound
    seen = []
    for index in (0, 99, 150, 500, 501, 990, 999):
        other = [*values[:index], b"%020d" % 7777, *values[index + 1:]]
        seen.append(checksum(lmdb_of(tmp_path / str(index), *other)) != sound)
    assert seen == [True] * 7 if most > 2000 else [True, False, True, True, False, True, False]
    for other in (values[:-1], [*values, b"%020d" % 0]):
        assert checksum(lmdb_of(tmp_path / f"of {len(other)}", *other)) != sound


def test_a_checksum_is_of_what_is_in_there_and_not_of_how_it_lies_there(tmp_path: Path) -> None:
    values = [b"%03000d" % index for index in range(50)]
    path = lmdb_of(tmp_path / "one", *values)
    with lmdb.open(str(lmdb_of(tmp_path / "other", *values, *values)), lock=False) as other:
        with other.begin(write=True) as transaction:
            for index in range(50, 100):
                assert transaction.delete(b"%05d" % index)
    assert (path / "data.mdb").stat().st_size < (tmp_path / "other" / "data.mdb").stat().st_size
    assert checksum(path) == checksum(tmp_path / "other")


def test_many_records_keep_their_order_across_transactions(tmp_path: Path) -> None:
    images = some_images(25_001, 1, 1, 2)
    write_lmdb(tmp_path / "lmdb", images, key_digits=5)
    assert [label for label, _ in records(tmp_path / "lmdb")] == images.labels.tolist()


@pytest.mark.parametrize("shape", [
    (300, 1, 1, 1), (300, 1, 28, 28), (300, 3, 32, 32), (50, 3, 64, 64), (20, 3, 256, 256)])
def test_the_file_is_not_much_larger_than_its_pages(tmp_path: Path, shape: tuple) -> None:
    write_lmdb(tmp_path / "lmdb", some_images(*shape), key_digits=5)
    pages = shape[0] * (1 + np.prod(shape[1:]) // 4000)
    assert (tmp_path / "lmdb" / "data.mdb").stat().st_size <= 4096 * (1.05 * pages + 10)


def test_mean_is_the_exact_average_rounded_to_float32(tmp_path: Path) -> None:
    images = some_images(7, 2, 3, 4)
    write_mean(tmp_path / "mean", images.pixels)
    content = (tmp_path / "mean").read_bytes()
    # num 1, channels 2, height 3, width 4, and 24 packed floats
    assert content[:10] == b"\x08\x01\x10\x02\x18\x03\x20\x04\x2a\x60"
    exact = [Fraction(sum(int(image.ravel()[i]) for image in images.pixels), 7) for i in range(24)]
    assert list(struct.unpack("<24f", content[10:])) == [float(np.float32(float(value))) for value in exact]


def test_check_data_agrees_on_the_shape(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "train", some_images(4), key_digits=5)
    write_lmdb(tmp_path / "test", some_images(2), key_digits=5)
    write_mean(tmp_path / "mean", some_images(4).pixels)
    assert check_data(tmp_path / "train", tmp_path / "test", tmp_path / "mean") == (3, 4, 5)
    assert check_data(tmp_path / "train", tmp_path / "test", None) == (3, 4, 5)


def test_mean_with_a_shape_in_place_of_the_legacy_fields(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "train", some_images(4), key_digits=5)
    blob = caffe_pb2.BlobProto(data=[0.5] * 60)
    blob.shape.dim.extend([1, 3, 4, 5])
    (tmp_path / "mean").write_bytes(blob.SerializeToString())
    assert check_data(tmp_path / "train", tmp_path / "train", tmp_path / "mean") == (3, 4, 5)


@pytest.mark.parametrize(("test_shape", "mean_shape", "said"), [
    ((3, 4, 6), (3, 4, 5), r"test: 3x4x6, but the images of .*train are 3x4x5"),
    ((3, 4, 5), (1, 4, 5), r"mean: 1x4x5, but the images of .*train are 3x4x5"),
])
def test_shapes_that_differ(tmp_path: Path, test_shape: tuple, mean_shape: tuple, said: str) -> None:
    write_lmdb(tmp_path / "train", some_images(4), key_digits=5)
    write_lmdb(tmp_path / "test", some_images(2, *test_shape), key_digits=5)
    write_mean(tmp_path / "mean", some_images(4, *mean_shape).pixels)
    with pytest.raises(UserError, match=said):
        check_data(tmp_path / "train", tmp_path / "test", tmp_path / "mean")


@pytest.mark.parametrize(("content", "said"), [
    (None, "no mean file"),
    (b"\xff\xff\xff", "not a mean file"),
    (b"", "not one mean image"),
    (b"\x08\x01\x10\x03\x18\x04\x20\x05\x2a\x04\x00\x00\x00\x00", "1 values in the shape 1x3x4x5"),
    (caffe_pb2.BlobProto(shape={"dim": [1, 1 << 32, 1 << 31, 2]}).SerializeToString(), "0 values in the shape 1x42949"),
    (caffe_pb2.BlobProto(shape={"dim": [1, 274177, 67280421310721, 1]}, data=[1]).SerializeToString(),
     "1 values in the shape 1x274177x"),  # 2**64 + 1 in all
    (caffe_pb2.BlobProto(shape={"dim": [2**62] * 3000}, data=[1]).SerializeToString(),
     "1 values in a shape of 3,000 axes; "),
])
def test_mean_that_is_none(tmp_path: Path, content: bytes | None, said: str) -> None:
    write_lmdb(tmp_path / "train", some_images(4), key_digits=5)
    if content is not None:
        (tmp_path / "mean").write_bytes(content)
    with pytest.raises(UserError, match=said):
        check_data(tmp_path / "train", tmp_path / "train", tmp_path / "mean")


def test_no_lmdb_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"no such LMDB; `menndl data cifar10 --out {tmp_path}` makes it"):
        describe(tmp_path / "cifar10_train_lmdb")
    with pytest.raises(UserError, match="`menndl data mnist"):
        describe(tmp_path / "mnist_train_lmdb")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, b"", b"a text file", bytes(8192), np.random.RandomState(3).bytes(20_000)])
def test_a_folder_that_is_no_lmdb(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(UserError, match="not an LMDB that can be read"):
        describe(tmp_path)


@pytest.mark.parametrize(("values", "said"), [
    ((), "without records"),
    ((b"\xff\xff",), "record 00000 is not a Caffe Datum"),
    ((b"",), "0 bytes for 0x0x0"),
    ((b"\x08\x01\x10\x02\x18\x02\x22\x03abc\x28\x05",), "3 bytes for 1x2x2"),
    ((b"\x22\x03abc\x28\x05\x38\x01",), "not an image that can be read"),
    ((caffe_pb2.Datum(channels=1 << 22, height=1 << 21, width=1 << 21).SerializeToString(),), "0 bytes for 4194304x20"),
])
def test_records_that_are_no_images(tmp_path: Path, values: tuple, said: str) -> None:
    path = lmdb_of(tmp_path / "lmdb", *values)
    with pytest.raises(UserError, match=said):
        describe(path)


@pytest.mark.parametrize("kept", [8192, 20_000, 0.5, -1])
def test_truncated_file_is_refused_before_it_is_touched(tmp_path: Path, kept: float) -> None:
    write_lmdb(tmp_path / "lmdb", some_images(500, 3, 32, 32), key_digits=5)
    file = tmp_path / "lmdb" / "data.mdb"
    content = file.read_bytes()
    file.write_bytes(content[:int(kept * len(content)) if 0 < kept < 1 else int(kept)])
    with pytest.raises(UserError, match=rf"truncated: \d+ bytes of {len(content)}"):
        describe(tmp_path / "lmdb")
    with pytest.raises(UserError, match="truncated"):
        list(records(tmp_path / "lmdb"))
