"""LSTM, RNN and LSTMUnit. Caffe makes LSTM and RNN of an unrolled net; here one loop over the steps does what it does.

Sources: `recurrent_layer.cpp`, `lstm_layer.cpp`, `rnn_layer.cpp`, `lstm_unit_layer.cpp`.

Notation
--------
T, N, H     steps, streams, num_output
x           T x N x D, s: N x S (what is the same in every step), both flattened; a = x Wx' + b (+ s Ws')
r           T x N, the marks: 0 where a sequence begins, else 1; r h stands for a hidden state in that sense
LSTM        i, f, o, g = a + (r h) Wh', through sigmoids and a tanh (g);  c <- r f c + i g;  h <- o tanh(c)
RNN         h <- tanh(a + (r h) Wh'), y = tanh(h Wo' + bo)
d...        the gradient of ...
"""
from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch

from menndl_caffe.nets.layer_rules.blob import ImpossibleNet
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.fillers import fill
from menndl_caffe.torchcaffe.layer import Blobs, Layer, register

aten: Any = torch.ops.aten
Tensors = Sequence[torch.Tensor]
Run = Tuple[torch.Tensor, List[torch.Tensor]]  # the output of all steps, and the last states
MARKS = 1  # the bottom


class Recurrent(Layer):
    """What LSTM and RNN share: inputs and their weights, the states at both ends, and the marks.

    Bottoms are x, r, perhaps s, and with expose_hidden the first states; tops are the output, and with expose_hidden
    the last states. Without it a forward pass begins where the one before ended. As in Caffe, gradients do not reach
    the states of other passes, and all parameters get theirs, whatever their lr_mult.
    """

    states = 1
    later_parameters = 1  # those that Caffe fills anew in every step, and of which the first step's stay

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        self._steps = bottom[0].shape[0]
        self.blobs = [Blob(shape) for shape in self.outcome(bottom).params]
        for blob in self.blobs:
            self._fill(blob)
        for blob in self.blobs[-self.later_parameters:] * (self._steps - 1):
            self._fill(Blob(blob.shape))
        self._states = [Blob() for _ in range(self.states)]

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        super().reshape(bottom, top)
        if bottom[0].shape[0] != self._steps:
            raise ImpossibleNet(f"is made for {self._steps} steps, not {bottom[0].shape[0]}")
        exposed = self.states if self.param.recurrent_param.expose_hidden else 0
        self._first_states = list(bottom[len(bottom) - exposed:]) if exposed else self._states
        self._has_static = len(bottom) - exposed > 2
        for state in self._states:
            state.reshape(1, bottom[0].shape[1], self.param.recurrent_param.num_output)

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        states = [state.value[0].clone() for state in self._first_states]
        self._marks = bottom[MARKS].value.unsqueeze(2).clone()
        output, last = self.run(self._inputs(bottom), self._marks, states)
        top[0].value = output
        for blob, state in zip(self._states, last):
            blob.value.copy_(state)  # where a replayed pass looks for its first states
        for blob, state in zip(top[1:], last):
            blob.value = state.unsqueeze(0).clone()

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if propagate_down[MARKS]:
            raise ImpossibleNet(f"{self.type} has no gradient for its bottom {MARKS}, the marks", self.param.name)
        if self._steps == 1:  # Caffe's Slice of one step shares its memory
            self._marks = bottom[MARKS].value.unsqueeze(2)
        sums = self.run_back(top[0].grad)
        rows = sums.flatten(0, 1)
        self._hand(0, rows, bottom[0], 2)
        self.blobs[1].grad += rows.sum(0)
        if self._has_static:
            self._hand(2, sums.sum(0), bottom[2], 1)

    def run(self, inputs: torch.Tensor, marks: torch.Tensor, states: Tensors) -> Run:
        """All steps, of a and r (T x N x 1), from these states."""
        raise NotImplementedError

    def run_back(self, gradient: torch.Tensor) -> torch.Tensor:
        """All steps back: da, once the gradients of all weights but Wx, b and Ws are added."""
        raise NotImplementedError

    def allows_force_backward(self, bottom: int) -> bool:
        return bottom != MARKS

    def state(self) -> Dict[str, Any]:
        return {"states": [blob.value.flatten().tolist() for blob in self._states]}

    def set_state(self, state: Dict[str, Any]) -> None:
        for blob, numbers in zip(self._states, state["states"]):
            blob.value.copy_(torch.tensor(numbers).view(blob.shape))

    def recurrent_weight(self) -> Blob:
        """Wh."""
        return self.blobs[3 if self._has_static else 2]

    def _inputs(self, bottom: Blobs) -> torch.Tensor:
        x, streams = bottom[0].value, bottom[0].shape[1]
        inputs = torch.addmm(self.blobs[1].value, x.reshape(self._steps * streams, -1), self.blobs[0].value.t())
        inputs = inputs.view(self._steps, streams, -1)
        if self._has_static:
            inputs += bottom[2].value.reshape(streams, -1) @ self.blobs[2].value.t()
        return inputs

    def _hand(self, index: int, gradient: torch.Tensor, bottom: Blob, axis: int) -> None:
        """The gradients of weight `index` and of the bottom that it multiplies, flattened from `axis` on."""
        weight = self.blobs[index]
        weight.grad += gradient.t() @ bottom.value.reshape(len(gradient), -1)
        bottom.grad = (gradient @ weight.value).view(bottom.shape)

    def _fill(self, blob: Blob) -> None:
        param = self.param.recurrent_param
        fill(param.bias_filler if len(blob.shape) == 1 else param.weight_filler, blob, mode.generator())


