"""Layers that read data from databases and image files, and those whose data the program or a filler gives.

Sources: `data_layer.cpp`, `data_transformer.cpp`, `image_data_layer.cpp`, `memory_data_layer.cpp`, `input_layer.cpp`,
`dummy_data_layer.cpp`.
"""
from __future__ import annotations

from typing import List, Tuple

from menndl_caffe.nets.layer_rules.blob import (
    OLD_AXES,
    ImpossibleNet,
    Message,
    Outcome,
    Shape,
    Shapes,
    UnknownShape,
    check_size,
    text,
)
from menndl_caffe.nets.layer_rules.fillers import check_filler


def of_database(bottoms: Shapes, layer: Message) -> Outcome:
    """Data: batch x C x H x W (or the crop's size) and batch labels. In the place of a bottom: C, H, W of a record."""
    channels, height, width = bottoms[0]
    batch = layer.data_param.batch_size
    if batch < 1:
        raise ImpossibleNet("batch_size must be at least 1")
    image = transformed(layer.transform_param, (channels, height, width))
    return Outcome(((batch,) + image, (batch,))[:len(layer.top)])


def image_data(bottoms: Shapes, layer: Message) -> Outcome:
    """As `data`, where new_height and new_width or crop_size give the size; the list of images is not looked at."""
    param, crop = layer.image_data_param, layer.transform_param.crop_size
    height, width = param.new_height, param.new_width
    if param.batch_size < 1 or (height > 0) != (width > 0):
        raise ImpossibleNet("batch_size must be at least 1, and new_height and new_width both be given or none")
    if not (height or crop):
        raise UnknownShape("without new_height and new_width, its images' own size counts")
    channels = 3 if param.is_color else 1
    image = transformed(layer.transform_param, (channels, height or crop, width or crop))
    return Outcome(((param.batch_size,) + image, (param.batch_size,)))


def memory_data(bottoms: Shapes, layer: Message) -> Outcome:
    """What the program will set: batch x C x H x W and batch labels."""
    param = layer.memory_data_param
    shape = (param.batch_size, param.channels, param.height, param.width)
    check_size(shape, "its data")
    _check_mean(layer.transform_param)
    return Outcome((shape, shape[:1]))


def input_(bottoms: Shapes, layer: Message) -> Outcome:
    """What the program will set: one shape for each top, or one for all."""
    shapes = [tuple(shape.dim) for shape in layer.input_param.shape]
    if not shapes:
        raise UnknownShape("has no shape: the program that uses the net gives it")
    return Outcome(_one_for_each_top(shapes, "shape", layer))


def dummy_data(bottoms: Shapes, layer: Message) -> Outcome:
    """Filled by `data_filler`: a shape (or num, channels, height, width) for each top, or one for all."""
    param, tops = layer.dummy_data_param, len(layer.top)
    fillers = param.data_filler
    if len(fillers) not in (0, 1, tops):
        raise ImpossibleNet(f"data_filler is given {len(fillers)} times for {tops} tops")
    shapes = _one_for_each_top(_dummy_shapes(param, layer), "shape", layer)
    for index, shape in enumerate(shapes):
        check_size(shape, f"top {layer.top[index]}")
        if fillers:
            check_filler(fillers[index % len(fillers)], shape, "data_filler")
    return Outcome(shapes)


def transformed(transform: Message, image: Tuple[int, int, int]) -> Shape:
    """Shape of one image after cropping (`DataTransformer::InferBlobShape`)."""
    channels, height, width = image
    crop = transform.crop_size
    if crop > min(height, width):
        raise ImpossibleNet(f"crop_size {crop} is larger than its images {text(image)}")
    _check_mean(transform)
    values = len(transform.mean_value)
    if values not in (0, 1, channels):
        raise ImpossibleNet(f"mean_value is given {values} times for {channels} channels: once, or once for each")
    return channels, crop or height, crop or width


def _check_mean(transform: Message) -> None:
    if len(transform.mean_value) and transform.HasField("mean_file"):
        raise ImpossibleNet("give mean_file or mean_value, not both")


def _dummy_shapes(param: Message, layer: Message) -> List[Shape]:
    legacy = [list(getattr(param, field)) for field in OLD_AXES]
    if not any(legacy):
        return [tuple(shape.dim) for shape in param.shape]
    if len(param.shape):
        raise ImpossibleNet("give shape, or num, channels, height and width, not both")
    tops = len(layer.top)
    if any(len(sizes) not in (1, tops) for sizes in legacy):
        raise ImpossibleNet(f"num, channels, height and width must each be given once, or once for each of {tops} tops")
    return [tuple(sizes[top % len(sizes)] for sizes in legacy) for top in range(tops)]


def _one_for_each_top(shapes: List[Shape], field: str, layer: Message) -> Shapes:
    tops = len(layer.top)
    if len(shapes) not in (1, tops):
        raise ImpossibleNet(f"{field} is given {len(shapes)} times for {tops} tops: give it once, or once for each")
    return tuple(shapes) if len(shapes) == tops else tuple(shapes) * tops
