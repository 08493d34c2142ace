"""NetSpec against real pycaffe's: the same program, the same NetParameter."""
from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import net_spec
from menndl_caffe.torchcaffe.net_spec import NetSpec, Top, assign_proto, param_name_dict, to_proto
from menndl_caffe.torchcaffe.net_spec import layers as L
from menndl_caffe.torchcaffe.net_spec import params as P
from tests.support.torchcaffe.real_pycaffe import in_real_caffe


def lenet(net_spec: Any) -> Any:
    L, P, n = net_spec.layers, net_spec.params, net_spec.NetSpec()
    n.data, n.label = L.Data(batch_size=64, backend=P.Data.LMDB, source="train_lmdb", ntop=2,
                             transform_param=dict(scale=1. / 255), include=dict(phase=0))
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = L.Convolution(n.pool1, kernel_size=[5, 3], num_output=50, weight_filler=dict(type="xavier"))
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.AVE)
    n.ip1 = L.InnerProduct(n.pool2, num_output=500, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=10, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label, loss_weight=0.5, loss_param=dict(normalize=False))
    return n.to_proto()


def alexnet_like(net_spec: Any) -> Any:
    L, P = net_spec.layers, net_spec.params
    rates = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]

    def conv_relu(bottom: Any, kernel: int, outputs: int, **more: Any) -> Any:
        conv = L.Convolution(bottom, kernel_size=kernel, num_output=outputs, param=rates,
                             weight_filler=dict(type="gaussian", std=0.01), **more)
        return conv, L.ReLU(conv, in_place=True)

    data, label = L.Data(source="imagenet", backend=P.Data.LMDB, batch_size=10, ntop=2,
                         transform_param=dict(crop_size=227, mean_value=[104, 117, 123], mirror=True))
    conv1, relu1 = conv_relu(data, 11, 96, stride=4)
    pool1 = L.Pooling(relu1, pool=P.Pooling.MAX, kernel_size=3, stride=2)
    norm1 = L.LRN(pool1, local_size=5, alpha=1e-4, beta=0.75, norm_region=P.LRN.WITHIN_CHANNEL)
    conv2, relu2 = conv_relu(norm1, 5, 256, pad=2, group=2)
    both = L.Concat(relu2, L.TanH(conv2), axis=1)
    fc6 = L.InnerProduct(both, num_output=16, param=dict(name="shared"))
    drop6 = L.Dropout(L.ReLU(fc6, in_place=True), in_place=True, dropout_ratio=0.3)
    fc8 = L.InnerProduct(drop6, num_output=10, name="fc8", inner_product_param=dict(bias_term=False))
    return net_spec.to_proto(L.SoftmaxWithLoss(fc8, label), L.Accuracy(fc8, label, include=dict(phase=1, stage=["x"])))


def odd_ones(net_spec: Any) -> Any:
    """No tops, several tops, one blob under two names, items, unknown types, layers that nothing was assigned to."""
    L, n = net_spec.layers, net_spec.NetSpec()
    n.data, ignored = L.DummyData(shape=[dict(dim=[2, 3]), dict(dim=[2])], data_filler=[dict(type="constant", value=1)],
                                  ntop=2, phase=1)
    n.silence_data = L.Silence(n.data, ntop=0)
    n["again"] = n.data
    L.Silence(n.data, ntop=0)
    n.slice1, n.slice2, n.slice3 = L.Slice(L.ReLU(n.again), slice_point=[1, 2], ntop=3)
    n.custom = L.Python(n.slice2, module="m", layer="C", param_str='{"a": 1}', propagate_down=[False])
    n.mystery = L.NoSuchType(n.slice3, n["custom"], loss_weight=[1, 0], ntop=1)
    n.rest = L.Silence(ignored, ntop=0)
    n.upsample = L.Deconvolution(n.custom, convolution_param=dict(num_output=2, kernel_size=4, stride=2))
    n.eltwise = L.Eltwise(L.ReLU(n.upsample, in_place=True), L.ReLU(n.upsample), operation=net_spec.params.Eltwise.MAX)
    n.named = L.Reshape(n.eltwise, name="another name", shape=dict(dim=[0, -1]))
    return n.to_proto()


def top_alone(net_spec: Any) -> Any:
    L = net_spec.layers
    return L.Power(L.Exp(L.Input(shape=dict(dim=[1, 2]))), power=2).to_proto()


def programs(net_spec: Any, given: Any) -> Any:
    """Every program of `given`, which holds their sources, as serialized bytes."""
    nets = {}
    for name, source in given.items():
        scope = {"Any": object}
        exec("from __future__ import annotations\n" + str(source), scope)
        nets[name] = np.frombuffer(scope[name](net_spec).SerializeToString(), np.uint8)
    return nets


