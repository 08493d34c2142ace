"""What trainers say, by chance: sound conversations with bytes, fields and lines changed. A rank never waits for ever,
breaks in no other way than is documented, and no accuracy is another's."""
from __future__ import annotations

import contextlib
import json
import random
import re
from dataclasses import replace
from typing import Any, Dict, List

import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.rank.messages import Conversation
from menndl_caffe.rank.process import TrainerProcess
from menndl_caffe.trial import ADAPTIVE, HYPERGRADIENT, OK, STATUSES, TRAIN
from tests.support import fake_trainer, runs

# Of no believable accuracy, as nobody could tell.
VALUES = (None, True, False, -1, 2, 79.5, 10**400, 1e308, float("nan"), float("-inf"), "", "0.5", "\ud800",
          "x" * 3000, [], [[]], {}, {"": 0}, {"accuracy": 2})
ENDINGS = ("exit code 0", "SIGKILL", "SIGSEGV")
DOCUMENTED = ("the trainer does not start on ", "the default net does not train on ", f"{HYPERGRADIENT} of ",
              f"{ADAPTIVE} of ")


def accuracy_of(net: str) -> float:
    """By which each net is told from the others."""
    return int(re.findall(r"num_output: (\d+)", net)[0]) / 128


def answers(request: Dict[str, Any]) -> List[Dict[str, Any]]:
    """A sound conversation about this request."""
    last = int(re.findall(r"max_iter: (\d+)", request["solver"])[0])
    outputs = {"accuracy": accuracy_of(request["net"]), "loss": 1.5}
    said: List[Dict[str, Any]] = [{"event": "test", "iteration": at, "outputs": outputs} for at in (last // 2, last)]
    if request.get("program") == HYPERGRADIENT:
        said.append({"event": "gradient", "of": fake_trainer.gradient(request["net"]), "how": {"n": 1}, "distrust": ""})
    if request.get("program") == ADAPTIVE:
        said.append({"event": "learned", "of": fake_trainer.LEARNED})
    said.append({"event": "done", "engine_seconds": 0.5})
    return [{"id": request["id"], **message} for message in said]


def places(value: Any) -> List[Any]:
    """Every object and list in a message."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] * bool(inner) + [place for one in inner for place in places(one)]


class Chance(TrainerProcess):
    """Instead of a process: what it says is sound but for what chance makes of it."""

    def __init__(self, draw: random.Random):
        super().__init__([], {})
        self._draw, self._share, self._runs = draw, draw.choice((0.02, 0.1, 0.4)), False

    def start(self) -> None:
        if not self._runs:
            self._runs, self._conversation = True, Conversation()
            self._unread, self._searched = bytearray(), 0
            self._say({"event": "ready", "engine": "chance", "pid": 1})

    def kill(self) -> None:
        self._runs = False

    def _write(self) -> None:
        request, self._unsent = json.loads(self._unsent), b""
        for message in answers(request):
            self._say(message)

    def _exchanged(self, seconds: float) -> bool:
        raise self._dead(self._draw.choice(ENDINGS))

    def _say(self, message: Dict[str, Any]) -> None:
        lines = [message]
        if self._draw.random() < self._share:
            lines = self._changed(json.loads(json.dumps(message)))
        for line in lines:
            text = bytearray(json.dumps(line).encode() + b"\n")
            while self._draw.random() < self._share / 4:
                at = self._draw.randrange(len(text))
                if text[at] not in b"0123456789.":
                    text[at] = self._draw.randrange(256)
            self._unread += text

    def _changed(self, message: Dict[str, Any]) -> List[Dict[str, Any]]:
        place = self._draw.choice(places(message))
        key = self._draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        kind = self._draw.randrange(5)
        if kind == 0:
            del place[key]
        elif kind == 1:
            place[key] = self._draw.choice(VALUES)
        elif kind == 2 and isinstance(place, dict):
            place[self._draw.choice(("id", "event", "", "accuracy", "\ud800"))] = place.pop(key)
        return [message] * self._draw.choice((0, 1, 2)) if kind == 3 else [message]


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    folder = tmp_path_factory.mktemp("search")
    data = runs.small_data(folder / "data", validation=40)
    return Renderer(search_file.load(str(runs.write_gradients(folder / "s.search.prototxt", data, hidden=100))))


@pytest.mark.parametrize("seeds", [range(40), pytest.param(range(40, 3000), marks=pytest.mark.slow)])
@pytest.mark.parametrize("program", [TRAIN, HYPERGRADIENT, ADAPTIVE])
def test_no_reply_breaks_a_rank_or_is_anothers(renderer: Renderer, program: str, seeds: range) -> None:
    """Five trainings in a row; each result is right or has failed, and can be written and read."""
    experiment, right = renderer.experiment, 0
    for seed in seeds:
        draw = random.Random(f"{program} {seed}")
        with contextlib.closing(Evaluator(renderer, Chance(draw))) as evaluator:
            for number in range(5):
                genome = experiment.space.with_settings([f"decay_score={draw.choice((0.1, 0.01))}"])
                trial = replace(experiment.trial(number, genome), program=program)
                try:
                    result = evaluator.evaluate(trial)
                except UserError as error:
                    assert str(error).startswith(DOCUMENTED), error
                    break
                assert result.id == number and result.status in STATUSES
                assert result.fitness == (100 / 128 if result.status == OK else 0)
                assert type(result).from_dict(json.loads(json.dumps(result.as_dict(), allow_nan=False))) == replace(
                    result, log="", **{name: round(getattr(result, name), 3) for name in
                                       ("started", "seconds", "engine_seconds")})
                right += result.status == OK
    assert right > len(seeds)
