"""Images as Caffe gets them from OpenCV 4.5: JPEG, PNG and others, decoded and resized to H x W x C bytes, blue first.

Source: `io.cpp`, which calls cv::imread, cv::imdecode and cv::resize. Decoding is Pillow's, made to follow OpenCV where
the two differ: transparency, rotation by EXIF, grey values. Resizing is computed here, as OpenCV does it without Intel's
IPP (its Python wheels have IPP, and differ by one in few pixels): bilinear, with 11 bits of fixed point.

Notation
--------
n, m        old and new number of pixels of an axis
x           place of a new pixel among the old ones, pixel 0 being centred at 0: (i + 1/2) n / m - 1/2
"""
from __future__ import annotations

import io
from typing import Any, Optional, Tuple

import numpy as np

from menndl_caffe.errors import UserError
from menndl_caffe.torchcaffe.io import optional_module

ONE = 2048  # of a weight
PNG_GREY = np.array([3735, 19235, 9798], np.uint32)  # libpng's weights of blue, green and red, of 2^15


def decode(content: bytes, color: Optional[bool], what: str) -> np.ndarray:
    """The pixels of an encoded image; 1 channel or 3 by `color`, None: as many as are stored.

    UserError, beginning with `what`, for what is no image of 8 bits a channel; it needs Pillow.
    """
    module = optional_module("PIL.Image", "reading images", "pillow")
    try:
        with module.open(io.BytesIO(content)) as image:
            return np.array(_pixels(image, color, what), order="C")  # Pillow's own is read-only
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{what}: not an image that can be read ({error})") from None


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """H x W x C bytes in another size: cv::resize with INTER_LINEAR."""
    if pixels.shape[:2] == (height, width):
        return pixels
    old = pixels.astype(np.int32)
    if pixels.shape[:2] == (2 * height, 2 * width):
        return ((old[::2, ::2] + old[::2, 1::2] + old[1::2, ::2] + old[1::2, 1::2] + 2) >> 2).astype(np.uint8)
    (top, bottom), (above, below) = _neighbours(pixels.shape[0], height)
    (left, right), (before, after) = _neighbours(pixels.shape[1], width)
    rows = old[:, left] * before[:, np.newaxis] + old[:, right] * after[:, np.newaxis]
    weighted = [(rows[place] >> 4) * weight[:, np.newaxis, np.newaxis] >> 16
                for place, weight in ((top, above), (bottom, below))]
    return ((weighted[0] + weighted[1] + 2) >> 2).astype(np.uint8)


def _neighbours(n: int, m: int) -> Tuple[Tuple[np.ndarray, np.ndarray], Tuple[np.ndarray, np.ndarray]]:
    """The old pixels before and after each new one, and their weights."""
    x = ((np.arange(m) + 0.5) * (n / m) - 0.5).astype(np.float32)
    first = np.floor(x).astype(np.int64)
    share = x - first.astype(np.float32)
    share[(first < 0) | (first >= n - 1)] = 0
    first = first.clip(0, n - 1)
    weights = (np.rint(part * np.float32(ONE)).astype(np.int32) for part in (1 - share, share))
    before, after = weights
    return (first, (first + 1).clip(0, n - 1)), (before, after)


def _pixels(image: Any, color: Optional[bool], what: str) -> np.ndarray:
    if color is None:
        return _stored(image, what)
    if not color:
        return _grey(image)
    return np.asarray(_upright(image).convert("RGB"))[:, :, ::-1]


def _stored(image: Any, what: str) -> np.ndarray:
    """As IMREAD_UNCHANGED: palettes as colours, transparency as a fourth channel, EXIF's rotation not done."""
    if image.mode.startswith(("I", "F")):
        raise UserError(f"{what}: an image of more than 8 bits a channel; Caffe takes 8")
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[:, :, np.newaxis]
    transparent = image.mode in ("LA", "PA", "RGBA") or image.mode == "P" and "transparency" in image.info
    pixels = np.asarray(image.convert("RGBA" if transparent else "RGB"))
    return pixels[:, :, [2, 1, 0, 3][:pixels.shape[2]]]


def _grey(image: Any) -> np.ndarray:
    """A JPEG's own brightness; of a PNG, what libpng makes of its colours."""
    if image.format == "JPEG":
        image.draft("L", image.size)
    image = _upright(image)
    if image.mode in ("1", "L", "LA"):
        return np.asarray(image.convert("L"))[:, :, np.newaxis]
    colors = np.asarray(image.convert("RGB"))[:, :, ::-1]
    return (colors @ PNG_GREY >> 15).astype(np.uint8)[:, :, np.newaxis]


def _upright(image: Any) -> Any:
    """Turned as the camera was held: OpenCV does so where it is told how many channels are wanted."""
    return optional_module("PIL.ImageOps", "reading images", "pillow").exif_transpose(image)
