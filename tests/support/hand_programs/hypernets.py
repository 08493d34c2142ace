"""Programs that put a hypernet before one of the small nets; its texts lie in the folder already."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np

from menndl_caffe.trainer.groups import Groups, grouped
from menndl_caffe.trainer.hypernet import GLOBAL, LOCAL, Hypernet, Learned, Settings, learn
from menndl_caffe.trainer.net_in_hand import TRAIN, VALIDATION
from tests.support import hands

Found = Dict[str, np.ndarray]
START = -7.0, 0.5  # of the two local paths


def made(engine: Any, folder: Path, name: str, kind: str, net: str = "linear") -> Tuple[Any, Hypernet, Groups]:
    """A net in hand, the hypernet of a template that was rendered to the folder, and groups."""
    hand = hands.hand(engine, net, folder, batch=hands.HELD)
    hypernet = Hypernet(engine, (folder / f"{name}.prototxt").read_text(), (folder / f"{name}.solver").read_text())
    return hand, hypernet, grouped(hand.parameters, kind)


def never(steps: int) -> None:
    """Nothing is to be tested."""


def quotients(engine: Any, folder: Path) -> Found:
    """Gradients through each hypernet, and central differences of losses, along drawn directions."""
    found = {}
    for name, kind in (("global", "PER_NET"), ("linear", "PER_BLOB"), ("factorised", "PER_UNIT"),
                       ("diagonal", "PER_WEIGHT")):
        hand, hypernet, groups = made(engine, folder, f"{name}_tanh", kind, "tanh")
        random = np.random.RandomState(3)
        z = random.normal(-3, 0.5, size=(1, len(groups.names)))
        for _ in range(20):  # so that its weights are no longer alike
            hypernet.weights(np.repeat(z, hypernet.pairs, axis=0))
            hypernet.step(random.standard_normal((hypernet.pairs, hand.size)))

        def loss(z: np.ndarray, hand: Any = hand, hypernet: Hypernet = hypernet) -> float:
            hand.put(hypernet.weights(z)[0])
            return float(hand.loss())

        hand.show(VALIDATION, 0)
        loss(z)
        direction = hypernet.pull(hand.gradient()[1][np.newaxis])
        length = np.linalg.norm(direction)
        step = direction / length * 0.05
        found[name] = np.array([length, (loss(z + step) - loss(z - step)) / 0.1])
    return found


def descent(engine: Any, folder: Path) -> Found:
    """The training criterion of two pairs before and after steps of the hypernet, and how often Adam has stepped."""
    hand, hypernet, groups = made(engine, folder, "linear", "PER_NET")
    z = np.array([[-2.0], [-1.0]])
    learned = []
    for _ in range(3):
        learned.append(hypernet.weights(z))
        hypernet.step(np.ones_like(learned[0]))
    learned.append(hypernet.weights(z))
    return {"weights": np.array(learned)}


def global_curve(engine: Any, folder: Path) -> Found:
    """GLOBAL: what it found, and its curve."""
    hand, hypernet, groups = made(engine, folder, "global", "PER_NET")
    settings = Settings(GLOBAL, centre=-3.0, deviation=1.5, iterations=1500, steps=40, rate=0.05, validation_batches=1,
                        seed=1)
    learned = learn(hand, hypernet, groups, settings, never)
    return {"curve": np.array(learned.curve), **_found(learned)}


def local_paths(engine: Any, folder: Path) -> Found:
    """LOCAL, from both sides."""
    found = {}
    for side, start in enumerate(START):
        hand, hypernet, groups = made(engine, folder, "linear", "PER_NET")
        settings = Settings(LOCAL, centre=start, deviation=0.3, iterations=10, steps=300, rate=0.1,
                            validation_batches=1, seed=1)
        learned = learn(hand, hypernet, groups, settings, never)
        found.update({f"{name}{side}": value for name, value in _found(learned).items()})
    return found


def _found(learned: Learned) -> Found:
    return {"z": learned.z, "loss": np.array(learned.loss), "path": np.array([z for z, _ in learned.path])}
