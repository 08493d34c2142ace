"""What real Caffe draws: nets of fillers, of Dropout layers and of a shuffled ImageData layer, each from a seed.

    python -m tests.support.torchcaffe.freeze_rng        freezes it into `frozen/rng.npz`; needs `make caffe`

Of every array the first numbers and a hash are kept. NaN, which Dropout makes of ratio 1, counts as 0.
"""
from __future__ import annotations

import hashlib
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from tests.support.torchcaffe.real_pycaffe import Arrays, in_real_caffe

REPOSITORY = Path(__file__).resolve().parents[3]
FROZEN = Path(__file__).parent / "frozen" / "rng.npz"
HEAD = 4

SEEDS = (0, 1, 7, 2**31 - 1, 2**32 - 1)
Fill = Tuple[str, Tuple[int, ...]]  # a FillerParameter, and the shape that it fills

MANY = 200_000
NORMALS: Sequence[Fill] = [("type: 'gaussian' mean: 0.5 std: 0.01", (MANY,))]

# Where rare cases of the normal distribution were found, by seed: a draw that rounds to 1 in float32 as height within a
# layer (1281), a candidate equal to the float32 that is nearest to a layer's edge (99), rounding by which the tangent
# accepts (205334) or refuses (103396) what the density would not.
RARE_NORMALS: Dict[int, int] = {1281: 700_000, 99: 3_000_000, 205334: 370_000, 103396: 170_000}

# Of seed 2's draws for this mask, one is above the limit but not once it is rounded to float32.
ROUNDED_SPARSE: Fill = ("type: 'gaussian' sparse: 64532", (65536,))

LARGEST = 3.4028234663852886e38
RANGES = [(0, 0), (1, 1), (-0.0, 0.0), (0, 1e-45), (1e-40, 2e-40), (-1e-42, 1e-42), (5, 5.000001),
          (16777216, 16777217), (-1, 0), (-3e38, 3e38), (-LARGEST, LARGEST), (0, LARGEST), (0, float("inf"))]
UNIFORMS: Sequence[Fill] = [(f"type: 'uniform' min: {low!r} max: {high!r}", (1000,)) for low, high in RANGES]

SEQUENCE: Sequence[Fill] = [
    ("type: 'constant' value: 0.1", (3, 2)), ("value: -2", (4,)), ("", (2, 2)),
    ("type: 'uniform'", (2, 3, 4)), ("type: 'uniform' min: -0.3 max: 0.7", (41,)),
    ("type: 'gaussian'", (1,)), ("type: 'gaussian' std: 0.0001", (32, 3, 5, 5)),
    ("type: 'gaussian' mean: 9", (2, 1, 3)),
    ("type: 'gaussian' sparse: 0", (5, 40)), ("type: 'gaussian' sparse: 1", (7, 100)),
    ("type: 'gaussian' std: 3 sparse: 15", (50, 30)), ("type: 'gaussian' sparse: 7", (7, 3, 2)),
    ("type: 'positive_unitball'", (6,)), ("type: 'positive_unitball'", (5, 7, 3)),
    ("type: 'positive_unitball'", (2, 5000)),
    *((f"type: '{kind}' variance_norm: {norm}", shape) for kind in ("xavier", "msra")
      for norm in ("FAN_IN", "FAN_OUT", "AVERAGE")
      for shape in ((9,), (10, 7), (3, 4, 5), (6, 3, 5, 5), (4, 2, 3, 3, 2))),
    ("type: 'xavier'", (500, 800)), ("type: 'msra'", (64, 64, 3, 3)),
    *(("type: 'bilinear'", (2, 3, width, width)) for width in (1, 2, 3, 4, 5, 8, 11, 13)),
    ("type: 'uniform'", (3,)),
]

LAYERS: Sequence[Tuple[str, Sequence[Fill]]] = [
    ("type: 'Convolution' convolution_param { num_output: 8 kernel_size: 3 group: 2 weight_filler { %s } "
     "bias_filler { %s } }", [("type: 'gaussian' std: 0.1", (8, 2, 3, 3)), ("type: 'uniform'", (8,))]),
    ("type: 'Deconvolution' convolution_param { num_output: 4 kernel_size: 4 stride: 2 group: 4 weight_filler { %s } "
     "bias_filler { %s } }", [("type: 'bilinear'", (4, 1, 4, 4)), ("type: 'gaussian'", (4,))]),
    ("type: 'InnerProduct' inner_product_param { num_output: 11 weight_filler { %s } bias_filler { %s } }",
     [("type: 'xavier' variance_norm: AVERAGE", (11, 144)), ("type: 'constant' value: 1", (11,))]),
    ("type: 'InnerProduct' inner_product_param { num_output: 5 transpose: true weight_filler { %s } "
     "bias_filler { %s } }", [("type: 'msra' variance_norm: FAN_IN", (144, 5)), ("type: 'xavier'", (5,))]),
    ("type: 'Scale' scale_param { num_axes: 2 bias_term: true filler { %s } bias_filler { %s } }",
     [("type: 'positive_unitball'", (4, 6)), ("type: 'msra'", (4, 6))]),
    ("type: 'PReLU' prelu_param { filler { %s } }", [("type: 'uniform' max: 0.25", (4,))]),
    ("type: 'LSTM' recurrent_param { num_output: 3 weight_filler { %s } bias_filler { %s } }",
     [("type: 'gaussian' sparse: 2", (12, 36)), ("type: 'uniform'", (12,)), ("type: 'gaussian' sparse: 2", (12, 3))]),
]

RATIOS = ("0.5", "0.1", "0.9", "0", "1", "0.3", "0.5")
IMAGES = 50


