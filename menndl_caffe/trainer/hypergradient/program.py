"""The program "hypergradient": a net is trained, and the gradient of its validation loss is said with it."""
from __future__ import annotations

import math
from typing import Any, Callable, Dict, Mapping

from menndl_caffe.trainer.hypergradient import cholesky, drmad, implicit, unrolled
from menndl_caffe.trainer.hypergradient.estimate import Batches, Estimate
from menndl_caffe.trainer.net_in_hand import VALIDATION, NetInHand
from menndl_caffe.trainer.train import Clock, test, test_iterations

Estimator = Callable[[NetInHand, Batches, Mapping[str, Any], Callable[[int], None]], Estimate]
ALONG_THE_PATH: Dict[str, Estimator] = {"UNROLLED": unrolled.estimate, "DRMAD": drmad.estimate}
AT_THE_MINIMUM: Dict[str, Estimator] = {"IMPLICIT": implicit.estimate, "HOAG": implicit.estimate,
                                        "CHOLESKY": cholesky.estimate}
ESTIMATORS = {**ALONG_THE_PATH, **AT_THE_MINIMUM}


def hypergradient(engine: Any, request: Mapping[str, Any], clock: Clock, say: Callable[..., None]) -> None:
    """Train as the method does, report test passes, and then the derivative of the validation loss with respect to
    every value that the texts state: "base_lr", "momentum", "decay LAYER[INDEX]".

    A method along the path trains as `train` does, and tests when it does. One at the minimum solves for the weights,
    and tests them once, as if it were at max_iter. Unsuitable where the method is not for such a net.
    """
    settings = request["hypergradient"]
    batches = Batches(**settings["batches"])
    with clock.running():
        hand = NetInHand(engine, request["net"], request["solver"], (batches.train_period, batches.validation_period))
    parameter = hand.param
    tests = test_iterations(parameter)

    def tested(iteration: int) -> None:
        if iteration in tests:
            with clock.running():
                outputs = test(engine, hand.solver.test_nets[0], batches.validation, iteration,
                               lambda number: hand.show(VALIDATION, number))
            say(event="test", iteration=iteration, outputs=outputs)

    estimate = ESTIMATORS[settings["method"]](hand, batches, settings, tested)
    if settings["method"] in AT_THE_MINIMUM:
        tested(parameter.max_iter)
    if request.get("weights") is not None:
        hand.solver.net.save(request["weights"])
    of = {**{f"decay {parameter.name}": value for parameter, value in
             zip(hand.parameters, hand.by_blob(estimate.by_decay))}, **estimate.others}
    finite = all(map(math.isfinite, of.values()))
    say(event="gradient", of=of if finite else {}, how={name: _plain(value) for name, value in estimate.how.items()},
        distrust=estimate.distrust if finite else "it is not finite")


def _plain(value: Any) -> Any:
    """A finite number or a text."""
    if isinstance(value, (bool, str)):
        return str(value).lower() if isinstance(value, bool) else value
    return float(value) if math.isfinite(value) else str(float(value))
