"""Layers that users write in Python (`python_layer.hpp`)."""
from __future__ import annotations

from menndl_caffe.nets.layer_rules.blob import Message, Outcome, Shapes, UnknownShape


def python(bottoms: Shapes, layer: Message) -> Outcome:
    """Unknown: what the class makes."""
    raise UnknownShape(f"its Python class {layer.python_param.module}.{layer.python_param.layer} gives the shape")
