"""Programs that put a hypernet before one of the small nets; its texts lie in the folder already."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np

from menndl_caffe.trainer.groups import Groups, grouped
from menndl_caffe.trainer.hypernet import GLOBAL, LOCAL, Hypernet, Settings, learn
from menndl_caffe.trainer.net_in_hand import VALIDATION
from tests.support import hands

Found = Dict[str, np.ndarray]
STARTS = -7.0, 0.5  # of the local paths
GROUPED = {"global": "PER_NET", "linear": "PER_BLOB", "factorised": "PER_UNIT", "diagonal": "PER_WEIGHT"}
PAIR = np.array([[-2.0], [-1.0]])
STEPS = {"global": 0.005, "linear": 0.1, "factorised": 0.1, "diagonal": 0.05}  # in z; global has kinks


def made(engine: Any, folder: Path, name: str, kind: str, net: str = "linear",
         batch: int = hands.HELD) -> Tuple[Any, Hypernet, Groups]:
    """A net in hand, the hypernet of a template that was rendered to the folder, and groups."""
    hand = hands.hand(engine, net, folder, batch=batch)
    hypernet = Hypernet(engine, (folder / f"{name}.prototxt").read_text(), (folder / f"{name}.solver").read_text())
    return hand, hypernet, grouped(hand.parameters, kind)


def nothing(steps: int) -> None:
    """Nothing is to be tested."""


def quotients(engine: Any, folder: Path) -> Found:
    """Of each template: the length of the validation loss's gradient, and the difference quotient along it."""
    found = {}
    for name, kind in GROUPED.items():
        hand, hypernet, groups = made(engine, folder, f"{name}_tanh", kind, "tanh")
        random = np.random.RandomState(3)
        z = random.normal(-3, 0.5, size=(1, len(groups.names)))
        for _ in range(20):  # so that no two of its weights are alike
            hypernet.weights(np.repeat(z, hypernet.pairs, axis=0))
            hypernet.step(random.standard_normal((hypernet.pairs, hand.size)))
        hand.show(VALIDATION, 0)
        hand.put(hypernet.weights(z)[0])
        gradient = hypernet.pull(hand.gradient()[1][np.newaxis])
        length = np.linalg.norm(gradient)
        losses = []
        for sign in (1, -1):
            hand.put(hypernet.weights(z + sign * STEPS[name] * gradient / length)[0])
            losses.append(hand.loss())
        found[name] = np.array([length, (losses[0] - losses[1]) / (2 * STEPS[name])])
    return found


def adam_steps(engine: Any, folder: Path) -> Found:
    """What the linear hypernet writes, before each of three steps against a gradient of ones and after them."""
    _, hypernet, _ = made(engine, folder, "linear", "PER_NET")
    written = [hypernet.weights(PAIR)]
    for _ in range(3):
        hypernet.step(np.ones_like(written[0]))
        written.append(hypernet.weights(PAIR))
    return {"written": np.array(written)}


def global_curve(engine: Any, folder: Path) -> Found:
    """GLOBAL: what it found, and its curve."""
    settings = Settings(GLOBAL, centre=-3.0, deviation=1.5, iterations=700, steps=30, rate=0.05, validation_batches=1,
                        seed=1)
    learned = learn(*made(engine, folder, "global", "PER_NET"), settings, nothing)
    return {"curve": np.array(learned.curve), "z": learned.z, "loss": np.array(learned.loss)}


def local_ends(engine: Any, folder: Path) -> Found:
    """LOCAL, from both sides: where it ends."""
    ends = []
    for start in STARTS:
        settings = Settings(LOCAL, centre=start, deviation=0.3, iterations=10, steps=120, rate=0.1,
                            validation_batches=1, seed=1)
        ends.append(learn(*made(engine, folder, "linear", "PER_NET"), settings, nothing).z[0])
    return {"ends": np.array(ends)}
