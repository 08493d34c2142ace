"""Drawn images: the same on every machine, of ten classes that can be learned but not at a glance."""
from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from menndl_caffe.data import check_data, write_synthetic
from menndl_caffe.data.lmdb_data import Images
from menndl_caffe.data.synthetic import draw_content
from menndl_caffe.errors import UserError


def flat(images: Images) -> np.ndarray:
    return images.pixels.reshape(len(images), -1).astype(np.float64)


def test_the_bytes_never_change() -> None:
    """Taken under numpy 1.19 and under 2.4; with other images, results would no longer compare."""
    content = draw_content(1200, 300, seed=1)
    drawn = content.train.labels, content.train.pixels, content.test.pixels
    digest = hashlib.sha256(b"".join(part.tobytes() for part in drawn)).hexdigest()
    assert digest == "9ff9dcdd1dbdc6063d0bbe409f73f4fee6aaf03215207722dec09119a6730c6e"


def test_seeds_and_parts_differ() -> None:
    one, two = draw_content(50, 50, seed=1), draw_content(50, 50, seed=2)
    parts = [content.tobytes() for drawn in (one, two) for content in (drawn.train.pixels, drawn.test.pixels)]
    assert len(set(parts)) == 4


def test_classes_are_equally_often_and_mixed() -> None:
    labels = draw_content(1000, 10, seed=3).train.labels
    assert np.bincount(labels).tolist() == [100] * 10
    assert len(set(labels[:50].tolist())) == 10


def test_learnable_but_not_at_a_glance() -> None:
    content = draw_content(3000, 1000, seed=1)
    train, test = flat(content.train), flat(content.test)
    means = np.stack([train[content.train.labels == label].mean(axis=0) for label in range(10)])
    distances = ((test[:, np.newaxis] - means) ** 2).sum(axis=2)
    accuracy = (distances.argmin(axis=1) == content.test.labels).mean()
    assert 0.25 < accuracy < 0.6


def test_colour_alone_does_not_tell_the_class() -> None:
    """The nearest average colour: the stripes of five pairs of classes and the jitter of the colours are in its way."""
    content = draw_content(3000, 1000, seed=1)
    train, test = (images.pixels.mean(axis=(2, 3)) for images in (content.train, content.test))
    means = np.stack([train[content.train.labels == label].mean(axis=0) for label in range(10)])
    distances = ((test[:, np.newaxis] - means) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == content.test.labels).mean() < 0.35


def test_written_under_cifar10s_names(tmp_path: Path) -> None:
    summary = write_synthetic(tmp_path, 60, 20, validation=10, report=lambda line: None)
    assert summary.records == {
        "cifar10_train_lmdb": 60, "cifar10_test_lmdb": 20, "cifar10_fit_lmdb": 50, "cifar10_validation_lmdb": 10}
    names = "cifar10_fit_lmdb", "cifar10_test_lmdb", "mean_fit.binaryproto"
    assert check_data(*(tmp_path / name for name in names)) == (3, 32, 32)
    assert "synthetic images of seed 1" in str(summary)


@pytest.mark.parametrize(("train", "test"), [(9, 20), (20, 0), (100_001, 20)])
def test_counts_out_of_range(tmp_path: Path, train: int, test: int) -> None:
    with pytest.raises(UserError, match=r"images_t\w+: \d+; 10 to 100000"):
        write_synthetic(tmp_path / "out", train, test, report=lambda line: None)
    assert not (tmp_path / "out").exists()
