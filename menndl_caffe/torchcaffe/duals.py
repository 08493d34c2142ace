"""Exact products of a loss's Hessian with a vector: the passes of a net, once, on dual numbers.

Source: B. A. Pearlmutter, Fast Exact Multiplication by the Hessian, Neural Computation 6(1), 1994.

Notation
--------
w           all parameters;  v: a direction, as w
E(w)        the loss of a batch
g(w)        the gradient of E, which a forward and a backward pass compute
H v         the derivative of g(w + t v) by t, at t = 0
a + b t     a dual number, with t^2 = 0: f(a + b t) = f(a) + f'(a) b t; b is its tangent

Passes on w + v t give g(w) + H v t. This is forward-mode differentiation of gradients that are written out.
"""
from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, List, Sequence

import numpy as np
import torch
from torch.autograd import forward_ad

from menndl_caffe.errors import UserError
from menndl_caffe.torchcaffe.blob import Blob, set_aside
from menndl_caffe.torchcaffe.graph import Learnable, Node
from menndl_caffe.torchcaffe.replay import is_source


def hessian_product(nodes: Sequence[Node], blobs: Sequence[Blob], learnable: Sequence[Learnable],
                    direction: Sequence[np.ndarray]) -> List[np.ndarray]:
    """H v for each learnable parameter, once these layers of a net with these blobs have run: `Net.hessian_product`."""
    running = [node for node in nodes if not is_source(node)]
    _refuse_python(running)
    tangents = _tangents(learnable, direction)
    with _states_kept(running), set_aside([*blobs, *(parameter.blob for parameter in learnable)]):
        with forward_ad.dual_level():
            for parameter, tangent in zip(learnable, tangents):
                parameter.blob.value = forward_ad.make_dual(parameter.blob.value, tangent)
            for node in running:
                if node.top:  # others make nothing, but may write files
                    node.forward()
            for node in reversed(running):
                node.backward()
            return [_tangent_of(parameter.blob.grad) for parameter in learnable]


def _refuse_python(nodes: Sequence[Node]) -> None:
    for node in nodes:
        if node.layer.type == "Python":
            raise UserError(f"layer {node.name}: a Python layer computes in NumPy, so there is no exact product of a "
                            "Hessian; take differences of gradients, or use layers of Caffe's own types")


def _tangents(learnable: Sequence[Learnable], direction: Sequence[np.ndarray]) -> List[torch.Tensor]:
    found, expected = [np.shape(array) for array in direction], [parameter.blob.shape for parameter in learnable]
    if found != expected:
        raise ValueError(f"a direction of arrays of shapes {found}, but the learnable parameters have {expected}")
    values = [parameter.blob.value for parameter in learnable]
    return [torch.tensor(array, dtype=value.dtype, device=value.device) for array, value in zip(direction, values)]


def _tangent_of(tensor: torch.Tensor) -> np.ndarray:
    """Zeros where nothing depends on t."""
    tangent = forward_ad.unpack_dual(tensor).tangent
    numbers = torch.zeros_like(tensor) if tangent is None else tangent
    array: np.ndarray = numbers.detach().cpu().contiguous().numpy()
    return array


@contextmanager
def _states_kept(nodes: Sequence[Node]) -> Iterator[None]:
    """Where recurrent layers begin their next pass."""
    states = [node.layer.state() for node in nodes]
    try:
        yield
    finally:
        for node, state in zip(nodes, states):
            node.layer.set_state(state)
