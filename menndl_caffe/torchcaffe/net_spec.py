"""Nets written as Python: `n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20)` (pycaffe's `net_spec.py`).

`layers` (L) makes layers of any type: positional arguments are its bottoms, keywords the fields of its parameters.
`params` (P) holds the values of enums: `P.Pooling.MAX`. What a layer function gives are Tops, the bottoms of later
layers; `NetSpec` names them, `to_proto` makes the NetParameter.
"""
from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any, Callable, Dict, Iterable, List, Tuple, Union

from menndl_caffe.errors import UserError, did_you_mean
from menndl_caffe.nets.proto import caffe_pb2

Named = Union["Top", "Function"]
Names = Dict[Named, str]
Numbers = Dict[str, int]  # how many automatic names each layer type has had


class FieldError(UserError, TypeError, AttributeError):
    """A field that a message does not have, or a value that it cannot hold."""


class UnknownTop(UserError, AttributeError, KeyError):
    """A name to which nothing has been assigned."""

    __str__ = Exception.__str__  # KeyError's would put the text in quotes


def param_name_dict() -> Dict[str, str]:
    """The layer types that have a parameter message of their own, with its field: {"InnerProduct": "inner_product"}."""
    fields = caffe_pb2.LayerParameter.DESCRIPTOR.fields
    return {field.message_type.name[:-len("Parameter")]: field.name[:-len("_param")]
            for field in fields if field.name.endswith("_param")}


def assign_proto(proto: Any, name: str, val: Any) -> None:
    """Set a field of a message: a dict fills a message, a list a repeated field, or a single value as a list of one.

    FieldError where there is no such field or where it cannot hold the value.
    """
    fields = proto.DESCRIPTOR.fields_by_name
    if name not in fields:
        raise FieldError(f"{proto.DESCRIPTOR.name} has no field {name!r}{did_you_mean(name, fields)}")
    try:
        _assign(proto, name, val)
    except FieldError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise FieldError(f"{proto.DESCRIPTOR.name}.{name} cannot be {val!r}: {error}") from None


def _assign(proto: Any, name: str, val: Any) -> None:
    field = getattr(proto, name)
    if hasattr(field, "extend"):
        items = val if isinstance(val, list) else [val]
        if items and isinstance(items[0], dict):
            for item in items:
                _fill(field.add(), item)
        else:
            field.extend(items)
    elif isinstance(val, dict) and hasattr(field, "DESCRIPTOR"):
        _fill(field, val)
    else:
        setattr(proto, name, val)


def _fill(proto: Any, values: Dict[str, Any]) -> None:
    for name, value in values.items():
        assign_proto(proto, name, value)


class Top:
    """Output `n` of a layer."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn, self.n = fn, n

    def to_proto(self) -> Any:
        """The NetParameter of all layers that this top needs, with automatic names."""
        return to_proto(self)


class Function:
    """A layer: its type, the Tops that it reads, its parameters, and the `ntop` Tops that it makes.

    TypeError where a bottom is not a Top.
    """

    def __init__(self, type_name: str, inputs: Tuple[Top, ...], params: Dict[str, Any]) -> None:
        for index, bottom in enumerate(inputs):
            if not isinstance(bottom, Top):
                raise TypeError(f"{type_name} input {index} is not a Top (type is {type(bottom)})")
        self.type_name, self.inputs, self.params = type_name, inputs, params
        self.ntop: int = params.pop("ntop", 1)
        self.in_place: bool = params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def layer(self, done: Dict[Function, Any], names: Names, numbers: Numbers) -> Any:
        """The LayerParameter, given those of the layers that it reads; `names` gains the automatic ones."""
        bottoms = [done[bottom.fn].top[bottom.n] for bottom in self.inputs]
        tops = bottoms if self.in_place else [_name_of(top, self.type_name, names, numbers) for top in self.tops]
        named: Named = self if self in names or not self.tops else self.tops[0]
        layer = caffe_pb2.LayerParameter(type=self.type_name, bottom=bottoms, top=tops,
                                         name=_name_of(named, self.type_name, names, numbers))
        for name, value in self.params.items():
            assign_proto(self._message_with(layer, name), name, value)
        return layer

    def _message_with(self, layer: Any, name: str) -> Any:
        """Keywords mean fields of the type's own parameters, or else of the layer, as those that end in `param` do."""
        common = layer.DESCRIPTOR.fields_by_name
        if self.type_name not in _param_names or name.endswith("param"):
            return layer
        own = getattr(layer, _param_names[self.type_name] + "_param")
        if name in own.DESCRIPTOR.fields_by_name:
            return own
        if name not in common:
            hint = did_you_mean(name, own.DESCRIPTOR.fields_by_name)
            raise FieldError(f"layer {layer.name}: {self.type_name} has no parameter {name!r}{hint}")
        return layer


def _name_of(item: Named, type_name: str, names: Names, numbers: Numbers) -> str:
    if item not in names:
        numbers[type_name] += 1
        names[item] = f"{type_name}{numbers[type_name]}"
    return names[item]


def _bottoms_first(functions: Iterable[Function]) -> List[Function]:
    """These layers and all that they need, each after those that it reads."""
    done: Dict[Function, None] = {}
    for function in functions:
        stack = [function]
        while stack:
            missing = [bottom.fn for bottom in stack[-1].inputs if bottom.fn not in done]
            if missing:
                stack.append(missing[0])
            else:
                done[stack.pop()] = None
    return list(done)


def _net(functions: Iterable[Function], names: Names) -> Any:
    layers: Dict[Function, Any] = {}
    numbers: Numbers = Counter()
    for function in _bottoms_first(functions):
        layers[function] = function.layer(layers, names, numbers)
    return caffe_pb2.NetParameter(layer=list(layers.values()))


def to_proto(*tops: Top) -> Any:
    """The NetParameter of all layers that these tops need, with automatic names: Convolution1, Convolution2, …"""
    return _net([top.fn for top in tops], {})


class NetSpec:
    """A net under construction: what is assigned to its attributes or items gives layers and tops their names.

    `tops` holds what has been assigned so far, in order. A layer without tops (`ntop=0`) is assigned itself.
    """

    tops: Dict[str, Named]

    def __init__(self) -> None:
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name: str, value: Named) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        tops = vars(self).get("tops", {})
        if name not in tops:
            raise UnknownTop(f"nothing is named {name!r} in this net{did_you_mean(name, tops)}")
        return tops[name]

    __setitem__ = __setattr__
    __getitem__ = __getattr__

    def to_proto(self) -> Any:
        """The NetParameter of everything assigned, and of what it needs."""
        functions = []
        for name, value in self.tops.items():
            if not isinstance(value, (Top, Function)):
                raise TypeError(f"{name} is not a Top (type is {type(value)})")
            functions.append(value.fn if isinstance(value, Top) else value)
        return _net(functions, {value: name for name, value in self.tops.items()})


class Layers:
    """`layers.Type(*bottoms, ntop=1, in_place=False, name=…, **params)`, for any type.

    Gives the layer's Top, a tuple of them where `ntop` is above 1, or the layer (a Function) where it is 0.
    """

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def layer(*bottoms: Top, **params: Any) -> Any:
            function = Function(name, bottoms, params)
            if function.ntop == 0:
                return function
            return function.tops[0] if function.ntop == 1 else function.tops

        return layer


class Parameters:
    """`params.Pooling.MAX`: the value of an enum of the message `PoolingParameter`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(caffe_pb2, f"{name}Parameter")


_param_names = param_name_dict()
layers = Layers()
params = Parameters()
