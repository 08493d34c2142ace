"""Data sets of folders and lists of images, record for record against Caffe's own convert_imageset."""
from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import pytest

from menndl_caffe.data import read_summary
from menndl_caffe.data.convert import Options, convert
from menndl_caffe.data.image_files import decode
from menndl_caffe.data.image_list import Entry
from menndl_caffe.nets.proto import caffe_pb2
from tests.support.databases import Records, raw
from tests.support.in_process import Menndl
from tests.support.torchcaffe.data_sets import smooth_image

Image = pytest.importorskip("PIL.Image")
ORIENTATION = 0x112  # EXIF's number of the field
CLASSES = {"box": 8, "disc": 12, "triangle": 20}


@pytest.fixture
def menndl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Menndl:
    return Menndl(monkeypatch, capsys)


def real(caffe_root: Path, root: Path, entries: List[Tuple[str, int]], out: Path, *options: str) -> Records:
    """What convert_imageset makes of these files."""
    out.parent.mkdir(exist_ok=True)
    shutil.rmtree(out, ignore_errors=True)
    (out.parent / "list").write_text("".join(f"{name} {label}\n" for name, label in entries))
    subprocess.run([caffe_root / "bin" / "convert_imageset", *options, f"{root}/", out.parent / "list", out],
                   check=True, capture_output=True, timeout=600)
    return raw(out)


def listed(records: Records) -> List[Tuple[str, int]]:
    """The list of which convert_imageset would make these records."""
    return [(key[9:].decode(), caffe_pb2.Datum.FromString(value).label) for key, value in records]


