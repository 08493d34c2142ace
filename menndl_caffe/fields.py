"""Plain data that comes from elsewhere, judged field by field: a ValueError names the one that is missing or no good.

`record` is always a JSON object, as a dict. True and False are no numbers here, and no number is NaN or infinite.
"""
from __future__ import annotations

import json
import math
from typing import Any, Collection, Dict, Mapping, NoReturn


def parsed(line: bytes) -> Dict[str, Any]:
    """The JSON object of a line; ValueError where it is none. NaN and Infinity, which Python takes, are no JSON."""
    record = json.loads(line, parse_constant=_refuse)
    if not isinstance(record, dict):
        raise ValueError("expected a JSON object")
    return record


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def whole(record: Mapping[str, Any], name: str, low: int = 0, high: int = 2**63 - 1) -> int:
    """A whole number from `low` to `high`."""
    value: Any = record.get(name)
    if type(value) is not int or not low <= value <= high:
        raise wrong(record, name, f"a whole number from {low} to {high}")
    return value


def number(record: Mapping[str, Any], name: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number from `low` to `high`."""
    value: Any = record.get(name)
    if not is_number(value) or not low <= value <= high:
        limits = "" if low == -math.inf else f", {low:g} or more" if high == math.inf else f" from {low:g} to {high:g}"
        raise wrong(record, name, f"a finite number{limits}")
    return float(value)


def is_number(value: Any) -> bool:
    """Whether this is a finite number."""
    return type(value) in (int, float) and math.isfinite(value)


def text(record: Mapping[str, Any], name: str) -> str:
    """A text."""
    value = record.get(name)
    if not isinstance(value, str):
        raise wrong(record, name, "a text")
    return value


def one_of(record: Mapping[str, Any], name: str, values: Collection[str]) -> str:
    """One of these texts."""
    value = record.get(name)
    if value not in values:
        raise wrong(record, name, f"one of {', '.join(values)}")
    return str(value)


def mapping(record: Mapping[str, Any], name: str) -> Dict[str, Any]:
    """A JSON object."""
    value = record.get(name)
    if not isinstance(value, dict):
        raise wrong(record, name, "a JSON object")
    return value


def wrong(record: Mapping[str, Any], name: str, expected: str) -> ValueError:
    """The error for a field that is not what is expected."""
    if name not in record:
        return ValueError(f"field {name!r} is missing; expected {expected}")
    return ValueError(f"field {name!r} is {json.dumps(record[name])[:80]}; expected {expected}")
