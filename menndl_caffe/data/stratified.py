"""Some of the images put aside, of each class its share.

Notation
--------
n, k        images, and images that are put aside
n_c, k_c    the same of class c: k_c is k n_c / n rounded down, or up for the classes with the largest remainders
"""
from __future__ import annotations

import argparse
from typing import Union

import numpy as np

from menndl_caffe.errors import UserError

Share = Union[int, float]  # so many images, or this part of them


def share(text: str) -> Share:
    """The type of an argument that is a number of images, 1 or more, or a part of them between 0 and 1."""
    try:
        return int(text) if int(text) > 0 else _refuse(text)
    except ValueError:
        pass
    try:
        part = float(text)
    except ValueError:
        return _refuse(text)
    return part if 0 < part < 1 else _refuse(text)


def _refuse(text: str) -> Share:
    raise argparse.ArgumentTypeError(f"{text!r}; expected a number of images, or a part of them such as 0.2")


def put_aside(labels: np.ndarray, share: Share, random: np.random.RandomState, option: str) -> np.ndarray:
    """Which images are put aside, as a mask; some of each class are left. UserError, naming the option, where that
    cannot be."""
    classes, which, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    n, most = len(labels), int((sizes - 1).sum())
    k = int(np.floor(share * n + 0.5)) if isinstance(share, float) else share
    if not 0 < k <= most:
        raise UserError(f"{option} {share}: {k:,} of {n:,} images; 1 to {most:,} can be put aside, "
                        f"so that one of each of the {len(classes):,} classes is left")
    exact = k * sizes / n
    taken = np.minimum(np.floor(exact), sizes - 1).astype(np.int64)
    order = np.argsort(taken - exact, kind="stable")  # the largest remainder first
    while taken.sum() < k:
        taken[[i for i in order if taken[i] < sizes[i] - 1][:k - taken.sum()]] += 1
    aside = np.zeros(n, bool)
    for i, count in enumerate(taken):
        aside[random.permutation(np.flatnonzero(which == i))[:count]] = True
    return aside
