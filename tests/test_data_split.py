"""Own databases divided anew: each class its share, records as they were, means of what they are of."""
from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, List, Tuple

import numpy as np
import pytest

from menndl_caffe.data import labels, read_summary
from menndl_caffe.data.advice import how_to_make
from menndl_caffe.data.lmdb_data import Images, write_lmdb
from menndl_caffe.data.stratified import put_aside, share
from menndl_caffe.errors import UserError
from tests.support.databases import raw
from tests.support.in_process import Menndl

COUNTS = (30, 12, 6)  # of each class


@pytest.fixture
def menndl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Menndl:
    return Menndl(monkeypatch, capsys)


def images(counts: Tuple[int, ...], seed: int) -> Images:
    random = np.random.RandomState(seed)
    of = random.permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.uint8)
    return Images(of, random.randint(0, 256, (len(of), 1, 5, 4)).astype(np.uint8))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder as convert_imageset's users have it."""
    (tmp_path / "own").mkdir()
    write_lmdb(tmp_path / "own" / "Faces_train_lmdb", images(COUNTS, 1), 8)
    write_lmdb(tmp_path / "own" / "Faces_test_lmdb", images((4, 4, 4), 2), 8)
    return tmp_path / "own"


# Who is put aside.

@pytest.mark.parametrize("counts, wanted, taken", [
    ((30, 12, 6), 8, (5, 2, 1)), ((30, 12, 6), 0.25, (8, 3, 1)), ((10, 10, 10), 4, (2, 1, 1)), ((3, 1), 1, (1, 0)),
    ((9, 1, 1), 8, (8, 0, 0)), ((2, 2, 2), 3, (1, 1, 1)), ((5, 5), 0.5, (3, 2)), ((100, 7), 0.01, (1, 0)),
])
def test_each_class_gives_its_share(counts: Tuple[int, ...], wanted: Any, taken: Tuple[int, ...]) -> None:
    """By hand: k n_c / n rounded down, and the rest to the largest remainders; one of each class is left."""
    of = images(counts, 3).labels
    aside = put_aside(of, wanted, np.random.RandomState(1), "--test")
    assert tuple(np.bincount(of[aside], minlength=len(counts))) == taken
    assert (aside == put_aside(of, wanted, np.random.RandomState(1), "--test")).all()


def test_who_is_put_aside_depends_on_the_seed_and_on_nothing_else() -> None:
    of = np.zeros(1000, int)
    a, b = (np.flatnonzero(put_aside(of, 100, np.random.RandomState(seed), "")) for seed in (1, 2))
    assert a.tolist() != b.tolist()
    assert 400 < a.mean() < 600 and 400 < b.mean() < 600, "from everywhere: a mean of 100 of 1,000 has a sigma of 27"


@pytest.mark.parametrize("wanted", [3, 4, 0.9])
def test_one_of_each_class_is_left(wanted: Any) -> None:
    with pytest.raises(UserError, match="--validation .*1 to 2 can be put aside, so that one of each of the 2 classes"):
        put_aside(np.array([0, 0, 1, 1]), wanted, np.random.RandomState(1), "--validation")


@pytest.mark.parametrize("text, value", [("5", 5), ("0.25", 0.25), (".5", 0.5), ("1", 1)])
def test_a_share_as_it_is_written(text: str, value: float) -> None:
    assert share(text) == value and type(share(text)) is type(value)


# The command.

