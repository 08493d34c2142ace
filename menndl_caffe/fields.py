"""Plain data that comes from elsewhere, judged field by field. A table says of each field what its value must be.

True and False are no numbers here.
"""
from __future__ import annotations

import json
import math
from typing import Any, Callable, Collection, Dict, Mapping, NamedTuple, NoReturn

SHOWN = 80  # characters of what is told of a value
MOST = 2**63 - 1  # the largest whole number that all know who read our tables


class Field(NamedTuple):
    """What the value of a field must be: in words, and as a function that gives it as it is read; ValueError, TypeError
    or OverflowError for any other."""

    valid: str
    read: Callable[[Any], Any]


class Wrong(ValueError):
    """A field that is no good: `found` is what stands there, empty where it is missing; `valid` what should."""

    def __init__(self, name: str, found: str, valid: str):
        super().__init__(f"field {name!r} is {found or 'missing'}; expected {valid}")
        self.name, self.found, self.valid = name, found, valid


def read(record: Mapping[str, Any], table: Mapping[str, Field]) -> Dict[str, Any]:
    """The fields of a table, each as it is read; Wrong for the first that is missing or no good."""
    values = {}
    for name, field in table.items():
        if name not in record:
            raise Wrong(name, "", field.valid)
        values[name] = judged(name, field, record[name])
    return values


def read_present(record: Mapping[str, Any], table: Mapping[str, Field]) -> Dict[str, Any]:
    """The same of a table's fields that are there."""
    return read(record, {name: field for name, field in table.items() if name in record})


def judged(name: str, field: Field, value: Any) -> Any:
    """A value as it is read; Wrong where it is no good, or what its own reading says of a part of it."""
    try:
        return field.read(value)
    except Wrong:
        raise
    except (ValueError, TypeError, OverflowError):
        raise Wrong(name, shown(value), field.valid) from None


def shown(value: Any) -> str:
    """A value as JSON, its end cut off."""
    return "a list or an object" if isinstance(value, (list, dict)) else json.dumps(value)[:SHOWN]


def _of_type(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not kind:  # True is an int as well
            raise ValueError
        return value
    return read


def whole(low: int = 0, high: int = MOST) -> Field:
    """A whole number from `low` to `high`."""
    def read(value: Any) -> int:
        if not low <= WHOLE.read(value) <= high:
            raise ValueError
        return int(value)
    return Field(f"a whole number, {low} or more" if high == MOST else f"a whole number from {low} to {high}", read)


def number(low: float = -math.inf, high: float = math.inf) -> Field:
    """A finite number from `low` to `high`."""
    def read(value: Any) -> float:
        if not (math.isfinite(NUMBER.read(value)) and low <= value <= high):
            raise ValueError
        return float(value)
    limits = "" if low == -math.inf else f", {low:g} or more" if high == math.inf else f" from {low:g} to {high:g}"
    return Field(f"a finite number{limits}", read)


def one_of(values: Collection[str]) -> Field:
    """One of these texts."""
    def read(value: Any) -> str:
        if TEXT.read(value) not in values:
            raise ValueError
        return str(value)
    return Field(f"one of {', '.join(values)}", read)


def or_none(field: Field) -> Field:
    """The same, or null."""
    return Field(f"{field.valid}, or null", lambda value: None if value is None else field.read(value))


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError
    return float(value)


WHOLE, TEXT, OBJECT = (Field(valid, _of_type(kind)) for valid, kind in
                       (("a whole number", int), ("a text", str), ("a JSON object", dict)))
NUMBER = Field("a number", _number)  # be it NaN or infinite
SECONDS = number(0, 1e11)  # a duration, or a time since the epoch up to the year 5138, which all can tell who are asked


def parsed(line: bytes) -> Dict[str, Any]:
    """The JSON object of a line; ValueError where it is none. NaN and Infinity, which Python takes, are no JSON."""
    try:
        record = json.loads(line, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("lists or objects within each other, too many") from None
    if not isinstance(record, dict):
        raise ValueError("expected a JSON object")
    return record


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
