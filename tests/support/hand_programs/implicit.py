"""Programs of tests/test_hypergradient_products.py, _implicit.py and _cholesky.py: see tests/support/hands.py."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Tuple
from unittest import mock

import numpy as np

from menndl_caffe.trainer.hypergradient import cholesky, implicit
from menndl_caffe.trainer.hypergradient.estimate import Estimate
from menndl_caffe.trainer.hypergradient.lbfgs import Criterion, Minimum
from menndl_caffe.trainer.hypergradient.product import HESSIAN, PRODUCTS, hessian_product, kinked_layers
from menndl_caffe.trainer.net_in_hand import NetInHand
from menndl_caffe.trainer.train import Unsuitable
from tests.support import hands

TRAINED, HELD = hands.PERIODS
KINDS = ("linear", "tanh", "relu", "lenet")
Found = Dict[str, np.ndarray]


def direction(size: int, kind: str) -> np.ndarray:
    """A random vector, another one for each kind of net."""
    return np.random.RandomState(len(kind)).standard_normal(size)


def products(engine: Any, folder: Path) -> Found:
    """Each net's products over all batches, with a random vector and with a gradient; weights before and after."""
    found: Found = {}
    for kind in KINDS:
        hand = hands.hand(engine, kind, folder)
        hand.show("train", 0)
        found[f"{kind}.weights"], found[f"{kind}.kinked"] = hand.take(), np.array(" ".join(kinked_layers(hand)))
        found[f"{kind}.random"], found[f"{kind}.gradient"] = direction(hand.size, kind), hand.gradient()[1]
        for name, product in PRODUCTS.items():
            for which in ("random", "gradient"):
                found[f"{kind}.{name}.{which}"] = product(hand, range(TRAINED), found[f"{kind}.{which}"])
        found[f"{kind}.after"] = hand.take()
    hand = hands.hand(engine, "linear", folder)
    found["nothing"] = np.concatenate([product(hand, 1, np.zeros(hand.size)) for product in PRODUCTS.values()])
    hand.put(np.zeros(hand.size))
    found["at 0"] = hessian_product(hand, range(TRAINED), direction(hand.size, "linear"))
    return found


def arrays(name: str, hand: NetInHand, found: Estimate) -> Iterator[Tuple[str, np.ndarray]]:
    """An estimate, the weights where it was made, and what it says of itself."""
    yield f"{name}.by_decay", found.by_decay
    yield f"{name}.by_blob", np.array(hand.by_blob(found.by_decay))
    yield f"{name}.weights", hand.take()
    yield f"{name}.decay", hand.decay
    yield f"{name}.distrust", np.array(found.distrust)
    for key, value in found.how.items():
        yield f"{name}.{key}", np.array(value)


def settings(tolerance: float, **more: int) -> implicit.Settings:
    return implicit.Settings("IMPLICIT", tolerance, TRAINED, HELD, **more)


def estimates(engine: Any, folder: Path) -> Found:
    """Those that items 4, 5 and 12 ask for."""
    found: Found = {}
    cases = [("linear", .01, 1e-4, "linear"), ("linear", .01, 1e-2, "linear.loose"), ("tanh", .03, 1e-4, "tanh"),
             ("relu", .03, 1e-2, "relu")]
    for kind, decay, tolerance, name in cases:
        hand = hands.hand(engine, kind, folder, decay=decay)
        found[f"{name}.start"] = hand.take()
        found.update(arrays(name, hand, implicit.estimate(hand, settings(tolerance))))
    return found


def odd_estimates(engine: Any, folder: Path) -> Found:
    """Of which something is to be said: G in place of H, by order and by need, an inner solver whose last look was not
    where it ends, and ends that came too early."""
    found: Found = {}

    def add(name: str, kind: str, decay: float, **more: int) -> None:
        hand = hands.hand(engine, kind, folder, decay=decay)
        found.update(arrays(name, hand, implicit.estimate(hand, settings(1e-4, **more))))

    with mock.patch.object(implicit, "kinked_layers", lambda hand: ["ordered"]):
        add("ordered", "tanh", .03)
    with mock.patch.dict(PRODUCTS, {HESSIAN: lambda hand, batches, v: -v}):
        add("needed", "tanh", .03)
    with mock.patch.object(implicit.lbfgs, "minimise", _looking_back(implicit.lbfgs.minimise)):
        add("looking back", "linear", .01)
    add("inner", "linear", .01, inner_gradients=5)
    add("outer", "linear", .01, iterations=3)
    return found


