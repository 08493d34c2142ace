"""Random numbers against real Caffe, bit for bit, and against what the algorithms are known for."""
from __future__ import annotations

import json
from math import erfc, exp, inf, pi, sqrt
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menndl_caffe.errors import UserError
from menndl_caffe.torchcaffe import rng
from menndl_caffe.torchcaffe.rng import Generator
from tests.support.torchcaffe.freeze_rng import (
    IMAGES,
    MANY,
    RANGES,
    RARE_NORMALS,
    RATIOS,
    SEEDS,
    digest,
    frozen,
    values_in,
)
from tests.support.torchcaffe.real_pycaffe import in_real_caffe

Digests = Dict[str, bytes]


@pytest.fixture(scope="module", params=["compiled", "numpy"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both ways in which numbers are made, of which the compiled one needs a compiler."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setattr(rng, "compiled", lambda: None)
        elif rng.compiled() is None:
            pytest.skip("no C compiler")
        yield request.param


@pytest.fixture(scope="module", params=["frozen", "real"])
def caffe(request: pytest.FixtureRequest) -> Digests:
    """What real Caffe draws: as it was frozen, and now."""
    if request.param == "frozen":
        return frozen()
    values = values_in(request.getfixturevalue("caffe_root"))
    return {name: digest(array) for name, array in values.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_normal_values(caffe: Digests, seed: int) -> None:
    generator = Generator(seed)
    for index in (0, 1):
        assert digest(generator.gaussian(0.5, 0.01, MANY)) == caffe[f"normals-{seed}/{index}/t0"]


@pytest.mark.parametrize("seed, count", RARE_NORMALS.items())
def test_rare_cases_of_normal_values(caffe: Digests, seed: int, count: int) -> None:
    assert digest(Generator(seed).gaussian(0, 1, count)) == caffe[f"rare-{seed}/0/t0"]


def test_uniform_values_in_unusual_ranges(caffe: Digests) -> None:
    """Of one value or two, of subnormal ones, wider than the largest float; what rounds to the end is redrawn."""
    generator = Generator(3)
    for index in (0, 1):
        for top, (low, high) in enumerate(RANGES):
            values = generator.uniform(low, high, 1000)
            assert digest(values) == caffe[f"ranges/{index}/t{top}"], (low, high)
            assert values.min() >= np.float32(low) and values.max() <= np.float32(high)


def test_dropout_masks(caffe: Digests) -> None:
    generator = Generator(5)
    for index in (0, 1):
        for layer, ratio in enumerate(map(np.float32, RATIOS)):
            kept = generator.bernoulli(1.0 - float(ratio), MANY)
            scale = np.float32(1) / (np.float32(1) - ratio) if ratio != 1 else np.float32(0)
            assert digest(kept * scale) == caffe[f"dropout/{index}/m{layer}"], ratio


def test_shuffled_images(caffe: Digests) -> None:
    """ImageData draws the seed of a generator of its own; after the last image it shuffles the shuffled list."""
    generator, labels = Generator(Generator(6).draw()), list(range(IMAGES))
    for epoch in range(2):
        generator.shuffle(labels)
        for batch in range(IMAGES // 10):
            expected = np.array(labels[10 * batch:10 * batch + 10], np.float32)
            assert digest(expected) == caffe[f"shuffle/{5 * epoch + batch}/label"]


def test_the_c_standards_check_value() -> None:
    """C++11, 26.5.5: the 10,000th number of a default mt19937, whose seed is 5489."""
    assert Generator(5489).draws(10_000)[-1] == 4123659995


@given(st.lists(st.tuples(st.sampled_from(["draws", "gaussian", "uniform", "bernoulli", "draw"]),
                          st.integers(0, 700)), max_size=6), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_order_of_draws(calls: Any, seed: int) -> None:
    """A state taken anywhere gives the same future; many values at once are those of many calls."""
    whole, pieces = Generator(seed), Generator(seed)
    calls_of: Dict[str, Callable[[Generator, int], np.ndarray]] = {
        "draws": Generator.draws, "uniform": lambda generator, n: generator.uniform(-1, 1.5, n),
        "gaussian": lambda generator, n: generator.gaussian(0, 1, n),
        "bernoulli": lambda generator, n: generator.bernoulli(0.3, n),
        "draw": lambda generator, n: np.array([generator.draw() for _ in range(n)], np.uint32)}
    for name, n in calls:
        call = calls_of[name]
        expected = call(whole, n)
        found = np.concatenate([call(pieces, n // 3), call(pieces, 0), call(pieces, n - n // 3)])
        assert found.tobytes() == expected.tobytes()
        other = Generator(0)
        other.set_state(json.loads(json.dumps(pieces.state())))
        assert other.state() == pieces.state() == whole.state()
        pieces = other


def test_longer_than_a_block() -> None:
    """The blocks in which normal values are made leave no trace, and neither do those that a block leaves over."""
    whole, pieces = Generator(8), Generator(8)
    expected = whole.gaussian(0, 1, 3 * rng.BLOCK)
    cuts = [0, 1, rng.BLOCK - 1, rng.BLOCK, 2 * rng.BLOCK + 7, 3 * rng.BLOCK]
    found = [pieces.gaussian(0, 1, end - begin) for begin, end in zip(cuts, cuts[1:])]
    assert np.array_equal(np.concatenate(found), expected)
    assert whole.draw() == pieces.draw()


def test_a_run_that_ends_within_a_value() -> None:
    """As the last draws for 4110 values of seed 0 do, within a value of the tail."""
    expected = Generator(0).gaussian(0, 1, 5000)
    for n in range(4100, 4120):
        assert np.array_equal(Generator(0).gaussian(0, 1, n), expected[:n])


def test_the_exponential_tail_is_the_whole_over_again() -> None:
    at_once, missed, used = 0x80000000 | 5, 0xFFFFFF00, 0x12345678  # layers 5 and 0: low bytes
    value, place = rng._exponential(np.array([at_once, used], np.uint32), 0)
    beyond, end = rng._exponential(np.array([missed, missed, at_once, used], np.uint32), 0)
    assert (place, end) == (1, 3)
    assert 0 < value < rng.EXPONENTIAL_TAIL
    assert beyond == pytest.approx(2 * rng.EXPONENTIAL_TAIL + value, rel=1e-6)


def test_equal_ranges_of_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which the last, incomplete one is not used."""
    generator = Generator(1)
    for n, draws, number in ((2, [2**31 - 1], 0), (2, [2**31], 1), (3, [2**32 - 1, 2**32 // 3], 1), (1, [7], 0)):
        monkeypatch.setattr(generator, "draw", iter(draws).__next__)
        assert generator._below(n) == number


def test_not_a_state() -> None:
    state = Generator(1).state()
    for wrong in ({**state, "key": state["key"][:-1]}, {**state, "pos": 625}, {**state, "pos": -1}):
        with pytest.raises(UserError, match="624 words"):
            Generator(1).set_state(wrong)


def test_one_way_goes_on_where_the_other_stopped(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot may be taken where there is a compiler, and read where there is none."""
    here = Generator(11)
    here.gaussian(0, 1, 1001)
    if way == "compiled":
        monkeypatch.setattr(rng, "compiled", lambda: None)
    there = Generator(0)
    there.set_state(here.state())
    assert np.array_equal(there.gaussian(0, 1, 5000), here.gaussian(0, 1, 5000))
    assert there.state() == here.state()


def test_extreme_arguments() -> None:
    assert not Generator(1).bernoulli(0.0, 5).any() and Generator(1).bernoulli(1.0, 5).all()
    assert np.isinf(Generator(1).gaussian(0, inf, 5)).all()
    assert len(Generator(1).gaussian(0, 1, 0)) == len(Generator(1).uniform(0, 1, 0)) == 0


def test_layers_of_equal_area_cover_the_density() -> None:
    """Which fixes the edges, given their number: the last layer ends at 1 only for one R."""
    normal_tail = sqrt(pi / 2) * erfc(rng.NORMAL_TAIL / sqrt(2))
    for layers, tail, density in ((rng.NORMAL, normal_tail, lambda x: exp(-x * x / 2)),
                                  (rng.EXPONENTIAL, exp(-rng.EXPONENTIAL_TAIL), lambda x: exp(-x))):
        x, y = layers.exact_x, np.array([density(edge) for edge in layers.exact_x])
        areas = x[1:-1] * np.diff(y)[1:]
        np.testing.assert_allclose(areas, x[1] * y[1] + tail, rtol=1e-11)
        assert x[0] * y[1] == pytest.approx(x[1] * y[1] + tail, rel=1e-14)
        assert (np.diff(x) < 0).all()
    assert (len(rng.NORMAL.exact_x), len(rng.EXPONENTIAL.exact_x)) == (129, 257)


def test_distributions() -> None:
    """Normal values against the error function, the tail beyond R included."""
    values = np.abs(Generator(4).gaussian(0, 1, 1_000_000))
    for limit in (0.3, 1, 2, 3, rng.NORMAL_TAIL, 4):
        expected = 1e6 * erfc(limit / sqrt(2))
        assert abs((values > limit).sum() - expected) < 4 * sqrt(expected)


def numbers_of(numpy: Any, given: Any) -> Any:
    """With the file alone, in a Python that has no torch."""
    import importlib.util
    import sys

    sys.path.insert(0, str(given["repository"]))
    spec = importlib.util.spec_from_file_location("rng", str(given["source"]))
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    module.compiled = lambda: None  # type: ignore[attr-defined]
    generator = module.Generator(9)
    return {"normal": generator.gaussian(0, 1, 70_000), "uniform": generator.uniform(-0.3, 0.2, 1000),
            "masks": np.array([generator.bernoulli(0.3, 500), generator.bernoulli(np.float32(0.3), 500)]),
            "state": np.array(generator.state()["key"])}


def test_the_same_with_numpy_1_19(caffe_root: Path, tmp_path: Path) -> None:
    paths = {"repository": np.array(str(Path(rng.__file__).parents[2])), "source": np.array(rng.__file__)}
    old, own = in_real_caffe(caffe_root, tmp_path, "numpy", numbers_of, paths), numbers_of(np, paths)
    assert set(old) == set(own)
    for name, array in own.items():
        assert old[name].tobytes() == array.tobytes(), name