@register("LSTM")
class LSTM(Recurrent):
    """Long short-term memory; parameters Wx (4H x D), b, perhaps Ws, Wh. The states are h and c."""

    states = 2

    def run(self, inputs: torch.Tensor, marks: torch.Tensor, states: Tensors) -> Run:
        hidden, cell = states
        weight = self.recurrent_weight().value.t()
        self._units, self._first_cell, befores, outputs = [], cell, [], []
        for gates, mark in zip(inputs, marks):
            befores.append(hidden * mark)
            unit = Unit(torch.addmm(gates, befores[-1], weight), cell, mark)
            hidden, cell = unit.hidden, unit.cell
            self._units.append(unit)
            outputs.append(hidden)
        self._before = torch.cat(befores)
        return torch.stack(outputs), [hidden, cell]

    def run_back(self, gradient: torch.Tensor) -> torch.Tensor:
        weight = self.recurrent_weight()
        sums = torch.empty(*gradient.shape[:2], weight.shape[0], device=gradient.device)
        later_hidden, later_cell = torch.zeros_like(gradient[0]), torch.zeros_like(gradient[0])
        cells = [self._cell_before(), *(unit.cell for unit in self._units)]
        for step in reversed(range(len(gradient))):
            sums[step], later_cell = self._units[step].back(later_cell, gradient[step] + later_hidden, cells[step],
                                                            self._marks[step])
            later_hidden = (sums[step] @ weight.value) * self._marks[step]
        weight.grad += sums.flatten(0, 1).t() @ self._before
        return sums

    def _cell_before(self) -> torch.Tensor:
        """The first step's c: what a bottom now holds, or where the pass before ended."""
        is_own = self._first_states is self._states
        return self._first_cell if is_own else self._first_states[1].value[0]


