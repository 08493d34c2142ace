"""WindowData: random windows of images, objects and background in a fixed ratio, warped to one size (R-CNN).

Source: `window_data_layer.cpp`. Each image of the window file is

    # number path channels height width windows
    label overlap x1 y1 x2 y2                   as many lines as it has windows, corners included

Notation
--------
context     how much larger than the window what is warped is, so that `context_pad` pixels of surroundings come on
            each side of it
clipped     the part of that which the image has; the rest of the crop stays 0
"""
from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np
import torch

from menndl_caffe.data.image_files import read_image, resize
from menndl_caffe.errors import UserError
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, text
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.files import read_list
from menndl_caffe.torchcaffe.layer import Blobs, register
from menndl_caffe.torchcaffe.layer_types.data import Batch, ImageSource
from menndl_caffe.torchcaffe.rng import Generator
from menndl_caffe.torchcaffe.transform import read_mean

f32 = np.float32
COLORS = 3


class Window(NamedTuple):
    """A labelled part of an image, in pixels, corners included."""

    image: int
    label: int
    x1: int
    y1: int
    x2: int
    y2: int


class Span(NamedTuple):
    """Of one axis: first and last pixel that is read of the image, and where it comes in the crop, how long."""

    first: int
    last: int
    start: int
    size: int

    def is_within(self, image_size: int) -> bool:
        """Whether the image has it."""
        return 0 <= self.first <= self.last < image_size


@register("WindowData")
class WindowData(ImageSource):
    """Background first, then objects; random windows of both."""

    def open(self, top: Blobs) -> None:
        self.shape_tops(top)
        param = self.param.window_data_param
        self._generator = Generator(mode.generator().draw())
        self._crop = int(self.param.transform_param.crop_size)
        self._images, windows = _read_windows(Path(param.source), param.root_folder)
        self._objects = [window for window, overlap in windows if overlap >= f32(param.fg_threshold)]
        self._background = [window._replace(label=0) for window, overlap in windows
                            if overlap < min(f32(param.fg_threshold), f32(param.bg_threshold))]
        if not (self._objects and self._background):
            raise UserError(f"{param.source}: {len(self._objects)} windows of objects (overlap at least "
                            f"{param.fg_threshold:g}) and {len(self._background)} of background (less than "
                            f"{param.bg_threshold:g}): some of both are needed")
        if any(window.label < 1 for window in self._objects):
            raise UserError(f"{param.source}: objects' labels begin with 1: 0 is background")
        self._mean = self._crop_of_mean()
        top[0].reshape(param.batch_size, COLORS, self._crop, self._crop)
        top[1].reshape(param.batch_size)

    def next_batch(self) -> Batch:
        param = self.param.window_data_param
        objects = int(f32(param.batch_size) * f32(param.fg_fraction))
        images, labels = [], []
        for windows, count in ((self._background, param.batch_size - objects), (self._objects, objects)):
            for _ in range(count):
                window = windows[self._generator.draw() % len(windows)]
                mirror = self.param.transform_param.mirror and self._generator.draw() % 2 == 1
                images.append(self._warped(window, mirror))
                labels.append(window.label)
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.tensor(labels, dtype=torch.float32)

    def state(self) -> Dict[str, Any]:
        return {"generator": self._generator.state()}

    def set_state(self, state: Dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])

    def _warped(self, window: Window, mirror: bool) -> np.ndarray:
        """crop x crop x 3, float32."""
        path = self._images.get(window.image, "")
        image = read_image(path, True, f"{path} (image {window.image} of {self.param.window_data_param.source})")
        rows, columns = self._spans(window, image.shape, mirror)
        if not (rows.is_within(image.shape[0]) and columns.is_within(image.shape[1])):
            raise UserError(f"{path}: window {window[2:]} is not in the image of {image.shape[1]}x{image.shape[0]}")
        part = resize(image[rows.first:rows.last + 1, columns.first:columns.last + 1], rows.size, columns.size)
        part = part[:, ::-1] if mirror else part
        place = tuple(slice(span.start, span.start + span.size) for span in (rows, columns))
        crop = np.zeros((self._crop, self._crop, COLORS), f32)
        crop[place] = (part.astype(f32) - self._mean[place]) * f32(self.param.window_data_param.scale)
        return crop

    def _spans(self, window: Window, shape: Tuple[int, ...], mirror: bool) -> List[Span]:
        """Rows and columns."""
        param, crop = self.param.window_data_param, self._crop
        corners = (window.y1, window.y2), (window.x1, window.x2)
        square = param.crop_mode == "square"
        if not (param.context_pad or square):
            return [Span(first, last, 0, crop) for first, last in corners]
        halves = [f32(last - first + 1) / f32(2) for first, last in corners]
        context = f32(crop) / f32(crop - 2 * param.context_pad)
        return [_span(f32(first) + half, (max(halves) if square else half) * context, crop, size, flip)
                for (first, _), half, size, flip in zip(corners, halves, shape, (False, mirror))]

    def _crop_of_mean(self) -> np.ndarray:
        """crop x crop x 3: the centre of a mean image, numbers for the channels, or 0."""
        transform, crop = self.param.transform_param, self._crop
        if not transform.HasField("mean_file"):
            values = np.array(transform.mean_value or [0], f32)
            if len(values) not in (1, COLORS):
                raise ImpossibleNet(f"mean_value is given {len(values)} times for {COLORS} channels")
            return np.broadcast_to(values, (crop, crop, COLORS))
        mean = read_mean(transform.mean_file)
        offset = (mean.shape[2] - crop) // 2
        part = mean[:, offset:offset + crop, offset:offset + crop].transpose(1, 2, 0)
        if offset < 0 or part.shape != (crop, crop, COLORS):
            raise UserError(f"mean_file {transform.mean_file} is {text(mean.shape)}; windows need {COLORS} channels "
                            f"and at least crop_size, {crop} x {crop}")
        return part


def _span(centre: np.float32, half: np.float32, crop: int, image_size: int, mirror: bool) -> Span:
    """What of centre - half to centre + half the image has, and its share of the crop."""
    first, last = _rounded(centre - half), _rounded(centre + half)
    before, after = max(0, -first), max(0, last - image_size + 1)
    scale = f32(crop) / f32(last - first + 1)
    clipped = last - after - (first + before) + 1
    start = _rounded(f32(after if mirror else before) * scale)
    return Span(first + before, last - after, start, min(_rounded(f32(clipped) * scale), crop - start))


def _rounded(number: np.float32) -> int:
    """C's round."""
    return int(math.copysign(math.floor(abs(float(number)) + 0.5), number))


def _read_windows(path: Path, root: str) -> Tuple[Dict[int, str], List[Tuple[Window, np.float32]]]:
    """The images' paths by number, and all windows with their overlaps."""
    words = iter(read_list(path, "window file").split())
    images, windows = {}, []
    try:
        for mark in words:
            number, name = int(next(words)), next(words)
            channels, _, _, count = (int(next(words)) for _ in range(4))
            if mark != "#" or channels != COLORS:
                raise ValueError
            images[number] = root + name
            for _ in range(count):
                label, overlap = int(next(words)), f32(next(words))
                windows.append((Window(number, label, *(int(next(words)) for _ in range(4))), overlap))
    except (ValueError, StopIteration, RuntimeError):
        raise UserError(f"{path}: image {len(images)} is not `# number path 3 height width windows` and, for each "
                        "window, `label overlap x1 y1 x2 y2`") from None
    return images, windows