def png16(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write (PNG specification, sections 5 and 11)."""
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    kind = {1: 0, 3: 2, 4: 6}[pixels.shape[2]]
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def exif(orientation: int) -> Any:
    found = Image.Exif()
    found[ORIENTATION] = orientation
    return found


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of many kinds that OpenCV reads."""
    folder = tmp_path_factory.mktemp("odd")
    pixels = smooth_image(47, 61)
    image = Image.fromarray(pixels)
    transparent = Image.fromarray(np.dstack([pixels, smooth_image(47, 61, seed=2)[:, :, :1]]))
    for sampling in (0, 1, 2):
        image.save(folder / f"sampling{sampling}.jpg", subsampling=sampling, quality=85)
    image.save(folder / "progressive.jpeg", progressive=True)
    Image.fromarray(smooth_image(200, 301, seed=3)).save(folder / "large.JPG", quality=95)
    image.convert("L").save(folder / "grey.jpg")
    image.convert("CMYK").save(folder / "inks.jpg")
    for orientation in range(1, 9):
        image.save(folder / f"turned{orientation}.jpg", exif=exif(orientation))
    image.save(folder / "turned.png", exif=exif(6))
    for mode in ("RGB", "L", "LA", "1", "P"):
        image.convert(mode).save(folder / f"{mode}.png")
    transparent.save(folder / "transparent.png")
    image.quantize(40).save(folder / "palette.png", transparency=3)
    image.quantize(9).save(folder / "palette9.png", transparency=bytes(range(0, 252, 28)))
    grey = pixels[:, :, :1].astype(np.uint16) * 256 + pixels[:, :, 1:2]
    (folder / "grey16.png").write_bytes(png16(grey))
    for kind in ("bmp", "ppm", "tif"):
        image.save(folder / f"colours.{kind}")
        image.convert("L").save(folder / f"grey.{kind}")
    transparent.save(folder / "transparent.tif")
    image.save(folder / "colours.webp", lossless=True)
    image.save(folder / "lossy.webp", quality=70)
    return folder


@pytest.mark.parametrize("gray, size", [(False, None), (True, None), (False, (24, 33)), (True, (70, 64))])
def test_each_kind_of_image_is_as_convert_imageset_has_it(caffe_root: Path, odd: Path, tmp_path: Path, gray: bool,
                                                          size: Optional[Tuple[int, int]]) -> None:
    entries = [(path.name, number) for number, path in enumerate(sorted(odd.iterdir()))]
    options = ["--gray"] if gray else []
    options += [f"--resize_height={size[0]}", f"--resize_width={size[1]}"] if size else []
    theirs = real(caffe_root, odd, entries, tmp_path / "real", *options)
    assert len(theirs) == len(entries)
    for (_, value), (name, label) in zip(theirs, entries):
        ours = convert(Entry(str(odd / name), name, label), Options(size=size, gray=gray)).datum
        assert ours == value, name


def test_16_bit_colours_as_grey_are_within_1(caffe_root: Path, tmp_path: Path) -> None:
    """libpng weighs the 16 bits, and Pillow has the upper 8 of them alone."""
    pixels = np.random.RandomState(4).randint(0, 65536, (20, 21, 3)).astype(np.uint16)
    (tmp_path / "c.png").write_bytes(png16(pixels))
    (_, theirs), = real(caffe_root, tmp_path, [("c.png", 0)], tmp_path / "real" / "lmdb", "--gray")
    ours = convert(Entry(str(tmp_path / "c.png"), "c.png", 0), Options(gray=True)).datum
    one, other = (np.frombuffer(caffe_pb2.Datum.FromString(value).data, np.uint8) for value in (ours, theirs))
    assert abs(one.astype(int) - other).max() == 1


def draw(folder: Path, classes: Dict[str, int], size: Tuple[int, int] = (12, 16), kind: str = "jpg") -> Path:
    """So many images in a folder for each class."""
    for label, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(smooth_image(*size, seed=100 * label + number)).save(folder / name / f"{number}.{kind}")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 images of three classes, each of its own height and width."""
    folder = draw(tmp_path_factory.mktemp("photos") / "photos", CLASSES)
    for number, path in enumerate(sorted(folder.rglob("*.jpg"))):
        Image.fromarray(smooth_image(12 + number % 7, 16 + number % 5, seed=number)).save(path)
    return folder


PARTS = ("train", "test", "fit", "validation")


def database(out: Path, part: str) -> Path:
    return out / f"images_{part}_lmdb"


def test_a_folder_is_what_the_tools_make_of_it(menndl: Menndl, caffe_root: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert menndl("data", "images", photos, "--resize", "10x8", "--gray", "--test", "10", "--validation", "0.2",
                  "--out", out) == 0, menndl.said
    assert sorted(path.name for path in out.iterdir()) == [
        "dataset.json", *(f"images_{part}_lmdb" for part in sorted(PARTS)), "mean.binaryproto", "mean_fit.binaryproto"]
    ours = {part: raw(database(out, part)) for part in PARTS}
    assert {part: len(records) for part, records in ours.items()} == {
        "train": 30, "test": 10, "fit": 24, "validation": 6}
    for part in ("train", "test"):
        assert ours[part] == real(caffe_root, photos, listed(ours[part]), tmp_path / "real", "--gray",
                                  "--resize_height=10", "--resize_width=8")
    assert sorted(ours["fit"] + ours["validation"]) == ours["train"]
    for part, mean in (("train", "mean.binaryproto"), ("fit", "mean_fit.binaryproto")):
        subprocess.run([caffe_root / "bin" / "compute_image_mean", "-backend=lmdb", database(out, part),
                        tmp_path / "mean"], check=True, capture_output=True, timeout=600)
        assert (out / mean).read_bytes() == (tmp_path / "mean").read_bytes()
    names = [name for part in ("train", "test") for name, _ in listed(ours[part])]
    assert sorted(names) == sorted(str(path.relative_to(photos)) for path in photos.rglob("*.jpg"))


def test_encoded_records_are_the_files_where_the_data_layer_reads_the_same_of_them(
        menndl: Menndl, caffe_root: Path, tmp_path: Path) -> None:
    photos = draw(tmp_path / "photos", {"a": 3, "b": 3})
    same = Image.fromarray(smooth_image(16, 12))
    same.save(photos / "a" / "turned.jpg", exif=exif(6))
    same.rotate(90, expand=True).save(photos / "b" / "colours.png")
    same.rotate(90, expand=True).convert("L").save(photos / "b" / "grey.png")
    assert menndl("data", "images", photos, "--encoded", "--no-shuffle", "--test", "2", "--out", tmp_path / "out") == 0
    records = [record for part in ("train", "test") for record in raw(database(tmp_path / "out", part))]
    theirs = {key[9:]: value for key, value in
              real(caffe_root, photos, listed(records), tmp_path / "real", "--encoded")}
    assert {key[9:] for key, value in records if theirs[key[9:]] != value} == {b"a/turned.jpg", b"b/grey.png"}
    for key, value in records:
        datum, name = caffe_pb2.Datum.FromString(value), key[9:].decode()
        plain = caffe_pb2.Datum.FromString(convert(Entry(str(photos / name), name, 0), Options()).datum)
        pixels = decode(datum.data, None, name).transpose(2, 0, 1)
        assert datum.encoded and pixels.shape == (plain.channels, plain.height, plain.width)
        worst = abs(pixels.astype(int).ravel() - np.frombuffer(plain.data, np.uint8)).max()
        assert worst <= (60 if name == "a/turned.jpg" else 0), "a JPEG that is encoded anew loses a little"
    summary = read_summary(tmp_path / "out")
    assert summary and summary.shape == (3, 12, 16)


def test_the_table_the_summary_and_what_is_odd(menndl: Menndl, photos: Path, tmp_path: Path) -> None:
    command = ("data", "images", photos, "--resize", "8", "--validation", "0.25", "--out", tmp_path / "out")
    assert menndl(*command) == 0
    rows = [line.split() for line in menndl.out.splitlines()[:5]]
    assert rows == [["label", "class", "training", "validation", "test"], ["0", "box", "4", "2", "2"],
                    ["1", "disc", "8", "2", "2"], ["2", "triangle", "12", "4", "4"], ["all", "24", "8", "8"]]
    assert "the largest class, triangle, has 50% of the test images: always answering it gives an accuracy of 0.50" \
        not in menndl.out  # 1.5 times its share is said
    fields = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert fields["classes"] == list(CLASSES)
    assert fields["labels"] == {"images_train_lmdb": [6, 10, 16], "images_test_lmdb": [2, 2, 4],
                                "images_fit_lmdb": [4, 8, 12], "images_validation_lmdb": [2, 2, 4]}
    assert fields["shape"] == [3, 8, 8] and fields["validation"] == 8
    before = (tmp_path / "out" / "mean.binaryproto").stat().st_mtime_ns
    assert menndl(*command) == 0 and "already there, left as it is" in menndl.said
    assert (tmp_path / "out" / "mean.binaryproto").stat().st_mtime_ns == before
    assert menndl(*command, "--gray") == 2 and "written with other options" in menndl.said
    assert menndl(*command, "--gray", "--force") == 0
    assert "1x8x8" in menndl.out


def test_a_class_that_is_too_large_is_told(menndl: Menndl, tmp_path: Path) -> None:
    photos = draw(tmp_path / "photos", {"many": 16, "few": 4}, (4, 4), "png")
    assert menndl("data", "images", photos, "--test", "0.25", "--out", tmp_path / "out") == 0
    assert ("the largest class, many, has 80% of the test images: always answering it gives an accuracy of 0.80"
            in menndl.out)


def test_the_same_seed_is_the_same_set_and_another_is_not(menndl: Menndl, photos: Path, tmp_path: Path) -> None:
    for out, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert menndl("data", "images", photos, "--resize", "4", "--seed", seed, "--out", tmp_path / out) == 0
    a, b, c = (raw(database(tmp_path / out, "train")) for out in "abc")
    assert a == b and a != c
    labels = [label for _, label in listed(a)]
    assert labels != sorted(labels), "they are shuffled"


def test_folders_for_parts(menndl: Menndl, tmp_path: Path) -> None:
    for part, classes in (("train", {"a": 5, "b": 4}), ("val", {"a": 2, "b": 1}), ("test", {"b": 3})):
        draw(tmp_path / "photos" / part, classes, (4, 4), "png")
    assert menndl("data", "images", tmp_path / "photos", "--out", tmp_path / "out") == 0
    summary = read_summary(tmp_path / "out")
    assert summary and summary.labels == {"images_train_lmdb": [7, 5], "images_test_lmdb": [0, 3],
                                          "images_fit_lmdb": [5, 4], "images_validation_lmdb": [2, 1]}
    assert "test has no images of a" in menndl.out
    shutil.rmtree(tmp_path / "photos" / "test")
    assert menndl("data", "images", tmp_path / "photos", "--out", tmp_path / "two") == 0
    summary = read_summary(tmp_path / "two")
    assert summary and summary.labels == {"images_train_lmdb": [5, 4], "images_test_lmdb": [2, 1]}
    assert menndl("data", "images", tmp_path / "photos", "--test", "2", "--out", tmp_path / "three") == 2
    assert "--test 2: the folder has such images of its own" in menndl.said


def test_a_list_and_its_root(menndl: Menndl, caffe_root: Path, photos: Path, tmp_path: Path) -> None:
    names = sorted(str(path.relative_to(photos)) for path in photos.rglob("*.jpg"))
    entries = [(name, 3 * number % 4) for number, name in enumerate(names)]
    (tmp_path / "list.txt").write_text("".join(f"{name} {label}\r\n" for name, label in entries) + "\n")
    assert menndl("data", "images", tmp_path / "list.txt", "--root", photos, "--size", "6x7", "--no-shuffle", "--test",
                  "8", "--out", tmp_path / "out") == 0, menndl.said
    train = raw(database(tmp_path / "out", "train"))
    assert set(listed(train)) < set(entries)
    assert [name for name, _ in listed(train)] == [name for name in names if name in dict(listed(train))]
    assert train == real(caffe_root, photos, listed(train), tmp_path / "real", "--resize_height=6", "--resize_width=7")


def test_broken_images_are_named_or_left_out(menndl: Menndl, tmp_path: Path) -> None:
    photos = draw(tmp_path / "photos", {"a": 6, "b": 6}, (4, 4), "png")
    (photos / "a" / "3.png").write_bytes((photos / "a" / "3.png").read_bytes()[:40])
    (photos / "b" / "0.png").write_text("no image")
    (photos / "b" / "Thumbs.db").write_text("")
    command = ("data", "images", photos, "--no-shuffle", "--test", "4", "--out", tmp_path / "out")
    assert menndl(*command) == 2
    assert f"{photos / 'a' / '3.png'}: not an image that can be read" in menndl.said and "--skip-broken" in menndl.said
    assert "left out, since they are in no class or are no images by their names: b/Thumbs.db" in menndl.said
    assert not (tmp_path / "out").exists(), "no half data set"
    assert menndl(*command, "--skip-broken") == 0
    assert "broken images left out: 2: " in menndl.said and str(photos / "b" / "0.png") in menndl.said
    summary = read_summary(tmp_path / "out")
    assert summary and sum(summary.records.values()) == 10
    keys = {(part, int(key[:8])) for part in ("train", "test") for key, _ in raw(database(tmp_path / "out", part))}
    all_keys = {("train", number) for number in range(8)} | {("test", number) for number in range(4)}
    assert keys < all_keys and len(keys) == 10, "as in Caffe, a broken image leaves a gap"


@pytest.mark.parametrize("arguments, said", [
    (["{photos}"], ["{photos}/", "pixels, but {photos}/", "images of one size are needed: give --resize HxW"]),
    (["{photos}/box"], ["{photos}/box: no sub-folders; each class needs one of its own"]),
    (["{photos}/nix"], ["{photos}/nix: No such file or directory; expected a folder of images, or a list"]),
    (["{photos}", "--root", "."], ["--root .: is for the files of a list"]),
    (["{photos}", "--test", "1.5"], ["'1.5'; expected a number of images, or a part of them such as 0.2"]),
    (["{photos}", "--test", "0"], ["'0'; expected a number of images"]),
    (["{photos}", "--test", "38"], ["--test 38: 38 of 40 images; 1 to 37 can be put aside", "each of the 3 classes"]),
    (["{photos}", "--resize", "8x"], ["'8x'; expected height and width in pixels, as 32x48"]),
    (["{tmp}/bad"], ["{tmp}/bad:2: 'y.png'; expected the name of an image, a space, and the number of its class"]),
    (["{tmp}/negative"], ["{tmp}/negative:1: 'x.png -1'"]),
    (["{tmp}/gone"], ["{tmp}/x.png: no such file; 2 of 2 are missing"]),
    (["{tmp}/one"], ["{tmp}/one: one class of images; two classes are the least"]),
    (["{tmp}/empty"], ["{tmp}/empty/b: no images in it; expected files that end in .bmp"]),
    (["{tmp}/unknown"], ["{tmp}/unknown/test/c: a class without training images; expected those of them: a, b"]),
])
def test_what_is_wrong_is_said(menndl: Menndl, photos: Path, tmp_path: Path, arguments: List[str],
                               said: List[str]) -> None:
    (tmp_path / "bad").write_text("x.png 0\ny.png\n")
    (tmp_path / "negative").write_text("x.png -1\n")
    (tmp_path / "gone").write_text("x.png 0\ny.png 1\n" * 5)
    (tmp_path / "one").write_text("x.png 0\n")
    draw(tmp_path / "empty", {"a": 1, "b": 0}, (2, 2), "png")
    draw(tmp_path / "unknown" / "train", {"a": 1, "b": 1}, (2, 2), "png")
    draw(tmp_path / "unknown" / "test", {"c": 1}, (2, 2), "png")
    names = {"photos": photos, "tmp": tmp_path}
    assert menndl("data", "images", *(word.format(**names) for word in arguments), "--out", tmp_path / "out") == 2
    for part in said:
        assert part.format(**names) in menndl.said
    assert not (tmp_path / "out").exists()


def test_what_others_wrote_stays(menndl: Menndl, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "faces_train_lmdb").mkdir(parents=True)
    (tmp_path / "out" / "faces_train_lmdb" / "data.mdb").write_text("theirs")
    assert menndl("data", "images", photos, "--resize", "4", "--force", "--out", tmp_path / "out") == 2
    assert "holds faces_train_lmdb, which menndl did not write" in menndl.said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["faces_train_lmdb"]


def test_without_pillow(menndl: Menndl, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert menndl("data", "images", photos, "--resize", "4", "--out", tmp_path / "out") == 2
    assert "reading images needs pillow" in menndl.said and "pip install pillow" in menndl.said


def test_an_interrupted_command_leaves_nothing_and_an_earlier_set_as_it_was(
        menndl: Menndl, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("data", "images", photos, "--resize", "4", "--out", tmp_path / "out")

    def interrupted(entry: Entry, options: Options) -> Any:
        if entry.name == "disc/5.jpg":
            raise KeyboardInterrupt
        return convert(entry, options)
    with monkeypatch.context() as patched:
        patched.setattr("menndl_caffe.data.convert.convert", interrupted)
        assert menndl(*command) == 130
    assert not (tmp_path / "out").exists()
    assert menndl(*command) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with monkeypatch.context() as patched:
        patched.setattr("menndl_caffe.data.convert.convert", interrupted)
        assert menndl(*command, "--gray", "--force") == 130
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
