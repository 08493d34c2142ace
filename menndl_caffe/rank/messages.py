"""What a trainer says: every message is judged here, where it comes in, and believed by all others.

docs/trainer.md shows the messages in their order. A message may have further fields, which nobody looks at.
"""
from __future__ import annotations

import json
import math
from typing import Any, Callable, Collection, Dict, List, Mapping, Optional, Tuple

from menndl_caffe import fields
from menndl_caffe.errors import UserError
from menndl_caffe.fields import NUMBER, OBJECT, TEXT, WHOLE, Field, Wrong, judged, number, read, read_present, shown
from menndl_caffe.trial import HYPERGRADIENT, LARGEST, LEARNING, TRAIN, what_was_learned

LINE_BYTES = 2**20  # no message is longer

Message = Dict[str, Any]


class Unfit(ValueError):
    """A message that is none, or not now; the text goes on from "saying '...', ".

    `late`: it answers an earlier request, so it says nothing about the one that runs.
    """

    def __init__(self, why: str, late: bool = False):
        super().__init__(why)
        self.late = late


def _text(value: Any) -> str:
    TEXT.read(value).encode()  # no half of a surrogate pair, which nobody can print
    return str(value)


def _versions(value: Any) -> Dict[str, Any]:
    return {_text(name): [_text(one) for one in said] if type(said) is list else _text(said)
            for name, said in OBJECT.read(value).items()}


def _outputs(value: Any) -> Dict[str, float]:
    return {_text(name): judged(name, NUMBER, output) for name, output in OBJECT.read(value).items()}


def _finite(value: Any) -> Dict[str, float]:
    return {_text(name): judged(name, number(), output) for name, output in OBJECT.read(value).items()}


def _how(value: Any) -> Dict[str, Any]:
    return {_text(name): _text(one) if type(one) is str else judged(name, number(-LARGEST, LARGEST), one)
            for name, one in OBJECT.read(value).items()}


PRINTABLE = Field(TEXT.valid, _text)
SECONDS = Field("seconds, 0 or more", fields.SECONDS.read)
INTRODUCTION = {"engine": PRINTABLE, "math": PRINTABLE, "version": PRINTABLE, "pid": WHOLE,  # each may be missing
                "versions": Field("an object of texts and of lists of texts", _versions)}
ANSWERS: Mapping[str, Mapping[str, Field]] = {
    "test": {"id": WHOLE, "iteration": WHOLE, "outputs": Field("an object of numbers", _outputs)},
    "done": {"id": WHOLE, "engine_seconds": SECONDS},
    "diverged": {"id": WHOLE, "reason": PRINTABLE, "engine_seconds": SECONDS},
    "error": {"id": WHOLE, "reason": PRINTABLE},
    "gradient": {"id": WHOLE, "of": Field("an object of finite numbers", _finite),
                 "how": Field("an object of numbers and texts", _how), "distrust": PRINTABLE},
    "learned": {"id": WHOLE, "of": Field("an object of what was learned", what_was_learned)},
    "unsuitable": {"id": WHOLE, "reason": PRINTABLE}}

# What a program says after its last test, and before its end.
OWED = {HYPERGRADIENT: "gradient", **{program: "learned" for program in LEARNING}}


class Conversation:
    """All that one trainer says from its start to its end, line by line."""

    def __init__(self) -> None:
        self.ready = False  # whether it has said so
        self._request, self._over = 0, True  # the number of the last request; whether it has been answered
        self._last, self._iteration = 0, -1  # of the last request: where its last test is due; and that of its last yet
        self._until: Optional[int] = None
        self._accuracies: Collection[str] = ()
        self._program, self._owes = TRAIN, ""

    def number(self, max_iter: int, accuracies: Collection[str], program: str = TRAIN,
               until: Optional[int] = None) -> int:
        """The number of a new request, whose last test is to be at `until`, without that at `max_iter`; `accuracies`
        are outputs from 0 to 1."""
        self._request, self._over = self._request + 1, False
        self._until, self._last = until, max_iter if until is None else until
        self._iteration, self._accuracies = -1, accuracies
        self._program, self._owes = program, OWED.get(program, "")
        return self._request

    def take(self, line: bytes) -> Message:
        """The line's message, its fields' types as they must be; Unfit where no trainer may say that, or not now.
        UserError where it trains beyond `until`, as one that knows none would with every individual.

        Outputs need not be finite.
        """
        message = _parsed(line)
        event = message.get("event")
        if event == "ready" and not self.ready:
            message = _checked(message, read_present, INTRODUCTION)
            self.ready = True
        elif event not in tuple(ANSWERS) or not self.ready:
            raise Unfit(f"whose event is {shown(event)}; expected {' or '.join(ANSWERS) if self.ready else 'ready'}")
        else:
            message = _checked(message, read, ANSWERS[event])
            self._check_order(message)
        return message

    def _check_order(self, message: Message) -> None:
        """Unfit unless this may follow what has been said before."""
        number, event = message["id"], message["event"]
        if number != self._request or self._over:
            raise Unfit(f"whose id is {shown(number)}; expected {self._request}", late=0 < number < self._request)
        if event == "test":
            self._check_test(message["iteration"], message["outputs"])
        elif event in ("done", *OWED.values()) and self._iteration != self._last:
            raise Unfit(f"before a test at iteration {self._last}")
        elif event == "done" and self._owes:
            raise Unfit(f"before event {self._owes}")
        elif event in OWED.values():
            if event != self._owes:
                raise Unfit("which nobody asked for")
            self._owes = ""
        elif event == "unsuitable" and self._program == TRAIN:
            raise Unfit("which no training may be")
        self._over = event not in ("test", *OWED.values())

    def _check_test(self, iteration: int, outputs: Mapping[str, float]) -> None:
        if self._until is not None and iteration > self._until:
            raise UserError(f"the trainer was to end a training at iteration {self._until}, and tests at {iteration}: "
                            "a search file with `stop` needs a trainer that knows `until` (docs/trainer.md)")
        if not self._iteration < iteration <= self._last:
            raise Unfit(f"whose iteration is {shown(iteration)}; expected more than {self._iteration}, "
                        f"at most {self._last}")
        self._iteration = iteration
        for name in self._accuracies:
            accuracy = outputs.get(name, 0.0)
            if math.isfinite(accuracy) and not 0 <= accuracy <= 1:
                raise Unfit(f"whose {name} is {accuracy:g}; expected 0 to 1")


def _parsed(line: bytes) -> Message:
    try:
        return dict(OBJECT.read(json.loads(line.decode(), object_pairs_hook=_once)))
    except (ValueError, RecursionError):
        raise Unfit("no message of its protocol") from None


def _once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    """An object's fields, each of them given once: which of two would be meant?"""
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


def _checked(message: Message, reader: Callable[..., Message], table: Mapping[str, Field]) -> Message:
    """The message with its fields as they are read."""
    try:
        return {**message, **reader(message, table)}
    except Wrong as wrong:
        what = f"whose {wrong.name} is {wrong.found}" if wrong.found else f"without {wrong.name}"
        raise Unfit(f"{what}; expected {wrong.valid}") from None
