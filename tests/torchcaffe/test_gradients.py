"""Layers by themselves, without Caffe: gradients are slopes, memory in any order gives the same, and clear errors.

A slope is measured by central differences: each number of a bottom or parameter is moved by STEP both ways, and the
tops, weighted at random, are added up in float64. Numbers stay away from where a function has a kink.
"""
from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from google.protobuf import text_format  # noqa: E402

from menndl_caffe.errors import UserError  # noqa: E402
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet  # noqa: E402
from menndl_caffe.torchcaffe import layer_types, mode  # noqa: E402, F401
from menndl_caffe.torchcaffe.blob import Blob  # noqa: E402
from menndl_caffe.torchcaffe.layer import make_layer  # noqa: E402
from menndl_caffe.torchcaffe.proto import caffe_pb2  # noqa: E402

STEP = 2.0**-7
IMAGES = (2, 3, 2, 3)


class Example(NamedTuple):
    """A layer, its bottoms, and of which of them it has gradients."""

    type: str
    settings: str
    bottoms: Tuple[np.ndarray, ...]
    tops: int = 1
    of: Sequence[int] = (0,)


def spaced(*shape: int, seed: int = 1, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Numbers in random order, each far from the others and, where the range includes it, from 0."""
    count = int(np.prod(shape))
    values = low + (high - low) * (np.arange(count) + 0.5) / count
    return np.random.RandomState(seed).permutation(values).astype(np.float32).reshape(shape)


def on_images(type_: str, *settings: str, low: float = -2.0) -> List[Example]:
    """One bottom of images, with each of these settings."""
    return [Example(type_, each, (spaced(*IMAGES, low=low),)) for each in settings or ("",)]


def on_many(type_: str, count: int, *settings: str) -> List[Example]:
    """So many bottoms of images, all with gradients."""
    bottoms = tuple(spaced(*IMAGES, seed=seed + 1) + np.float32(0.03 * seed) for seed in range(count))
    return [Example(type_, each, bottoms, 1, range(count)) for each in settings or ("",)]


LABELS = np.float32([[[0, 2, 1], [1, 1, 0]], [[2, 0, 0], [1, 2, 2]]])
ROW_LABELS = np.float32([1, 0])
IGNORE = "loss_param { ignore_label: 1 normalization: %s }"
H = spaced(3, 3, seed=9)
PAIRS = (spaced(4, 3), spaced(4, 3, seed=2), np.float32([1, 0, 0, 1]))

EXAMPLES = [
    *on_images("AbsVal"), *on_images("BNLL"), *on_images("Clip", "clip_param { min: -1 max: 1.2 }"),
    *on_images("Dropout", "dropout_param { dropout_ratio: 0.4 }", "phase: TEST"),
    *on_images("ELU", "", "elu_param { alpha: 0.3 }"),
    *on_images("Exp", "", "exp_param { base: 2 scale: -0.7 shift: 0.4 }"),
    *on_images("Log", "", "log_param { base: 10 scale: 3 shift: 0.5 }", low=0.5),
    *on_images("Power", "power_param { scale: -2 shift: 0.5 }", "power_param { power: 2 scale: 0.5 shift: -1 }",
               "power_param { power: 3 }", "power_param { power: 0 }"),
    *on_images("Power", "power_param { power: -1.5 scale: 2 shift: 0.1 }", low=0.5),
    *on_images("PReLU", "", "prelu_param { channel_shared: true }"),
    *on_images("ReLU", "", "relu_param { negative_slope: -0.2 }"),
    *on_images("Sigmoid"), *on_images("Swish", "", "swish_param { beta: -1.5 }"), *on_images("TanH"),
    *on_images("Softmax", "", "softmax_param { axis: 0 }", "softmax_param { axis: -1 }"),
    *on_images("MVN", "mvn_param { across_channels: true }", "mvn_param { normalize_variance: false }"),
    Example("MVN", "", (spaced(2, 3, 3, 4),)),  # a large eps is not in Caffe's gradient: then it is not the slope
    *[example for op in ("SUM", "ASUM", "SUMSQ", "MEAN")
      for example in on_images("Reduction", f"reduction_param {{ operation: {op} axis: 1 coeff: -0.5 }}")],
    *on_images("Tile", "tile_param { axis: 1 tiles: 3 }"), *on_images("Flatten"),
    *on_images("Reshape", "reshape_param { shape { dim: 3 dim: -1 } }"),
    *on_many("Concat", 3, "", "concat_param { axis: -1 }", "concat_param { axis: 0 }"), *on_many("Concat", 1),
    *on_many("Eltwise", 3, "", "eltwise_param { coeff: 1 coeff: -2 coeff: 0.5 }", "eltwise_param { operation: PROD }",
             "eltwise_param { operation: PROD stable_prod_grad: false }", "eltwise_param { operation: MAX }"),
    Example("Slice", "slice_param { slice_point: 3 }", (spaced(2, 5, 2, 3),), tops=2),
    Example("Split", "", (spaced(*IMAGES),), tops=3),
    Example("BatchReindex", "", (spaced(*IMAGES), np.float32([1, 0, 1]))),
    Example("Filter", "", (spaced(4, 3, 2, 2), np.float32([0, 1, 0, 2]))),
    Example("Embed", "embed_param { input_dim: 4 num_output: 3 weight_filler { type: 'gaussian' } }",
            (np.float32([[0, 3], [3, 1]]),), of=()),
    Example("EuclideanLoss", "", (spaced(*IMAGES), spaced(2, 18, seed=2)), of=(0, 1)),
    Example("ContrastiveLoss", "contrastive_loss_param { margin: 3 }", PAIRS, of=(0, 1)),
    Example("ContrastiveLoss", "contrastive_loss_param { margin: 5 legacy_version: true }", PAIRS, of=(0, 1)),
    Example("HingeLoss", "", (spaced(2, 4, low=-3, high=3), ROW_LABELS)),
    Example("HingeLoss", "hinge_loss_param { norm: L2 }", (spaced(2, 4), ROW_LABELS)),
    Example("MultinomialLogisticLoss", "", (spaced(2, 4, low=0.2), ROW_LABELS)),
    *[Example("SoftmaxWithLoss", IGNORE % norm, (spaced(*IMAGES), LABELS)) for norm in ("VALID", "FULL", "NONE")],
    Example("SoftmaxWithLoss", "softmax_param { axis: -1 }", (spaced(2, 3), ROW_LABELS)),
    Example("SigmoidCrossEntropyLoss", "", (spaced(*IMAGES), spaced(*IMAGES, seed=3, low=0, high=1))),
    Example("SigmoidCrossEntropyLoss", IGNORE % "VALID", (spaced(2, 12), LABELS.reshape(2, 6).repeat(2, 1))),
    Example("InfogainLoss", "", (spaced(*IMAGES), LABELS, H)),
    Example("InfogainLoss", IGNORE % "BATCH_SIZE" + " infogain_loss_param { axis: 1 }", (spaced(*IMAGES), LABELS, H)),
]
NO_GRADIENT = [
    Example("Threshold", "", (spaced(*IMAGES),)), Example("ArgMax", "argmax_param { axis: 1 }", (spaced(*IMAGES),)),
    Example("Accuracy", "", (spaced(*IMAGES), LABELS)),
]
MULTIPLE = [example for example in EXAMPLES + NO_GRADIENT if example.bottoms[0].ndim == 4]


def name(example: Example) -> str:
    return f"{example.type} {example.settings}".strip()


class Run:
    """A layer with its blobs, as a net would have set it up."""

    def __init__(self, example: Example, in_place: bool = False) -> None:
        param = text_format.Parse(f'name: "it" type: "{example.type}" {example.settings}', caffe_pb2.LayerParameter())
        param.top.extend(f"top{index}" for index in range(example.tops))
        self.layer = make_layer(param)
        self.example = example
        self.bottoms = [Blob(array.shape) for array in example.bottoms]
        for blob, array in zip(self.bottoms, example.bottoms):
            blob.value = torch.from_numpy(array.copy())
        self.tops = [self.bottoms[0] if in_place else Blob() for _ in range(example.tops)]
        mode.set_random_seed(3)
        self.layer.setup(self.bottoms, self.tops)
        self.layer.reshape(self.bottoms, self.tops)
        self.layer.propagates_to = [True] * len(self.layer.blobs)

    def forward(self) -> List[Any]:
        mode.set_random_seed(4)
        self.layer.reshape_if_needed(self.bottoms, self.tops)
        self.layer.forward(self.bottoms, self.tops)
        return [blob.value for blob in self.tops]

    def backward(self, gradients: Sequence[Any]) -> Dict[str, Any]:
        for blob, gradient in zip(self.tops, gradients):
            blob.grad = gradient.clone()
        self.layer.backward(self.tops, [i in self.example.of for i in range(len(self.bottoms))], self.bottoms)
        found = {f"bottom {index}": self.bottoms[index].grad for index in self.example.of}
        found.update({f"parameter {index}": blob.grad for index, blob in enumerate(self.layer.blobs)})
        return found

    def weights(self) -> List[Any]:
        """Random gradients for the tops."""
        shapes = [blob.shape for blob in self.tops]
        return [torch.from_numpy(spaced(*shape, seed=8)) for shape in shapes]


def slope(value: Callable[[], float], numbers: Any) -> np.ndarray:
    """Central differences of `value` by each of these numbers, which are moved in place."""
    flat, slopes = numbers.view(-1), []
    for index in range(len(flat)):
        middle = float(flat[index])
        ends = []
        for step in (STEP, -STEP):
            flat[index] = middle + step
            ends.append(value())
        flat[index] = middle
        slopes.append((ends[0] - ends[1]) / (2 * STEP))
    return np.array(slopes).reshape(numbers.shape)


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_gradients_are_slopes(example: Example) -> None:
    run = Run(example)
    run.forward()
    weights = run.weights()
    # Flatten and such share memory with their bottoms, and each pass gets its own.
    found = {what: gradient.clone() for what, gradient in run.backward(weights).items()}
    assert found

    def value() -> float:
        return sum(float((top.double() * weight).sum()) for top, weight in zip(run.forward(), weights))

    moved = {f"bottom {index}": blob.value for index, blob in enumerate(run.bottoms)}
    moved.update({f"parameter {index}": blob.value for index, blob in enumerate(run.layer.blobs)})
    for what, gradient in found.items():
        expected = slope(value, moved[what])
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=0, atol=2e-3 * max(1, np.abs(expected).max()))


def test_parameters_gradients_add_up() -> None:
    run = Run(next(example for example in EXAMPLES if example.type == "Embed"))
    run.forward()
    once = [gradient.clone() for gradient in run.backward(run.weights()).values()]
    twice = list(run.backward(run.weights()).values())
    for one, two in zip(once, twice):
        assert one.any()
        torch.testing.assert_close(two, 2 * one)


def as_channels_last(tensor: Any) -> Any:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def is_dense(tensor: Any) -> bool:
    return tensor.is_contiguous() or tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("example", MULTIPLE, ids=name)
def test_memory_in_any_order_gives_the_same(example: Example) -> None:
    straight, other = Run(example), Run(example)
    for blob in other.bottoms:
        blob.value = as_channels_last(blob.value)
    tops = straight.forward(), other.forward()
    gradients = [{}, {}] if example in NO_GRADIENT else [
        straight.backward(straight.weights()), other.backward([as_channels_last(one) for one in other.weights()])]
    for one, two in [*zip(*tops), *zip(gradients[0].values(), gradients[1].values())]:
        torch.testing.assert_close(one, two)
        assert is_dense(two)


@pytest.mark.parametrize("type_", ["ReLU", "Dropout", "Eltwise", "Concat", "Slice", "Split", "Power", "Sigmoid"])
def test_channels_last_is_kept(type_: str) -> None:
    for example in (example for example in MULTIPLE if example.type == type_ and "axis" not in example.settings):
        run = Run(example)
        for blob in run.bottoms:
            blob.value = as_channels_last(blob.value)
        assert all(top.is_contiguous(memory_format=torch.channels_last) for top in run.forward())
        run.backward([as_channels_last(weight) for weight in run.weights()])
        assert all(run.bottoms[index].grad.is_contiguous(memory_format=torch.channels_last) for index in example.of)


@pytest.mark.parametrize("example", EXAMPLES + NO_GRADIENT, ids=name)
def test_tops_have_memory_of_their_own_and_bottoms_stay(example: Example) -> None:
    run = Run(example)
    tops = run.forward()
    assert all(np.array_equal(blob.value, array) for blob, array in zip(run.bottoms, example.bottoms))
    places = [tensor.data_ptr() for tensor in [blob.value for blob in run.bottoms] + tops]
    shares = example.type in ("Split", "Flatten", "Reshape") or example.type == "Concat" and len(run.bottoms) == 1
    assert (len(set(places)) < len(places)) == shares


@pytest.mark.parametrize("type_", ["ReLU", "Dropout"])
def test_fast_layers_work_in_place_without_new_memory(type_: str) -> None:
    run = Run(on_images(type_)[0], in_place=True)
    data, diff = run.bottoms[0].value.data_ptr(), run.bottoms[0].grad.data_ptr()
    run.forward()
    run.layer.backward(run.tops, [True], run.bottoms)
    assert (run.bottoms[0].value.data_ptr(), run.bottoms[0].grad.data_ptr()) == (data, diff)


def test_what_is_held_stays_shared_through_flatten_and_split() -> None:
    for example in (Example("Flatten", "", (spaced(*IMAGES),)), Example("Split", "", (spaced(*IMAGES),), tops=2)):
        run = Run(example)
        run.forward()
        held = run.tops[0].data
        run.bottoms[0].value = torch.full(IMAGES, 5.0)
        run.forward()
        assert (held == 5).all()
        held[...] = 6
        assert bool((run.bottoms[0].value == 6).all())


def test_an_empty_selection_is_no_error() -> None:
    run = Run(Example("Filter", "", (spaced(2, 3), np.float32([0, 0]))))
    assert run.tops[0].shape == (2, 3)  # while the net is made
    assert run.forward()[0].shape == (0, 3)
    assert not run.backward(run.weights())["bottom 0"].any()


@pytest.mark.parametrize("type_, settings, bottoms, message", [
    ("SoftmaxWithLoss", "", (spaced(2, 3), np.float32([0, 3])), "layer it: label 3 does not exist; valid: 0 to 2"),
    ("SoftmaxWithLoss", IGNORE % "FULL", (spaced(2, 3), np.float32([-1, 1])), "layer it: label -1 does not exist"),
    ("Accuracy", "", (spaced(2, 3), np.float32([7, 0])), "layer it: label 7 does not exist"),
    ("InfogainLoss", "", (spaced(2, 3), np.float32([0, 3]), H), "layer it: label 3 does not exist"),
    ("HingeLoss", "", (spaced(2, 3), np.float32([0, 3])), "layer it: label 3 does not exist"),
    ("MultinomialLogisticLoss", "", (spaced(2, 3), np.float32([0, np.nan])), "layer it: label -.* does not exist"),
    ("Embed", "embed_param { input_dim: 3 num_output: 1 }", (np.float32([0, 5]),), "layer it: index 5 .* 0 to 2"),
    ("BatchReindex", "", (spaced(2, 3), np.float32([0, 2])), "layer it: image 2 does not exist; valid: 0 to 1"),
    ("BatchReindex", "", (spaced(2, 3), np.float32([0, -0.5])), "layer it: image -1 does not exist"),
    ("InfogainLoss", 'infogain_loss_param { source: "absent" }', (spaced(2, 3), np.float32([0, 1])), "absent"),
])
def test_wrong_numbers_are_named(type_: str, settings: str, bottoms: Tuple[np.ndarray, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Run(Example(type_, settings, bottoms)).forward()


@pytest.mark.parametrize("example", [
    *NO_GRADIENT,
    Example("SoftmaxWithLoss", "", (spaced(2, 3), ROW_LABELS), of=(0, 1)),
    Example("InfogainLoss", "", (spaced(2, 3), ROW_LABELS, H), of=(2,)),
    Example("HingeLoss", "", (spaced(2, 3), ROW_LABELS), of=(1,)),
    Example("Filter", "", (spaced(2, 3), ROW_LABELS), of=(0, 1)),
    Example("BatchReindex", "", (spaced(2, 3), ROW_LABELS), of=(1,)),
    Example("Embed", "embed_param { input_dim: 3 num_output: 1 }", (ROW_LABELS,)),
], ids=name)
def test_gradients_that_do_not_exist_are_refused(example: Example) -> None:
    run = Run(example)
    run.forward()
    with pytest.raises(ImpossibleNet, match="no gradient"):
        run.backward(run.weights())


def test_what_caffe_checks_first_is_refused() -> None:
    with pytest.raises(ImpossibleNet, match="dropout_ratio must be between 0 and 1, not 1.5"):
        Run(on_images("Dropout", "dropout_param { dropout_ratio: 1.5 }")[0])
    Run(on_images("Dropout", "dropout_param { dropout_ratio: 1.5 } phase: TEST")[0])
