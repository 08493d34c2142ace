"""The shape rules by hand: sizes, counts and reasons worked out here, without Caffe and without the code under test."""
from __future__ import annotations

import pickle
import re
from collections import Counter
from typing import Any, Callable, List, Optional, Tuple

import pytest
from google.protobuf import text_format

from menndl_caffe.nets.layer_rules import LAYERS
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.shapes import ImpossibleNet, LayerShape, NetShape, UnknownShape, infer
from tests.support.shape_nets import WIRINGS, X, given, inner_product, layer, relus, sharing, small_net, small_nets

CONV = 'convolution_param {{ num_output: {n} kernel_size: 5 pad: 2 weight_filler {{ type: "gaussian" std: 0.01 }} }}'
POOL = "pooling_param {{ pool: {pool} kernel_size: 3 stride: 2 }}"
SOURCE = 'top: "label" data_param { source: "somewhere" batch_size: 100 backend: LMDB }'
QUICK = "".join((
    layer("cifar", "Data", tops="data", body=SOURCE + " include { phase: TRAIN }"),
    layer("cifar", "Data", tops="data", body=SOURCE + " include { phase: TEST }"),
    layer("conv1", "Convolution", "data", "conv1", CONV.format(n=32)),
    layer("pool1", "Pooling", "conv1", "pool1", POOL.format(pool="MAX")),
    layer("relu1", "ReLU", "pool1", "pool1"),
    layer("conv2", "Convolution", "pool1", "conv2", CONV.format(n=32)),
    layer("relu2", "ReLU", "conv2", "conv2"),
    layer("pool2", "Pooling", "conv2", "pool2", POOL.format(pool="AVE")),
    layer("conv3", "Convolution", "pool2", "conv3", CONV.format(n=64)),
    layer("relu3", "ReLU", "conv3", "conv3"),
    layer("pool3", "Pooling", "conv3", "pool3", POOL.format(pool="AVE")),
    inner_product("ip1", "pool3", "ip1", 64),
    inner_product("ip2", "ip1", "ip2", 10),
    layer("accuracy", "Accuracy", "ip2 label", "accuracy", "include { phase: TEST }"),
    layer("loss", "SoftmaxWithLoss", "ip2 label", "loss"),
))


Shape = Tuple[int, ...]


def parsed(net: str) -> Any:
    return text_format.Parse(net, caffe_pb2.NetParameter())


def shape_of(net: str, phase: str = "TRAIN") -> NetShape:
    return infer(parsed(net), phase, lambda layer: (3, 32, 32))


def top_of(bottoms: str, type_: str, body: str = "", tops: int = 1) -> LayerShape:
    return shape_of(small_net(type_, bottoms, tops, body)).layers[-1]


def refusal(net: str) -> str:
    with pytest.raises(ImpossibleNet) as refused:
        shape_of(net)
    return str(refused.value)


# cifar10_quick: the numbers of Caffe's own log, and every kernel of the paper's search


def test_cifar10_quick_in_numbers() -> None:
    train, test = shape_of(QUICK), shape_of(QUICK, "TEST")
    weights = 32 * 3 * 25 + 32 * 32 * 25 + 64 * 32 * 25 + 64 * 1024 + 10 * 64
    assert train.parameters == test.parameters == weights + 32 + 32 + 64 + 64 + 10 == 145_578
    image = 3 * 32**2 + 1 + 32 * 32**2 + 4 * 32 * 16**2 + 32 * 8**2 + 2 * 64 * 8**2 + 64 * 4**2 + 64 + 10
    assert 4 * 100 * image == 31_978_800  # the log's line after ip2, in training; the loss is one number more
    assert train.memory == 31_978_800 + 4
    assert test.memory == 31_978_800 + 4 + 4 + 4 * 100 * (2 * 1 + 2 * 10)  # and in testing, accuracy and two splits
    products = 32**2 * 32 * 3 * 25 + 16**2 * 32 * 32 * 25 + 8**2 * 64 * 32 * 25 + 64 * 1024 + 10 * 64
    assert train.multiply_adds == test.multiply_adds == 100 * products


