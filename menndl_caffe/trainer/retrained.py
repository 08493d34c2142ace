"""The programs that learn decays and then train plainly with them, from the same seed: that training is what counts.

"adaptive" learns by T1-T2 (adaptive.py); "retrain" takes what an earlier one wrote.
"""
from __future__ import annotations

from typing import Any, Callable, Mapping

from menndl_caffe.trainer import learned as files
from menndl_caffe.trainer import plain
from menndl_caffe.trainer.adaptive import Settings, adapt
from menndl_caffe.trainer.hypergradient.estimate import Batches
from menndl_caffe.trainer.learned import Learned
from menndl_caffe.trainer.net_in_hand import NetInHand
from menndl_caffe.trainer.train import Clock

Request = Mapping[str, Any]
Say = Callable[..., None]


def adaptive(engine: Any, request: Request, clock: Clock, say: Say) -> None:
    """Adapt the decays in one training, train plainly with them, report test passes of that, and what was learned."""
    settings = request["adaptive"]
    batches = Batches(**settings["batches"])

    def learn(hand: NetInHand) -> Learned:
        return adapt(hand, Settings(settings["groups"], settings["every"], settings["rate"]))

    learned = _learn_and_retrain(engine, request, batches, learn, clock, say)
    say(event="learned", of={"groups": settings["groups"], **files.told(learned)})


def retrain(engine: Any, request: Request, clock: Clock, say: Say) -> None:
    """Train plainly with the decays of the file `decays`, and report test passes."""
    batches = Batches(**request["retrain"]["batches"])
    with clock.running():
        hand = _hand(engine, request, batches)
        _train(hand, request, batches, files.read(request["decays"], hand), say)


def _learn_and_retrain(engine: Any, request: Request, batches: Batches, learn: Callable[[NetInHand], Learned],
                       clock: Clock, say: Say) -> Learned:
    with clock.running():
        learned = learn(_hand(engine, request, batches))
        hand = _hand(engine, request, batches)
        _train(hand, request, batches, learned.of_weights, say)
    if request.get("learned") is not None:
        files.write(request["learned"], hand, learned.of_weights)
    return learned


def _hand(engine: Any, request: Request, batches: Batches) -> NetInHand:
    periods = batches.train_period, batches.validation_period
    return NetInHand(engine, request["net"], request["solver"], periods, own_decay=True)


def _train(hand: NetInHand, request: Request, batches: Batches, decay: Any, say: Say) -> None:
    plain.retrain(hand, decay, plain.tester(hand, request, batches.validation, say))
    if request.get("weights") is not None:
        hand.solver.net.save(request["weights"])
