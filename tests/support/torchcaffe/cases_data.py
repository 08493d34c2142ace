"""Layers that bring data in: their batches after several passes, and weights that are drawn after them."""
from __future__ import annotations

from typing import Dict

import numpy as np

from tests.support.torchcaffe.data_sets import FROZEN_FILES, data_layer, hdf5_layer, image_layer, window_layer
from tests.support.torchcaffe.parity import Case

with np.load(FROZEN_FILES) as _file:
    FILES: Dict[str, bytes] = {name: _file[name].tobytes() for name in _file.files}

ALL = 'mirror: true crop_size: 6 scale: 0.0125 mean_file: "mean.binaryproto"'
DUMMY = """layer { name: "read" type: "DummyData" top: "data" top: "label" top: "other" dummy_data_param {
  num: 3 num: 4 num: 5 channels: 2 height: 1 width: 3 data_filler { type: "gaussian" std: 2 }
  data_filler { value: 3 } data_filler { type: "uniform" min: -1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 weight_filler {
  type: "xavier" } } }"""


def _case(name: str, text: str, phase: int = 0, seed: int = 1, passes: int = 4) -> Case:
    return Case(name, text, phase=phase, seed=seed, passes=passes, files=FILES,
                exact=["data/data", "data/label", "data/other", "data/test*", "param/ip/*"])


# One case for the LMDB: it lies in the folder in which all cases run, and is written anew for each.
LMDB = data_layer(".", ALL) + "".join(
    data_layer(".", transform, batch, weights=False).replace('"data"', f'"test{batch}"').replace(
        '"label"', f'"test{batch}_label"').replace('"read"', f'"read{batch}"')
    for batch, transform in enumerate(("", "mirror: true", "crop_size: 5"), 2))

CASES = [
    _case("database", LMDB, seed=7, passes=5),
    _case("list", image_layer("list.txt", "new_height: 15 new_width: 19", batch=11), passes=1),
    _case("list-grey", image_layer("list.txt", "is_color: false", batch=11), passes=1),
    _case("list-shuffled", image_layer("list.txt", "shuffle: true rand_skip: 4", "mirror: true crop_size: 9"),
          passes=9),
    _case("windows", window_layer("context_pad: 2 fg_fraction: 0.6",
                                  'mirror: true mean_file: "large_mean.binaryproto"'), seed=3),
    _case("hdf5", hdf5_layer("three.txt", 5, False), passes=6),
    _case("dummy", DUMMY),
]
