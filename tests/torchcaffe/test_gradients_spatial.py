"""Layers of windows, products and recurrence by themselves: slopes, memory in any order, new shapes, coarse numbers."""
from __future__ import annotations

import json
from typing import Any, Dict, List

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from menndl_caffe.nets.layer_rules.blob import ImpossibleNet  # noqa: E402
from menndl_caffe.torchcaffe import mode  # noqa: E402
from menndl_caffe.torchcaffe.columns import Columns  # noqa: E402
from menndl_caffe.torchcaffe.layer_types.convolution import ByColumns, Direct, Unrolled, Windows  # noqa: E402
from tests.torchcaffe.test_gradients import (  # noqa: E402
    Example,
    Run,
    as_channels_last,
    is_dense,
    name,
    slope,
    spaced,
)

X, CHANNELS = spaced(2, 2, 5, 4), spaced(1, 6, 2, 3)
FILL = "weight_filler { type: 'uniform' min: -1 } bias_filler { type: 'uniform' min: -1 }"
GAUSSIAN = "{ type: 'gaussian' }"
MARKS = np.float32([[0, 1], [1, 1], [1, 0], [1, 1]])
STEPS, STATIC = spaced(4, 2, 3, low=-1, high=1), spaced(2, 3, seed=4, low=-1, high=1)
HIDDEN = spaced(1, 2, 3, seed=6, low=-1, high=1)


def convolved(settings: str, x: np.ndarray = X) -> List[Example]:
    """A convolution and its transpose."""
    param = f"convolution_param {{ num_output: 4 {settings} {FILL} }}"
    return [Example(type_, param, (x,)) for type_ in ("Convolution", "Deconvolution")]


def pooled(settings: str) -> List[Example]:
    """Both ways of pooling."""
    return [Example("Pooling", f"pooling_param {{ pool: {pool} {settings} }}", (X,)) for pool in ("MAX", "AVE")]


EXAMPLES = [
    *convolved("kernel_size: 3 pad: 1 stride: 2"), *convolved("kernel_size: 2 dilation: 2 group: 2"),
    *convolved("kernel_size: 1 bias_term: false"), *convolved("kernel_size: 2", spaced(2, 2, 3)),
    *convolved("kernel_size: 2 group: 2 pad: 1", spaced(1, 2, 2, 3, 2)), *convolved("kernel_size: 2 axis: 2", X),
    *convolved("kernel_size: 2 stride: 2", spaced(1, 2, 2, 2, 3, 2)), *convolved("", spaced(3, 4)),
    convolved("kernel_size: 6 stride: 3")[0],
    *pooled("kernel_size: 3 stride: 2"), *pooled("kernel_size: 2 pad: 1 stride: 2"), *pooled("global_pooling: true"),
    *pooled("kernel_size: 3 stride: 2 pad: 2"), *pooled("kernel_size: 4 stride: 3 pad: 3 round_mode: FLOOR"),
    Example("LRN", "lrn_param { local_size: 3 alpha: 2 }", (CHANNELS,)),
    Example("LRN", "lrn_param { local_size: 5 alpha: 0.5 beta: 1.2 k: 2 }", (CHANNELS,)),
    Example("LRN", "lrn_param { local_size: 3 alpha: 1 norm_region: WITHIN_CHANNEL }", (X,)),
    Example("LRN", "lrn_param { local_size: 9 alpha: 4 norm_region: WITHIN_CHANNEL }", (X,)),
    Example("Im2col", "convolution_param { kernel_size: 3 stride: 2 pad: 1 dilation: 1 }", (X,)),
    Example("Im2col", "convolution_param { kernel_size: 2 dilation: 2 }", (spaced(1, 2, 3, 4, 3),)),
    *(Example("SPP", f"spp_param {{ pyramid_height: {height} pool: {pool} }}", (spaced(2, 2, 8, 7),))
      for height in (1, 3) for pool in ("MAX", "AVE")),
    Example("Crop", "crop_param { axis: 1 offset: 1 }", (CHANNELS, np.zeros((9, 4, 1, 2), np.float32))),
    Example("InnerProduct", f"inner_product_param {{ num_output: 3 {FILL} }}", (X,)),
    Example("InnerProduct", f"inner_product_param {{ num_output: 3 transpose: true {FILL} }}", (X,)),
    Example("InnerProduct", f"inner_product_param {{ num_output: 3 axis: -1 bias_term: false {FILL} }}", (X,)),
    Example("Scale", f"scale_param {{ filler {GAUSSIAN} bias_term: true bias_filler {GAUSSIAN} }}", (X,)),
    Example("Scale", f"scale_param {{ filler {GAUSSIAN} axis: 2 num_axes: -1 }}", (X,)),
    Example("Scale", "scale_param { axis: 0 bias_term: true }", (X, spaced(2, 2)), of=(0, 1)),
    Example("Bias", f"bias_param {{ filler {GAUSSIAN} num_axes: 2 }}", (X,)),
    Example("Bias", "", (X, spaced(2)), of=(0, 1)),
    Example("BatchNorm", "batch_norm_param { eps: 0.01 }", (X,)), Example("BatchNorm", "", (spaced(6, 3),)),
    Example("LSTMUnit", "", (HIDDEN, spaced(1, 2, 12, low=-1, high=1), MARKS[2:3]), 2, (0, 1)),
]
RECURRENT = [Example(type_, f"recurrent_param {{ num_output: 3 {FILL} }}", bottoms, 1, of)
             for type_ in ("LSTM", "RNN") for bottoms, of in [((STEPS, MARKS), (0,)), ((STEPS, MARKS, STATIC), (0, 2))]]
