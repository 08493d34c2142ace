"""Weights of a net in files and between nets, by layers' names (`net.cpp`, `hdf5.cpp`).

A .caffemodel is a serialized NetParameter: the layers of one phase, Split layers too, each with its `blobs`. As HDF5 it
has a float32 dataset `/data/LAYER/INDEX` for every parameter, one that layers share at the first of them only, and with
gradients `/diff/LAYER/INDEX` for all.
"""
from __future__ import annotations

import io
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Set, Tuple

import numpy as np
import torch

from menndl_caffe.errors import UserError
from menndl_caffe.nets.layer_rules.blob import blob_shape, has_old_axes, text
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.upgrade import upgrade_net
from menndl_caffe.text import printable
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.files import (
    dataset_of,
    h5py,
    is_hdf5,
    open_hdf5,
    read_array,
    read_group,
    read_message,
    write_file,
)
from menndl_caffe.torchcaffe.layer import Layer, numbers_of, repeated_of
from menndl_caffe.torchcaffe.log import WARNING, log

if TYPE_CHECKING:
    from menndl_caffe.torchcaffe.net import Net


def copy_from(net: Net, path: Path) -> None:
    """Take the weights of a .caffemodel, binary or HDF5, for the layers whose names the net has.

    UserError, and the net as it was, where the file is none or has parameters of other numbers or shapes.
    """
    if is_hdf5(path):
        load_hdf5(net, path)
    else:
        copy_layers(net, read_net(path), path)


def share(net: Net, other: Net) -> None:
    """Make the other's weights those of the net's layers of the same names: one memory (`ShareTrainedLayersWith`)."""
    layers = _first_of_names(net)
    pairs = []
    for source_layer in other.layers:
        name = source_layer.param.name
        if name not in layers:
            log(f"Ignoring source layer {name}", source="net.cpp:678")
            continue
        blobs = _same_number(layers[name], len(source_layer.blobs), "the other net")
        for index, (blob, source) in enumerate(zip(blobs, source_layer.blobs)):
            if blob.shape != source.shape:
                raise _mismatch("the other net", name, index, source.shape, blob.shape)
            pairs.append((blob, source))
    for blob, source in pairs:
        blob.share_data(source)


def save(net: Net, path: Path, write_diff: bool = False) -> None:
    """Write a binary .caffemodel, with gradients if `write_diff`."""
    message = caffe_pb2.NetParameter(name=net.name)
    for layer in net.layers:
        saved = message.layer.add()
        saved.CopyFrom(layer.param)
        saved.ClearField("blobs")
        saved.blobs.extend(blob.to_proto(write_diff) for blob in layer.blobs)
    write_file(path, message.SerializeToString())


def save_hdf5(net: Net, path: Path, write_diff: bool = False) -> None:
    """Write a .caffemodel.h5, with gradients if `write_diff`; UserError for layers that HDF5 cannot hold by name."""
    owned = _owned(net)
    content = io.BytesIO()
    with h5py().File(content, "w") as file:
        groups = [file.create_group(name) for name in (("data", "diff") if write_diff else ("data",))]
        for layer in net.layers:
            name = layer.param.name
            if "/" in name or name in groups[0]:
                raise UserError(f"{path}: layer {name}: HDF5 takes layers of different names without '/'; "
                                f"a binary .caffemodel takes any")
            data, *diff = (group.create_group(name) for group in groups)
            for index, blob in enumerate(layer.blobs):
                if (name, index) in owned:
                    data[str(index)] = _array(blob.value)
                if diff:
                    diff[0][str(index)] = _array(blob.grad)
    write_file(path, content.getvalue())


def load_hdf5(net: Net, path: Path) -> None:
    """Take the weights of a .caffemodel.h5, as `copy_from`."""
    owned, layers = _owned(net), {layer.param.name: layer for layer in net.layers}
    with open_hdf5(path) as file:
        if "data" not in file:
            names = printable(', '.join(file)) or 'nothing'
            raise UserError(f"{path}: has no group `data`, but {names}: not a .caffemodel.h5")
        data = read_group(file, "data", path)
        pairs: List[Tuple[Blob, np.ndarray]] = []
        for name in data:
            if name not in layers:
                log(f"Ignoring source layer {printable(name)}", source="net.cpp:801")
                continue
            group = read_group(data, name, path)
            if len(group) > len(layers[name].blobs):
                _same_number(layers[name], len(group), str(path))
            pairs += _datasets(group, layers[name], owned, path)
    for blob, array in pairs:
        blob.value.copy_(torch.from_numpy(array))


def read_net(path: Path) -> Any:
    """The NetParameter of a .caffemodel, in today's format; UserError where the file has none."""
    message = read_message(path, caffe_pb2.NetParameter)
    _read_names(message)
    if not len(message.layer) and not len(message.layers):
        raise UserError(f"{path}: has no layer: not a .caffemodel")
    return upgrade_net(message, report=lambda line: log(f"{path}: {line}", WARNING, "upgrade_proto.cpp:33"))


