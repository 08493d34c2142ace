"""What data layers do to images: subtract a mean, scale, crop, mirror. Caffe's decisions, and its float32 arithmetic.

Source: `data_transformer.cpp`. A pixel x of channel c at row h and column w becomes (x - mean) scale, where the mean is
the mean image's at (c, h, w), wherever cropping and mirroring put the pixel, or the channel's.

Notation
--------
n           images in a batch
C, H, W     channels, height, width of an image; crop x crop is what cropping leaves of H x W
top, left   of each image, the first row and column of what is left
mirrored    the numbers of the images that are mirrored, left to right
"""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional, Sequence

import numpy as np
import torch

from menndl_caffe.data.lmdb_data import mean_shape
from menndl_caffe.errors import UserError
from menndl_caffe.nets.layer_rules.blob import Shape, text
from menndl_caffe.nets.layer_rules.data import transformed
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.log import log
from menndl_caffe.torchcaffe.rng import Generator


class Decisions(NamedTuple):
    """Random ones for n images: which are mirrored, and top and left of each (2 x n). None where Caffe draws none."""

    mirrored: Optional[np.ndarray]
    corners: Optional[np.ndarray]


class Transformer:
    """Transforms images as a TransformationParameter says, by a random generator of its own.

    UserError where the mean file is missing, or of another size than the images; ImpossibleNet for settings that Caffe
    refuses for images of their size.
    """

    def __init__(self, param: Any, phase: int) -> None:
        self._param = param
        self._crop, self._scale = int(param.crop_size), float(param.scale)
        self._crops_anywhere = self._crop > 0 and phase == caffe_pb2.TRAIN
        self._mean_image = read_mean(param.mean_file) if param.HasField("mean_file") else None
        self._generator: Optional[Generator] = None
        self._prepared_for: Any = None
        self._mean: Optional[torch.Tensor] = None  # H x W x C, of images of the size and device prepared for

    def seed(self) -> None:
        """Take a seed from the process's generator, if any decision is random (`InitRand`)."""
        if self._param.mirror or self._crops_anywhere:
            self._generator = Generator(mode.generator().draw())

    def shape_of(self, image: Shape) -> Shape:
        """What it makes of an image C x H x W."""
        channels, height, width = image
        return transformed(self._param, (channels, height, width))

    def batch(self, images: Sequence[torch.Tensor]) -> torch.Tensor:
        """Transform C x H x W images, whose sizes may differ where they are cropped."""
        if len({(image.shape, image.dtype) for image in images}) == 1:
            return self(torch.stack(list(images)))
        items = [self(image.unsqueeze(0)) for image in images]
        first = items[0].shape[1:]
        for index, item in enumerate(items):
            if item.shape[1:] != first:
                raise UserError(f"image {index} of a batch would be {text(item.shape[1:])}, image 0 is {text(first)}: "
                                "images of different sizes need a crop_size, or batch_size 1")
        return torch.cat(items)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """n x C x H x W numbers, uint8 or float32, as float32, cropped if asked for; channels-last in memory."""
        self._prepare(images)
        n, _, height, width = images.shape
        decisions = self._decide(n, height, width)
        pixels = channels_last(images).to(torch.float32, copy=True)
        if self._mean is not None:
            pixels.sub_(self._mean)
        if self._crop:
            pixels = _cropped(pixels, decisions.corners, self._crop)
        if self._scale != 1:
            pixels.mul_(self._scale)
        if decisions.mirrored is not None and len(decisions.mirrored):
            mirrored = torch.from_numpy(decisions.mirrored).to(pixels.device)
            pixels.index_copy_(0, mirrored, pixels.index_select(0, mirrored).flip(2))
        return pixels.permute(0, 3, 1, 2)

    def state(self) -> Optional[Dict[str, Any]]:
        """What the next decisions depend on; None where none is random."""
        return self._generator.state() if self._generator else None

    def set_state(self, state: Optional[Dict[str, Any]]) -> None:
        """Go on where `state` was taken."""
        if self._generator and state:
            self._generator.set_state(state)

    def _decide(self, n: int, height: int, width: int) -> Decisions:
        """For each image Caffe draws first whether to mirror, then, in training only, top and left."""
        mirrors = bool(self._param.mirror)
        draws = self._generator.draws(n * (mirrors + 2 * self._crops_anywhere)) if self._generator else np.empty(0)
        columns = list(draws.reshape(n, -1).T)
        mirrored = np.flatnonzero(columns.pop(0) % 2) if mirrors else None
        if not self._crops_anywhere:
            return Decisions(mirrored, None)
        sizes = np.array([[height], [width]]) - self._crop + 1
        return Decisions(mirrored, (np.stack(columns) % sizes).astype(np.int64))

    def _prepare(self, images: torch.Tensor) -> None:
        """Check, once for each size of images, that they fit the settings, and bring the mean to their device."""
        shape, device = tuple(images.shape[1:]), images.device
        if (shape, device) == self._prepared_for:
            return
        self.shape_of(shape)
        mean = self._mean_of(shape)
        self._mean = None if mean is None else torch.from_numpy(mean).permute(1, 2, 0).contiguous().to(device)
        self._prepared_for = shape, device

    def _mean_of(self, shape: Shape) -> Optional[np.ndarray]:
        """The mean of C x H x W images."""
        if len(self._param.mean_value):
            values = np.array(self._param.mean_value, np.float32)
            return np.array(np.broadcast_to(values[:, np.newaxis, np.newaxis], shape))
        if self._mean_image is not None and self._mean_image.shape != shape:
            raise UserError(f"mean_file {self._param.mean_file} is {text(self._mean_image.shape)}, but its images are "
                            f"{text(shape)}")
        return self._mean_image


def channels_last(images: torch.Tensor) -> torch.Tensor:
    """n x C x H x W as n x H x W x C, in this order in memory: what convolutions are fast with."""
    rows = images.permute(0, 2, 3, 1)
    # The same as rows.contiguous(), which takes twice the time for the few channels that images have.
    return rows if rows.is_contiguous() else torch.stack(images.unbind(1), -1)


def _cropped(pixels: torch.Tensor, corners: Optional[np.ndarray], crop: int) -> torch.Tensor:
    """n x H x W x C to n x crop x crop x C, at the corners (top, left), or at the centre."""
    n, height, width, _ = pixels.shape
    if corners is None:
        top, left = (height - crop) // 2, (width - crop) // 2
        return pixels[:, top:top + crop, left:left + crop].contiguous()
    top, left = torch.from_numpy(corners).to(pixels.device)
    windows = pixels.unfold(1, crop, 1).unfold(2, crop, 1).permute(0, 1, 2, 4, 5, 3)
    return windows[torch.arange(n, device=pixels.device), top, left]


def read_mean(name: str) -> np.ndarray:
    """The mean image of a file, C x H x W."""
    log(f"Loading mean file from: {name}", source="data_transformer.cpp:25")
    path = Path(name)
    shape = mean_shape(path)
    proto = caffe_pb2.BlobProto.FromString(path.read_bytes())
    return np.array(proto.double_data or proto.data, np.float32).reshape(shape)