IN_C_ORDER = ("InnerProduct", "SPP", "Im2col")  # what they make has no channels of its own, or none of the bottom's


class Fresh(Run):
    """A Run whose every pass begins with the same states."""

    def forward(self) -> List[Any]:
        if self.example.type in ("LSTM", "RNN"):
            self.layer.set_state({"states": [HIDDEN.ravel().tolist()] * self.layer.states})
        return super().forward()


def gradients_of(run: Run) -> Dict[str, Any]:
    """Copies; BatchNorm's statistics are no parameters with a slope."""
    found = {what: gradient.clone() for what, gradient in run.backward(run.weights()).items()}
    return {what: gradient for what, gradient in found.items() if run.layer.type != "BatchNorm" or "bottom" in what}


@pytest.mark.parametrize("example", EXAMPLES + RECURRENT, ids=name)
def test_gradients_are_slopes(example: Example) -> None:
    run = Fresh(example)
    run.forward()
    found, weights = gradients_of(run), run.weights()

    def value() -> float:
        return sum(float((top.double() * weight).sum()) for top, weight in zip(run.forward(), weights))

    moved = {f"bottom {index}": blob.value for index, blob in enumerate(run.bottoms)}
    moved.update({f"parameter {index}": blob.value for index, blob in enumerate(run.layer.blobs)})
    for what, gradient in found.items():
        expected = slope(value, moved[what])
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=0, atol=2e-3 * max(1, np.abs(expected).max()),
                                   err_msg=what)


@pytest.mark.parametrize("example", [each for each in EXAMPLES if each.bottoms[0].ndim == 4], ids=name)
def test_memory_in_any_order_gives_the_same(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unrolled, "fits", lambda *_: False)  # which is in C order, for small nets
    straight, other = Run(example), Run(example)
    for blob in other.bottoms:
        blob.value = as_channels_last(blob.value)
    tops = straight.forward(), other.forward()
    weights = [as_channels_last(weight) for weight in other.weights()]
    found = straight.backward(straight.weights()), other.backward(weights)
    for one, two in [*zip(*tops), *zip(*(each.values() for each in found))]:
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
        assert is_dense(two)
    if example.type not in IN_C_ORDER and "axis: 2" not in example.settings:
        assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in tops[1])


