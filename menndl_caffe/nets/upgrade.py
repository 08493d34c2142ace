"""Nets and solvers of older formats in today's, as Caffe makes them when it loads a file (`upgrade_proto.cpp`).

    V0     layers { layer { name type: "conv" kernelsize blobs_lr ... } bottom top }   the settings of all types in one
    V1     layers { name type: CONVOLUTION blobs_lr bottom top convolution_param { } }  settings of their own
    today  layer { name type: "Convolution" param { lr_mult } bottom top convolution_param { } }

Older than today's `layer` are also data_param.mean_file and the like (now in transform_param), a net's `input` (now an
Input layer), and rates for batch norm's statistics (which are not learned).
"""
from __future__ import annotations

from typing import Any, Callable, Collection, Dict, Iterator, List, Optional, Tuple

from menndl_caffe.errors import UserError
from menndl_caffe.nets.layer_rules import LAYERS
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet, Message, unknown_bottom, unknown_type
from menndl_caffe.nets.proto import caffe_pb2

Report = Callable[[str], None]

# V0: type -> today's message of its settings, with the fields that it takes. Other fields are dropped.
V0_SETTINGS = {
    "concat": ("concat_param", ("concat_dim",)),
    "conv": ("convolution_param", ("num_output", "biasterm", "weight_filler", "bias_filler", "pad", "kernelsize",
                                   "group", "stride")),
    "data": ("data_param", ("source", "batchsize", "rand_skip")),
    "dropout": ("dropout_param", ("dropout_ratio",)),
    "hdf5_data": ("hdf5_data_param", ("source", "batchsize")),
    "images": ("image_data_param", ("source", "batchsize", "rand_skip", "shuffle_images", "new_height", "new_width")),
    "infogain_loss": ("infogain_loss_param", ("source",)),
    "innerproduct": ("inner_product_param", ("num_output", "biasterm", "weight_filler", "bias_filler")),
    "lrn": ("lrn_param", ("local_size", "alpha", "beta", "k")),
    "pool": ("pooling_param", ("pad", "kernelsize", "stride", "pool")),
    "window_data": ("window_data_param", ("source", "batchsize", "det_fg_threshold", "det_bg_threshold",
                                          "det_fg_fraction", "det_context_pad", "det_crop_mode")),
}
V0_FIELDS_OF_ALL = ("name", "blobs", "blobs_lr", "weight_decay")
V0_TRANSFORMATIONS = ("scale", "meanfile", "cropsize", "mirror")
V0_WITHOUT_EFFECT = ("type", "new_num", "new_channels")  # the type is read before all others
V0_RENAMED = {"biasterm": "bias_term", "kernelsize": "kernel_size", "batchsize": "batch_size", "meanfile": "mean_file",
              "cropsize": "crop_size", "shuffle_images": "shuffle"}
V0_NET_FIELDS = ("name", "input", "input_dim", "force_backward")  # Caffe drops state, input_shape and debug_info

V1 = caffe_pb2.V1LayerParameter
V0_TYPES = {"conv": "CONVOLUTION", "images": "IMAGE_DATA", "innerproduct": "INNER_PRODUCT", "pool": "POOLING"}
V0_TYPES.update((name, name.upper()) for name in (
    "accuracy", "bnll", "concat", "data", "dropout", "euclidean_loss", "flatten", "hdf5_data", "hdf5_output", "im2col",
    "infogain_loss", "lrn", "multinomial_logistic_loss", "relu", "sigmoid", "softmax", "softmax_loss", "split", "tanh",
    "window_data"))
V1_TYPES = {name.upper(): name for name in LAYERS}  # of an enum's name without its underscores
V1_TYPES.update(NONE="", SOFTMAXLOSS="SoftmaxWithLoss")
V1_PARAM_SPEC = {"param": "name", "blob_share_mode": "share_mode", "blobs_lr": "lr_mult", "weight_decay": "decay_mult"}
V1_DATA_SETTINGS = {V1.DATA: "data_param", V1.IMAGE_DATA: "image_data_param", V1.WINDOW_DATA: "window_data_param"}
TRANSFORMATIONS = ("scale", "mean_file", "crop_size", "mirror")

SOLVER_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")  # by number