def _read_names(message: Any) -> None:
    """Texts that are no UTF-8, which are bytes in what was read, as `prototxt` reads them: Latin-1."""
    for field, value in message.ListFields():
        values = [value] if isinstance(value, (str, bytes)) or hasattr(value, "ListFields") else value
        if field.type == field.TYPE_STRING and any(isinstance(one, bytes) for one in values):
            texts = [one.decode("latin-1") if isinstance(one, bytes) else one for one in values]
            message.ClearField(field.name)
            if values is value:
                getattr(message, field.name).extend(texts)
            else:
                setattr(message, field.name, texts[0])
        elif field.message_type and field.name != "blobs":
            for one in values:
                _read_names(one)


def copy_layers(net: Net, source: Any, path: Path) -> None:
    """Take the weights of a NetParameter, read from `path`, as `copy_from` (`CopyTrainedLayersFrom`)."""
    layers = _first_of_names(net)
    pairs: List[Tuple[Blob, Any]] = []
    for source_layer in source.layer:
        if source_layer.name not in layers:
            log(f"Ignoring source layer {source_layer.name}", source="net.cpp:746")
            continue
        blobs = _same_number(layers[source_layer.name], len(source_layer.blobs), str(path))
        for index, (blob, proto) in enumerate(zip(blobs, source_layer.blobs)):
            if not _fits(blob.shape, proto):
                raise _mismatch(str(path), source_layer.name, index, blob_shape(proto), blob.shape)
            check_numbers(proto, f"{path}: layer {source_layer.name}")
            pairs.append((blob, proto))
    for blob, proto in pairs:
        fill_from(blob, proto)


def check_numbers(proto: Any, where: str) -> None:
    """UserError unless a BlobProto has as many numbers as its shape says, and as many in its gradient, or none."""
    shape, count, gradients = blob_shape(proto), len(repeated_of(proto)), len(repeated_of(proto, gradient=True))
    if count != prod(shape):
        raise UserError(f"{where}: a blob of shape {text(shape)} comes with {count} numbers")
    if gradients not in (0, count):
        raise UserError(f"{where}: a blob of shape {text(shape)} comes with a gradient of {gradients} numbers")


def fill_from(blob: Blob, proto: Any) -> None:
    """The numbers of a BlobProto, and its gradient if it has one, in a blob of as many."""
    blob.value.copy_(numbers_of(proto).view(blob.shape))
    if len(repeated_of(proto, gradient=True)):
        blob.grad.copy_(numbers_of(proto, gradient=True).view(blob.shape))


def _fits(shape: Tuple[int, ...], proto: Any) -> bool:
    """Whether a BlobProto has this shape; in old files missing axes are leading ones (`Blob::ShapeEquals`)."""
    saved = blob_shape(proto)
    if has_old_axes(proto):
        return (1,) * (len(saved) - len(shape)) + shape == saved
    return shape == saved


def _datasets(group: Any, layer: Layer, owned: Set[Tuple[str, int]], path: Path) -> Iterator[Tuple[Blob, np.ndarray]]:
    """A layer's parameters and their arrays; one that another layer owns may be missing."""
    name = layer.param.name
    for index, blob in enumerate(layer.blobs):
        if str(index) in group:
            dataset = dataset_of(group, str(index), path)
            if dataset.shape != blob.shape:
                raise _mismatch(str(path), name, index, dataset.shape, blob.shape)
            yield blob, read_array(dataset)
        elif (name, index) in owned:
            _same_number(layer, len(group), str(path))
            raise UserError(f"{path}: layer {name}: parameter {index} is missing there, beside {', '.join(group)}")


def _owned(net: Net) -> Set[Tuple[str, int]]:
    """Layer and index of all parameters but those that belong to an earlier layer."""
    return {learnable.layers[0] for learnable in net.learnable}


def _first_of_names(net: Net) -> Dict[str, Layer]:
    """The first layer of each name: several may have one name (`examples/mnist`'s autoencoder)."""
    return {layer.param.name: layer for layer in reversed(net.layers)}


def _same_number(layer: Layer, number: int, where: str) -> List[Blob]:
    if number != len(layer.blobs):
        shapes = ", ".join(text(blob.shape) for blob in layer.blobs)
        raise UserError(f"{where}: layer {layer.param.name} has {number} parameters there, {len(layer.blobs)} here"
                        f"{shapes and f' ({shapes})'}")
    return layer.blobs


def _mismatch(where: str, layer: str, index: int, found: Tuple[int, ...], expected: Tuple[int, ...]) -> UserError:
    return UserError(f"{where}: layer {layer}: parameter {index} has shape {text(found)} there, {text(expected)} here; "
                     f"rename the layer to learn it from scratch")


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.cpu().contiguous().numpy()
