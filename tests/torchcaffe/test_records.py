"""Records of databases where they lie: what is read, that nothing is kept or copied, and what is damaged."""
from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from menndl_caffe.data import lmdb_data  # noqa: E402
from menndl_caffe.errors import UserError  # noqa: E402
from menndl_caffe.files import sync  # noqa: E402
from menndl_caffe.nets.proto import caffe_pb2  # noqa: E402
from menndl_caffe.torchcaffe.records import Records, open_records  # noqa: E402
from tests.support.torchcaffe.data_sets import LABELS, random_images, raw_data, smooth_image, write_lmdb  # noqa: E402

LEVELDB, LMDB = caffe_pb2.DataParameter.LEVELDB, caffe_pb2.DataParameter.LMDB
IMAGES = random_images(7, 3, 8, 9)


def lmdb_records(path: Path) -> Records:
    return open_records(str(path), LMDB)


def test_rows(tmp_path: Path) -> None:
    """Pixels and labels, in any order and as often as asked for; labels of every length that a Datum has them in."""
    records = lmdb_records(write_lmdb(tmp_path / "lmdb", raw_data(IMAGES)))
    assert len(records) == 7 and records.shape == (3, 8, 9)
    for indices in ([6], [0, 1, 2], [5, 5, 0, 6, 2], [1, 3]):
        rows = records.rows(np.array(indices))
        np.testing.assert_array_equal(rows.pixels.numpy(), IMAGES[indices])
        np.testing.assert_array_equal(rows.labels.numpy(), np.array(LABELS, np.float32)[indices])


@pytest.mark.parametrize("height", [1, 10, 36, 37, 60, 200])
def test_sizes_around_those_of_pages(tmp_path: Path, height: int) -> None:
    """LMDB keeps small values among keys, large ones in pages of their own."""
    images = random_images(7, 1, height, 50)
    rows = lmdb_records(write_lmdb(tmp_path / "lmdb", raw_data(images))).rows(np.arange(7)[::-1])
    np.testing.assert_array_equal(rows.pixels.numpy(), images[::-1])


def test_what_the_project_writes(tmp_path: Path) -> None:
    images = cifar10_like(tmp_path / "lmdb", 300)
    rows = lmdb_records(tmp_path / "lmdb").rows(np.arange(300))
    np.testing.assert_array_equal(rows.pixels.numpy(), images.pixels)
    np.testing.assert_array_equal(rows.labels.numpy(), images.labels)


def cifar10_like(path: Path, count: int) -> lmdb_data.Images:
    """Random images of CIFAR-10's size, and an LMDB of them."""
    images = lmdb_data.Images(random_images(count, seed=1) % 10, random_images(count, 3, 32, 32))
    lmdb_data.write_lmdb(path, images, key_digits=5)
    return images


def test_as_caffe_s_tools_write_them(tmp_path: Path, caffe_root: Path) -> None:
    """convert_imageset says `encoded: false` after the label, and writes LevelDB as well."""
    path = converted(caffe_root, tmp_path, "lmdb")
    records = lmdb_records(path)
    rows = records.rows(np.arange(3))
    assert rows is not None and rows.labels.tolist() == [4, 300, -1]
    np.testing.assert_array_equal(rows.pixels.numpy(), [image[:, :, ::-1].transpose(2, 0, 1) for image in PHOTOS])


def test_leveldb(tmp_path: Path, caffe_root: Path) -> None:
    pytest.importorskip("plyvel")
    records = open_records(str(converted(caffe_root, tmp_path, "leveldb")), LEVELDB)
    rows = records.rows(np.array([2, 0, 1]))
    assert rows is not None and rows.labels.tolist() == [-1, 4, 300]
    np.testing.assert_array_equal(rows.pixels.numpy()[1], PHOTOS[0][:, :, ::-1].transpose(2, 0, 1))
    assert records.datum(1).label == 300
    with pytest.raises(UserError, match="nothing: no such LevelDB"):
        open_records(str(tmp_path / "nothing"), LEVELDB)


PHOTOS = [smooth_image(6, 8, seed=seed) for seed in (1, 2, 3)]


def converted(caffe_root: Path, folder: Path, backend: str) -> Path:
    """A database that Caffe's tool has made of photos."""
    from PIL import Image

    for index, photo in enumerate(PHOTOS):
        Image.fromarray(photo).save(folder / f"{index}.png")
    (folder / "list.txt").write_text("0.png 4\n1.png 300\n2.png -1\n")
    subprocess.run([str(caffe_root / "bin" / "convert_imageset"), f"-backend={backend}", f"{folder}/",
                    str(folder / "list.txt"), str(folder / "database")], check=True, capture_output=True)
    return folder / "database"


def test_leveldb_without_plyvel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plyvel", None)
    (tmp_path / "CURRENT").write_text("MANIFEST-000001\n")
    with pytest.raises(UserError, match="reading a LevelDB needs plyvel .*pip install plyvel.*convert_imageset"):
        open_records(str(tmp_path), LEVELDB)


