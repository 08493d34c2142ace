"""Pictures of nets (pycaffe's `draw.py`): layers and blobs as a graph, by pydot and Graphviz's program `dot`."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from menndl_caffe.errors import UserError, optional_module
from menndl_caffe.nets.proto import caffe_pb2

BOX = {"shape": "record", "style": "filled"}
COLORS = {"Convolution": "#FF5050", "Deconvolution": "#FF5050", "Pooling": "#FF9900", "InnerProduct": "#CC33FF"}
OTHER_LAYER, IN_PLACE_LAYER = "#6495ED", "#90EE90"
BLOB = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}
LEARNING = ("Convolution", "Deconvolution", "InnerProduct")
NO_LABEL = '""'


def get_pydot_graph(caffe_net: Any, rankdir: str, label_edges: bool = True, phase: Optional[int] = None,
                    display_lrm: bool = False) -> Any:
    """The pydot graph of a NetParameter: a node for each layer and each blob, an edge for each bottom and each top.

    `rankdir` is the direction of the drawing (LR, TB or BT); with `phase` (TRAIN or TEST) only its layers are drawn;
    with `display_lrm` layers that learn show their lr_mult. UserError without pydot.
    """
    pydot = optional_module("pydot", "drawing a net", "pydot")
    graph = pydot.Dot(caffe_net.name or "Net", graph_type="digraph", rankdir=rankdir)
    nodes: Dict[str, Any] = {}
    edges: List[Tuple[str, str, str]] = []
    for layer in caffe_net.layer:
        if phase is not None and not _is_in_phase(layer, phase):
            continue
        own = f"{layer.name}_{layer.type}"
        nodes[own] = pydot.Node(_layer_label(layer, rankdir, display_lrm), fillcolor=_color(layer), **BOX)
        for bottom in layer.bottom:
            nodes[f"{bottom}_blob"] = pydot.Node(_quoted(bottom), **BLOB)
            edges.append((f"{bottom}_blob", own, NO_LABEL))
        for top in layer.top:
            nodes[f"{top}_blob"] = pydot.Node(_quoted(top))
            edges.append((own, f"{top}_blob", _edge_label(layer) if label_edges else NO_LABEL))
    for node in nodes.values():
        graph.add_node(node)
    for source, target, label in edges:
        graph.add_edge(pydot.Edge(nodes[source], nodes[target], label=label))
    return graph


def draw_net(caffe_net: Any, rankdir: str, ext: str = "png", phase: Optional[int] = None,
             display_lrm: bool = False) -> bytes:
    """The picture of a NetParameter in a format of Graphviz (png, pdf, svg, …), or `raw`: the graph as text.

    Other arguments as of `get_pydot_graph`. UserError without pydot or `dot`.
    """
    graph = get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm)
    if ext == "raw":
        return bytes(graph.to_string(), "utf-8")
    try:
        picture: bytes = graph.create(format=ext)
    except (OSError, AssertionError) as error:  # no `dot`, or one that does not know the format
        raise UserError(f"Graphviz's program dot cannot draw {ext!r}: {error}") from None
    return picture


def draw_net_to_file(caffe_net: Any, filename: str, rankdir: str = "LR", phase: Optional[int] = None,
                     display_lrm: bool = False) -> None:
    """Write the picture of a NetParameter, in the format that the file's name ends in; see `draw_net`."""
    ext = Path(filename).suffix[1:]
    if not ext:
        raise UserError(f"{filename}: the ending of the file's name gives the format, such as .png, .pdf, .svg, .raw")
    Path(filename).write_bytes(draw_net(caffe_net, rankdir, ext, phase, display_lrm))


def _is_in_phase(layer: Any, phase: int) -> bool:
    if layer.include and layer.exclude:
        raise UserError(f"layer {layer.name} has both include and exclude rules")
    if layer.include:
        return any(rule.phase == phase for rule in layer.include)
    return all(rule.phase != phase for rule in layer.exclude)


def _color(layer: Any) -> str:
    if len(layer.bottom) == 1 and list(layer.bottom) == list(layer.top):
        return IN_PLACE_LAYER
    return COLORS.get(layer.type, OTHER_LAYER)


def _layer_label(layer: Any, rankdir: str, display_lrm: bool) -> str:
    """Name, type and geometry, side by side where layers are drawn one below the other."""
    separator = " " if rankdir in ("TB", "BT") else r"\n"
    kind = layer.type
    if kind == "Pooling":
        kind += " " + caffe_pb2.PoolingParameter.PoolMethod.Name(layer.pooling_param.pool)
    lines = [layer.name, f"({kind})", *_geometry(layer)]
    if display_lrm and layer.type in LEARNING:
        weights, bias = _lr_mults(layer)
        if weights or bias:
            lines.append(f"lr mult: {weights:.1f}, {bias:.1f}")
    return _quoted(separator.join(lines))


def _geometry(layer: Any) -> List[str]:
    if layer.type == "Pooling":
        param = layer.pooling_param
        kernel, stride, pad = param.kernel_size, param.stride, param.pad
    elif layer.type in ("Convolution", "Deconvolution"):
        param = layer.convolution_param
        kernel, stride, pad = ([*sizes, default][0] for sizes, default in (
            (param.kernel_size, 1), (param.stride, 1), (param.pad, 0)))
    else:
        return []
    return [f"kernel size: {kernel}", f"stride: {stride}", f"pad: {pad}"]


def _lr_mults(layer: Any) -> Tuple[float, float]:
    """Of the weights and of the bias."""
    rates = [spec.lr_mult for spec in layer.param] + [1.0, 1.0]
    if len(layer.param) > 2:
        raise UserError(f"layer {layer.name} has {len(layer.param)} param blocks, but a weight and a bias only")
    return rates[0], rates[1]


def _edge_label(layer: Any) -> str:
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    if layer.type == "InnerProduct":
        return str(layer.inner_product_param.num_output)
    return NO_LABEL


def _quoted(text: str) -> str:
    """As Graphviz quotes a name, in which a bare colon would mean a port."""
    return '"' + text.replace('"', r'\"') + '"'
