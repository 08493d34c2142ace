"""Curvature products of a net in hand, in both engines, against float64 ones that are written without them."""
from __future__ import annotations

from pathlib import Path
from typing import Dict

import numpy as np
import pytest

from menndl_caffe.trainer.hypergradient.product import GAUSS_NEWTON, HESSIAN
from tests.support import double_nets, hands
from tests.support.hand_programs import implicit as programs

Found = Dict[str, np.ndarray]


@pytest.fixture(scope="module", params=["torch", "caffe"])
def found(request: pytest.FixtureRequest, caffe_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = hands.write_images(tmp_path_factory.mktemp("images"))
    return hands.in_engine(request.param, programs.products, folder, caffe_root)


def error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("kind, name, allowed", [
    ("linear", HESSIAN, 1e-3), ("tanh", HESSIAN, 1e-3), ("linear", GAUSS_NEWTON, 1e-3), ("tanh", GAUSS_NEWTON, 1e-3),
    ("relu", GAUSS_NEWTON, 1e-2), ("lenet", GAUSS_NEWTON, 2e-2)])
@pytest.mark.parametrize("which", ["random", "gradient"])
def test_products_are_those_of_float64(found: Found, kind: str, name: str, which: str, allowed: float) -> None:
    product = {HESSIAN: double_nets.hessian_product, GAUSS_NEWTON: double_nets.gauss_newton_product}[name]
    expected = product(kind, found[f"{kind}.weights"].astype(float), found[f"{kind}.{which}"].astype(float))
    assert error(found[f"{kind}.{name}.{which}"], expected) < allowed


@pytest.mark.parametrize("kind", programs.KINDS)
def test_the_weights_are_there_again_to_the_bit(found: Found, kind: str) -> None:
    np.testing.assert_array_equal(found[f"{kind}.after"], found[f"{kind}.weights"])


@pytest.mark.parametrize("kind, kinked", [("linear", ""), ("tanh", ""), ("relu", "active"), ("lenet", "pool active")])
def test_layers_with_kinks_are_named(found: Found, kind: str, kinked: str) -> None:
    assert str(found[f"{kind}.kinked"]) == kinked


def test_a_product_with_nothing_is_nothing_and_weights_may_be_0(found: Found) -> None:
    assert not found["nothing"].any()
    expected = double_nets.hessian_product("linear", np.zeros(260), programs.direction(260, "linear"))
    assert error(found["at 0"], expected) < 1e-3