@pytest.mark.parametrize("change", ["float", "size", "longer", "encoded"])
def test_one_record_unlike_the_others(tmp_path: Path, change: str) -> None:
    """Then records come one by one, from the batch on that has it."""
    values = raw_data(IMAGES)
    datum = caffe_pb2.Datum.FromString(values[4])
    if change == "float":
        datum.ClearField("data")
        datum.float_data.extend(range(216))
    elif change == "size":
        datum.height, datum.width = 9, 8
    elif change == "longer":
        datum.float_data.append(1)
    else:
        datum.encoded = True
    values[4] = datum.SerializeToString()
    records = lmdb_records(write_lmdb(tmp_path / "lmdb", values))
    assert records.rows(np.array([0, 1, 2, 3])) is not None
    assert records.rows(np.array([3, 4])) is None
    assert records.rows(np.array([5, 6])) is not None
    assert records.on(torch.device("cpu")) is None
    assert records.datum(4) == datum


def test_on_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All records in one tensor, put there piece by piece, give the same rows."""
    monkeypatch.setattr("menndl_caffe.torchcaffe.records.PIECE", 3)
    records = lmdb_records(write_lmdb(tmp_path / "lmdb", raw_data(IMAGES)))
    held = records.on(torch.device("cpu"))
    assert held is not None
    for ours, theirs in zip(held.rows(np.array([6, 0, 0, 3])), records.rows(np.array([6, 0, 0, 3]))):
        assert torch.equal(ours, theirs)


def test_two_layers_share_records(tmp_path: Path) -> None:
    """LMDB can be open once in a process; a database that has been replaced is another."""
    path = write_lmdb(tmp_path / "lmdb", raw_data(IMAGES))
    first = lmdb_records(path)
    assert lmdb_records(tmp_path / "." / "lmdb") is first
    del first
    gc.collect()
    shutil.rmtree(path)
    write_lmdb(path, raw_data(IMAGES[:3]))
    assert len(lmdb_records(path)) == 3


def test_readers_need_no_right_to_write(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "lmdb", raw_data(IMAGES))
    (path / "lock.mdb").unlink()
    path.chmod(0o555)
    assert len(lmdb_records(path)) == 7
    assert os.listdir(path) == ["data.mdb"]
    path.chmod(0o755)


def test_what_is_damaged(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "lmdb", [*raw_data(IMAGES[:2]), raw_data(IMAGES[2:3])[0][:-30], b"\xff\xff", b""])
    records = lmdb_records(path)
    assert records.rows(np.array([1, 2])) is None
    for index in (2, 3):
        with pytest.raises(UserError, match=f"lmdb: record {index} of 5 is not a Caffe Datum"):
            records.datum(index)
    assert records.rows(np.array([4])) is None


def broken_lmdbs(folder: Path) -> Dict[str, List[str]]:
    """Databases that cannot be opened, and what is said of them."""
    whole = write_lmdb(folder / "whole", raw_data(random_images(7, 3, 32, 32))) / "data.mdb"
    for name, content in (("cut", whole.read_bytes()[:12288]), ("text", b"not an LMDB" * 1000), ("none", b"")):
        (folder / name).mkdir()
        (folder / name / "data.mdb").write_bytes(content)
    (folder / "empty").mkdir()
    write_lmdb(folder / "without", [])
    write_lmdb(folder / "first", [b"\xff\xff"])
    return {"cut": ["truncated: 12288 bytes"], "text": ["not an LMDB that can be read"], "empty": ["has no data.mdb"],
            "none": ["not an LMDB", "truncated"], "without": ["an LMDB without records"], "gone": ["no such LMDB"],
            "first": ["record 0 of 1 is not a Caffe Datum"]}


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for name, texts in broken_lmdbs(tmp_path).items():
        with pytest.raises(UserError, match=f"{name}.*({'|'.join(texts)})"):
            lmdb_records(tmp_path / name)


MEASURE = """
import sys
import numpy as np
import torch
from menndl_caffe.torchcaffe.records import open_records

def private():
    lines = [line.split() for line in open("/proc/self/smaps_rollup")]
    return sum(int(line[1]) for line in lines if line[0] == "Private_Dirty:") / 1024

small = open_records(sys.argv[1], 1)
small.rows(np.arange(20))
before = private()
records = open_records(sys.argv[2], 1)
for start in range(0, len(records), 100):
    records.rows(np.arange(start, start + 100))
print(private() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's account of memory")
def test_the_data_stay_in_the_file_s_pages(tmp_path: Path) -> None:
    """30 MB of records, read once through, cost little of the process's own memory, which may come in pages of 2 MB."""
    small, large = tmp_path / "small", tmp_path / "large"
    cifar10_like(small, 100)
    cifar10_like(large, 10_000)
    sync(large / "data.mdb")  # pages that are still to be written count as the process's own
    done = subprocess.run([sys.executable, "-c", MEASURE, str(small), str(large)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 8
