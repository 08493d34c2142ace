"""What Caffe prints of a net's outputs and of its loss (`solver.cpp`, `tools/caffe.cpp`)."""
from __future__ import annotations

from typing import Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np
import torch

from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.net import Net


class Score(NamedTuple):
    """An element of an output, with the output's name and loss weight."""

    name: str
    value: float
    weight: float

    def __str__(self) -> str:
        loss = f" (* {self.weight:g} = {self.weight * self.value:g} loss)" if self.weight else ""
        return f"{self.name} = {self.value:g}{loss}"


def outputs(net: Net) -> torch.Tensor:
    """All elements of the net's outputs, in one row of float32."""
    elements = [blob.value.reshape(-1) for _, blob in _outputs(net)]
    return torch.cat([torch.zeros(0, device=mode.device()), *elements])


def scores(net: Net, values: torch.Tensor) -> Iterator[Score]:
    """The net's outputs, element by element, with values such as `outputs` gives."""
    names = [name for name, blob in _outputs(net) for _ in range(blob.count)]
    for name, value in zip(names, values.tolist()):
        yield Score(name, value, net.blob_loss_weights[name])


def _outputs(net: Net) -> Sequence[Tuple[str, Blob]]:
    """Caffe lists outputs by their names."""
    return [(name, net.blobs[name]) for name in sorted(net.outputs)]


class SmoothedLoss:
    """Mean of the last `size` losses, computed as Caffe does (`UpdateSmoothedLoss`)."""

    def __init__(self, size: int) -> None:
        self.mean = np.float32(0)
        self._losses: List[np.float32] = []
        self._size, self._added = size, 0

    def add(self, loss: float) -> None:
        """Take in the loss of an iteration."""
        new, number = np.float32(loss), len(self._losses)
        with np.errstate(all="ignore"):  # diverged: infinite or not a number from here on
            if number < self._size:
                self._losses.append(new)
                self.mean = (self.mean * np.float32(number) + new) / np.float32(number + 1)
            else:
                place = self._added % self._size
                self.mean += (new - self._losses[place]) / np.float32(self._size)
                self._losses[place] = new
        self._added += 1
