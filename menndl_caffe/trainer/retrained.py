"""The programs that learn decays and then train plainly with them, from the same seed: that training is what counts.

"adaptive" learns by T1-T2 (adaptive.py) or a descent of whole trainings (descent.py), "hypernet" by a hypernet
(hypernet.py); "retrain" takes what one of these wrote earlier.
"""
from __future__ import annotations

import functools
from typing import Any, Callable, Mapping

import numpy as np

from menndl_caffe.trainer import descent, plain
from menndl_caffe.trainer import hypernet as hypernets
from menndl_caffe.trainer import learned as files
from menndl_caffe.trainer.adaptive import Settings, adapt
from menndl_caffe.trainer.descent import descend
from menndl_caffe.trainer.groups import grouped
from menndl_caffe.trainer.learned import POINTS, Learned, Predicted, curve_point
from menndl_caffe.trainer.net_in_hand import NetInHand
from menndl_caffe.trainer.plain import Batches
from menndl_caffe.trainer.train import Clock

Request = Mapping[str, Any]
Say = Callable[..., None]
Make = Callable[[], NetInHand]  # a net in hand as made, the same each time
Learn = Callable[[Make, Request, Batches], Learned]  # of a net, what was asked, and the batches


def adaptive(engine: Any, request: Request, clock: Clock, say: Say) -> None:
    """Adapt the decays in one training, train plainly with them, report test passes of that, and what was learned."""
    _learn_and_retrain(engine, request, request["adaptive"], _by_gradients, clock, say)


def hypernet(engine: Any, request: Request, clock: Clock, say: Say) -> None:
    """Learn the decays by a hypernet, train plainly with them, report test passes of that, and what was learned."""
    _learn_and_retrain(engine, request, request["hypernet"], _by_hypernet, clock, say)


def _by_gradients(make: Make, asked: Request, batches: Batches) -> Learned:
    if asked["method"] == "T1T2":
        return adapt(make(), Settings(asked["groups"], asked["every"], asked["rate"]))
    return descend(make, batches, descent.Settings(asked["method"], asked["groups"], asked["steps"], asked["rate"]))


def _by_hypernet(make: Make, asked: Request, batches: Batches) -> Learned:
    hand = make()
    plain.check_plain(hand)
    groups = grouped(hand.parameters, asked["groups"])
    net = asked["net"]
    for name, size in (("decays", len(groups.names)), ("weights", hand.size)):
        net = net.replace(f"{{{{ {name} }}}}", str(size))
    settings = hypernets.Settings(asked["method"], asked["centre"], asked["deviation"], asked["iterations"],
                                  asked["steps"], asked["rate"], batches.validation, asked["seed"])
    found = hypernets.learn(hand, hypernets.Hypernet(hand.engine, net, asked["solver"]), groups, settings,
                            tested=lambda steps: None)
    decays, every = np.exp(found.z), -(-settings.steps // POINTS)
    curve = [curve_point(step, np.exp(z)) for step, (z, _) in enumerate(found.path) if step % every == 0]
    curve.append(curve_point(settings.steps, decays))
    points = found.curve or [(float(z.mean()), loss) for z, loss in found.path[::every]]
    predicted = Predicted(found.loss, [(float(np.exp(log)), loss) for log, loss in points])
    return Learned(groups.spread(decays), groups.names, decays, curve, predicted)


def retrain(engine: Any, request: Request, clock: Clock, say: Say) -> None:
    """Train plainly with the decays of the file `decays`, and report test passes."""
    batches = Batches(**request["retrain"]["batches"])
    with clock.running():
        hand = _hand(engine, request, batches)
        hand.decay = files.read(request["decays"], hand)
        _train(hand, request, batches, say)


def _learn_and_retrain(engine: Any, request: Request, asked: Request, learn: Learn, clock: Clock, say: Say) -> None:
    batches = Batches(**asked["batches"])
    with clock.running():
        learned = learn(functools.partial(_hand, engine, request, batches), asked, batches)
        hand = _hand(engine, request, batches)
        hand.decay = learned.of_weights
        _train(hand, request, batches, say)
    if request.get("learned") is not None:
        files.write(request["learned"], hand, learned.of_weights)
    say(event="learned", of={"groups": asked["groups"], **files.told(learned)})


def _hand(engine: Any, request: Request, batches: Batches) -> NetInHand:
    periods = batches.train_period, batches.validation_period
    return NetInHand(engine, request["net"], request["solver"], periods, own_decay=True)


def _train(hand: NetInHand, request: Request, batches: Batches, say: Say) -> None:
    plain.retrain(hand, plain.tester(hand, request, batches.validation, say))
    if request.get("weights") is not None:
        hand.solver.net.save(request["weights"])
