"""Drawn images in CIFAR-10's format, for machines that have neither the internet nor an archive.

Ten classes: one of five shapes, with level or upright stripes, in a colour that leans to the class without giving it
away, somewhere on a mottled background, under noise. The same bytes for a seed on every machine: the random numbers are
those of numpy's frozen `RandomState`, and the arithmetic is what IEEE 754 rounds in one way only.
"""
from __future__ import annotations

from typing import Tuple

import numpy as np

from menndl_caffe.data.lmdb_data import Images
from menndl_caffe.data.source import CLASSES, Content, Source
from menndl_caffe.errors import UserError

SIZE = 32
SHAPES = 5
MOST_IMAGES = 100_000  # as many as keys of five digits can count
BLOCK = 500


def draw_content(images_train: int, images_test: int, seed: int) -> Content:
    """Training and test images, drawn from one random stream each."""
    for option, count in (("images_train", images_train), ("images_test", images_test)):
        if not CLASSES <= count <= MOST_IMAGES:
            raise UserError(f"{option}: {count}; {CLASSES} to {MOST_IMAGES} images can be drawn")
    train, test = (draw(count, np.random.RandomState([seed, stream]))
                   for stream, count in enumerate((images_train, images_test)))
    return Content(Source(f"synthetic images of seed {seed}", False, {}), train, test)


def draw(count: int, random: np.random.RandomState) -> Images:
    """`count` images in random order, the classes as equally often as can be."""
    labels = random.permutation(np.arange(count, dtype=np.int64) % CLASSES).astype(np.uint8)
    blocks = [_draw_block(labels[start:start + BLOCK], random) for start in range(0, count, BLOCK)]
    return Images(labels, np.concatenate(blocks))


def _draw_block(labels: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Pixels uint8 (N, 3, 32, 32)."""
    inside, stripes = _objects(labels, random)
    colour = _colours(labels, random) * (0.6 + 0.4 * stripes)[:, np.newaxis]
    image = np.where(inside[:, np.newaxis], colour, _backgrounds(len(labels), random))
    image += 40 * (random.random_sample(image.shape) - 0.5)
    return np.clip(image, 0, 255).astype(np.uint8)


def _between(random: np.random.RandomState, low: float, high: float, *shape: int) -> np.ndarray:
    return low + (high - low) * random.random_sample(shape)


def _objects(labels: np.ndarray, random: np.random.RandomState) -> Tuple[np.ndarray, np.ndarray]:
    """Of each image (N, 32, 32): which pixels are inside its shape, and the stripes' brightness there, 0 to 1."""
    count = len(labels)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    radius = _between(random, 8, 12, count, 1, 1)
    down = (y - _between(random, 11, 20, count, 1, 1)) / radius
    right = (x - _between(random, 11, 20, count, 1, 1)) / radius
    square = down * down + right * right
    low, high = np.minimum(abs(down), abs(right)), np.maximum(abs(down), abs(right))
    shapes = np.stack([
        square < 1,                                             # disc
        (square < 1) & (square > 0.3),                          # ring
        (high < 0.85),                                          # square
        (high < 1) & (low < 0.3),                               # cross
        (abs(down) < 0.9) & (2 * abs(right) < down + 1),        # triangle
    ])
    inside = shapes[labels % SHAPES, np.arange(count)]
    along = np.where((labels >= SHAPES)[:, np.newaxis, np.newaxis], x, y) / 5 + _between(random, 0, 1, count, 1, 1)
    return inside, abs(2 * (along - np.floor(along)) - 1)


def _colours(labels: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """A colour of red, green and blue for each image, (N, 3, 1, 1)."""
    leaning = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]], np.float64)[labels % SHAPES]
    colour = 90 + 90 * leaning + _between(random, -60, 60, len(labels), 3)
    return colour[:, :, np.newaxis, np.newaxis]


def _backgrounds(count: int, random: np.random.RandomState) -> np.ndarray:
    """Mottled (N, 3, 32, 32): random colours at the corners of squares of 8 pixels, and straight lines between them."""
    corners = _between(random, 40, 200, count, 3, 5, 5)
    at = np.arange(SIZE) / 8
    cell = at.astype(np.int64)
    part = at - cell
    rows = corners[:, :, cell] * (1 - part)[:, np.newaxis] + corners[:, :, cell + 1] * part[:, np.newaxis]
    return rows[:, :, :, cell] * (1 - part) + rows[:, :, :, cell + 1] * part
