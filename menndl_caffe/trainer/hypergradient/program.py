"""The program "hypergradient": a net is trained, and the gradient of its validation loss is said with it."""
from __future__ import annotations

import math
from typing import Any, Callable, Iterator, Mapping, Tuple

from menndl_caffe.trainer.hypergradient import methods
from menndl_caffe.trainer.hypergradient.methods import Method
from menndl_caffe.trainer.net_in_hand import NetInHand
from menndl_caffe.trainer.plain import Batches, tester
from menndl_caffe.trainer.train import Clock


def hypergradient(engine: Any, request: Mapping[str, Any], clock: Clock, say: Callable[..., None]) -> None:
    """Train as the method does, report test passes, and then the derivative of the validation loss with respect to
    the values that the texts state: "decay LAYER[I]", and of UNROLLED "lr LAYER[I]" and "momentum".

    Unsuitable where the method is not for such a net.
    """
    settings = request["hypergradient"]
    batches = Batches(**settings["batches"])
    with clock.running():
        hand = NetInHand(engine, request["net"], request["solver"], (batches.train_period, batches.validation_period))
    tested = tester(hand, request, batches.validation, say)
    with clock.running():
        estimate = methods.estimate(Method(settings["method"], settings.get("tolerance", 0.0)), hand, batches, tested)
    if request.get("weights") is not None:
        hand.solver.net.save(request["weights"])
    of = {**{f"decay {parameter.name}": value for parameter, value in
             zip(hand.parameters, hand.by_blob(estimate.by_decay))}, **estimate.others}
    finite = all(map(math.isfinite, of.values()))
    say(event="gradient", of=of if finite else {}, how=dict(_told(estimate.how)),
        distrust=estimate.distrust if finite else "it is not finite")


def _told(how: Mapping[str, Any]) -> Iterator[Tuple[str, Any]]:
    """What was measured as finite numbers and texts, its parts by names of their own: `spread momentum`."""
    for name, value in how.items():
        if isinstance(value, dict):
            yield from ((f"{name} {part}", one) for part, one in _told(value))
        elif isinstance(value, (bool, str)):
            yield name, value if isinstance(value, str) else str(value).lower()
        else:
            yield name, float(value) if math.isfinite(value) else str(float(value))
