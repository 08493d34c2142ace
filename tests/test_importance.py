"""Importance of genes: a case by hand, and what chance alone gives, by simulation."""
from __future__ import annotations

from pathlib import Path
from typing import Any, List, Sequence

import numpy as np
import pytest

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.genome import ChoiceGene, Genome, IntGene, RealGene
from menndl_caffe.record import Record
from menndl_caffe.report.importance import BINS, Importance, bins, explained, importance
from menndl_caffe.trial import Result, Trial

POOL = ChoiceGene("pool", ("MAX", "AVE"), "MAX")
KERNEL = IntGene("kernel", 1, 8, 1, 5)
RATE = RealGene("rate", 1e-5, 1e-1, True, 1e-3)
SEARCH = """\
net: "net.j2"
solver: "solver.j2"
gene { name: "pool" choice { value: "MAX" value: "AVE" default: "MAX" } }
gene { name: "kernel" int_range { min: 1 max: 8 } default: 5 }
gene { name: "rate" real_range { min: 0.00001 max: 0.1 scale: LOG } default: 0.001 }
"""


def run(values: Sequence[Sequence[Any]], accuracy: Sequence[float], failed: Sequence[int] = ()) -> Run:
    names = ("pool", "kernel", "rate")
    trials = {i: Trial(i, Genome(names, tuple(genes)), 1, 1, 0) for i, genes in enumerate(values)}
    results = {i: Result(i, "crashed", reason="x") if i in failed else Result(i, "ok", value, 1.0)
               for i, value in enumerate(accuracy)}
    return Run(Path("run"), Record({"search": SEARCH}, trials, results))


def test_by_hand() -> None:
    # MAX has mean 0.6, AVE 0.4, all 0.5: between the groups 10 x 0.1^2, within each 4 x 0.1^2.
    values = ["MAX"] * 5 + ["AVE"] * 5
    accuracy = np.array([0.7, 0.7, 0.6, 0.5, 0.5, 0.5, 0.5, 0.4, 0.3, 0.3])
    found = explained(POOL, values, accuracy)
    assert found.ratio == pytest.approx(0.1 / 0.18)
    assert found.share == pytest.approx(1 - (1 - 0.1 / 0.18) * 9 / 8)
    assert (found.gene, found.bins, found.individuals) == ("pool", 2, 10)


def test_all_and_nothing() -> None:
    accuracy = np.array([0.7, 0.5] * 10)
    assert explained(POOL, ["MAX", "AVE"] * 10, accuracy).share == pytest.approx(1)
    nothing = explained(POOL, ["MAX", "MAX", "AVE", "AVE"] * 5, accuracy)
    assert nothing.ratio == pytest.approx(0) and nothing.share == 0 and not nothing.is_clear
    constant = explained(KERNEL, [3] * 20, accuracy)
    assert (constant.share, constant.noise, constant.bins) == (0, 0, 1) and not constant.is_clear


@pytest.mark.parametrize("gene", [POOL, KERNEL, RATE], ids=lambda gene: gene.name)
def test_what_chance_gives(gene: Any) -> None:
    """epsilon^2 of a gene without effect has mean 0 and the spread that `noise` says."""
    random, found = np.random.default_rng(1), []
    for _ in range(1500):
        one = explained(gene, [gene.from_unit(u) for u in random.random(100)], random.normal(size=100))
        found.append((1 - (1 - one.ratio) * 99 / (100 - one.bins), one.noise, one.is_clear))
    shares, noise, clear = (np.array(column, dtype=float) for column in zip(*found))
    assert abs(shares.mean()) < 4 * shares.std() / 1500 ** 0.5
    assert shares.std() == pytest.approx(noise.mean(), rel=0.1)
    assert clear.mean() < 0.08


def test_what_was_put_in_is_found() -> None:
    """The rate explains 3/4 of the variance, the rest is noise; kernel and pool do nothing."""
    random = np.random.default_rng(2)
    points = random.random((4000, 3))
    values = [(POOL.from_unit(p), KERNEL.from_unit(k), RATE.from_unit(r)) for p, k, r in points]
    accuracy = np.sqrt(12 * 0.75) * points[:, 2] + 0.5 * random.normal(size=4000)
    by_gene = {one.gene: one for one in importance(run(values, accuracy))}
    assert by_gene["rate"].share == pytest.approx(0.75, abs=0.03) and by_gene["rate"].is_clear
    assert by_gene["pool"].share < 0.01 and by_gene["kernel"].share < 0.01


def test_failures_and_repeats_do_not_count() -> None:
    values: List[Any] = [("MAX", 1, 0.01 + i / 100) for i in range(10)] + [("AVE", 2, 0.001)] * 7
    some = importance(run(values, [0.5 + i / 100 for i in range(17)], failed=[3]))
    assert [one.individuals for one in some] == [9 + 1] * 3


def test_too_little_to_tell() -> None:
    different = [("MAX", 1, 0.001 + i / 1000) for i in range(30)]
    assert importance(run([], [])) == []
    assert importance(run(different[:9], [i / 10 for i in range(9)])) == []
    assert importance(run(different, [0.5] * 30)) == []
    assert len(importance(run(different, [i / 40 for i in range(30)]))) == 3


def test_bins() -> None:
    assert bins(np.array([3, 1, 3, 1, 2, 2, 3, 1, 2, 3, 2, 1, 1, 2, 3])).tolist() == \
        [2, 0, 2, 0, 1, 1, 2, 0, 1, 2, 1, 0, 0, 1, 2]
    many = bins(np.random.default_rng(1).random(1000))
    assert np.bincount(many).tolist() == [100] * BINS
    positions = np.arange(40.0)
    assert (np.diff(bins(positions)) >= 0).all() and np.bincount(bins(positions)).tolist() == [5] * 8
    # One value with nearly all individuals: no bin is empty, and that value is a bin of its own.
    lopsided = bins(np.array([0.5] * 95 + [0.1, 0.2, 0.7, 0.8, 0.9] + list(np.linspace(0.91, 0.99, 10))))
    assert np.bincount(lopsided).min() > 0 and (np.bincount(lopsided) == 95).any()


def test_importance_is_plain_data() -> None:
    one = Importance("g", 0.5, 0.1, 0.55, 3, 100)
    assert one.is_clear and not Importance("g", 0.19, 0.1, 0.2, 3, 100).is_clear
