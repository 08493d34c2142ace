"""Which weights have a decay in common: one for the net, for each layer, blob, unit or weight.

| symbol | here | meaning |
|---|---|---|
| n, m | `of_weight.size`, `len(names)` | how many learned weights there are, and how many decays |
| d_i = e_g(i) | `spread` | each weight gets the value of its group g(i) |
| dE/de_g = sum of dE/dd_i over g(i) = g | `sums` | and the derivative by it is that of all its weights |

Weights whose decay the texts state as 0, as that of biases with decay_mult: 0, are in no group: theirs stays 0.
"""
from __future__ import annotations

from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from menndl_caffe.trainer.net_in_hand import Parameter
from menndl_caffe.trainer.train import Unsuitable

PER_NET, PER_LAYER, PER_BLOB, PER_UNIT, PER_WEIGHT = "PER_NET", "PER_LAYER", "PER_BLOB", "PER_UNIT", "PER_WEIGHT"

NO_GROUP = -1


class Groups(NamedTuple):
    """Every weight that has a decay in one group."""

    of_weight: np.ndarray  # the number of each weight's group, or NO_GROUP, shape (n,)
    names: Tuple[str, ...]  # `net`, `conv1`, `conv1[0]`, `conv1 unit 3`, `conv1[0] weight 17`

    def spread(self, values: np.ndarray) -> np.ndarray:
        """The value of its group for each weight, 0 for those in none: (m,) to (n,)."""
        return np.where(self.of_weight == NO_GROUP, 0, values[self.of_weight])

    def sums(self, vector: np.ndarray) -> np.ndarray:
        """The sum over each group, float64: (n,) to (m,)."""
        grouped = self.of_weight != NO_GROUP
        return np.bincount(self.of_weight[grouped], weights=vector[grouped], minlength=len(self.names))


def grouped(parameters: Sequence[Parameter], kind: str) -> Groups:
    """The groups of a net in hand's parameters; `kind` is one of the five above. Unsuitable where none has a decay."""
    numbers: Dict[str, int] = {}
    of_weight = []
    for parameter in parameters:
        size = parameter.place.stop - parameter.place.start
        names = _names(parameter, kind, size) if parameter.decay else []
        own = [numbers.setdefault(name, len(numbers)) for name in names] or [NO_GROUP]
        of_weight.append(np.repeat(own, size // len(own)))
    if not numbers:
        raise Unsuitable("no learned weight has a decay; expected weight_decay > 0, and decay_mult > 0 where it counts")
    return Groups(np.concatenate(of_weight), tuple(numbers))


def _names(parameter: Parameter, kind: str, size: int) -> List[str]:
    """Of the groups in a blob, each of which has equally many of its weights, side by side."""
    if kind == PER_UNIT:  # the first axis counts units in weights and biases: a unit's bias is in its group
        return [f"{parameter.layer} unit {unit}" for unit in range(parameter.shape[0] if parameter.shape else 1)]
    if kind == PER_WEIGHT:
        return [f"{parameter.name} weight {index}" for index in range(size)]
    return [{PER_NET: "net", PER_LAYER: parameter.layer, PER_BLOB: parameter.name}[kind]]
