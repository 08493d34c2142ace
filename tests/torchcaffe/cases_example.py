"""Convolution and pooling."""
from __future__ import annotations

from tests.torchcaffe.parity import Case, numbers

INPUT = 'force_backward: true layer { name: "x" type: "Input" top: "x" input_param { shape { %s } } } '


def on(shape: str, layers: str) -> str:
    """A net of one input `x`, of these dims, and layers."""
    return INPUT % " ".join(f"dim: {dim}" for dim in shape.split("x")) + layers


CASES = [
    Case("conv", on("2x3x7x6", 'layer { name: "c" type: "Convolution" bottom: "x" top: "y" convolution_param { '
                    'num_output: 4 kernel_size: 3 pad: 1 stride: 2 weight_filler { type: "xavier" } bias_filler { type: "uniform" } } }'),
         {"x": numbers(2, 3, 7, 6)}, exact=["param/*"]),
    Case("max-pool", on("2x3x7x6", 'layer { name: "p" type: "Pooling" bottom: "x" top: "y" top: "mask" pooling_param { '
                        'kernel_size: 3 stride: 2 } }'), {"x": numbers(2, 3, 7, 6)}, exact=["data/*", "diff/*"]),
]
