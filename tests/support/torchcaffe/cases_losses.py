"""Losses and accuracies: normalisation modes, ignored labels, ties, NaN and hopeless scores."""
from __future__ import annotations

import struct
from typing import Any, List

import numpy as np

from tests.support.torchcaffe.cases_neurons import inputs, layer
from tests.support.torchcaffe.parity import Case, numbers

FORCED, LEARNED = "force_backward: true ", layer("PReLU", "x", "learned")
NAMES = {"SoftmaxWithLoss": "softmax_param", "InfogainLoss": "infogain_loss_param"}


def integers(*shape: int, below: int, seed: int = 1) -> np.ndarray:
    """Random labels."""
    return np.random.RandomState(seed).randint(0, below, shape).astype(np.float32)


def loss(name: str, type_: str, settings: str, tops: str = "loss", exact: Any = (), forced: bool = True,
         **blobs: np.ndarray) -> Case:
    """The loss of these inputs; not `forced`: the gradient goes to a PReLU layer, and no further than the first."""
    bottoms = " ".join(blobs) if forced else " ".join(["learned", *list(blobs)[1:]])
    net = (FORCED if forced else "") + inputs(**blobs) + ("" if forced else LEARNED)
    return Case(name, net + layer(type_, bottoms, tops, settings), blobs, exact=exact)


def accuracy(name: str, settings: str, tops: str = "share", **blobs: np.ndarray) -> Case:
    """Accuracy, which has no gradient."""
    net = inputs(**blobs) + layer("Accuracy", " ".join(blobs), tops, f"accuracy_param {{ {settings} }}")
    return Case(name, net, blobs, exact=["data/*"], backward=False)


def matrix_file(matrix: np.ndarray) -> bytes:
    """A BlobProto: num, channels, height, width, and the numbers, packed."""
    size = len(matrix)
    assert matrix.nbytes < 128
    return bytes([8, 1, 16, 1, 24, size, 32, size, 42, matrix.nbytes]) + struct.pack(f"<{matrix.size}f", *matrix.flat)


SCORES = numbers(6, 4, seed=21, low=-3, high=3)
LABELS = np.array([0, 3, 1.7, 2, 3, -0.5], np.float32)  # truncated to 1 and 0
IMAGES = numbers(2, 4, 2, 3, seed=22, low=-3, high=3)
PLACES = integers(2, 2, 3, below=4, seed=3)
HOPELESS = np.array([[200, -200, 0, 1], [300, 0, 0, 90], [0, 0, 0, 0], [-1e30, 1e30, 3, 4]], np.float32)
BROKEN = np.array([[np.nan, 1, 2, 3], [1, 2, np.nan, 0], [np.inf, 1, 2, 3], [-np.inf, 1, 2, 3]], np.float32)
TIES = np.array([[1, 1, 0, 0], [0, 2, 2, 2], [3, 3, 3, 3], [-1, 0, 1, 2], [2, 1, 0, -1]], np.float32)
NONE_RIGHT = np.zeros((5, 4), np.float32)
H = numbers(4, 4, seed=23)

SOFTMAX: List[Case] = [
    Case(f"softmax-{shape}", FORCED + inputs(x=x) + layer("Softmax", "x", top, settings), {"x": x})
    for shape, top, x, settings in [
        ("rows", "y", SCORES, ""), ("images", "y", IMAGES, ""), ("in-place", "x", IMAGES, ""),
        ("axis-0", "y", IMAGES, "softmax_param { axis: 0 }"), ("axis-last", "y", IMAGES, "softmax_param { axis: -1 }"),
        ("hopeless", "y", HOPELESS, ""), ("broken", "y", BROKEN, "")]
]

NORMALISED: List[Case] = [
    loss(f"{type_}-{setting.replace(': ', '-')}{'-ignore' * bool(ignore)}", type_,
         f"loss_weight: 0.5 loss_param {{ {setting} {ignore} }}", x=IMAGES,
         labels=PLACES if type_ == "SoftmaxWithLoss" else integers(2, 4, 2, 3, below=3, seed=4))
    for type_ in ("SoftmaxWithLoss", "SigmoidCrossEntropyLoss")
    for setting in ("", "normalization: FULL", "normalization: VALID", "normalization: BATCH_SIZE",
                    "normalization: NONE", "normalize: true", "normalize: false",
                    "normalize: false normalization: NONE")
    for ignore in ("", "ignore_label: 2")
]

INFOGAIN: List[Case] = [
    loss("infogain", "InfogainLoss", "", forced=False, x=SCORES, labels=LABELS, h=H),
    loss("infogain-places", "InfogainLoss", "loss_param { normalization: BATCH_SIZE }", forced=False, x=IMAGES,
         labels=PLACES, h=H.reshape(1, 1, 4, 4)),
    loss("infogain-ignore", "InfogainLoss", "loss_weight: 2 loss_weight: 0 loss_param { ignore_label: 3 }",
         tops="loss p", forced=False, x=IMAGES, labels=PLACES, h=H),
    loss("infogain-axis", "InfogainLoss", "infogain_loss_param { axis: -1 }", forced=False,
         x=numbers(2, 3, 4, low=-4, high=4), labels=integers(2, 3, below=4), h=H),
    loss("infogain-hopeless", "InfogainLoss", "", forced=False, x=HOPELESS, labels=integers(4, below=4), h=H),
    loss("infogain-file", "InfogainLoss", 'infogain_loss_param { source: "h.binaryproto" }', x=SCORES,
         labels=LABELS)._replace(files={"h.binaryproto": matrix_file(H)}),
]

