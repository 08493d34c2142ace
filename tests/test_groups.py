"""Which weights have a decay in common, on a net of a convolution and a layer whose biases have none."""
from __future__ import annotations

from typing import List

import numpy as np
import pytest

from menndl_caffe.trainer.groups import PER_BLOB, PER_LAYER, PER_NET, PER_UNIT, PER_WEIGHT, grouped
from menndl_caffe.trainer.net_in_hand import Parameter
from menndl_caffe.trainer.train import Unsuitable

PARAMETERS = [Parameter(*each, lr_mult=1.0) for each in (
    ("conv", 0, (2, 1, 1, 3), slice(0, 6), 0.5), ("conv", 1, (2,), slice(6, 8), 0.25),
    ("prelu", 0, (), slice(8, 9), 0.5), ("ip", 0, (2, 2), slice(9, 13), 0.5), ("ip", 1, (2,), slice(13, 15), 0.0))]
NONE = [-1, -1]  # of the last
CASES = {
    PER_NET: ([0] * 13, ["net"]),
    PER_LAYER: ([0] * 8 + [1] + [2] * 4, ["conv", "prelu", "ip"]),
    PER_BLOB: ([0] * 6 + [1, 1, 2] + [3] * 4, ["conv[0]", "conv[1]", "prelu[0]", "ip[0]"]),
    PER_UNIT: ([0, 0, 0, 1, 1, 1, 0, 1, 2, 3, 3, 4, 4],
               ["conv unit 0", "conv unit 1", "prelu unit 0", "ip unit 0", "ip unit 1"]),
    PER_WEIGHT: (list(range(13)), [*(f"conv[0] weight {i}" for i in range(6)), "conv[1] weight 0", "conv[1] weight 1",
                                   "prelu[0] weight 0", *(f"ip[0] weight {i}" for i in range(4))])}


@pytest.mark.parametrize("kind", CASES)
def test_every_weight_with_a_decay_is_in_one_group(kind: str) -> None:
    numbers, names = CASES[kind]
    groups = grouped(PARAMETERS, kind)
    assert groups.of_weight.tolist() == numbers + NONE and list(groups.names) == names


@pytest.mark.parametrize("kind", CASES)
def test_sums_are_what_spreading_is_transposed(kind: str) -> None:
    """<spread(e), v> = <e, sums(v)> for all e and v."""
    groups = grouped(PARAMETERS, kind)
    random = np.random.RandomState(1)
    values, vector = random.standard_normal(len(groups.names)), random.standard_normal(15).astype(np.float32)
    spread: List[float] = [values[number] for number in CASES[kind][0]] + [0, 0]
    assert groups.spread(values).tolist() == spread
    assert values @ groups.sums(vector) == pytest.approx(np.dot(spread, vector.astype(float)), rel=1e-12)
    assert groups.sums(vector).dtype == np.float64


def test_a_net_without_decay() -> None:
    with pytest.raises(Unsuitable, match="no learned weight has a decay; expected weight_decay > 0"):
        grouped(PARAMETERS[-1:], PER_NET)