def test_a_folder_of_two_databases(menndl: Menndl, caffe_root: Path, own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert menndl("data", "split", own, "--validation", "8", "--out", out) == 0, menndl.said
    train, test, fit, validation = (raw(out / f"images_{part}_lmdb") for part in ("train", "test", "fit", "validation"))
    assert train == raw(own / "Faces_train_lmdb") and test == raw(own / "Faces_test_lmdb")
    assert sorted(fit + validation) == train
    assert labels(out / "images_validation_lmdb").counts == {0: 5, 1: 2, 2: 1}
    for part, mean in (("train", "mean.binaryproto"), ("fit", "mean_fit.binaryproto")):
        subprocess.run([caffe_root / "bin" / "compute_image_mean", "-backend=lmdb", out / f"images_{part}_lmdb",
                        tmp_path / "mean"], check=True, capture_output=True, timeout=600)
        assert (out / mean).read_bytes() == (tmp_path / "mean").read_bytes()
    assert ["0", "0", "25", "5", "4"] in [line.split() for line in menndl.out.splitlines()]
    assert menndl("data", "split", own, "--validation", "8", "--out", out) == 0
    assert "already there, left as it is" in menndl.said
    assert menndl("data", "split", own, "--validation", "8", "--seed", "2", "--out", out) == 2
    assert f"{out} holds another set, from {own}, divided with seed 1, validation 8" in menndl.said


def test_one_database(menndl: Menndl, own: Path, tmp_path: Path) -> None:
    source = own / "Faces_train_lmdb"
    assert menndl("data", "split", source, "--test", "0.25", "--validation", "8", "--out", tmp_path / "out") == 0
    summary = read_summary(tmp_path / "out")
    assert summary and summary.labels == {"images_train_lmdb": [22, 9, 5], "images_test_lmdb": [8, 3, 1],
                                          "images_fit_lmdb": [17, 7, 4], "images_validation_lmdb": [5, 2, 1]}
    train, test = (raw(tmp_path / "out" / f"images_{part}_lmdb") for part in ("train", "test"))
    assert sorted(train + test) == raw(source)


def test_a_leveldb(menndl: Menndl, own: Path, tmp_path: Path) -> None:
    plyvel = pytest.importorskip("plyvel")
    database = plyvel.DB(str(tmp_path / "faces"), create_if_missing=True)
    for key, value in raw(own / "Faces_train_lmdb"):
        database.put(key, value)
    database.close()
    for source, out in ((tmp_path / "faces", "a"), (own / "Faces_train_lmdb", "b")):
        assert menndl("data", "split", source, "--test", "8", "--out", tmp_path / out) == 0, menndl.said
    for part in ("train", "test"):
        assert raw(tmp_path / "a" / f"images_{part}_lmdb") == raw(tmp_path / "b" / f"images_{part}_lmdb")


def test_a_set_of_menndls_keeps_its_classes_names(menndl: Menndl, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    from tests.test_data_images import draw
    draw(tmp_path / "photos", {"cat": 6, "dog": 6}, (4, 4), "png")
    assert menndl("data", "images", tmp_path / "photos", "--out", tmp_path / "set") == 0
    assert menndl("data", "split", tmp_path / "set", "--validation", "2", "--out", tmp_path / "out") == 0
    summary = read_summary(tmp_path / "out")
    assert summary and summary.classes == ["cat", "dog"]


@pytest.mark.parametrize("arguments, said", [
    (["{own}"], "say how many images are put aside: --validation 0.1 of the training images"),
    (["{own}", "--test", "3"], "--test 3: {own} has test images, {own}/Faces_test_lmdb; leave the option out"),
    (["{own}/Faces_train_lmdb", "--validation", "3"], "has no test images: say which part of its images becomes them"),
    (["{own}/nix", "--validation", "3"], "{own}/nix: no such folder; expected a database, or a folder with"),
    (["{own}/..", "--validation", "3"], "no database *_train_lmdb in it, and it is none itself"),
    (["{own}", "--validation", "46"], "--validation 46: 46 of 48 images; 1 to 45 can be put aside"),
])
def test_what_is_wrong_is_said(menndl: Menndl, own: Path, tmp_path: Path, arguments: List[str], said: str) -> None:
    assert menndl("data", "split", *(word.format(own=own) for word in arguments), "--out", tmp_path / "out") == 2
    assert said.format(own=own) in menndl.said
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_beside_databases_of_others(menndl: Menndl, own: Path) -> None:
    before = sorted(path.name for path in own.iterdir())
    assert menndl("data", "split", own, "--validation", "8", "--force", "--out", own) == 2
    assert "which menndl did not write" in menndl.said
    assert sorted(path.name for path in own.iterdir()) == before


# What is known of labels, and the advice.

def test_labels_are_as_the_summary_says_and_else_as_the_records_have_them(menndl: Menndl, own: Path,
                                                                          tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert menndl("data", "split", own, "--validation", "8", "--out", out) == 0
    told = labels(out / "images_train_lmdb")
    assert told.is_whole and told.counts == {0: 30, 1: 12, 2: 6}
    summary = (out / "dataset.json").read_text()
    (out / "dataset.json").write_text(summary.replace("30,", "31,"))
    shutil.copytree(out, tmp_path / "copy")
    assert labels(tmp_path / "copy" / "images_train_lmdb").counts == told.counts, "which the records outweigh"
    assert labels(own / "Faces_test_lmdb") == ({0: 4, 1: 4, 2: 4}, [], True)


def test_a_large_database_is_sampled(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menndl_caffe.data.lmdb_data.ALL_BYTES", 500)  # a record has 30
    found = labels(own / "Faces_train_lmdb")
    assert not found.is_whole and 10 <= sum(found.counts.values()) <= 20


def test_the_advice_leads_to_a_set_that_works(menndl: Menndl, own: Path, tmp_path: Path) -> None:
    advice = how_to_make(own / "*_fit_lmdb")
    command = advice.split("`")[1].replace("OTHER", str(tmp_path / "other")).split()[1:]
    assert menndl(*command) == 0, menndl.said
    assert (tmp_path / "other" / "images_fit_lmdb").is_dir()
