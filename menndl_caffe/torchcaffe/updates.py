"""What a solver does with the gradients of an iteration (`SGDSolver::ApplyUpdate`, `solvers/*.cpp`).

    w           parameter
    g           its gradient, summed over iter_size passes; in the end the update: w <- w - g, and Caffe leaves it there
    h, k        histories, 0 at first; AdaDelta and Adam have two
    a           learning rate of the iteration times the parameter's lr_mult
    mu          momentum; the first of Adam's two, whose other is mu2
    rho         rms_decay
    delta       keeps away from a division by 0
    t           iteration, from 1

    clip        all g <- g clip_gradients / |g|, where |g|, the length of all together, is more than clip_gradients
    normalize   g <- g / iter_size
    regularize  g <- g + weight_decay decay_mult w   (L2), or sign(w) in place of w (L1)

    SGD         h <- mu h + a g                         g <- h
    Nesterov    h' = mu h + a g                         g <- (1 + mu) h' - mu h; h <- h'
    AdaGrad     h <- h + g^2                            g <- a g / (sqrt(h) + delta)
    RMSProp     h <- rho h + (1 - rho) g^2              g <- a g / (sqrt(h) + delta)
    AdaDelta    h <- mu h + (1 - mu) g^2                d = g sqrt((k + delta) / (h + delta))
                k <- mu k + (1 - mu) d^2                g <- a d
    Adam        h <- mu h + (1 - mu) g                  k <- mu2 k + (1 - mu2) g^2
                g <- a sqrt(1 - mu2^t) / (1 - mu^t) h / (sqrt(k) + delta)
"""
from __future__ import annotations

from math import sqrt
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
import torch

from menndl_caffe.errors import UserError
from menndl_caffe.nets.solver_rules import wrong_of_type
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.graph import Learnable
from menndl_caffe.torchcaffe.log import log

Tensors = List[torch.Tensor]


class Step(NamedTuple):
    """What a rule needs beside gradients and histories: the SolverParameter, `a`, and `t`."""

    param: Any
    rate: float
    t: int


def sgd(g: Tensors, h: Tensors, k: Tensors, step: Step) -> None:
    """`sgd_solver.cpp`"""
    _accelerate(h, g, step)
    torch._foreach_copy_(g, h)


def nesterov(g: Tensors, h: Tensors, k: Tensors, step: Step) -> None:
    """`nesterov_solver.cpp`"""
    momentum = step.param.momentum
    before = torch._foreach_mul(h, momentum)
    _accelerate(h, g, step)
    torch._foreach_copy_(g, h)
    torch._foreach_mul_(g, 1 + momentum)
    torch._foreach_sub_(g, before)


def adagrad(g: Tensors, h: Tensors, k: Tensors, step: Step) -> None:
    """`adagrad_solver.cpp`"""
    torch._foreach_addcmul_(h, g, g)
    _divide_by_root(g, h, step)


def rmsprop(g: Tensors, h: Tensors, k: Tensors, step: Step) -> None:
    """`rmsprop_solver.cpp`"""
    _average_squares(h, g, step.param.rms_decay)
    _divide_by_root(g, h, step)


def adadelta(g: Tensors, h: Tensors, k: Tensors, step: Step) -> None:
    """`adadelta_solver.cpp`"""
    momentum, delta = step.param.momentum, step.param.delta
    _average_squares(h, g, momentum)
    ratio = torch._foreach_add(k, delta)
    torch._foreach_div_(ratio, torch._foreach_add(h, delta))
    torch._foreach_sqrt_(ratio)
    torch._foreach_mul_(g, ratio)
    _average_squares(k, g, momentum)
    torch._foreach_mul_(g, step.rate)


def adam(g: Tensors, h: Tensors, k: Tensors, step: Step) -> None:
    """`adam_solver.cpp`"""
    first, second = step.param.momentum, step.param.momentum2
    torch._foreach_mul_(h, first)
    torch._foreach_add_(h, g, alpha=1 - first)
    _average_squares(k, g, second)
    correction = sqrt(1 - second ** step.t) / (1 - first ** step.t)
    torch._foreach_copy_(g, h)
    _divide_by_root(g, k, step._replace(rate=step.rate * correction))


def sgd_at_once(w: Tensors, g: Tensors, h: Tensors, decay: float, step: Step) -> None:
    """`sgd`, with L2 regularization before and w <- w - h after it, in one go over the numbers; g stays."""
    torch._fused_sgd_(w, g, h, weight_decay=decay, momentum=step.param.momentum, lr=1.0, dampening=1 - step.rate,
                      nesterov=False, maximize=False, is_first_step=False)


