"""The net that only predicts, from the net that is trained and tested: `deploy.prototxt`, as Caffe's examples have one.

    Data, ImageData, ...                Input of the same shape, one image at a time; what only losses read is left out
    SoftmaxWithLoss, InfogainLoss       Softmax: `prob`
    SigmoidCrossEntropyLoss             Sigmoid: `prob`
    Accuracy, other losses              left out; what they judge is an output of the net
"""
from __future__ import annotations

from typing import Dict, List, Set, Tuple

from menndl_caffe.nets.layer_rules import LAYERS
from menndl_caffe.nets.layer_rules.blob import Message
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.shapes import DatumShape, infer
from menndl_caffe.nets.wiring import layers_of_phase

SOURCES = ("Data", "HDF5Data", "ImageData", "Input", "MemoryData", "WindowData")
# Losses that make probabilities of scores: the layer that does the same, and the two's settings of its axis.
PROBABILITIES: Dict[str, Tuple[str, str]] = {
    "SoftmaxWithLoss": ("Softmax", "softmax_param"), "InfogainLoss": ("Softmax", "infogain_loss_param"),
    "SigmoidCrossEntropyLoss": ("Sigmoid", "")}
PROB = "prob"


def deploy(net: Message, datum_shape: DatumShape) -> Message:
    """The NetParameter that predicts what the net's phase TEST judges, from images already transformed.

    Its first axis is 1. UnknownShape where the data's shape is not in the net's file or database; ImpossibleNet where
    Caffe would refuse the net, or the one made of it.
    """
    shapes = infer(net, "TEST", datum_shape).blobs
    layers = [wired.layer for wired in layers_of_phase(net, "TEST", 0, ())]
    made = caffe_pb2.NetParameter(name=net.name)
    needed = _needed(layers)
    for layer, tops in zip(layers, needed):
        if layer.type in SOURCES:
            made.layer.extend(_input(top, shapes[top]) for top in layer.top if top in tops)
        elif tops:
            made.layer.append(_predicting(layer))
    made.layer.extend(_probabilities(layers))
    infer(made, "TEST", datum_shape)
    return made


def _is_judge(layer: Message) -> bool:
    return layer.type == "Accuracy" or (layer.type in LAYERS and LAYERS[layer.type].loss)


def _needed(layers: List[Message]) -> List[Set[str]]:
    """For each layer its tops that lead to what losses and accuracies judge: their first bottoms."""
    wanted: Set[str] = set()
    needed: List[Set[str]] = []
    for layer in reversed(layers):
        if _is_judge(layer):
            needed.append(set())
            wanted.add(layer.bottom[0])
            continue
        needed.append(wanted.intersection(layer.top))
        if needed[-1]:
            wanted.difference_update(layer.top)
            wanted.update(layer.bottom)
    return needed[::-1]


def _input(top: str, shape: Tuple[int, ...]) -> Message:
    dims = caffe_pb2.BlobShape(dim=(1, *shape[1:]))
    return caffe_pb2.LayerParameter(name=top, type="Input", top=[top], input_param={"shape": [dims]})


def _predicting(layer: Message) -> Message:
    """The layer without what matters in training alone: its phases, its place in the loss, its fillers."""
    kept = caffe_pb2.LayerParameter()
    kept.CopyFrom(layer)
    for field in ("include", "exclude", "loss_weight", "propagate_down"):
        kept.ClearField(field)
    for _, settings in kept.ListFields():
        for filler in ("weight_filler", "bias_filler"):
            if filler in getattr(getattr(settings, "DESCRIPTOR", None), "fields_by_name", ()):
                settings.ClearField(filler)
    return kept


def _probabilities(layers: List[Message]) -> List[Message]:
    """A layer for each blob of scores of which a loss makes probabilities; the last, a net's main one, is `prob`."""
    losses = {loss.bottom[0]: loss for loss in layers if loss.type in PROBABILITIES}
    last = len(losses) - 1
    return [_probability(loss, PROB if i == last else f"{PROB}_{scores}")
            for i, (scores, loss) in enumerate(losses.items())]


def _probability(loss: Message, name: str) -> Message:
    type_, settings = PROBABILITIES[loss.type]
    layer = caffe_pb2.LayerParameter(name=name, type=type_, bottom=loss.bottom[:1], top=[name])
    if settings and getattr(loss, settings).HasField("axis"):
        layer.softmax_param.axis = getattr(loss, settings).axis
    return layer