@pytest.mark.parametrize("example", EXAMPLES + RECURRENT, ids=name)
def test_tops_have_memory_of_their_own_and_bottoms_stay(example: Example) -> None:
    run = Fresh(example)
    tops = run.forward()
    run.backward(run.weights())
    assert all(np.array_equal(blob.value, array) for blob, array in zip(run.bottoms, example.bottoms))
    tensors = [blob.value for blob in run.bottoms] + tops + [blob.grad for blob in run.bottoms + run.tops]
    assert len({tensor.data_ptr() for tensor in tensors}) == len(tensors)


@pytest.mark.parametrize("example", [each for each in EXAMPLES if each.bottoms[0].ndim == 4 and len(each.of) == 1
                                     and each.type != "Bias"], ids=name)
def test_a_new_shape_is_followed(example: Example) -> None:
    """A run that has seen another batch gives what one made for this batch gives."""
    larger = example._replace(bottoms=(spaced(5, *example.bottoms[0].shape[1:], seed=9), *example.bottoms[1:]))
    run, fresh = Run(example), Run(larger)
    run.forward()
    run.backward(run.weights())
    run.bottoms[0].reshape(*larger.bottoms[0].shape)
    run.bottoms[0].value = torch.from_numpy(larger.bottoms[0].copy())
    for blob, other in zip(run.layer.blobs, fresh.layer.blobs):
        blob.value, blob.grad = other.value.clone(), torch.zeros(blob.shape)
    for one, two in zip(run.forward(), fresh.forward()):
        torch.testing.assert_close(one, two)
    for one, two in zip(run.backward(run.weights()).values(), fresh.backward(fresh.weights()).values()):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("group,kernel,stride,pad,dilation", [
    (1, (3, 2), (2, 1), (1, 0), (1, 2)), (2, (1, 1), (1, 1), (0, 0), (1, 1)), (4, (2, 3), (3, 2), (2, 3), (2, 1))])