class Rule(NamedTuple):
    """How a solver turns gradients into updates, and how many histories it keeps."""

    update: Callable[[Tensors, Tensors, Tensors, Step], None]
    histories: int = 1


RULES: Dict[str, Rule] = {
    "SGD": Rule(sgd), "Nesterov": Rule(nesterov), "AdaGrad": Rule(adagrad), "RMSProp": Rule(rmsprop),
    "AdaDelta": Rule(adadelta, 2), "Adam": Rule(adam, 2),
}


def check_settings(type_: str, param: Any) -> None:
    """Refuse settings that Caffe refuses for a type of solver, as a UserError."""
    for field, text in wrong_of_type(type_, param):
        raise UserError(f"{field}: {text}")


class Updates:
    """A solver's rule with its histories, `history`: in Caffe's order, all first ones and then all second ones.

    Parameters with the same lr_mult and decay_mult are updated together.
    """

    def __init__(self, type_: str, param: Any, learnable: Sequence[Learnable]) -> None:
        self._rule, self._param, self._learnable = RULES[type_], param, learnable
        self.history = [torch.zeros_like(parameter.blob.value) for _ in range(self._rule.histories)
                        for parameter in learnable]
        self._is_at_once = (type_ == "SGD" and param.momentum != 0 and param.regularization_type == "L2"
                            and mode.device().type == "cpu")
        self._groups: Dict[Tuple[float, float], List[int]] = {}
        for index, parameter in enumerate(learnable):
            self._groups.setdefault((parameter.lr_mult, parameter.decay_mult), []).append(index)

    def apply(self, rate: float, iteration: int) -> None:
        """Update all parameters by their gradients; these become the updates."""
        param, number = self._param, len(self._learnable)
        gradients = [parameter.blob.grad for parameter in self._learnable]
        values = [parameter.blob.value for parameter in self._learnable]
        _clip(gradients, param.clip_gradients)
        for (lr_mult, decay_mult), indices in self._groups.items():
            g, w = [gradients[index] for index in indices], [values[index] for index in indices]
            h = [self.history[index] for index in indices]
            k = [self.history[number + index] for index in indices] if self._rule.histories > 1 else []
            if param.iter_size != 1:
                torch._foreach_mul_(g, 1 / param.iter_size)
            decay = _product(param.weight_decay, decay_mult)
            step = Step(param, _product(rate, lr_mult), iteration + 1)
            if self._is_at_once:
                sgd_at_once(w, g, h, decay, step)
                for index in indices:
                    self._learnable[index].blob.defer_grad(self.history[index])
                continue
            _regularize(g, w, param.regularization_type, decay)
            self._rule.update(g, h, k, step)
            torch._foreach_sub_(w, g)


def _clip(g: Tensors, most: float) -> None:
    if most < 0 or not g:
        return
    norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(g))))
    if norm > most:
        scale = float(np.float32(most) / np.float32(norm))
        log(f"Gradient clipping: scaling down gradients (L2 norm {norm:g} > {most:g}) by scale factor {scale:g}",
            source="sgd_solver.cpp:99")
        torch._foreach_mul_(g, scale)


def _regularize(g: Tensors, w: Tensors, kind: str, decay: float) -> None:
    if not decay:
        return
    if kind not in ("L1", "L2"):
        raise UserError(f"regularization_type: '{kind}'; valid: L1, L2")
    torch._foreach_add_(g, w if kind == "L2" else torch._foreach_sign(w), alpha=decay)


def _product(a: float, b: float) -> float:
    return float(np.float32(a) * np.float32(b))


def _accelerate(h: Tensors, g: Tensors, step: Step) -> None:
    """h <- mu h + a g"""
    torch._foreach_mul_(h, step.param.momentum)
    torch._foreach_add_(h, g, alpha=step.rate)


def _average_squares(h: Tensors, g: Tensors, decay: float) -> None:
    """h <- decay h + (1 - decay) g^2"""
    torch._foreach_mul_(h, decay)
    torch._foreach_addcmul_(h, g, g, value=1 - decay)


def _divide_by_root(g: Tensors, h: Tensors, step: Step) -> None:
    """g <- a g / (sqrt(h) + delta)"""
    root = torch._foreach_sqrt(h)
    torch._foreach_add_(root, step.param.delta)
    torch._foreach_div_(g, root)
    torch._foreach_mul_(g, step.rate)