def upgrade_net(net: Message, report: Report = lambda text: None) -> Message:
    """A NetParameter in today's format: `net` itself where nothing in it is old, else a new message.

    Like Caffe it goes on where a field has no place in today's format: `report` is told what is lost, a line each.
    ImpossibleNet where Caffe aborts: `layers` beside `layer`, an unknown V0 type, a padding layer that nothing can take
    over, too few shapes of inputs.
    """
    if any(layer.HasField("layer") for layer in net.layers):
        net = _from_v0(net, report)
    if any(map(_has_old_transformation, net.layers)):
        net = _with_transform_param(net)
    if len(net.layers):
        net = _from_v1(net)
    if len(net.input):
        net = _with_input_layer(net)
    if any(map(_is_old_batch_norm, net.layer)):
        net = _with_fixed_statistics(net)
    return net


def places(net: Message, upgraded: Message) -> List[Optional[int]]:
    """For each layer of the upgraded net its place in the net's `layer` or `layers`; None for the Input layer made."""
    if len(net.layers):
        kept = [place for place, layer in enumerate(net.layers) if not _is_padding(layer)]
    else:
        kept = list(range(len(net.layer)))
    return [None] * (len(upgraded.layer) - len(kept)) + kept


def upgrade_solver(solver: Message) -> Message:
    """A SolverParameter whose type is a word: `solver` itself, or a new message where it has `solver_type`.

    UserError where it has both. Nets that are written in the solver stay as they are.
    """
    if not solver.HasField("solver_type"):
        return solver
    if solver.HasField("type"):
        raise UserError(f'solver_type: is given beside type: "{solver.type}"; expected type alone')
    return caffe_pb2.SolverParameter(type=SOLVER_TYPES[solver.solver_type], **_fields(solver, but=("solver_type",)))


def _fields(message: Message, but: Collection[str] = ()) -> Dict[str, Any]:
    """The fields that are set, by name; as they stand they make another message."""
    return {field.name: value for field, value in message.ListFields() if field.name not in but}


def _from_v0(net: Message, report: Report) -> Message:
    kept = {name: value for name, value in _fields(net).items() if name in V0_NET_FIELDS}
    layers = [_v1_of_v0(layer, place, report) for place, layer in _without_padding(net)]
    return caffe_pb2.NetParameter(layers=layers, **kept)


def _is_padding(layer: Message) -> bool:
    return bool(layer.layer.type == "padding")


def _without_padding(net: Message) -> Iterator[Tuple[int, Message]]:
    """Place and layer; padding layers become the `pad` of the convolutions and poolings that read them."""
    sources: Dict[str, Optional[Message]] = dict.fromkeys(net.input)
    for place, layer in enumerate(net.layers):
        name = layer.layer.name
        for bottom in layer.bottom:
            if bottom not in sources:
                raise ImpossibleNet(unknown_bottom(bottom, sources), name, place)
            source = sources[bottom]
            if source is not None and _is_padding(source):
                layer = _padded(layer, source, place)
        if not _is_padding(layer):
            yield place, layer
        sources.update(dict.fromkeys(layer.top, net.layers[place]))


def _padded(layer: Message, padding: Message, place: int) -> Message:
    if layer.layer.type not in ("conv", "pool"):
        raise ImpossibleNet(f"type {layer.layer.type} reads the padding layer {padding.layer.name}: only conv and pool "
                            f"can", layer.layer.name, place)
    for one, ends in ((layer, ("bottom",)), (padding, ("bottom", "top"))):
        for end in ends:
            if len(getattr(one, end)) != 1:
                raise ImpossibleNet(f"reads the padding layer {padding.layer.name}: {one.layer.name} must have one "
                                    f"{end}, not {len(getattr(one, end))}", layer.layer.name, place)
    padded = V1(bottom=padding.bottom, **_fields(layer, but=("bottom",)))
    padded.layer.pad = padding.layer.pad
    return padded


def _v1_of_v0(old: Message, place: int, report: Report) -> Message:
    """The layer in V1; of a V1 layer among V0 ones Caffe keeps bottoms and tops only."""
    new, settings = V1(bottom=old.bottom, top=old.top), old.layer
    if settings.HasField("type"):
        if settings.type not in V0_TYPES:
            raise ImpossibleNet(unknown_type(settings.type, V0_TYPES), settings.name, place)
        new.type = V1.LayerType.Value(V0_TYPES[settings.type])
    for name, value in _fields(settings, but=V0_WITHOUT_EFFECT).items():
        target = _v0_target(new, name, settings.type)
        if target is None:
            report(f"layer {settings.name}: type {settings.type} takes no {name}; it is dropped")
        else:
            _set(target, V0_RENAMED.get(name, name.replace("det_", "")), value)
    return new


