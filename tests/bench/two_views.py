"""A net of two views, of the shapes of the one net that MENNDL's authors have published (a detector's events, 2015).

It is train_test_00001_00006_00000 of github.com/jhamer90811/MINERvA_NOvA_network_analysis, in our words: images of
2 x 100 x 80 numbers, multiplied by noise and sliced into two views; the same tower of layers on each; and inception
modules, in each tower and on both together.
"""
from __future__ import annotations

from typing import Any, List, Sequence, Tuple

from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2

IMAGE = "dim: 2 dim: 100 dim: 80"
CLASSES = 8
XAVIER = 'weight_filler { type: "xavier" }'
INCEPTION = ((64, 1), (128, 3), (32, 5))  # outputs and kernel of the branches, but for pooling's
REDUCED = {3: 96, 5: 16}  # outputs of the 1x1 before larger kernels
POOLED = 32


class Text:
    """Layers, written one after the other."""

    def __init__(self) -> None:
        self.layers: List[str] = []

    def add(self, type_: str, name: str, bottoms: Sequence[str] = (), settings: str = "",
            tops: Sequence[str] = ()) -> str:
        """A layer; the name of its first top, which is the layer's own unless told."""
        ends = [f'bottom: "{bottom}"' for bottom in bottoms] + [f'top: "{top}"' for top in tops or [name]]
        self.layers.append(f'layer {{ name: "{name}" type: "{type_}" {" ".join(ends)} {settings} }}')
        return (tops or [name])[0]

    def in_place(self, type_: str, blob: str, settings: str = "") -> None:
        """A layer whose top is its bottom."""
        self.add(type_, f"{blob}_{type_.lower()}", [blob], settings, [blob])

    def convolution(self, name: str, bottom: str, num_output: int, window: str, filler: str = XAVIER) -> str:
        """A Convolution."""
        return self.add("Convolution", name, [bottom],
                        f"convolution_param {{ num_output: {num_output} {window} {filler} }}")

    def inception(self, name: str, bottom: str) -> str:
        """1x1, 3x3, 5x5 and pooling side by side."""
        branches = []
        for num_output, kernel in INCEPTION:
            before = bottom
            if kernel in REDUCED:
                before = self.convolution(f"{name}/{kernel}_reduce", bottom, REDUCED[kernel], "kernel_size: 1")
                self.in_place("ReLU", before)
            branches.append(self.convolution(f"{name}/{kernel}", before, num_output,
                                             f"kernel_size: {kernel} pad: {kernel // 2}"))
        pooled = self.add("Pooling", f"{name}/pool", [bottom],
                          "pooling_param { pool: MAX kernel_size: 3 stride: 1 pad: 1 }")
        branches.append(self.convolution(f"{name}/pool_proj", pooled, POOLED, "kernel_size: 1"))
        for branch in branches:
            self.in_place("ReLU", branch)
        return self.add("Concat", name, branches)

    def tower(self, view: str, number: int) -> str:
        """All layers of one view."""
        def dropout(blob: str, ratio: float) -> None:
            self.in_place("Dropout", blob, f"dropout_param {{ dropout_ratio: {ratio} }}")

        blob = self.convolution(f"conv1_{number}", view, 32, "kernel_size: 7 stride: 2 pad: 3",
                                'weight_filler { type: "gaussian" std: 0.1 }')
        dropout(blob, 0.68)
        self.in_place("ReLU", blob)
        blob = self.add("Pooling", f"pool2_{number}", [blob],
                        "pooling_param { pool: MAX kernel_h: 37 kernel_w: 3 stride_h: 5 stride_w: 3 }")
        self.in_place("Sigmoid", blob)
        blob = self.convolution(f"conv3_{number}", blob, 7, "kernel_h: 1 kernel_w: 4 pad_h: 0 pad_w: 1")
        blob = self.convolution(f"conv4_{number}", blob, 46, "kernel_size: 1")
        dropout(blob, 0.1)
        for name, num_output, window in (("conv5", 96, "kernel_h: 1 kernel_w: 9 pad_h: 0 pad_w: 4"),
                                         ("conv6", 58, "kernel_size: 1")):
            blob = self.convolution(f"{name}_{number}", blob, num_output, window,
                                    'weight_filler { type: "positive_unitball" }')
            self.in_place("ReLU", blob)
        blob = self.add("LRN", f"norm7_{number}", [blob], "lrn_param { local_size: 1 alpha: 0.0001 beta: 0.75 }")
        blob = self.inception(f"inception8_{number}", blob)
        return self.add("Pooling", f"pool9_{number}", [blob], "pooling_param { pool: MAX kernel_size: 1 }")


def two_views(batch: int) -> Any:
    """The net for so many images; its inputs are `data` and `label`."""
    text = Text()
    shapes = f"shape {{ dim: {batch} {IMAGE} }}"
    text.add("Input", "data", [], f"input_param {{ {shapes} shape {{ dim: {batch} }} }}", ["data", "label"])
    text.add("DummyData", "jitter", [],
             f'dummy_data_param {{ data_filler {{ type: "gaussian" mean: 1 std: 0.01 }} {shapes} }}')
    text.add("Eltwise", "jittered", ["data", "jitter"], "eltwise_param { operation: PROD }")
    views: Tuple[str, str] = ("view0", "view1")
    text.add("Slice", "slice", ["jittered"], "slice_param { axis: 1 slice_point: 1 }", views)
    blob = text.add("Concat", "concat9", [text.tower(view, number) for number, view in enumerate(views)])
    blob = text.inception("inception10", blob)
    blob = text.add("LRN", "norm11", [blob],
                    "lrn_param { local_size: 1 alpha: 0.906 beta: 0.25 norm_region: WITHIN_CHANNEL }")
    blob = text.add("InnerProduct", "score", [blob], f"inner_product_param {{ num_output: {CLASSES} {XAVIER} }}")
    text.add("SoftmaxWithLoss", "loss", [blob, "label"])
    return prototxt.parse("\n".join(text.layers), caffe_pb2.NetParameter).message
