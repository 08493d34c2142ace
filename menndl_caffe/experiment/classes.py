"""Whether a net has an output for each class of its images: Caffe reads and writes foreign memory for labels beyond."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Set

from menndl_caffe.data import Labels, labels
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.shapes import ImpossibleNet, NetShape
from menndl_caffe.nets.wiring import Wired

# Layers that take scores and labels, and where it is said which axis has the classes; None: axis 1.
CLASSIFYING = {"SoftmaxWithLoss": "softmax_param", "Accuracy": "accuracy_param", "InfogainLoss": "infogain_loss_param",
               "HingeLoss": None, "MultinomialLogisticLoss": None}
MOST = 1000  # classes of which a run says how many images they have


def images_of_classes(train: Path, test: Path) -> Dict[str, List[int]]:
    """Of each class, by its name, the images to train and to measure on; nothing where these were not all counted, or
    the labels are no classes but numbers."""
    parts = labels(train), labels(test)
    every = sorted(set().union(*(part.counts for part in parts)))
    if len(every) > MOST or not all(part.is_whole for part in parts):
        return {}
    return {parts[0].name(label): [part.counts.get(label, 0) for part in parts] for label in every}


def check_outputs(layers: Sequence[Wired], shape: NetShape) -> None:
    """ImpossibleNet where scores of a net whose shapes are known have fewer classes than the labels from its database;
    `layers` are those of the phase.

    What the labels are is known of Data layers that read an LMDB which is here.
    """
    makers: Dict[str, Wired] = {}
    databases: Dict[str, Path] = {}
    for wired in layers:
        if wired.layer.type in CLASSIFYING and len(wired.bottoms) > 1 and wired.bottoms[1] in databases:
            _check(wired, makers.get(wired.bottoms[0], wired), shape, databases[wired.bottoms[1]])
        for top in wired.tops:
            databases.pop(top, None)
            if top not in wired.bottoms:
                makers[top] = wired
        source = _database(wired)
        if source is not None:
            databases[wired.tops[1]] = source


def _database(wired: Wired) -> Optional[Path]:
    """The LMDB whose labels are the layer's second top."""
    param = wired.layer.data_param
    if wired.layer.type != "Data" or len(wired.tops) < 2 or param.backend != caffe_pb2.DataParameter.LMDB:
        return None
    source = Path(param.source)
    return source if (source / "data.mdb").exists() else None


def _check(user: Wired, maker: Wired, shape: NetShape, database: Path) -> None:
    scores = shape.blobs[user.bottoms[0]]
    axis = _axis(user.layer)
    if not -len(scores) <= axis < len(scores):
        return
    known = labels(database)
    counted = set(known.counts) - _ignored(user.layer)
    wrong = {label for label in counted if not 0 <= label < scores[axis]}
    if wrong:
        label = min(wrong) if min(wrong) < 0 else max(wrong)
        outputs = "1 output" if scores[axis] == 1 else f"{scores[axis]:,} outputs"
        raise ImpossibleNet(f"has {outputs} ('{user.bottoms[0]}', for {user.layer.name}), but {database} "
                            f"{_has(known, label)}", maker.layer.name, maker.place)


def _has(known: Labels, label: int) -> str:
    if label < 0:
        return f"has the label {label}; expected labels from 0, or ignore_label"
    named = f" ({known.name(label)})" if known.names else ""
    return f"has labels up to {label}{named}, {len(known.counts):,} classes; expected {label + 1:,} outputs or more"


def _axis(layer: Any) -> int:
    field = CLASSIFYING[layer.type]
    return int(getattr(layer, field).axis) if field else 1


def _ignored(layer: Any) -> Set[int]:
    param = layer.accuracy_param if layer.type == "Accuracy" else layer.loss_param
    return {param.ignore_label} if param.HasField("ignore_label") else set()
