"""Images as Caffe gets them from OpenCV 4.5: JPEG, PNG and others, decoded and resized to H x W x C bytes, blue first.

Source: `io.cpp`, which calls cv::imread, cv::imdecode and cv::resize. Decoding is Pillow's, made to follow OpenCV where
the two differ: transparency, rotation by EXIF, grey values, 16 bits, four inks. Resizing is computed here in OpenCV's
fixed point, bilinear with weights of 11 bits; unlike Pillow, OpenCV does not smooth an image that it shrinks.

Notation
--------
n, m        old and new number of pixels of an axis
x           place of a new pixel among the old ones, pixel 0 being centred at 0: (i + 1/2) n / m - 1/2
"""
from __future__ import annotations

import io
from math import prod
from pathlib import Path
from typing import Any, Optional, Tuple

import numpy as np

from menndl_caffe.errors import UserError, optional_module
from menndl_caffe.nets.layer_rules.blob import text

ONE = 2048  # of a weight
MOST_PIXELS = 1 << 26
# Weights of blue, green and red in grey, of 2^bits, and what is added before the bits are dropped.
OPENCV_GREY = (1868, 9617, 4899), 14, 1 << 13
OTHER_GREY = {"PNG": ((3737, 19234, 9797), 15, 0), "WEBP": ((3735, 19235, 9798), 15, 1 << 14)}


def decode(content: bytes, color: Optional[bool], what: str) -> np.ndarray:
    """The pixels of an encoded image; 1 channel or 3 by `color`, None: as many as are stored.

    UserError, beginning with `what`, for what is no image of 8 bits a channel; it needs Pillow.
    """
    module = optional_module("PIL.Image", "reading images", "pillow")
    try:
        with module.open(io.BytesIO(content)) as image:
            if prod(image.size) > MOST_PIXELS:
                raise UserError(f"{what}: an image of {text(image.size)} pixels; up to {MOST_PIXELS:,} are read")
            return np.array(_pixels(image, color, what), order="C")  # Pillow's own is read-only
    except UserError:
        raise
    except module.UnidentifiedImageError:
        raise UserError(f"{what}: not an image that can be read (of no format that Pillow knows)") from None
    except Exception as error:  # a damaged image may raise anything
        raise UserError(f"{what}: not an image that can be read ({error})") from None


def read_image(path: str, color: bool, what: str) -> np.ndarray:
    """The pixels of an image file; as `decode`."""
    return decode(read_bytes(path, what), color, what)


def read_bytes(path: str, what: str) -> bytes:
    """A file's content; UserError, beginning with `what`, where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{what}: {error.strerror}") from None


def encode(pixels: np.ndarray, type_: str) -> bytes:
    """H x W x C bytes as a PNG, or as a JPEG of OpenCV's quality where `type_` is jpg or jpeg."""
    image = optional_module("PIL.Image", "writing images", "pillow").fromarray(
        pixels[:, :, 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels[:, :, ::-1]))
    content = io.BytesIO()
    image.save(content, "JPEG" if type_ in ("jpg", "jpeg") else "PNG", quality=95)
    return content.getvalue()


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """H x W x C bytes in another size: cv::resize with INTER_LINEAR."""
    if pixels.shape[:2] == (height, width):
        return pixels
    old = pixels.astype(np.int32)
    if pixels.shape[:2] == (2 * height, 2 * width):
        return ((old[::2, ::2] + old[::2, 1::2] + old[1::2, ::2] + old[1::2, 1::2] + 2) >> 2).astype(np.uint8)
    last_row, last_column = pixels.shape[0] - 1, pixels.shape[1] - 1
    column, share = _places(last_column + 1, width)
    share[(column < 0) | (column >= last_column)] = 0  # but beyond the first and last row OpenCV adds the row to itself
    before, after = _fixed(share[:, np.newaxis])
    column = column.clip(0, last_column)
    rows = old[:, column] * before + old[:, (column + 1).clip(0, last_column)] * after
    row, share = _places(last_row + 1, height)
    above, below = _fixed(share[:, np.newaxis, np.newaxis])
    upper, lower = rows[row.clip(0, last_row)] >> 4, rows[(row + 1).clip(0, last_row)] >> 4
    return (((upper * above >> 16) + (lower * below >> 16) + 2) >> 2).astype(np.uint8)


def _places(n: int, m: int) -> Tuple[np.ndarray, np.ndarray]:
    """x, as the whole number below and the rest."""
    x = ((np.arange(m) + 0.5) * (n / m) - 0.5).astype(np.float32)
    whole = np.floor(x)
    return whole.astype(np.int64), x - whole


def _fixed(share: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The weights of two neighbours, `share` being the second's, in fixed point."""
    return tuple(np.rint(part * np.float32(ONE)).astype(np.int32) for part in (1 - share, share))  # type: ignore[return-value]


def _pixels(image: Any, color: Optional[bool], what: str) -> np.ndarray:
    if color is None:
        return _stored(image, what)
    if not color:
        return _grey(image)
    return _colors(_upright(image))


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
    """A JPEG's own brightness; of other formats, what libpng or OpenCV make of the colours."""
    weights, bits, half = OTHER_GREY.get(image.format, OPENCV_GREY)
    if _is_jpeg(image) and image.mode != "CMYK":
        image.draft("L", image.size)
    image = _upright(image)
    if image.mode in ("1", "L", "LA"):
        return np.asarray(image.convert("L"))[:, :, np.newaxis]
    grey = _colors(image) @ np.array(weights, np.uint32) + half >> bits
    return grey.astype(np.uint8)[:, :, np.newaxis]


def _colors(image: Any) -> np.ndarray:
    """Blue, green and red, H x W x 3."""
    if image.mode.startswith("I"):  # 16 bits, of which OpenCV takes the upper half
        return np.repeat((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)
    if image.mode == "CMYK" and "adobe" in image.info:
        return _of_inks(np.asarray(image))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # else Pillow warns
    pixels = np.asarray(image.convert("RGB"))[:, :, ::-1]
    if image.mode == "RGBA" and image.format == "TIFF":  # libtiff puts it on black
        pixels = (pixels.astype(np.uint16) * np.asarray(image)[:, :, 3:] + 127) // 255
    return pixels.astype(np.uint8)


def _of_inks(inks: np.ndarray) -> np.ndarray:
    """Of a JPEG of cyan, magenta, yellow and black, which are stored inverted; OpenCV's icvCvt_CMYK2BGR_8u_C4C3R."""
    light = 255 - inks.astype(np.int32)
    black = light[:, :, 3:]
    return (black - ((255 - light[:, :, 2::-1]) * black >> 8)).astype(np.uint8)


def _is_jpeg(image: Any) -> bool:
    """MPO is a camera's JPEG with more than one picture."""
    return image.format in ("JPEG", "MPO")


def _upright(image: Any) -> Any:
    """Turned as the camera was held: OpenCV does so where it is told how many channels are wanted, but not to a PNG or
    a WebP."""
    if image.format in ("PNG", "WEBP"):
        return image
    turned = optional_module("PIL.ImageOps", "reading images", "pillow").exif_transpose(image)
    turned.format = image.format
    return turned