@register("RNN")
class RNN(Recurrent):
    """Parameters Wx (H x D), b, perhaps Ws, Wh, Wo, bo. The state is h."""

    later_parameters = 3

    def recurrent_weight(self) -> Blob:
        return self.blobs[-3]

    def run(self, inputs: torch.Tensor, marks: torch.Tensor, states: Tensors) -> Run:
        hidden = states[0]
        weight, before, hiddens = self.recurrent_weight().value.t(), [], []
        for step_inputs, mark in zip(inputs, marks):
            before.append(hidden * mark)
            hidden = torch.addmm(step_inputs, before[-1], weight).tanh_()
            hiddens.append(hidden)
        self._before, self._hiddens = torch.cat(before), torch.stack(hiddens)
        output = torch.addmm(self.blobs[-1].value, self._hiddens.flatten(0, 1), self.blobs[-2].value.t()).tanh_()
        self._output = output.view(self._hiddens.shape)
        return self._output.clone(), [hidden]

    def run_back(self, gradient: torch.Tensor) -> torch.Tensor:
        below_output = aten.tanh_backward(gradient, self._output).flatten(0, 1)
        self.blobs[-2].grad += below_output.t() @ self._hiddens.flatten(0, 1)
        self.blobs[-1].grad += below_output.sum(0)
        gradients = (below_output @ self.blobs[-2].value).view(gradient.shape)
        weight, later = self.recurrent_weight(), torch.zeros_like(gradient[0])
        sums = torch.empty_like(gradients)
        for step in reversed(range(len(gradients))):
            sums[step] = aten.tanh_backward(gradients[step] + later, self._hiddens[step])
            later = (sums[step] @ weight.value) * self._marks[step]
        weight.grad += sums.flatten(0, 1).t() @ self._before
        return sums


@register("LSTMUnit")
class LSTMUnit(Layer):
    """One step of LSTM: bottoms c (1 x N x H), the sums before the gates (1 x N x 4H) and r (1 x N), tops c and h."""

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        unit = Unit(*self._inputs(bottom))
        top[0].value, top[1].value = unit.cell.unsqueeze(0), unit.hidden.unsqueeze(0)

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        if propagate_down[2]:
            raise ImpossibleNet(f"{self.type} has no gradient for its bottom 2, the marks", self.param.name)
        sums, before, marks = self._inputs(bottom)
        unit = Unit(sums, before, marks, top[0].value[0])
        gates, cell = unit.back(top[0].grad[0], top[1].grad[0], before, marks)
        bottom[0].grad, bottom[1].grad = cell.unsqueeze(0), gates.unsqueeze(0)

    @staticmethod
    def _inputs(bottom: Blobs) -> Tensors:
        """The sums, c and r as n x 1."""
        cell, gates, marks = (blob.value[0] for blob in bottom)
        return gates, cell, marks.unsqueeze(1)

    def allows_force_backward(self, bottom: int) -> bool:
        return bottom != 2


class Unit:
    """One step of some streams: `cell` and `hidden` of the sums before the gates, the cell before, and the marks.

    With `cell` for its gradient alone: the step has been made.
    """

    def __init__(self, sums: torch.Tensor, before: torch.Tensor, marks: torch.Tensor,
                 cell: Optional[torch.Tensor] = None) -> None:
        size = before.shape[1]
        self._i, self._forget, self._o = sums[:, :3 * size].sigmoid().chunk(3, 1)
        self._g = sums[:, 3 * size:].tanh()
        self.cell = torch.addcmul(self._i * self._g, self._forget * marks, before) if cell is None else cell
        self._tanh = self.cell.tanh()
        self.hidden = self._o * self._tanh

    def back(self, d_cell: torch.Tensor, d_hidden: torch.Tensor, before: torch.Tensor, marks: torch.Tensor
             ) -> Tuple[torch.Tensor, torch.Tensor]:
        """The gradients of the sums and of the cell before. That of f is Caffe's, exact for marks of 0 and 1 only."""
        i, f, o, g = self._i, self._forget * marks, self._o, self._g
        d_cell = d_cell + aten.tanh_backward(d_hidden * o, self._tanh)
        pairs = ((d_cell * g, i), (d_cell * before, f), (d_hidden * self._tanh, o))
        sums = [aten.sigmoid_backward(gradient, output) for gradient, output in pairs]
        return torch.cat([*sums, aten.tanh_backward(d_cell * i, g)], 1), d_cell * f