VECTORS, OTHERS = numbers(6, 3, seed=24), numbers(6, 3, seed=25)
OTHERS[4] = VECTORS[4]
ALIKE = np.array([1, 0, 0, 2.5, 0, 0.5], np.float32)
CONTRASTIVE = [
    loss(f"contrastive-{name}", "ContrastiveLoss", f"loss_weight: 3 contrastive_loss_param {{ {settings} }}", x=x,
         other=other, alike=ALIKE)
    for name, settings, x, other in [
        ("margin", "margin: 1.2", VECTORS, OTHERS), ("far", "margin: 0.1", VECTORS, OTHERS),
        ("legacy", "margin: 2 legacy_version: true", VECTORS, OTHERS),
        ("images", "", VECTORS.reshape(6, 3, 1, 1), OTHERS.reshape(6, 3, 1, 1))]
]

CASES = [
    *SOFTMAX,
    *NORMALISED,
    loss("softmax-loss", "SoftmaxWithLoss", "", x=SCORES, labels=LABELS),
    loss("softmax-loss-axis", "SoftmaxWithLoss", "softmax_param { axis: 2 }", x=numbers(3, 2, 4),
         labels=integers(3, 2, below=4)),
    loss("softmax-loss-label-axes", "SoftmaxWithLoss", "", x=IMAGES, labels=PLACES.reshape(2, 1, 2, 3)),
    loss("softmax-loss-hopeless", "SoftmaxWithLoss", "", x=HOPELESS, labels=np.float32([1, 3, 2, 0])),
    loss("softmax-loss-broken", "SoftmaxWithLoss", "", x=BROKEN, labels=np.float32([0, 1, 2, 3])),
    loss("softmax-loss-all-ignored", "SoftmaxWithLoss", "loss_param { ignore_label: 1 }", x=SCORES,
         labels=np.ones(6, np.float32)),
    loss("softmax-loss-odd-ignored", "SoftmaxWithLoss", "loss_param { ignore_label: -1 }", x=SCORES,
         labels=np.float32([-1, 0, -1.9, 3, 2, -1])),
    loss("softmax-loss-learned", "SoftmaxWithLoss", "", forced=False, x=IMAGES, labels=PLACES),
    *INFOGAIN,
    *CONTRASTIVE,
    loss("euclidean", "EuclideanLoss", "loss_weight: 2", x=IMAGES, target=numbers(2, 4, 2, 3, seed=5)),
    loss("euclidean-shapes", "EuclideanLoss", "", x=IMAGES, target=numbers(2, 24, seed=5)),
    loss("euclidean-learned", "EuclideanLoss", "", forced=False, x=SCORES, target=numbers(6, 4, seed=6)),
    loss("hinge", "HingeLoss", "", x=SCORES, labels=LABELS),
    loss("hinge-l2", "HingeLoss", "loss_weight: 2 hinge_loss_param { norm: L2 }", x=SCORES, labels=LABELS),
    loss("hinge-broken", "HingeLoss", "", x=BROKEN, labels=integers(4, below=4)),
    loss("hinge-images", "HingeLoss", "", x=IMAGES, labels=integers(2, 3, below=24)),
    loss("multinomial", "MultinomialLogisticLoss", "loss_weight: 2", x=numbers(6, 4, low=0.01, high=1), labels=LABELS),
    loss("multinomial-odd", "MultinomialLogisticLoss", "",
         x=np.float32([[0, 1, 0], [1e-30, 1, 0], [1, -1, 0], [0.5, 0.5, np.nan]]), labels=np.float32([0, 0, 1, 2])),
    loss("multinomial-images", "MultinomialLogisticLoss", "", x=np.abs(IMAGES), labels=np.float32([[9], [23]])),
    loss("sigmoid-loss-targets", "SigmoidCrossEntropyLoss", "", x=SCORES, target=numbers(6, 4, low=0)),
    loss("sigmoid-loss-large", "SigmoidCrossEntropyLoss", "", x=40 * SCORES, target=numbers(6, 4, low=0)),
    loss("sigmoid-loss-broken", "SigmoidCrossEntropyLoss", "", x=BROKEN, target=np.eye(4, dtype=np.float32)),
    loss("sigmoid-loss-ignored-fractions", "SigmoidCrossEntropyLoss", "loss_param { ignore_label: 0 }", x=SCORES,
         target=numbers(6, 4, low=-1.5, high=1.5)),
    loss("sigmoid-loss-shapes", "SigmoidCrossEntropyLoss", "", x=IMAGES, target=np.abs(numbers(2, 24))),
    accuracy("accuracy", "", x=SCORES, labels=LABELS),
    accuracy("accuracy-top-2", "top_k: 2", "share classes", x=SCORES, labels=LABELS),
    accuracy("accuracy-places", "", "share classes", x=IMAGES, labels=PLACES),
    accuracy("accuracy-ignore", "ignore_label: 3", "share classes", x=IMAGES, labels=PLACES),
    accuracy("accuracy-all-ignored", "ignore_label: 0", "share classes", x=SCORES, labels=np.zeros(6, np.float32)),
    accuracy("accuracy-axis", "axis: -1 top_k: 2", x=numbers(2, 3, 4), labels=integers(2, 3, below=4)),
    accuracy("accuracy-ties", "", "share classes", x=TIES, labels=np.float32([0, 3, 2, 3, 1])),
    accuracy("accuracy-ties-top-2", "top_k: 2", "share classes", x=TIES, labels=np.float32([0, 3, 2, 3, 1])),
    accuracy("accuracy-equal", "", x=NONE_RIGHT, labels=np.float32([0, 1, 2, 3, 0])),
    accuracy("accuracy-broken", "", "share classes", x=BROKEN, labels=np.float32([0, 2, 0, 0])),
]
