"""A training that adapts its decays, for either engine."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import numpy as np

from menndl_caffe.trainer.adaptive import Settings, adapt
from menndl_caffe.trainer.groups import PER_BLOB
from tests.support import hands


def learned(engine: Any, folder: Path) -> Dict[str, np.ndarray]:
    """The decays after 60 iterations."""
    hand = hands.hand(engine, "tanh", folder, own_decay=True, max_iter=60)
    return {"decay": adapt(hand, Settings(PER_BLOB)).of_weights}
