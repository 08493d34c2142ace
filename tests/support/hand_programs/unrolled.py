"""Trainings in hand and the way back, for either engine."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from menndl_caffe.trainer.hypergradient.unrolled import unrolled
from menndl_caffe.trainer.net_in_hand import VALIDATION, NetInHand
from menndl_caffe.trainer.train import Clock, train
from tests.support import hands

TESTS, BATCHES = 4, 2  # a training of 20 iterations that is tested every 5, on 2 batches
PLAIN = dict(momentum=0.8, max_iter=20, more='lr_policy: "step" gamma: 0.5 stepsize: 8')


def hypergradients(engine: Any, folder: Path) -> Dict[str, np.ndarray]:
    """UNROLLED's of the nets linear and tanh."""
    found = {}
    for kind in ("linear", "tanh"):
        estimate = unrolled(hands.hand(engine, kind, folder, max_iter=60), hands.PERIODS[1], lambda iteration: None)
        found[f"{kind} decay"] = estimate.by_decay
        found[f"{kind} others"] = np.array(list(estimate.others.values()))
    return found


def paths(engine: Any, folder: Path) -> Dict[str, np.ndarray]:
    """The test outputs of a training, by the program `train` and by UNROLLED with the same texts."""
    net = hands.net_text("lenet", folder)
    solver = hands.solver_text(**PLAIN).replace('lr_policy: "fixed"', "").replace("test_interval: 1000000",
                                                                              "test_interval: 5")
    said: List[Dict[str, float]] = []
    train(engine, {"net": net, "solver": solver}, Clock(), lambda **message: said.append(message["outputs"]))
    hand = NetInHand(engine, net, solver, hands.PERIODS)
    tests: List[Dict[str, float]] = []
    told: List[int] = []

    def tested(iteration: int) -> None:
        told.append(iteration)
        if iteration and iteration % 5 == 0:
            tests.append(tested_by_hand(hand, len(tests) * BATCHES))

    unrolled(hand, hands.PERIODS[1], tested)
    found = {f"{who} {name}": np.array([each[name] for each in outputs])
             for who, outputs in (("train", said), ("unrolled", tests)) for name in outputs[0]}
    return {"told": np.array(told), **found}


def tested_by_hand(hand: NetInHand, first: int) -> Dict[str, float]:
    """The means over some batches of the validation, in Caffe's arithmetic and digits."""
    sums: Dict[str, Any] = {}
    for number in range(first, first + BATCHES):
        hand.show(VALIDATION, number)
        hand.loss()
        net = hand.solver.test_nets[0]
        numbers = {name: float(net.blobs[name].data.ravel()[0]) for name in sorted(net.outputs)
                   if net.blobs[name].data.size == 1}
        for name, value in numbers.items():
            sums[name] = sums.get(name, np.float32(0)) + np.float32(value)
    return {name: float(f"{float(value / np.float32(BATCHES)):.6g}") for name, value in sums.items()}
