"""Drawn images in the layout of CIFAR-10's official binary archive, where the tests have no copy of CIFAR-10."""
from __future__ import annotations

from pathlib import Path

import numpy as np

BATCH = 10_000


def write_as_cifar10(folder: Path) -> None:
    """data_batch_1.bin to data_batch_5.bin, test_batch.bin, batches.meta.txt."""
    from menndl_caffe.data.synthetic import draw

    for number, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        images = draw(BATCH, np.random.RandomState(number))
        np.concatenate([images.labels[:, np.newaxis], images.pixels.reshape(BATCH, -1)], axis=1).tofile(
            folder / f"{name}.bin")
    (folder / "batches.meta.txt").write_text("".join(f"class {number}\n" for number in range(10)))
