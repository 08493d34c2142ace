"""LSTM, RNN and LSTMUnit: marks, static inputs, states from outside and from the pass before, what is drawn."""
from __future__ import annotations

from typing import List

import numpy as np

from tests.support.torchcaffe.cases_neurons import inputs, layer
from tests.support.torchcaffe.parity import TEST, Case, numbers

STEPS, STREAMS, HIDDEN = 4, 3, 5
FILLERS = 'weight_filler { type: "uniform" min: -1 } bias_filler { type: "gaussian" }'
X, S = numbers(STEPS, STREAMS, 2, 3, seed=61), numbers(STREAMS, 4, seed=62)
H0, C0 = numbers(1, STREAMS, HIDDEN, seed=63), numbers(1, STREAMS, HIDDEN, seed=64)
MARKS = np.float32([[0, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]])
STATES = {"LSTM": {"h0": H0, "c0": C0}, "RNN": {"h0": H0}}
TOPS = {"LSTM": "y hT cT", "RNN": "y hT"}


def recurrent(type_: str, x: np.ndarray = X, marks: np.ndarray = MARKS, static: bool = False, exposed: bool = False,
              rates: str = "") -> Case:
    """The layer, and one above whose weights show what has been drawn; three passes, states carried over."""
    blobs = {"x": x, "r": marks, **({"s": S} if static else {}), **(STATES[type_] if exposed else {})}
    expose = "expose_hidden: true" if exposed else ""
    settings = f"{rates} recurrent_param {{ num_output: {HIDDEN} {expose} {FILLERS} }}"
    above = layer("InnerProduct", "y", "z", f"inner_product_param {{ axis: 2 num_output: 2 {FILLERS} }}")
    net = inputs(**blobs) + layer(type_, " ".join(blobs), TOPS[type_] if exposed else "y", settings) + above
    name = "-".join([type_.lower(), *["static"] * static, *["exposed"] * exposed, *["fixed"] * bool(rates)])
    return Case(f"{name}-{len(x)}x{x[0, 0].size}-{int(marks.sum())}", "force_backward: true " + net, blobs,
                exact=["param/*"], passes=3)


def in_test(type_: str) -> Case:
    """In phase TEST, forward alone."""
    return recurrent(type_)._replace(name=f"{type_.lower()}-test", phase=TEST, backward=False)


def below_loss(type_: str) -> Case:
    """Without force_backward: parameters of lr_mult 0 get their gradients all the same, and so does the input."""
    settings = f"param {{ lr_mult: 0 }} recurrent_param {{ num_output: 3 {FILLERS} }}"
    loss = layer("Reduction", "y", "sum", "loss_weight: 1 reduction_param { operation: SUMSQ }")
    return Case(f"{type_.lower()}-fixed-below-loss", inputs(x=X, r=MARKS) + layer(type_, "x r", "y", settings) + loss,
                {"x": X, "r": MARKS}, exact=["param/*"])


def deep(name: str, upper: str) -> Case:
    """An RNN above an LSTM, the first's output modified in place."""
    first = layer("LSTM", "x r", "y", f"recurrent_param {{ num_output: 4 {FILLERS} }}")
    second = layer("RNN", "y r", "z", f"recurrent_param {{ num_output: 3 {FILLERS} }}")
    return Case(name, "force_backward: true " + inputs(x=X, r=MARKS) + first + layer(upper, "y", "y") + second +
                layer("ELU", "z", "z"), {"x": X, "r": MARKS}, exact=["param/*"], passes=2)


def units() -> List[Case]:
    """LSTMUnit; its gradient is odd where a mark is neither 0 nor 1."""
    blobs = {"c": C0, "gates": numbers(1, STREAMS, 4 * HIDDEN, seed=65, low=-3, high=3)}
    return [Case(f"unit-{name}", "force_backward: true " + inputs(**blobs, r=np.zeros((1, STREAMS))) +
                 layer("LSTMUnit", "c gates r", "d h"), {**blobs, "r": np.float32([marks])})
            for name, marks in [("zeros-and-ones", [0, 1, 1]), ("fractions", [0.5, -1, 2])]]


CASES = [
    *(recurrent(type_, static=static, exposed=exposed) for type_ in STATES for static in (False, True)
      for exposed in (False, True)),
    *(recurrent(type_, numbers(1, STREAMS, 4, seed=66), MARKS[1:2]) for type_ in STATES),
    *(recurrent(type_, marks=np.float32(MARKS + 0.5), static=True) for type_ in STATES),
    *(recurrent(type_, rates="param { lr_mult: 0 } param { lr_mult: 0 }") for type_ in STATES),
    *(below_loss(type_) for type_ in STATES), *(in_test(type_) for type_ in STATES),
    deep("deep-relu", "ReLU"), deep("deep-sigmoid", "Sigmoid"), *units(),
]
