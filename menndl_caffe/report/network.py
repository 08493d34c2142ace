"""The rows of Figure 1: a net as it trains, layer by layer, with the values that the search sets marked."""
from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Iterator, List, Optional, Tuple

from menndl_caffe.nets.shapes import LayerShape
from menndl_caffe.report.nets import SOLVER, Key, Leaves, Marks, Nets, Path_, Texts, layer_leaves, layers
from menndl_caffe.text import as_csv
from menndl_caffe.trial import Trial

# Settings that say nothing of the network.
UNTOLD = ("backend", "engine", "source", "mean_file", "root_folder", "file_name", "param_str")
WIRING = ("name", "type", "bottom", "top", "phase", "include", "exclude", "loss_weight", "propagate_down")


@dataclass(frozen=True)
class Setting:
    """A field of a layer; `genes` are those that set it, none where it is fixed."""

    name: str
    value: str
    genes: Tuple[str, ...]


@dataclass(frozen=True)
class Layer:
    """A layer of the net, or last the solver where genes set something in it. Shapes are those of one image."""

    name: str
    type: str
    bottoms: Tuple[str, ...]
    tops: Tuple[str, ...]
    settings: Tuple[Setting, ...]
    genes: Tuple[str, ...]  # that decide whether the layer is there, or its type
    output: Optional[Tuple[int, ...]]  # shape of its first top; None where unknown
    parameters: Optional[int]
    multiply_adds: Optional[int]


def network(nets: Nets, trial: Trial, other: Optional[Trial]) -> List[Layer]:
    """The layers of an individual's net; none where its files are gone. `other`: see Nets.searched."""
    texts = nets.texts(trial)
    if texts is None:
        return []
    marks, fields = nets.searched(trial, other), layer_leaves(texts)
    shape = nets.shape(texts.net)
    shapes = iter(shape.layers) if shape else None
    found = [_layer(key, layer, fields[key], marks, _shape_of(layer, shapes)) for key, layer in layers(texts.net)]
    return found + list(_solver(texts, fields[SOLVER], marks))


def _shape_of(layer: Any, shapes: Optional[Iterator[LayerShape]]) -> Optional[LayerShape]:
    """The next shape that is this layer's: between them are those of the Split layers that Caffe adds."""
    return next((shape for shape in shapes if (shape.name, shape.type) == (layer.name, layer.type)), None) \
        if shapes else None


def _layer(key: Key, layer: Any, fields: Leaves, marks: Marks, shape: Optional[LayerShape]) -> Layer:
    genes = _genes(marks, key, ()) + _genes(marks, key, ("type",))
    output = next(iter(shape.tops.values()), None) if shape else None
    batch = output[0] if output else 1
    return Layer(layer.name, layer.type, tuple(layer.bottom), tuple(layer.top), tuple(_settings(key, fields, marks)),
                 genes, output[1:] if output is not None else None,
                 sum(map(prod, shape.params)) if shape else None, shape.multiply_adds // batch if shape else None)


def _settings(key: Key, fields: Leaves, marks: Marks) -> Iterator[Setting]:
    """The numbers of a layer that are its own, and all that the search sets."""
    for path, value in fields.items():
        genes = _genes(marks, key, path)
        of_type = path[0].endswith("_param") and len(path) == 2 and path[1] not in UNTOLD
        if path[0] not in WIRING and (genes or of_type):
            yield Setting(".".join(path[1:] or path), value, genes)


def _genes(marks: Marks, key: Key, path: Path_) -> Tuple[str, ...]:
    return tuple(sorted(marks.get(key, {}).get(path, ())))


def _solver(texts: Texts, fields: Leaves, marks: Marks) -> Iterator[Layer]:
    settings = tuple(Setting(".".join(path), value, _genes(marks, SOLVER, path))
                     for path, value in fields.items() if _genes(marks, SOLVER, path))
    if settings:
        yield Layer("solver", texts.solver.type, (), (), settings, (), None, None, None)


def network_csv(rows: List[Layer]) -> str:
    """One row for each layer; shapes, parameters and multiply-adds of one image's way forward."""
    return as_csv(["layer", "type", "bottoms", "tops", "output", "parameters", "multiply_adds", "settings", "searched"],
                  ([row.name, row.type, " ".join(row.bottoms), " ".join(row.tops), shape_text(row.output),
                    row.parameters, row.multiply_adds,
                    " ".join(f"{setting.name}={setting.value}" for setting in row.settings),
                    " ".join([*(f"layer={gene}" for gene in row.genes),
                              *(f"{setting.name}={'+'.join(setting.genes)}" for setting in row.settings
                                if setting.genes)])] for row in rows))


def shape_text(shape: Optional[Tuple[int, ...]], times: str = " x ") -> str:
    """`32 x 33 x 33`; nothing where it is unknown or a scalar."""
    return times.join(map(str, shape or ()))
