"""A net whose images are put into it: its layers that read become Input layers, and nets of these layers alone read.

So a batch can be shown as often as one likes, and in any order, while what a batch holds is left to the engine.
"""
from __future__ import annotations

from typing import Any, Dict, List

import numpy as np

from menndl_caffe.trainer.nets import make_net
from menndl_caffe.trainer.train import Unsuitable

READERS = ("Data", "HDF5Data", "ImageData", "WindowData")
Batch = Dict[str, np.ndarray]  # the readers' tops by name


class Feed:
    """The batches of a phase, numbered 0, 1, ... as its readers give them, and the same again from `period` on."""

    def __init__(self, engine: Any, net: Any, phase: int, period: int):
        """`net`: the whole NetParameter, of which only the readers of `phase` are made."""
        self._readers = [layer for layer in net.layer if layer.type in READERS and is_in(layer, phase)]
        if not self._readers:
            raise Unsuitable(f"the net has no layer of type {', '.join(READERS)} in phase {('TRAIN', 'TEST')[phase]}")
        alone = type(net)(name=net.name, layer=self._readers)
        self._net, self._period = make_net(engine, alone, phase), period
        self._batches: List[Batch] = []

    @property
    def shapes(self) -> Dict[str, List[int]]:
        """Of the readers' tops, by name."""
        return {name: list(blob.shape) for name, blob in self._net.blobs.items()}

    @property
    def is_random(self) -> bool:
        """Whether an image is another one each time that it is read."""
        return any(layer.transform_param.mirror or layer.transform_param.crop_size for layer in self._readers)

    def batch(self, number: int) -> Batch:
        """The batch of this number."""
        number %= self._period
        while len(self._batches) <= number:
            self._net.forward()
            self._batches.append({name: blob.data.copy() for name, blob in self._net.blobs.items()})
        return self._batches[number]


def fed(net: Any, feeds: Dict[int, Feed]) -> Any:
    """The NetParameter with an Input layer in place of each reader, of the shapes that `feeds`, by phase, have."""
    result = type(net)()
    result.CopyFrom(net)
    for layer in result.layer:
        if layer.type in READERS:
            feed = next(feed for phase, feed in feeds.items() if is_in(layer, phase))
            given = type(layer)(name=layer.name, type="Input", top=layer.top, include=layer.include,
                                exclude=layer.exclude, phase=layer.phase if layer.HasField("phase") else None)
            for top in layer.top:
                given.input_param.shape.add(dim=feed.shapes[top])
            layer.CopyFrom(given)
    return result


def is_in(layer: Any, phase: int) -> bool:
    """Whether a layer is in a net of this phase, level 0 and no stages (net.cpp, Net::FilterNet)."""
    if layer.include:
        return any(_met(rule, phase) for rule in layer.include)
    return not any(_met(rule, phase) for rule in layer.exclude)


def _met(rule: Any, phase: int) -> bool:
    of_phase = not rule.HasField("phase") or rule.phase == phase
    of_level = rule.min_level <= 0 and (not rule.HasField("max_level") or rule.max_level >= 0)
    return of_phase and of_level and not rule.stage