def test_cifar10_quick_layer_by_layer() -> None:
    train, test = shape_of(QUICK), shape_of(QUICK, "TEST")
    names = "cifar conv1 pool1 relu1 conv2 relu2 pool2 conv3 relu3 pool3 ip1 ip2 loss"
    assert [one.name for one in train.layers] == names.split()
    assert [one.name for one in test.layers if one.type != "Split"] == names.replace("loss", "accuracy loss").split()
    assert [one.name for one in test.layers if one.type == "Split"] == ["label_cifar_1_split", "ip2_ip2_0_split"]
    assert train.layers[-1].bottoms == {"ip2": (100, 10), "label": (100,)}
    assert test.layers[-1].bottoms == {"ip2_ip2_0_split_1": (100, 10), "label_cifar_1_split_1": (100,)}
    assert train.layers[4] == LayerShape(
        "conv2", "Convolution", {"pool1": (100, 32, 16, 16)}, {"conv2": (100, 32, 16, 16)}, ((32, 32, 5, 5), (32,)),
        100 * 16**2 * 32 * 32 * 25)
    assert (train.blobs["loss"], test.blobs["accuracy"]) == ((), ())


BLOBS = ("conv1", "pool1", "conv2", "pool2", "conv3", "pool3")


def with_kernels(net: Any, kernels: Shape, pad: Callable[[int], int]) -> Any:
    convolutions = [one.convolution_param for one in net.layer if one.type == "Convolution"]
    for param, kernel in zip(convolutions, kernels):
        param.kernel_size[0], param.pad[0] = kernel, pad(kernel)
    return net


def all_kernels(pad: Callable[[int], int]) -> Tuple[Counter, Counter]:
    """Sizes of pool3 of the valid ones among kernels 1 to 8, three times; layers that refuse the others."""
    net, pool3, refused = parsed(QUICK), Counter(), Counter()  # type: Any, Counter, Counter
    for a in range(1, 9):
        for b in range(1, 9):
            for c in range(1, 9):
                try:
                    shape = infer(with_kernels(net, (a, b, c), pad), "TRAIN", lambda layer: (3, 32, 32))
                    pool3[shape.blobs["pool3"][2]] += 1
                except ImpossibleNet as impossible:
                    refused[impossible.layer] += 1
    return pool3, refused


