"""CIFAR-10 from archives and folders, binary and python, whole and damaged: random images in the official layout."""
from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import tracemalloc
from pathlib import Path
from typing import Callable, Dict, Tuple

import numpy as np
import pytest

from menndl_caffe.data import cifar10
from menndl_caffe.errors import UserError

RECORDS = 7
BATCH = RECORDS * 3073
NAMES = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
ARCHIVE_ORDER = ["data_batch_1", "data_batch_4", "test_batch", "data_batch_3", "data_batch_5", "data_batch_2"]
Batches = Dict[str, Tuple[np.ndarray, np.ndarray]]
Encode = Callable[[np.ndarray, np.ndarray], bytes]


@pytest.fixture(autouse=True)
def few_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)


@pytest.fixture(scope="module")
def batches() -> Batches:
    random = np.random.RandomState(0)
    return {name: (random.randint(0, 10, RECORDS), random.randint(0, 256, (RECORDS, 3072)).astype(np.uint8))
            for name in NAMES}


def binary(labels: np.ndarray, pixels: np.ndarray) -> bytes:
    return b"".join(bytes([label]) + image.tobytes() for label, image in zip(labels, pixels))


def python2_pickle(labels: np.ndarray, pixels: np.ndarray) -> bytes:
    """What Python 2's cPickle wrote in protocol 2, as the official batches are, opcode by opcode."""
    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def number(value: int) -> bytes:
        return b"M" + struct.pack("<H", value)

    array = (b"cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85" + text(b"b") + b"\x87R"
             + b"q\x06(K\x01" + number(len(pixels)) + number(3072) + b"\x86"
             + b"cnumpy\ndtype\nq\x07" + text(b"u1") + b"K\x00K\x01\x87R"
             + b"(K\x03" + text(b"|") + b"NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
             + b"\x89T" + struct.pack("<I", pixels.nbytes) + pixels.tobytes() + b"tb")
    return (b"\x80\x02}q\x01(" + text(b"batch_label") + text(b"training batch 1 of 5")
            + text(b"labels") + b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
            + text(b"data") + array + text(b"filenames") + b"](" + text(b"leptodactylus.png") + b"eu.")


def python3_pickle(protocol: int, bytes_keys: bool) -> Encode:
    def pickled(labels: np.ndarray, pixels: np.ndarray) -> bytes:
        batch = {"batch_label": "x", "labels": [int(label) for label in labels], "data": pixels, "filenames": ["a.png"]}
        return pickle.dumps({k.encode() if bytes_keys else k: v for k, v in batch.items()}, protocol=protocol)
    return pickled


def write_folder(folder: Path, batches: Batches, suffix: str, encode: Encode) -> Path:
    folder.mkdir(parents=True)
    for name, batch in batches.items():
        (folder / (name + suffix)).write_bytes(encode(*batch))
    (folder / "readme.html").write_text("a page")
    return folder


def write_archive(path: Path, folder: Path, suffix: str, mode: str, leave_out: str = "") -> Path:
    with tarfile.open(path, mode) as archive:
        archive.add(folder / "readme.html", f"{folder.name}/readme.html")
        for name in ARCHIVE_ORDER:
            if name != leave_out:
                archive.add(folder / (name + suffix), f"{folder.name}/{name}{suffix}")
    return path


def binary_archive(tmp_path: Path, batches: Batches, mode: str = "w:gz") -> Path:
    folder = write_folder(tmp_path / "cifar-10-batches-bin", batches, ".bin", binary)
    return write_archive(tmp_path / "cifar-10-binary.tar", folder, ".bin", mode)


def assert_read(path: Path, batches: Batches, kind: str) -> None:
    content = cifar10.read_cifar10(path)
    train = [batches[name] for name in NAMES[:5]]
    assert content.train.labels.tolist() == np.concatenate([labels for labels, _ in train]).tolist()
    assert content.train.pixels.tobytes() == b"".join(pixels.tobytes() for _, pixels in train)
    assert content.test.labels.tolist() == batches["test_batch"][0].tolist()
    assert content.test.pixels.tobytes() == batches["test_batch"][1].tobytes()
    assert content.train.shape == content.test.shape == (3, 32, 32)
    assert str(content.source) == f"unofficial {kind} of CIFAR-10"
    assert not content.source.official


@pytest.mark.parametrize(("suffix", "encode", "kind"), [
    (".bin", binary, "binary"),
    ("", python2_pickle, "python"),
    ("", python3_pickle(2, bytes_keys=True), "python"),
    ("", python3_pickle(2, bytes_keys=False), "python"),
    ("", python3_pickle(4, bytes_keys=True), "python"),
])
def test_every_form_gives_the_same_images(
        tmp_path: Path, batches: Batches, suffix: str, encode: Encode, kind: str) -> None:
    name = "cifar-10-batches-bin" if suffix else "cifar-10-batches-py"
    folder = write_folder(tmp_path / name, batches, suffix, encode)
    assert_read(folder, batches, f"{kind} folder")
    assert_read(tmp_path, batches, f"{kind} folder")
    for mode in ("w", "w:gz"):
        assert_read(write_archive(tmp_path / f"archive{mode[1:]}", folder, suffix, mode), batches, f"{kind} archive")


