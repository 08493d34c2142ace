"""The decays that a training learned: how they are told, written to a file, and read again.

The file has, by the name of each blob, the decay of each of its weights, float64, in the blob's shape (numpy's npz).
"""
from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from menndl_caffe.trainer.net_in_hand import NetInHand

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
POINTS = 20  # of the curve, about
FEW = 64  # decays that are told one by one

CurvePoint = Tuple[int, float, float, float]  # iteration; geometric mean, lowest and highest of the groups' decays


class Predicted(NamedTuple):
    """The validation loss as a hypernet predicts it."""

    loss: float  # with what was learned
    points: List[Tuple[float, float]]  # a decay, or the geometric mean of the groups', and the loss with it


class Learned(NamedTuple):
    """What a training learned."""

    of_weights: np.ndarray  # the decay of each weight, shape (n,), float64
    names: Sequence[str]  # of the groups that share a decay
    of_groups: np.ndarray  # the decay of each, the geometric mean where their weights have several, shape (m,)
    curve: List[CurvePoint]
    predicted: Optional[Predicted] = None
    by: Mapping[str, Any] = {}  # how: `method`, `steps`, `gradients` and `distrust` of a descent


def curve_point(iteration: int, of_groups: np.ndarray) -> CurvePoint:
    """What the groups' decays were after an iteration."""
    mean = np.exp(np.log(of_groups).mean())
    return iteration, float(mean), float(of_groups.min()), float(of_groups.max())


def told(learned: Learned) -> Dict[str, Any]:
    """As the message `learned` has it."""
    logs = np.log(learned.of_groups)
    values = dict(zip(learned.names, learned.of_groups.tolist())) if len(logs) <= FEW else {}
    return {"count": len(logs), "mean": float(np.exp(logs.mean())),
            "quantiles": np.exp(np.quantile(logs, QUANTILES)).tolist(), "values": values,
            "curve": [list(point) for point in learned.curve],
            **({"predicted": learned.predicted._asdict()} if learned.predicted is not None else {}),
            **({"by": dict(learned.by)} if learned.by else {})}


def write(path: str, hand: NetInHand, decay: np.ndarray) -> None:
    """Write the decay of each weight, shape (n,); the file is there whole or not at all."""
    arrays: Any = {each.name: decay[each.place].reshape(each.shape) for each in hand.parameters}
    aside = f"{path}.partial"
    with open(aside, "wb") as file:
        np.savez(file, **arrays)
    os.replace(aside, path)


def read(path: str, hand: NetInHand) -> np.ndarray:
    """Inverse of `write`. ValueError where the blobs are not those of the net in hand."""
    with np.load(path) as file:
        found = {name: file[name] for name in file.files}
    expected = {each.name: each.shape for each in hand.parameters}
    if {name: array.shape for name, array in found.items()} != expected:
        shapes = {name: array.shape for name, array in found.items()}
        raise ValueError(f"{path}: has decays of the blobs {shapes}; expected {expected}")
    return np.concatenate([found[each.name].ravel() for each in hand.parameters])