class Case(NamedTuple):
    """A net in phase TRAIN, and how often it runs forward."""

    net: str
    seed: int
    passes: int = 0


def _filled(fills: Sequence[Fill]) -> str:
    """A DummyData layer with a top for each; all but constant ones are filled anew in every pass."""
    tops = "".join(f"top: 't{index}' " for index in range(len(fills)))
    shapes = "".join(f"shape {{ {' '.join(f'dim: {dim}' for dim in shape)} }} " for _, shape in fills)
    fillers = "".join(f"data_filler {{ {filler} }} " for filler, _ in fills)
    return f"layer {{ name: 'd' type: 'DummyData' {tops} dummy_data_param {{ {shapes} {fillers} }} }}"


def _layers() -> str:
    layers = ["layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 4 dim: 6 dim: 6 } } } "
              "layer { name: 'c' type: 'Input' top: 'c' input_param { shape { dim: 4 dim: 4 } } } "]
    for index, (text, fills) in enumerate(LAYERS):
        bottoms = "bottom: 'x' bottom: 'c'" if "LSTM" in text else "bottom: 'x'"
        text = text % tuple(filler for filler, _ in fills[:text.count("%s")])
        layers.append(f"layer {{ name: 'l{index}' {bottoms} top: 'y{index}' {text} }} ")
    return "".join(layers)


def _dropouts() -> str:
    data = f"layer {{ name: 'd' type: 'DummyData' top: 'd' dummy_data_param {{ shape {{ dim: {MANY} }} " \
           "data_filler { value: 1 } } } "
    return data + "".join(f"layer {{ name: 'm{index}' type: 'Dropout' bottom: 'd' top: 'm{index}' "
                          f"dropout_param {{ dropout_ratio: {ratio} }} }} " for index, ratio in enumerate(RATIOS))


IMAGE_NET = ("layer { name: 'i' type: 'ImageData' top: 'image' top: 'label' image_data_param { source: 'list.txt' "
             "batch_size: 10 shuffle: true } }")

CASES: Dict[str, Case] = {
    **{f"sequence-{seed}": Case(_filled(SEQUENCE), seed, 2) for seed in SEEDS},
    **{f"layers-{seed}": Case(_layers(), seed) for seed in SEEDS},
    **{f"normals-{seed}": Case(_filled(NORMALS), seed, 2) for seed in SEEDS},
    **{f"rare-{seed}": Case(_filled([("type: 'gaussian'", (count,))]), seed, 1)
       for seed, count in RARE_NORMALS.items()},
    "sparse": Case(_filled([ROUNDED_SPARSE]), 2, 1),
    "ranges": Case(_filled(UNIFORMS), 3, 2),
    "dropout": Case(_dropouts(), 5, 2),
    "shuffle": Case(IMAGE_NET, 6, 12),
}


def values_of_cases(caffe: Any, given: Any) -> Any:
    """`CASE/PASS/BLOB`, and `CASE/LAYER/i` for parameters; runs inside real Caffe's Python."""
    from pathlib import Path

    Path("i.ppm").write_bytes(b"P6 1 1 255\n\0\0\0")
    Path("list.txt").write_text("".join(f"i.ppm {label}\n" for label in range(int(given["images"][0]))))
    found = {}
    for name, text, seed, passes in zip(given["names"], given["nets"], given["seeds"], given["passes"]):
        Path("net.prototxt").write_text(str(text))
        caffe.set_random_seed(int(seed))
        net = caffe.Net("net.prototxt", caffe.TRAIN)
        for index in range(passes):
            net.forward()
            for blob in net.outputs:
                data = net.blobs[blob].data
                found[f"{name}/{index}/{blob}"] = np.where(np.isnan(data), np.float32(0), data)
        for layer, blobs in net.params.items():
            for index, blob in enumerate(blobs):
                found[f"{name}/{layer}/{index}"] = blob.data.copy()
    return found


@cache
def values_in(caffe_root: Path) -> Arrays:
    """The values of all cases in real Caffe, which runs once a process."""
    given: Dict[str, List[Any]] = {"names": list(CASES), "nets": [case.net for case in CASES.values()],
                                   "seeds": [case.seed for case in CASES.values()],
                                   "passes": [case.passes for case in CASES.values()], "images": [IMAGES]}
    arrays = {name: np.array(values) for name, values in given.items()}
    with tempfile.TemporaryDirectory() as folder:
        return in_real_caffe(caffe_root, Path(folder), "caffe", values_of_cases, arrays)


def digest(array: np.ndarray) -> bytes:
    """The first numbers, and a hash of shape and all bytes: equal for arrays that are equal bit for bit."""
    assert array.dtype == np.float32
    hashed = hashlib.sha256(repr(array.shape).encode() + array.tobytes()).digest()
    return array.ravel()[:HEAD].tobytes().ljust(4 * HEAD, b"\0") + hashed[:16]


def freeze() -> None:
    """Write what real Caffe gives."""
    values = values_in(REPOSITORY / "build" / "caffe")
    digests = np.array([list(digest(array)) for array in values.values()], np.uint8)
    FROZEN.parent.mkdir(exist_ok=True)
    np.savez_compressed(FROZEN, names=" ".join(values), digests=digests)
    print(f"{FROZEN.name}: {len(digests)} arrays, {FROZEN.stat().st_size} bytes")


def frozen() -> Dict[str, bytes]:
    """The digests that `freeze` wrote."""
    with np.load(FROZEN) as file:
        return {name: row.tobytes() for name, row in zip(str(file["names"]).split(), file["digests"])}


if __name__ == "__main__":
    freeze()