def test_checksums_are_those_of_the_binary_layout(
        tmp_path: Path, batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    binary_form = cifar10.read_cifar10(write_folder(tmp_path / "bin", batches, ".bin", binary)).source.sha256
    python_folder = write_folder(tmp_path / "py", batches, "", python2_pickle)
    assert cifar10.read_cifar10(python_folder).source.sha256 == binary_form
    monkeypatch.setattr(cifar10, "OFFICIAL", binary_form)
    assert str(cifar10.read_cifar10(python_folder).source) == "official python folder of CIFAR-10"


@pytest.mark.parametrize(("damage", "said"), [
    (lambda content: content[:-1], rf"truncated: it ends at byte {BATCH - 1}; 7 records of 3073 are {BATCH} bytes"),
    (lambda content: content + b"\0", rf"too long: it goes on after byte {BATCH};"),
    (lambda content: b"", "truncated: it ends at byte 0"),
    (lambda content: content[:3073] + b"\x0a" + content[3074:], r"label 10 at record 1 \(byte 3073\); 0 to 9"),
    (lambda content: content[:6146] + b"\x11" + content[6147:], r"label 17 at record 2 \(byte 6146\); 0 to 9"),
])
def test_damaged_binary_batch(
        tmp_path: Path, batches: Batches, damage: Callable[[bytes], bytes], said: str) -> None:
    folder = write_folder(tmp_path / "cifar-10-batches-bin", batches, ".bin", binary)
    batch = folder / "data_batch_3.bin"
    batch.write_bytes(damage(batch.read_bytes()))
    with pytest.raises(UserError, match=f"data_batch_3.bin.*{said}"):
        cifar10.read_cifar10(folder)
    with pytest.raises(UserError, match=f"archive.*data_batch_3.bin.*{said}"):
        cifar10.read_cifar10(write_archive(tmp_path / "archive", folder, ".bin", "w"))


def test_missing_batch(tmp_path: Path, batches: Batches) -> None:
    folder = write_folder(tmp_path / "cifar-10-batches-bin", batches, ".bin", binary)
    archive = write_archive(tmp_path / "archive", folder, ".bin", "w:gz", leave_out="test_batch")
    (folder / "data_batch_5.bin").unlink()
    with pytest.raises(UserError, match="data_batch_5.bin is missing"):
        cifar10.read_cifar10(tmp_path)
    with pytest.raises(UserError, match="test_batch.bin is missing"):
        cifar10.read_cifar10(archive)


def test_truncated_gzip_names_its_end(tmp_path: Path, batches: Batches) -> None:
    archive = binary_archive(tmp_path, batches)
    content = archive.read_bytes()
    for length in (100, len(content) // 2, len(content) - 4):
        archive.write_bytes(content[:length])
        with pytest.raises(UserError, match=rf"damaged gzip file \(.*\) near byte {length} of {length}"):
            cifar10.read_cifar10(archive)


def test_gzip_checksum_is_checked(tmp_path: Path, batches: Batches) -> None:
    archive = binary_archive(tmp_path, batches)
    content = bytearray(archive.read_bytes())
    content[-5] ^= 1  # in the CRC, which stands behind all that tar reads
    archive.write_bytes(content)
    with pytest.raises(UserError, match="CRC check failed"):
        cifar10.read_cifar10(archive)


def test_truncated_tar(tmp_path: Path, batches: Batches) -> None:
    archive = binary_archive(tmp_path, batches, "w")
    archive.write_bytes(archive.read_bytes()[:50_000])
    with pytest.raises(UserError, match="damaged one .* near byte 50000|is missing"):
        cifar10.read_cifar10(archive)


@pytest.mark.parametrize("content", [
    b"", b"a text file\n" * 1000, b"PK\x03\x04" + bytes(3000), gzip.compress(b"text" * 999, mtime=0)])
def test_not_an_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match="not a tar archive.*valid are cifar-10-binary.tar.gz"):
        cifar10.read_cifar10(tmp_path / "file")


def test_neither_file_nor_batches(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read .No such file"):
        cifar10.read_cifar10(tmp_path / "nowhere")
    with pytest.raises(UserError, match="without any batch"):
        cifar10.read_cifar10(tmp_path)


def test_links_in_an_archive_are_not_followed(tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        link = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    (tmp_path / "archive.tar").write_bytes(content.getvalue())
    with pytest.raises(UserError, match="is missing"):
        cifar10.read_cifar10(tmp_path / "archive.tar")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="neither a file nor a folder"):
        cifar10.read_cifar10(tmp_path / "pipe")


@pytest.mark.parametrize(("suffix", "said"), [(".bin", f"after byte {BATCH};"), ("", "more than 1,000,000 bytes")])
def test_no_more_is_unpacked_than_a_batch_has(tmp_path: Path, batches: Batches, monkeypatch: pytest.MonkeyPatch,
                                              suffix: str, said: str) -> None:
    """128 MB of zeros in a batch of 128 kB."""
    monkeypatch.setattr(cifar10, "PICKLE_BYTES", 1_000_000)
    folder = write_folder(tmp_path / "folder", batches, suffix, binary if suffix else python2_pickle)
    (folder / f"data_batch_2{suffix}").write_bytes(gzip.compress(bytes(1 << 27), mtime=0))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=said):
            cifar10.read_cifar10(folder)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_python_batch_of_another_size(tmp_path: Path, batches: Batches) -> None:
    folder = write_folder(tmp_path / "cifar-10-batches-py", batches, "", python2_pickle)
    labels, pixels = batches["test_batch"]
    (folder / "test_batch").write_bytes(python2_pickle(labels[:-1], pixels[:-1]))
    with pytest.raises(UserError, match=r"test_batch: 6 labels and data of shape \(6, 3072\); 7 and \(7, 3072\)"):
        cifar10.read_cifar10(folder)