def _looking_back(minimise: Callable[..., Minimum]) -> Callable[..., Minimum]:
    def wrapped(function: Criterion, start: np.ndarray, *limits: Any) -> Minimum:
        end = minimise(function, start, *limits)
        function(start)
        return end

    return wrapped


DROPOUT = 'layer { name: "drop" type: "Dropout" bottom: "score" top: "score" }\n'
NORM = 'layer { name: "norm" type: "BatchNorm" bottom: "data" top: "data" }\n'


def refusals(engine: Any, folder: Path) -> Found:
    """What is said of nets for which there is no such gradient."""
    linear = hands.net_text("linear", folder)
    at_score = linear.index('layer { name: "accuracy"')
    nets = {"dropout": linear[:at_score] + DROPOUT + linear[at_score:],
            "mirror": linear.replace("scale:", "mirror: true scale:"),
            "statistics": linear.replace(hands.body("linear"), NORM + hands.body("linear"))}
    found = {name: refused(NetInHand(engine, net, hands.solver_text(), hands.PERIODS)) for name, net in nets.items()}
    found["decay"] = refused(hands.hand(engine, "linear", folder, decay=0))
    found["softmax"] = refused(hands.hand(engine, "linear", folder), by_cholesky=True)
    return found


def refused(hand: NetInHand, by_cholesky: bool = False) -> np.ndarray:
    """The refusal's sentence; empty if there is none."""
    try:
        if by_cholesky:
            cholesky.estimate(hand, TRAINED, HELD)
        else:
            implicit.estimate(hand, settings(.1))
    except Unsuitable as unsuitable:
        return np.array(str(unsuitable))
    return np.array("")


def least_squares_hand(engine: Any, folder: Path, decay: float = .01, of_bias: float = .02) -> NetInHand:
    """A net of one output on the images of a folder, whose label it is to give."""
    read = "".join(hands.READ.format(phase=phase, source=folder / part, batch=hands.BATCH)
                   for phase, part in (("TRAIN", "fit"), ("TEST", "held")))
    dense = hands.DENSE.format(name="score", bottom="data", outputs=1, decay=decay, bias=of_bias, std=.1)
    loss = 'layer { name: "loss" type: "EuclideanLoss" bottom: "score" bottom: "label" top: "loss" }\n'
    return NetInHand(engine, read + dense + loss, hands.solver_text(decay=1), hands.PERIODS)


def least_squares(engine: Any, folder: Path) -> Found:
    """By Cholesky and by conjugate gradients; `folder` holds the images of tests/test_hypergradient_cholesky.py."""
    found: Found = {}
    hand = least_squares_hand(engine, folder)
    found.update(arrays("cholesky", hand, cholesky.estimate(hand, TRAINED, HELD)))
    hand = least_squares_hand(engine, folder)
    found.update(arrays("implicit", hand, implicit.estimate(hand, settings(1e-5))))
    found["negative"] = refused(least_squares_hand(engine, folder, decay=-10), by_cholesky=True)
    largest, cholesky.LARGEST = cholesky.LARGEST, 64
    found["large"] = refused(least_squares_hand(engine, folder), by_cholesky=True)
    cholesky.LARGEST = largest
    return found


def hoag(engine: Any, folder: Path) -> Found:
    """Eight steps down the log decays of the two blobs, each training from its start, ever more exactly."""
    logs, rates, before = np.log([10.0, 10.0]), np.array([2.0, 2.0]), np.zeros(2)
    decays, trusted = [], []
    for number in range(8):
        hand = least_squares_hand(engine, folder, *np.exp(logs))
        found = implicit.estimate(hand, settings(1e-2 * .6 ** number)._replace(method="HOAG"))
        decays.append(np.exp(logs))
        trusted.append(not found.distrust)
        signs = np.sign(hand.by_blob(found.by_decay))
        rates = np.where(signs * before < 0, rates / 2, rates)
        logs, before = logs - rates * signs, signs
    return {"decays": np.array(decays), "trusted": np.array(trusted)}