def test_columns_give_what_kernels_give(transposed: bool, group: int, kernel: Any, stride: Any, pad: Any,
                                        dilation: Any) -> None:
    windows = Windows(kernel, stride, pad, dilation)
    direct = Direct(windows, transposed, group)
    weight, bias = torch.from_numpy(spaced(4, 8 // group, *kernel)), torch.from_numpy(spaced(8, seed=2))
    if not transposed:
        weight = weight.reshape(8, 4 // group, *kernel)
    images = torch.from_numpy(spaced(2, 4, 7, 6, seed=3))
    output = direct.forward(images, weight, bias)
    wide, narrow = (output, images) if transposed else (images, output)
    by_columns = ByColumns(Columns(windows, tuple(wide.shape[2:]), tuple(narrow.shape[2:])), transposed, group)
    torch.testing.assert_close(by_columns.forward(images, weight, bias), output)
    gradient = torch.from_numpy(spaced(*output.shape, seed=4))
    for one, two in zip(by_columns.backward([True] * 2, gradient, images, weight),
                        direct.backward([True] * 2, gradient, images, weight)):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("example", RECURRENT, ids=name)
def test_states_can_be_kept_in_a_file(example: Example) -> None:
    run, resumed = Run(example), Run(example)
    run.forward()
    kept = json.loads(json.dumps(run.layer.state()))
    after = run.forward()
    resumed.layer.set_state(kept)
    for blob, other in zip(resumed.layer.blobs, run.layer.blobs):
        blob.value = other.value
    assert torch.equal(resumed.forward()[0], after[0])
    assert not torch.equal(Run(example).forward()[0], after[0])


@pytest.mark.parametrize("example", RECURRENT[:3:2], ids=name)
def test_streams_may_change_but_steps_may_not(example: Example) -> None:
    run = Run(example)
    run.bottoms[0].reshape(4, 1, 3)
    run.bottoms[1].reshape(4, 1)
    assert run.forward()[0].shape == (4, 1, 3)
    run.bottoms[0].reshape(3, 1, 3)
    run.bottoms[1].reshape(3, 1)
    with pytest.raises(ImpossibleNet, match="made for 4 steps, not 3"):
        run.forward()


@pytest.mark.parametrize("example", [*RECURRENT, EXAMPLES[-1]], ids=name)
def test_marks_have_no_gradient(example: Example) -> None:
    marks = 2 if example.type == "LSTMUnit" else 1
    run = Run(example._replace(of=(*example.of, marks)))
    run.forward()
    assert not run.layer.allows_force_backward(marks) and run.layer.allows_force_backward(0)
    with pytest.raises(ImpossibleNet, match=f"{example.type} has no gradient for its bottom {marks}"):
        run.backward(run.weights())


@pytest.mark.parametrize("type_,field", [
    ("Pooling", "pooling_param { kernel_size: 2 %s }"), ("SPP", "spp_param { pyramid_height: 2 %s }")])
def test_stochastic_pooling_is_refused(type_: str, field: str) -> None:
    with pytest.raises(ImpossibleNet, match="STOCHASTIC"):
        Run(Example(type_, field % "pool: STOCHASTIC", (spaced(1, 2, 4, 4),)))


@pytest.mark.parametrize("example", [EXAMPLES[0], EXAMPLES[1], EXAMPLES[16], *[
    each for each in EXAMPLES if each.type == "InnerProduct"]], ids=name)
def test_coarse_numbers_are_close(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    exact, coarse = Run(example), Run(example)
    expected = [*exact.forward(), *exact.backward(exact.weights()).values()]
    mode.set_math("bf16")
    try:
        found = [*coarse.forward(), *coarse.backward(coarse.weights()).values()]
    finally:
        mode.set_math("float32")
    assert not all(torch.equal(one, two) for one, two in zip(found, expected))
    for one, two in zip(found, expected):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, two, rtol=0, atol=0.03 * float(two.abs().max()))


@pytest.mark.parametrize("size,count", [(40, 1), (200, 7)])
def test_maxima_of_numbers_whose_sum_overflows(size: int, count: int) -> None:
    """The quick test for NaN and infinity then errs on the safe side."""
    x = np.full((1, count, size, size), 3e38, np.float32)
    x[0, :, 1::2] = -3e38
    run = Run(Example("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", (x,)))
    assert bool((run.forward()[0] == 3e38).all())
    gradient = run.backward([torch.ones(1, count, size // 2, size // 2)])["bottom 0"]
    assert float(gradient.sum()) == count * (size // 2) ** 2 and bool((gradient[0, :, ::2, ::2] == 1).all())


@pytest.mark.parametrize("settings,pooled", [("stride: 2", 2), ("stride: 1 pad: 1", 5), ("stride: 2 pad: 1", 3)])
def test_windows_without_a_maximum_hand_nothing_down(settings: str, pooled: int) -> None:
    """Caffe writes outside its memory there."""
    x = np.float32([[[[1, 2, np.nan, np.nan], [3, 4, np.nan, -np.inf], [5, 6, 7, 8], [9, 9, 8, np.nan]]]])
    run = Run(Example("Pooling", f"pooling_param {{ kernel_size: 2 {settings} }}", (x,), tops=2))
    top, mask = run.forward()
    assert top.shape == (1, 1, pooled, pooled)
    assert torch.equal(top == -torch.finfo(torch.float32).max, mask == -1) and (mask == -1).any()
    gradient = run.backward([torch.ones_like(top), torch.zeros_like(top)])["bottom 0"]
    assert float(gradient.sum()) == int((mask >= 0).sum())
    assert not gradient[torch.from_numpy(~np.isfinite(x))].any()