def test_all_512_kernels_by_padding() -> None:
    assert all_kernels(lambda kernel: 2) == ({1: 10, 2: 64, 3: 118, 4: 128, 5: 118, 6: 64, 7: 10}, {})
    assert all_kernels(lambda kernel: 0)[1] == {"conv3": 192, "pool3": 64}
    assert sum(all_kernels(lambda kernel: 1)[1].values()) == 52
    assert all_kernels(lambda kernel: kernel // 2) == ({4: 512}, {})
    sizes, refused = all_kernels(lambda kernel: (kernel - 1) // 2)
    assert set(sizes) == {3, 4} and not refused


@pytest.mark.parametrize("kernel, sizes", [
    (1, (36, 18, 22, 11, 15, 7)), (2, (35, 17, 20, 10, 13, 6)), (3, (34, 17, 19, 9, 11, 5)), (4, (33, 16, 17, 8, 9, 4)),
    (5, (32, 16, 16, 8, 8, 4)), (6, (31, 15, 14, 7, 6, 3)), (7, (30, 15, 13, 6, 4, 2)), (8, (29, 14, 11, 5, 2, 1))])
def test_sizes_by_kernel(kernel: int, sizes: Shape) -> None:
    net = with_kernels(parsed(QUICK), (kernel,) * 3, lambda kernel: 2)
    blobs = infer(net, "TRAIN", lambda layer: (3, 32, 32)).blobs
    assert tuple(blobs[name][2] for name in BLOBS) == sizes
    assert {blobs[name][2:] for name in BLOBS} == {(size, size) for size in sizes}


def test_an_impossible_net_says_which_layer_and_why() -> None:
    net = with_kernels(parsed(QUICK), (8, 8, 8), lambda kernel: 0)
    with pytest.raises(ImpossibleNet) as refused:
        infer(net, "TRAIN", lambda layer: (3, 32, 32))
    error = refused.value
    assert str(error) == ("layer conv3: kernel_size 8x8 is larger than its padded input 2x2 (input 2x2, pad 0x0) "
                          "(bottoms: pool2 100x32x2x2)")
    assert (error.layer, net.layer[error.place].name) == ("conv3", "conv3")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.layer, copy.place) == (str(error), error.layer, error.place)


# Windows, counted one by one


def covering(size: int, kernel: int, stride: int, pad: int) -> int:
    """Fewest windows that reach the end of the padded image; with padding, none that starts beyond the image."""
    n = -20
    while (n - 1) * stride + kernel < size + 2 * pad:
        n += 1
    return n - 1 if pad and (n - 1) * stride >= size + pad else n


def inside(size: int, kernel: int, stride: int, pad: int) -> int:
    """Most windows that do not leave the padded image; a single one may, by less than its stride."""
    if kernel > size + 2 * pad:
        return 1 if kernel - size - 2 * pad < stride else 0
    return max(n for n in range(1, 30) if (n - 1) * stride + kernel <= size + 2 * pad)


def side(net: Any) -> Optional[int]:
    try:
        return infer(net, "TRAIN", lambda layer: (3, 32, 32)).blobs["y0"][2]
    except ImpossibleNet:
        return None


def test_pooled_sizes_are_those_of_windows_counted_one_by_one() -> None:
    for size in range(1, 9):
        net = parsed(small_net("Pooling", f"1x1x{size}x{size}", 1, ""))
        param = net.layer[1].pooling_param
        for kernel, stride, pad in ((k, s, p) for k in range(1, 7) for s in range(1, 5) for p in range(3)):
            param.kernel_size, param.stride, param.pad = kernel, stride, pad
            count = covering(size, kernel, stride, pad)
            empty = (count - 1) * stride >= size + pad
            assert side(net) == (None if pad >= kernel or count < 1 or empty else count), net


def test_convolved_sizes_are_those_of_windows_counted_one_by_one() -> None:
    for size in range(1, 9):
        net = parsed(small_net("Convolution", f"1x1x{size}x{size}", 1, ""))
        param = net.layer[1].convolution_param
        param.num_output = 1
        for kernel, stride, pad, dilation in (
                (k, s, p, d) for k in range(1, 6) for s in range(1, 5) for p in range(3) for d in (1, 2)):
            param.kernel_size[:], param.stride[:], param.pad[:] = [kernel], [stride], [pad]
            param.dilation[:] = [dilation]
            spanned = range(0, kernel * dilation, dilation)[-1] + 1
            assert side(net) == (inside(size, spanned, stride, pad) or None), net


def test_deconvolution_is_the_way_back() -> None:
    """Where a convolution's windows fit its input exactly, deconvolution of its output restores the size."""
    for size, kernel, stride, pad in ((8, 4, 2, 1), (12, 4, 2, 1), (7, 3, 2, 0), (9, 5, 1, 2), (5, 5, 3, 0)):
        body = f"convolution_param {{ num_output: 2 kernel_size: {kernel} stride: {stride} pad: {pad} }}"
        there = top_of(f"1x2x{size}x{size}", "Convolution", body).tops["y0"]
        assert top_of("x".join(map(str, there)), "Deconvolution", body).tops["y0"] == (1, 2, size, size)


# Every rule once: (bottoms, type, settings, shapes of the tops, shapes of the parameters)

SHAPES: List[Tuple[str, str, str, List[Shape], List[Shape]]] = [
    ("2x4x8x8", "Convolution", "convolution_param { num_output: 6 kernel_h: 3 kernel_w: 1 group: 2 bias_term: false }",
     [(2, 6, 6, 8)], [(6, 2, 3, 1)]),
    ("2x4x8x8x8", "Convolution", "convolution_param { num_output: 6 kernel_size: 3 kernel_size: 2 kernel_size: 1 }",
     [(2, 6, 6, 7, 8)], [(6, 4, 3, 2, 1), (6,)]),
    ("2x4x6x6", "Deconvolution", "convolution_param { num_output: 6 kernel_size: 4 stride: 2 pad: 1 group: 2 }",
     [(2, 6, 12, 12)], [(4, 3, 4, 4), (6,)]),
    ("2x4x6x6", "Im2col", "convolution_param { kernel_size: 3 stride: 3 }", [(2, 36, 2, 2)], []),
    ("2x4x6x5", "Pooling", "pooling_param { global_pooling: true pool: AVE }", [(2, 4, 1, 1)], []),
    ("2x4x6x6", "Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }", [(2, 4, 4, 4)] * 2, []),
    ("2x4x6x6", "Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 round_mode: FLOOR }", [(2, 4, 3, 3)], []),
    ("2x4x8x8", "Pooling", "pooling_param { kernel_h: 1 kernel_w: 2 stride: 2 pad_h: 0 pad_w: 1 }", [(2, 4, 4, 5)], []),
    ("2x4x8x8", "SPP", "spp_param { pyramid_height: 3 }", [(2, 4 * (1 + 4 + 16))], []),
    ("2x4x8x8", "LRN", "lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }", [(2, 4, 8, 8)], []),
    ("2x4x8x8 1x1x5x6", "Crop", "crop_param { offset: 3 offset: 2 }", [(2, 4, 5, 6)], []),
    ("1x2x6x6", "InnerProduct", "inner_product_param { num_output: 3 axis: 2 }", [(1, 2, 3)], [(3, 36), (3,)]),
    ("5x2x6", "InnerProduct", "inner_product_param { num_output: 3 transpose: true bias_term: false }",
     [(5, 3)], [(12, 3)]),
    ("5x2", "Embed", "embed_param { num_output: 3 input_dim: 7 }", [(5, 2, 3)], [(7, 3), (3,)]),
    ("5x2x6", "Bias", "bias_param { num_axes: 2 }", [(5, 2, 6)], [(2, 6)]),
    ("5x2x6", "Scale", "scale_param { bias_term: true axis: 0 num_axes: -1 }", [(5, 2, 6)], [(5, 2, 6)] * 2),
    ("5x2x6 2x6", "Scale", "scale_param { bias_term: true }", [(5, 2, 6)], [(2, 6)]),
    ("5x2x6", "BatchNorm", "", [(5, 2, 6)], [(2,), (2,), (1,)]),
    ("5x2x6", "PReLU", "", [(5, 2, 6)], [(2,)]),
    ("5x2x6", "PReLU", "prelu_param { channel_shared: true }", [(5, 2, 6)], [()]),
    ("3x2x5 3x2 2x7", "LSTM", "recurrent_param { num_output: 4 }", [(3, 2, 4)], [(16, 5), (16,), (16, 7), (16, 4)]),
    ("3x2x5 3x2", "RNN", "recurrent_param { num_output: 4 }", [(3, 2, 4)], [(4, 5), (4,), (4, 4), (4, 4), (4,)]),
    ("3x2x5 3x2 1x2x4 1x2x4", "LSTM", "recurrent_param { num_output: 4 expose_hidden: true }",
     [(3, 2, 4), (1, 2, 4), (1, 2, 4)], [(16, 5), (16,), (16, 4)]),
    ("1x2x3 1x2x12 1x2", "LSTMUnit", "", [(1, 2, 3)] * 2, []),
    ("5x2", "MVN", "", [(5, 2, 1, 1)], []),
    ("5x2x4", "ArgMax", "argmax_param { top_k: 3 out_max_val: true }", [(5, 2, 3)], []),
    ("5x2x4", "ArgMax", "argmax_param { axis: -1 top_k: 3 }", [(5, 2, 3)], []),
    ("5x2x4x3", "ArgMax", "", [(5, 1, 1, 1)], []),
    ("5x2x4", "Reduction", "reduction_param { axis: 1 }", [(5,)], []),
    ("5x2x4x3", "Flatten", "flatten_param { end_axis: -2 }", [(5, 8, 3)], []),
    ("5x2x4x3", "Reshape", "reshape_param { shape { dim: 0 dim: -1 } axis: 1 num_axes: 2 }", [(5, 2, 4, 3)], []),
    ("5x2x4x3", "Reshape", "reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }", [(5, 2, 4, 3, 1)], []),
    ("5x2x4", "Tile", "tile_param { axis: 2 tiles: 3 }", [(5, 2, 12)], []),
    ("5x2x4 5x3x4 5x1x4", "Concat", "", [(5, 6, 4)], []),
    ("5x6x4", "Slice", "slice_param { slice_point: 1 slice_point: 3 }", [(5, 1, 4), (5, 2, 4), (5, 3, 4)], []),
    ("5x6x4", "Slice", "slice_param { axis: 2 }", [(5, 6, 2)] * 2, []),
    ("5x6 5x6", "Eltwise", "eltwise_param { operation: MAX }", [(5, 6)], []),
    ("5x6 3", "BatchReindex", "", [(3, 6)], []),
    ("5x6 5x4 5x1", "Filter", "", [(5, 6), (5, 4)], []),
    ("5x6", "Split", "", [(5, 6)] * 3, []),
    ("5x6 5", "Silence", "", [], []),
    ("5x6 5", "HDF5Output", "", [], []),
    ("5x6x2x2 5x2x2", "SoftmaxWithLoss", "", [()], []),
    ("5x6x2x3 5x1x2x3", "SoftmaxWithLoss", "", [()], []),
    ("5x6x2x2 5x2x2", "Accuracy", "accuracy_param { top_k: 5 }", [(), (6,)], []),
    ("5x6 5 6x6", "InfogainLoss", "loss_weight: 1 loss_weight: 0", [(), (5, 6)], []),
    ("5x6 5x2x3", "EuclideanLoss", "", [()], []),
    ("5x6x1x1 5x6 5", "ContrastiveLoss", "", [()], []),
    ("", "DummyData", "dummy_data_param { num: 1 num: 2 channels: 3 height: 4 width: 5 }",
     [(1, 3, 4, 5), (2, 3, 4, 5)], []),
    ("", "MemoryData", "memory_data_param { batch_size: 7 channels: 3 height: 4 width: 5 }", [(7, 3, 4, 5), (7,)], []),
    ("", "ImageData", "image_data_param { batch_size: 7 new_height: 9 new_width: 8 is_color: false }",
     [(7, 1, 9, 8), (7,)], []),
    ("", "Data", "data_param { batch_size: 7 } transform_param { crop_size: 20 }", [(7, 3, 20, 20), (7,)], []),
    ("", "Parameter", "parameter_param { shape { dim: 2 dim: 3 } }", [(2, 3)], [(2, 3)]),
]


@pytest.mark.parametrize("bottoms, type_, body, tops, params", SHAPES, ids=[f"{row[1]} {row[0]}" for row in SHAPES])
def test_shapes(bottoms: str, type_: str, body: str, tops: List[Shape], params: List[Shape]) -> None:
    found = top_of(bottoms, type_, body, len(tops))
    assert (list(found.tops.values()), list(found.params)) == (tops, params)


def test_neurons_keep_the_shape() -> None:
    for type_ in "AbsVal BNLL Dropout ELU Exp Log Power ReLU Sigmoid Softmax Swish TanH Threshold Clip".split():
        assert top_of("5x2x3", type_).tops == {"y0": (5, 2, 3)}


@pytest.mark.parametrize("bottoms, type_, body, products", [
    ("2x4x8x8", "Convolution", "convolution_param { num_output: 6 kernel_size: 3 group: 2 }", 2 * 6 * 6**2 * 2 * 3**2),
    ("2x4x6x6", "Deconvolution", "convolution_param { num_output: 6 kernel_size: 4 stride: 2 }", 8 * 6**2 * 6 * 4**2),
    ("5x2x6", "InnerProduct", "inner_product_param { num_output: 3 axis: 2 }", 5 * 2 * 3 * 6),
    ("3x2x5 3x2 2x7", "LSTM", "recurrent_param { num_output: 4 }", 3 * 2 * 16 * (5 + 4) + 2 * 16 * 7),
    ("3x2x5 3x2", "RNN", "recurrent_param { num_output: 4 }", 3 * 2 * 4 * (5 + 4 + 4)),
    ("5x2x6", "Scale", "", 0)])
def test_multiply_adds(bottoms: str, type_: str, body: str, products: int) -> None:
    assert top_of(bottoms, type_, body).multiply_adds == products


# What Caffe refuses: (bottoms, type, settings, words of the reason)

REFUSED = [
    ("1x1x8x8", "Pooling", "pooling_param { kernel_size: 1 stride: 2 }", "stride 2x2 puts the last window .* outside"),
    ("1x1x8x8", "Pooling", "pooling_param { kernel_size: 9 }", "kernel_size 9x9 .* finds no window in its input 8x8"),
    ("1x1x8x8", "Pooling", "pooling_param { kernel_size: 3 pad: 3 }", "pad 3x3 must be smaller than kernel_size 3x3"),
    ("1x1x8x8", "Pooling", "pooling_param { kernel_h: 3 }", "give kernel_size, or both kernel_h and kernel_w"),
    ("1x1x8x8", "Pooling", "pooling_param { global_pooling: true stride: 2 }", "stride must be 1"),
    ("1x1x5x5", "SPP", "spp_param { pyramid_height: 3 }", "pad 2x2 must be smaller than kernel_size 2x2"),
    ("1x8x8", "Pooling", "pooling_param { kernel_size: 3 }", "takes a blob of 4 axes .* not 1x8x8"),
    ("1x3x8x8", "Convolution", "convolution_param { num_output: 4 kernel_size: 9 }", "larger than its padded input"),
    ("1x3x8x8", "Convolution", "convolution_param { num_output: 4 kernel_size: 3 group: 3 }", "group 3 must divide"),
    ("1x3x8x8", "Convolution", "convolution_param { num_output: 4 kernel_h: 3 }", "kernel_h needs kernel_w"),
    ("1x3x8x8", "Convolution", "convolution_param { num_output: 4 }", "kernel_size is given 0 times for 2"),
    ("1x3x8x8", "Convolution", "convolution_param { kernel_size: 4 }", "num_output must be at least 1"),
    ("1x3x2x2", "Deconvolution", "convolution_param { num_output: 4 kernel_size: 2 pad: 2 }", "pad 2x2 leaves nothing"),
    ("1x3x8x8", "LRN", "lrn_param { local_size: 4 }", "local_size must be odd, not 4"),
    ("1x3x8x8 1x3x9x9", "Crop", "", "a crop of 9x9 at offset 0x0 leaves the image 8x8"),
    ("2x3", "InnerProduct", "inner_product_param { num_output: 4 axis: 2 }", "axis 2 does not exist in .* shape 2x3"),
    ("2x3", "InnerProduct", 'inner_product_param { num_output: 4 weight_filler { type: "gaussian" std: 0 } }',
     "weight_filler: std must be positive, not 0"),
    ("2x3", "InnerProduct", 'inner_product_param { num_output: 4 weight_filler { type: "xavir" } }', "mean xavier"),
    ("2x3", "BatchNorm", "param { lr_mult: 1 }", "lr_mult must be 0"),
    ("2x3x4 4", "Scale", "", "second bottom 4 is not like axes 1"),
    ("2x3 2x4", "Eltwise", "", "bottoms differ in shape: 2x3, 2x4"),
    ("2x3x4 2x3x5", "Concat", "", "differ elsewhere than on axis 1"),
    ("2x5", "Slice", "slice_param { slice_point: 5 }", "does not cut axis 1 of 2x5 into 2 tops"),
    ("2x6", "Reshape", "reshape_param { shape { dim: 0 dim: 5 } }", "2x6 has 12 elements and does not fit into 0x5"),
    ("2x3x4", "Flatten", "flatten_param { axis: 2 end_axis: 0 }", "axis 2 comes after end_axis 0"),
    ("4x5 3", "SoftmaxWithLoss", "", "differ in the first axis: 4x5 and 3"),
    ("4x5 4x5", "Accuracy", "", "with classes on axis 1 need 4 labels, not 4x5"),
    ("4x5 4", "Accuracy", "accuracy_param { top_k: 6 }", "top_k 6 is more than the 5 classes"),
    ("4x5", "SoftmaxWithLoss", "", "SoftmaxWithLoss takes 2 bottoms, not 1"),
    ("4x5", "ReLu", "", "unknown type 'ReLu'; did you mean ReLU"),
    ("4x5", "ROIPooling", "", r"unknown type 'ROIPooling'; did you mean Pooling\? .Caffe 1.0 has no ROIPooling: mis"),
    ("4x5", "Dropout", "loss_weight: 1 loss_weight: 1", "loss_weight is given 2 times for 1 tops"),
    ("4x5", "ReLU", "param { lr_mult: 1 }", "has 1 param blocks for 0 parameters"),
    ("4x5", "ReLU", "include { phase: TRAIN } exclude { phase: TEST }", "include and exclude rules"),
    ("", "Input", "input_param { shape { dim: 2 dim: 0 } }", "top 'y0' would have shape 2x0, which holds no element"),
    ("", "Input", "input_param { shape { dim: 65536 dim: 32768 } }", "more than Caffe's limit of 2147483647 elements"),
    ("", "Data", "data_param { batch_size: 4 } transform_param { crop_size: 33 }", "larger than its images 3x32x32"),
    ("", "Data", "data_param {}", "batch_size must be at least 1"),
]


@pytest.mark.parametrize("bottoms, type_, body, words", REFUSED, ids=[f"{row[1]} {row[3]}" for row in REFUSED])
def test_refused(bottoms: str, type_: str, body: str, words: str) -> None:
    tops = 2 if type_ == "Slice" else 1
    reason = refusal(small_net(type_, bottoms, tops, body))
    assert reason.startswith("layer it: ") and re.search(words, reason), reason
    assert all(f"x{i} {bottom}" in reason for i, bottom in enumerate(bottoms.split())) or "rules" in words


@pytest.mark.parametrize("name, words", [
    ("unknown bottom", "layer a: unknown bottom 'q'; valid: x"),
    ("bottom of a later layer", "layer a: unknown bottom 'x': no layer before it has a top$"),
    ("one top of two layers", "layer b: top 'y' exists already"),
    ("AbsVal in place", "AbsVal does not work in place"),
    ("of other shape", "'w' has shape 3x4 here and 4x3 in layer a"),
    ("other rates", "'w' has lr_mult 1 here and 2 before"),
    ("no layer", "^the net has no layer in phase TRAIN")])
def test_refused_wirings(name: str, words: str) -> None:
    assert re.search(words, refusal(WIRINGS[name]))


CUDNN = {"Convolution": "convolution_param { num_output: 2 kernel_size: 1 engine: CUDNN }",
         "Deconvolution": "convolution_param { num_output: 2 kernel_size: 1 engine: CUDNN }",
         "Pooling": "pooling_param { kernel_size: 1 engine: CUDNN }", "LRN": "lrn_param { engine: CUDNN }",
         "ReLU": "relu_param { engine: CUDNN }", "Sigmoid": "sigmoid_param { engine: CUDNN }",
         "TanH": "tanh_param { engine: CUDNN }", "Softmax": "softmax_param { engine: CUDNN }",
         "SoftmaxWithLoss": "softmax_param { engine: CUDNN }",
         "InfogainLoss": 'softmax_param { engine: CUDNN } infogain_loss_param { source: "matrix" }'}


@pytest.mark.parametrize("type_", CUDNN)
def test_an_engine_for_gpus_is_refused_where_the_net_is_to_run_on_a_cpu(type_: str) -> None:
    """By hand in Caffe 1.0 without cuDNN: each of these says `Layer it has unknown engine.` and aborts."""
    net = parsed(small_net(type_, "1x3x4x4 1x1x4x4" if "Loss" in type_ else "1x3x4x4", 1, CUDNN[type_]))
    with pytest.raises(ImpossibleNet, match="layer it: engine: CUDNN is for GPUs, and solver_mode is CPU; expected no"):
        infer(net, "TRAIN", lambda layer: (3, 32, 32), cpu=True)
    infer(net, "TRAIN", lambda layer: (3, 32, 32))


@pytest.mark.parametrize("type_, body", [
    ("ReLU", "relu_param { engine: CAFFE }"), ("ELU", "relu_param { engine: CUDNN }"),
    ("SPP", "spp_param { pyramid_height: 2 engine: CUDNN }"),
    ("Im2col", "convolution_param { kernel_size: 3 engine: CUDNN }")])
def test_an_engine_that_no_layer_looks_at_is_fine(type_: str, body: str) -> None:
    infer(parsed(small_net(type_, "1x3x4x4", 1, body)), "TRAIN", lambda layer: (3, 32, 32), cpu=True)


def test_shared_parameters_count_once() -> None:
    assert shape_of(sharing("", "", "")).parameters == 3 * 3 + 3 * 3  # one weight, three anonymous biases


def test_a_split_for_every_blob_that_is_read_twice_and_in_place_tops_count_again() -> None:
    shape = shape_of(X + relus("x x", "x y", "x z"))
    assert list(shape.blobs) == ["x", "x_a_0_split_0", "x_a_0_split_1", "y", "z"]
    assert shape.memory == 4 * 6 * len(["x", "x in place", "split 0", "split 1", "y", "z"])


def test_a_loss_without_top_gets_one() -> None:
    shape = shape_of(X + given("t", "2x3") + layer("l", "EuclideanLoss", "x t"))
    assert shape.layers[-1].tops == {"(automatic)": ()} and shape.memory == 4 * (6 + 6 + 1)


@pytest.mark.parametrize("type_, tops, body", [
    ("Python", 1, 'python_param { module: "m" layer: "L" }'), ("HDF5Data", 2, 'hdf5_data_param { source: "list" }'),
    ("WindowData", 2, "transform_param { crop_size: 9 }"), ("ImageData", 2, "image_data_param {}"), ("Input", 1, "")])
def test_shapes_that_the_file_does_not_tell(type_: str, tops: int, body: str) -> None:
    with pytest.raises(UnknownShape, match="layer it: "):
        shape_of(small_net(type_, "", tops, body))


def test_nothing_but_a_verdict() -> None:
    """Whatever the settings, a net is measured or refused with a reason, and the net itself is left as it was."""
    for net in map(parsed, small_nets().values()):
        before = net.SerializeToString()
        try:
            assert infer(net, "TRAIN", lambda layer: (3, 32, 32)).memory > 0
        except ImpossibleNet as impossible:
            assert impossible.layer == net.layer[impossible.place].name and impossible.reason
        assert net.SerializeToString() == before


def test_every_layer_type_of_caffe() -> None:
    assert len(LAYERS) == 61
