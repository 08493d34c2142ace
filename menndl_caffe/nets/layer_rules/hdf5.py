"""Layers that read and write HDF5 files.

Sources: `hdf5_data_layer.cpp`, `hdf5_output_layer.cpp`.
"""
from __future__ import annotations

from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, Message, Outcome, Shapes, UnknownShape, legacy, text


def hdf5_data(bottoms: Shapes, layer: Message) -> Outcome:
    """Unknown: rows of the HDF5 files."""
    if layer.HasField("transform_param"):
        raise ImpossibleNet("does not transform its data: no transform_param")
    raise UnknownShape("its HDF5 files give the shape")


def hdf5_output(bottoms: Shapes, layer: Message) -> Outcome:
    """Writes data and labels, one for each image, to a file."""
    data, label = map(legacy, bottoms)
    if data[0] != label[0]:
        raise ImpossibleNet(f"its bottoms differ in the first axis: {text(bottoms[0])} and {text(bottoms[1])}")
    return Outcome(())
