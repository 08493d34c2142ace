"""Decays that go down the hypergradient of whole trainings, for either engine."""
from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Dict

import numpy as np

from menndl_caffe.trainer.descent import Settings, descend
from menndl_caffe.trainer.groups import PER_BLOB
from menndl_caffe.trainer.plain import Batches
from tests.support import hands


def learned(engine: Any, folder: Path) -> Dict[str, np.ndarray]:
    """The decays after three steps, by method."""
    batches = Batches(hands.TRAINED // hands.BATCH, hands.HELD // hands.BATCH, *hands.PERIODS)
    make = functools.partial(hands.hand, engine, "tanh", folder, own_decay=True, max_iter=40)
    return {method: descend(make, batches, Settings(method, PER_BLOB, steps=3)).of_weights
            for method in ("UNROLLED", "HOAG")}
