"""WindowData: windows of images (`window_data_layer.cpp`)."""
from __future__ import annotations

from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, Message, Outcome, Shapes, UnknownShape


def window_data(bottoms: Shapes, layer: Message) -> Outcome:
    """Unknown: windows of the images in a file."""
    if not layer.transform_param.crop_size:
        raise ImpossibleNet("crop_size must be at least 1")
    raise UnknownShape("its window file gives the shape")
