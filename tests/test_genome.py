"""Genes: every value has its odds, the unit cube is there and back, and settings are checked."""
from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_caffe.errors import UserError
from menndl_caffe.genome import ChoiceGene, IntGene, RealGene, SearchSpace
from menndl_caffe.trial import training_seed

OUTPUT = IntGene("output1", 16, 126, 2, 32)
RATE = RealGene("base_lr", 1e-5, 1e-1, True, 1e-3)
POOL = ChoiceGene("pool", ("MAX", "AVE", "STOCHASTIC"), "MAX")
SPACE = SearchSpace((OUTPUT, RATE, POOL))
UNIT = st.floats(0, 1, exclude_max=True)


def test_num_output_has_56_even_values() -> None:
    values = [OUTPUT.from_unit((i + 0.5) / 5600) for i in range(5600)]
    assert Counter(values) == {v: 100 for v in range(16, 127, 2)}


@given(st.integers(-50, 50), st.integers(0, 60), st.integers(1, 9), UNIT)
def test_int_genes_stay_in_their_range_and_on_their_steps(low: int, width: int, step: int, u: float) -> None:
    gene = IntGene("g", low, low + width, step, low)
    value = gene.from_unit(u)
    assert low <= value <= low + width and (value - low) % step == 0
    assert gene.from_unit(gene.to_unit(value)) == value
    assert gene.parse(str(value)) == value


@given(UNIT)
def test_log_scale_is_uniform_in_the_exponent(u: float) -> None:
    assert RATE.from_unit(u) == pytest.approx(10 ** (-5 + 4 * u), rel=1e-5)
    assert RATE.to_unit(RATE.from_unit(u)) == pytest.approx(u, abs=1e-5)


@given(st.lists(UNIT, min_size=3, max_size=3))
def test_genomes_come_back_from_the_unit_cube_and_from_json(point: list) -> None:
    genome = SPACE.from_unit(point)
    back = SPACE.from_unit(SPACE.to_unit(genome))
    assert back.values[0] == genome.values[0] and back.values[2] == genome.values[2]
    assert SPACE.from_dict(genome.as_dict()) == genome and hash(SPACE.from_dict(genome.as_dict())) == hash(genome)


def test_choices_share_the_unit_interval() -> None:
    choices = [POOL.from_unit(u) for u in (0.0, 0.33, 0.34, 0.66, 0.67, 0.9999)]
    assert choices == ["MAX", "MAX", "AVE", "AVE", "STOCHASTIC", "STOCHASTIC"]


def test_settings_change_the_default() -> None:
    genome = SPACE.with_settings(["output1=64", "base_lr=0.01"])
    assert genome.as_dict() == {"output1": 64, "base_lr": 0.01, "pool": "MAX"}


@pytest.mark.parametrize("setting, expected", [
    ("output1=65", "a whole number from 16 to 126 in steps of 2"),
    ("output1=128", "a whole number from 16 to 126"),
    ("output1=x", "a whole number"),
    ("base_lr=1", "a number from 1e-05 to 0.1"),
    ("base_lr=nan", "a number from"),
    ("pool=MIN", "one of MAX, AVE, STOCHASTIC"),
    ("outptu1=64", "did you mean output1?"),
    ("output1", "expected GENE=VALUE"),
])
def test_a_wrong_setting_says_what_is_valid(setting: str, expected: str) -> None:
    with pytest.raises(UserError, match=r"--set ") as error:
        SPACE.with_settings([setting])
    assert setting in str(error.value) and expected in str(error.value)


def test_the_seed_of_a_training_is_its_genome_s() -> None:
    genome = SPACE.default
    assert training_seed(1, genome) == training_seed(1, SPACE.from_dict(genome.as_dict()))
    others = {training_seed(seed, g, salt) for seed in (1, 2) for salt in ("", "7")
              for g in (genome, SPACE.with_settings(["output1=34"]))}
    assert len(others) == 8 and all(0 <= seed < 2**31 for seed in others)
    # Recorded runs depend on these numbers: they must never change.
    assert training_seed(1, genome) == training_seed(1, genome, "")


def test_a_space_may_have_more_genomes_than_a_float_can_count() -> None:
    many = tuple(IntGene(f"g{i}", 0, 2**62, 1, 0) for i in range(40))
    assert SearchSpace(many).size == (2**62 + 1) ** 40
    assert SearchSpace((*many, RealGene("r", 0.0, 1.0, False, 0.0))).size == math.inf
