"""Which weights have a decay in common: one for the net, for each layer, blob, unit or weight.

| symbol | here | meaning |
|---|---|---|
| m | `len(groups.names)` | how many decays there are |
| n | `groups.of_weight.size` | how many learned weights |
| d_i = e_g(i) | `spread` | each weight gets the value of its group |
| dE/de_g = sum of dE/dd_i over g(i) = g | `sums` | and the derivative by it is that of all its weights |
"""
from __future__ import annotations

from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from menndl_caffe.trainer.net_in_hand import Parameter

PER_NET, PER_LAYER, PER_BLOB, PER_UNIT, PER_WEIGHT = "PER_NET", "PER_LAYER", "PER_BLOB", "PER_UNIT", "PER_WEIGHT"


class Groups(NamedTuple):
    """Every learned weight in one group."""

    of_weight: np.ndarray  # the number of each weight's group, shape (n,)
    names: Tuple[str, ...]  # `net`, `conv1`, `conv1[0]`, `conv1 unit 3`, `conv1[0] weight 17`

    def spread(self, values: np.ndarray) -> np.ndarray:
        """The value of its group for each weight: (m,) to (n,)."""
        return values[self.of_weight]

    def sums(self, vector: np.ndarray) -> np.ndarray:
        """The sum over each group, float64: (n,) to (m,)."""
        return np.bincount(self.of_weight, weights=vector, minlength=len(self.names))


def grouped(parameters: Sequence[Parameter], kind: str) -> Groups:
    """The groups of a net in hand's parameters; `kind` is one of the five above."""
    numbers: Dict[str, int] = {}
    of_weight = []
    for parameter in parameters:
        size = parameter.place.stop - parameter.place.start
        own = [numbers.setdefault(name, len(numbers)) for name in _names(parameter, kind, size)]
        of_weight.append(np.repeat(own, size // len(own)))
    return Groups(np.concatenate(of_weight), tuple(numbers))


def _names(parameter: Parameter, kind: str, size: int) -> List[str]:
    """Of the groups in a blob, each of which has equally many of its weights, side by side."""
    if kind == PER_UNIT:  # the first axis counts units in weights and biases: a unit's bias is in its group
        return [f"{parameter.layer} unit {unit}" for unit in range(parameter.shape[0] if parameter.shape else 1)]
    if kind == PER_WEIGHT:
        return [f"{parameter.name} weight {index}" for index in range(size)]
    return [{PER_NET: "net", PER_LAYER: parameter.layer, PER_BLOB: parameter.name}[kind]]