def _v0_target(new: Message, name: str, type_: str) -> Optional[Message]:
    """The message that takes a V0 field of a layer of this type; None where there is none."""
    settings, names = V0_SETTINGS.get(type_, ("", ()))
    if name in names:
        return getattr(new, settings)
    if name in V0_TRANSFORMATIONS:
        return new.transform_param
    is_taken = name in V0_FIELDS_OF_ALL or (name, type_) == ("hdf5_output_param", "hdf5_output")
    return new if is_taken else None


def _set(message: Message, name: str, value: Any) -> None:
    """Set a field to a value; a repeated one takes in several, or one more."""
    field = getattr(message, name)
    if hasattr(value, "MergeFrom"):
        field.MergeFrom(value)
    elif hasattr(field, "append"):
        field.append(value)
    else:
        setattr(message, name, value)


def _has_old_transformation(layer: Message) -> bool:
    settings = V1_DATA_SETTINGS.get(layer.type)
    return settings is not None and any(map(getattr(layer, settings).HasField, TRANSFORMATIONS))


def _with_transform_param(net: Message) -> Message:
    upgraded = caffe_pb2.NetParameter()
    upgraded.CopyFrom(net)
    for layer in upgraded.layers:
        if layer.type in V1_DATA_SETTINGS:
            settings = getattr(layer, V1_DATA_SETTINGS[layer.type])
            for message in (settings, layer.transform_param):
                message.SetInParent()
            for name in filter(settings.HasField, TRANSFORMATIONS):
                setattr(layer.transform_param, name, getattr(settings, name))
                settings.ClearField(name)
    return upgraded


def _from_v1(net: Message) -> Message:
    if len(net.layer):
        raise ImpossibleNet("the net has `layers` and `layer`, an old format and today's: one of them only",
                            net.layers[0].name, 0)
    layers = [_layer_of_v1(layer) for layer in net.layers]
    return caffe_pb2.NetParameter(layer=layers, **_fields(net, but=("layers",)))


def _layer_of_v1(old: Message) -> Message:
    new = caffe_pb2.LayerParameter(**_fields(old, but=("type", "layer", *V1_PARAM_SPEC)))
    if old.HasField("type"):
        new.type = V1_TYPES[V1.LayerType.Name(old.type).replace("_", "")]
    for v1_name, name in V1_PARAM_SPEC.items():
        for index, value in enumerate(getattr(old, v1_name)):
            if len(new.param) == index:
                new.param.add()
            setattr(new.param[index], name, value)
    return new


def _with_input_layer(net: Message) -> Message:
    """An Input layer, first, in place of `input` with `input_shape` or `input_dim` (four for each)."""
    upgraded = caffe_pb2.NetParameter(**_fields(net, but=("input", "input_shape", "input_dim", "layer")))
    if len(net.input_shape) or len(net.input_dim):
        upgraded.layer.add(name="input", type="Input", top=net.input, input_param={"shape": _input_shapes(net)})
    upgraded.layer.extend(net.layer)
    return upgraded


def _input_shapes(net: Message) -> List[Message]:
    dims = net.input_dim
    shapes = list(net.input_shape) or [caffe_pb2.BlobShape(dim=dims[i:i + 4]) for i in range(0, len(dims) - 3, 4)]
    if len(shapes) < len(net.input):
        raise ImpossibleNet(f"{len(net.input)} inputs, but {len(shapes)} shapes (input_shape, or four input_dim each)")
    return shapes[:len(net.input)]


def _is_old_batch_norm(layer: Message) -> bool:
    return layer.type == "BatchNorm" and len(layer.param) == 3


def _with_fixed_statistics(net: Message) -> Message:
    upgraded = caffe_pb2.NetParameter()
    upgraded.CopyFrom(net)
    for layer in filter(_is_old_batch_norm, upgraded.layer):
        for spec in layer.param:
            spec.lr_mult = spec.decay_mult = 0
    return upgraded
