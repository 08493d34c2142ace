"""The comparison of docs/results.md: its table is what runs.csv gives, and its runs are what the page says."""
from __future__ import annotations

import gzip
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from menndl_caffe.data import records
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from tests.bench.lenet_comparison import curves, runs
from tests.bench.lenet_comparison.curves import Curve
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs/results.md"


def made_up(method: str, seed: int, best: float) -> Curve:
    """A run whose best comes 31st: it counts after 40 trainings, not after 20."""
    return Curve(method, seed, 2.5, 0.5, best - 0.01, (best, best - 0.01, best - 0.02), (0.1, 0.3, 0.2) + (0.0,) * 27
                 + (best,) + (0.4,) * 9)


def test_the_page_has_the_table_of_the_data() -> None:
    known, text = curves.read_table(), PAGE.read_text()
    assert curves.markdown(known) in text
    assert curves.noise(known) in " ".join(text.split())
    assert f"({curves.FIGURE.name})" in text and curves.FIGURE.stat().st_size < 300_000


def test_the_data_have_the_same_budget_for_all() -> None:
    known = curves.read_table()
    assert Counter((curve.method, curve.seed) for curve in known) == Counter(
        (method, seed) for method in curves.METHODS for seed in runs.SEEDS)
    for curve in known:
        assert (len(curve.accuracies), len(curve.again)) == (40, 3)
        for accuracy in (curve.default, curve.test, *curve.again, *curve.accuracies):
            assert abs(accuracy - round(3000 * accuracy) / 3000) <= 0.00006  # of 3,000 images, in four digits


def test_median_and_range_of_the_seeds() -> None:
    found = curves.markdown([made_up("random", seed, best) for seed, best in ((1, 0.9), (2, 0.7), (3, 0.75))]
                            + [made_up(method, 1, 0.8) for method in curves.METHODS if method != "random"])
    line = next(line for line in found.splitlines() if "`RANDOM`" in line)
    assert line == ("| `RANDOM` | 30.0 [30.0, 30.0] | 30.0 [30.0, 30.0] | 75.0 [70.0, 90.0] | 74.0 [69.0, 89.0] "
                    "| 74.0 [69.0, 89.0] | 2.5 |")


def test_noise() -> None:
    # Variances 0.0001 and 0.0003: their mean's root is 1.41%. sqrt(0.9 x 0.1 / 3000) is 0.55%.
    assert curves.training_noise([(0.5, 0.51, 0.52), (0.5, 0.53, 0.53)]) == pytest.approx(0.0002 ** 0.5)
    assert curves.standard_error(0.9, 3000) == pytest.approx(0.0054772, rel=1e-4)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = [made_up("random", seed, 0.75) for seed in (1, 2)]
    curves.write_table(written, ["of: nowhere"], tmp_path / "runs.csv")
    assert curves.read_table(tmp_path / "runs.csv") == [
        curve._replace(test=0.74, again=(0.75, 0.74, 0.73)) for curve in written]


@pytest.mark.parametrize("method", curves.METHODS)
def test_search_files_differ_from_the_papers_where_the_page_says(method: str, tmp_path: Path) -> None:
    path = tmp_path / "one.search.prototxt"
    path.write_text(runs.search_text(method, 3))
    ours, papers = search_file.load(str(path)), search_file.load(str(runs.SEARCH))
    changed = [gene.name for gene, other in zip(ours.space.genes, papers.space.genes) if gene != other]
    assert changed == ["filters1", "filters2"] and len(ours.space.genes) == 14
    assert np.allclose(ours.space.to_unit(ours.space.default), 0.5, atol=1e-4)
    message = ours.message
    assert (message.random_seed, message.max_iter, message.limit.trials) == (3, 30, 40)
    assert message.type == curves.METHODS[method].search.split('"')[1]
    assert ours.constants == {"test_iter": "30", "test_interval": "30"}


def test_another_file_of_the_paper_is_not_changed_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "lenet.search.prototxt"
    other.write_text(runs.SEARCH.read_text().replace("max_iter: 50", "max_iter: 60"))
    monkeypatch.setattr(runs, "SEARCH", other)
    with pytest.raises(UserError, match="expected 'max_iter: 50' once, found 0 times"):
        runs.search_text("random", 1)


def test_every_image_is_in_one_part(tmp_path: Path) -> None:
    pixels = np.random.RandomState(1).bytes(10000 * 784)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(struct.pack(">4I", 2051, 10000, 28, 28) + pixels, compresslevel=1))
    labels = bytes(i % 10 for i in range(10000))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 2049, 10000) + labels)
    runs.make_data(tmp_path, tmp_path / "out")
    parts = {name: list(records(tmp_path / f"out/mnist/mnist_{name}_lmdb")) for name in ("fit", "validation", "test")}
    assert {name: len(images) for name, images in parts.items()} == {"fit": 4000, "validation": 3000, "test": 3000}
    expected = {(labels[i], pixels[784 * i:784 * (i + 1)]) for i in range(10000)}
    assert {(label, image.tobytes()) for images in parts.values() for label, image in images} == expected