PROGRAMS = (lenet, alexnet_like, odd_ones, top_alone)


@pytest.fixture(scope="module")
def real_nets(caffe_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    sources = {program.__name__: np.array(inspect.getsource(program)) for program in PROGRAMS}
    found = in_real_caffe(caffe_root, tmp_path_factory.mktemp("net_spec"), "caffe.net_spec", programs, sources)
    return {name: caffe_pb2.NetParameter.FromString(net.tobytes()) for name, net in found.items()}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_same_net_as_pycaffe(program: Any, real_nets: Dict[str, Any]) -> None:
    assert program(net_spec) == real_nets[program.__name__]


def test_types_with_parameters_are_pycaffes(caffe_root: Path, tmp_path: Path) -> None:
    def types(net_spec: Any, given: Any) -> Any:
        return {name: np.array(field) for name, field in net_spec.param_name_dict().items()}

    real = in_real_caffe(caffe_root, tmp_path, "caffe.net_spec", types, {})
    assert param_name_dict() == {name: str(field) for name, field in real.items()}


def test_automatic_names_count_by_type() -> None:
    """By hand: bottoms come first, in their order; each type counts for itself."""
    data = L.Input(shape=dict(dim=[1]))
    net = to_proto(L.Eltwise(L.ReLU(data), L.ReLU(L.TanH(data))))
    assert [(layer.name, list(layer.bottom)) for layer in net.layer] == [
        ("Input1", []), ("ReLU1", ["Input1"]), ("TanH1", ["Input1"]), ("ReLU2", ["TanH1"]),
        ("Eltwise1", ["ReLU1", "ReLU2"])]


def test_a_net_of_any_depth() -> None:
    top = L.Input(shape=dict(dim=[1]))
    for _ in range(5000):
        top = L.ReLU(top)
    assert top.to_proto().layer[-1].name == "ReLU5000"


def test_what_is_assigned_can_be_read() -> None:
    n = NetSpec()
    n.data = L.Input()
    n["relu/1"] = L.ReLU(n.data)
    assert list(n.tops) == ["data", "relu/1"] and isinstance(n["relu/1"], Top) and not hasattr(n, "pool")
    for read in (lambda: n.dta, lambda: n["dta"]):
        with pytest.raises(KeyError, match="did you mean data"):
            read()


def test_a_bottom_that_is_no_top() -> None:
    n = NetSpec()
    n.data, n.label = L.Data(ntop=2)
    with pytest.raises(TypeError, match=r"^Convolution input 1 is not a Top \(type is <class 'str'>\)$"):
        L.Convolution(n.data, "label")
    n.pair = L.Data(ntop=2)
    with pytest.raises(TypeError, match="pair is not a Top"):
        n.to_proto()


@pytest.mark.parametrize("params, message", [
    (dict(kernal_size=3), "layer Convolution1: Convolution has no parameter 'kernal_size'; did you mean kernel_size"),
    (dict(weight_filler=dict(tpe="xavier")), "FillerParameter has no field 'tpe'; did you mean type"),
    (dict(num_output="many"), "ConvolutionParameter.num_output cannot be 'many'"),
    (dict(num_output=[1, 2]), "ConvolutionParameter.num_output cannot be"),
    (dict(num_output=dict(a=1)), "ConvolutionParameter.num_output cannot be"),
    (dict(weight_filler="xavier"), "ConvolutionParameter.weight_filler cannot be 'xavier'"),
    (dict(no_such_param=1), "LayerParameter has no field 'no_such_param'"),
])
def test_wrong_parameters(params: Dict[str, Any], message: str) -> None:
    for kind in (UserError, TypeError, AttributeError):
        with pytest.raises(kind, match=message):
            L.Convolution(**params).to_proto()


@pytest.mark.parametrize("value, stored", [(3, [3]), ([3, 4], [3, 4]), ([], [])])
def test_one_value_of_a_repeated_field(value: Any, stored: List[int]) -> None:
    layer = caffe_pb2.LayerParameter()
    assign_proto(layer, "convolution_param", {"kernel_size": value})
    assert list(layer.convolution_param.kernel_size) == stored


def test_values_of_enums() -> None:
    assert (P.Pooling.MAX, P.Pooling.AVE, P.Eltwise.SUM, P.Data.LMDB) == (0, 1, 1, 1)
    with pytest.raises(AttributeError):
        P.Pooling.MEDIAN  # noqa: B018
