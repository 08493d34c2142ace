"""The fillers against real Caffe, bit for bit: every type, sequences of fillers from one seed, and whole layers."""
from __future__ import annotations

from typing import Dict

import numpy as np
import pytest
import torch
from google.protobuf import text_format

from menndl_caffe.nets.layer_rules.blob import ImpossibleNet
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.fillers import fill
from menndl_caffe.torchcaffe.rng import Generator
from tests.support.torchcaffe.freeze_rng import LAYERS, ROUNDED_SPARSE, SEEDS, SEQUENCE, Fill, digest, frozen, values_in

Digests = Dict[str, bytes]


@pytest.fixture(scope="module", params=["frozen", "real"])
def caffe(request: pytest.FixtureRequest) -> Digests:
    """What real Caffe draws: as it was frozen, and now."""
    if request.param == "frozen":
        return frozen()
    values = values_in(request.getfixturevalue("caffe_root"))
    return {name: digest(array) for name, array in values.items()}


def filled(one: Fill, generator: Generator) -> np.ndarray:
    text, shape = one
    blob = Blob(shape)
    fill(text_format.Parse(text, caffe_pb2.FillerParameter()), blob, generator)
    return np.array(blob.data)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_filler_one_after_the_other(caffe: Digests, seed: int) -> None:
    generator = Generator(seed)
    for index in (0, 1):
        for top, one in enumerate(SEQUENCE):
            assert digest(filled(one, generator)) == caffe[f"sequence-{seed}/{index}/t{top}"], (index, one)


@pytest.mark.parametrize("seed", SEEDS)
def test_parameters_of_layers(caffe: Digests, seed: int) -> None:
    """Weight, then bias, layer after layer."""
    generator = Generator(seed)
    for layer, (_, fills) in enumerate(LAYERS):
        for index, one in enumerate(fills):
            assert digest(filled(one, generator)) == caffe[f"layers-{seed}/l{layer}/{index}"], one


def test_sparse_in_single_precision(caffe: Digests) -> None:
    assert digest(filled(ROUNDED_SPARSE, Generator(2))) == caffe["sparse/0/t0"]


def test_a_scalar() -> None:
    assert filled(("value: 3", ()), Generator(1)) == 3


@pytest.mark.parametrize("text, shape, reason", [
    ("type: 'gausian'", (2,), "unknown type 'gausian'; did you mean gaussian?"),
    ("type: 'gaussian' std: 0", (2,), "std must be positive, not 0"),
    ("type: 'xavier'", (0, 2), "nothing to fill"),
    ("type: 'bilinear'", (2, 2, 3, 4), "square kernels"),
])
def test_what_caffe_refuses(text: str, shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(ImpossibleNet, match=reason.replace("?", r"\?")):
        filled((text, shape), Generator(1))


def test_a_bilinear_deconvolution_interpolates() -> None:
    """Upsampling by 2 with this kernel keeps a plane a plane, as linear interpolation does."""
    kernel = filled(("type: 'bilinear'", (1, 1, 4, 4)), Generator(1))[0, 0]
    rows, columns = np.mgrid[0:6, 0:6].astype(np.float32)
    plane, grown = 2 * rows - 3 * columns + 1, np.zeros((14, 14), np.float32)
    for (row, column), value in np.ndenumerate(plane):
        grown[2 * row:2 * row + 4, 2 * column:2 * column + 4] += value * kernel
    inside = grown[4:-4, 4:-4]
    np.testing.assert_allclose(np.diff(inside, axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(np.diff(inside, axis=1), -1.5, atol=1e-6)


@pytest.mark.parametrize("norm, n", [("FAN_IN", 48 * 25), ("FAN_OUT", 96 * 25), ("AVERAGE", 72 * 25)])
def test_variances(norm: str, n: int) -> None:
    """1/n for xavier and 2/n for msra, with n from the shape."""
    for kind, variance in (("xavier", 1 / n), ("msra", 2 / n)):
        values = filled((f"type: '{kind}' variance_norm: {norm}", (96, 48, 5, 5)), Generator(3))
        assert np.var(values, dtype=np.float64) == pytest.approx(variance, rel=0.02)


def test_the_order_of_memory_is_kept() -> None:
    """A layer that works in place may have brought a DummyData's top into another one."""
    straight, other = Blob((2, 3, 4, 5)), Blob((2, 3, 4, 5))
    other.value = torch.zeros(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    for blob in (straight, other):
        fill(text_format.Parse("type: 'gaussian'", caffe_pb2.FillerParameter()), blob, Generator(1))
    assert torch.equal(straight.value, other.value)
    assert other.value.is_contiguous(memory_format=torch.channels_last)
