"""Single values of protobuf's text format: token -> Python value, by the rules of the C++ reader that Caffe uses."""
from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any, Callable, Dict

from google.protobuf.descriptor import FieldDescriptor

from menndl_caffe.errors import did_you_mean
from menndl_caffe.nets.layer_rules.blob import not_caffes

QUOTES = "\"'"
SIGN = r"(-?)\s*(?:#[^\n]*\n\s*)*"
INTEGER = re.compile(SIGN + r"(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]{0,99})", re.ASCII)  # longer ones would take long
REAL = re.compile(SIGN + r"((?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)[fF]?", re.ASCII)
NOT_FINITE = re.compile(SIGN + r"(inf|infinity|nan)", re.ASCII | re.IGNORECASE)
RANGES = {FieldDescriptor.CPPTYPE_INT32: (-2**31, 2**31 - 1), FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
          FieldDescriptor.CPPTYPE_INT64: (-2**63, 2**63 - 1), FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1)}
BOOLEANS = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}
PIECE = re.compile(rb"""\s*(?:#[^\n]*\n\s*)*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""")
STRINGS = re.compile(rb"(?:%s)+" % PIECE.pattern)
ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([\da-fA-F]{1,2})|u([\da-fA-F]{4})|"
                    rb"U(00(?:0[\da-fA-F]|10)[\da-fA-F]{4})|(.))")
LETTERS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v",
           b"\\": b"\\", b"?": b"?", b"'": b"'", b'"': b'"'}


def found(token: str) -> str:
    """A token as errors show it."""
    if not token:
        return "the end of the text"
    shown = token if len(token) <= 40 else token[:37] + "..."
    return shown if re.match(r"[\w\"'.-]", token, re.ASCII) and shown.isprintable() else ascii(shown)


def converter(field: Any) -> Callable[[str], Any]:
    """The function token -> value for a field that is no message; its ValueErrors say what was expected and found."""
    if field.enum_type:
        return _enum(field.enum_type)
    if field.cpp_type in RANGES:
        return _integer(*RANGES[field.cpp_type])
    others: Dict[int, Callable[[str], Any]] = {
        FieldDescriptor.TYPE_FLOAT: _real, FieldDescriptor.TYPE_DOUBLE: _real, FieldDescriptor.TYPE_BOOL: _boolean,
        FieldDescriptor.TYPE_STRING: _caffes_string if field.file.package == "caffe" else _string,
        FieldDescriptor.TYPE_BYTES: _bytes}
    return others[field.type]


def _whole(token: str) -> Any:
    """The number of a token, decimal, hexadecimal or octal; None where it is no integer."""
    match = INTEGER.fullmatch(token)
    if not match:
        return None
    digits = match[2]
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
    return -int(digits, base) if match[1] else int(digits, base)


@cache
def _integer(low: int, high: int) -> Callable[[str], int]:
    @lru_cache(maxsize=4096)
    def convert(token: str) -> int:
        value = _whole(token)
        if value is None or not low <= value <= high or low == 0 and token[0] == "-":
            raise ValueError(f"expected a whole number in {low}..{high}, found {found(token)}")
        return int(value)
    return convert


@cache
def _enum(enum: Any) -> Callable[[str], int]:
    numbers = {value.name: value.number for value in enum.values}

    def convert(token: str) -> int:
        if token in numbers:
            return numbers[token]
        value = _whole(token)
        if value not in numbers.values():
            hint = did_you_mean(token.strip(QUOTES), numbers)
            if enum.name == "LayerType":
                hint += " " + not_caffes(found(token))
            raise ValueError(f"expected a name of {enum.name}, found {found(token)}{hint}")
        return int(value)
    return convert


@lru_cache(maxsize=4096)
def _real(token: str) -> float:
    match = REAL.fullmatch(token) or NOT_FINITE.fullmatch(token)
    if not match:
        raise ValueError(f"expected a number, found {found(token)}")
    return -float(match[2]) if match[1] else float(match[2])


def _boolean(token: str) -> bool:
    value = BOOLEANS.get(token, _whole(token))
    if value not in (0, 1) or token[0] == "-":
        raise ValueError(f"expected true or false, found {found(token)}")
    return bool(value)


def _bytes(token: str) -> bytes:
    if token[:1] not in ("'", '"'):
        raise ValueError(f"expected a text in quotes, found {found(token)}")
    content = token.encode("utf-8", "surrogateescape")
    pieces = PIECE.findall(content) if STRINGS.fullmatch(content) else []
    if not pieces:
        raise ValueError(f"the text begins with {token[0]} but does not end on its line: {found(token)}")
    return ESCAPE.sub(_unescape, b"".join(double or single for double, single in pieces))


@lru_cache(maxsize=4096)
def _string(token: str) -> str:
    try:
        return _bytes(token).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"expected a text of UTF-8, found {found(token)}") from None


@lru_cache(maxsize=4096)
def _caffes_string(token: str) -> str:
    """Caffe keeps any bytes, and Python's messages UTF-8: what is none is read as Latin-1: distinct still."""
    try:
        return _string(token)
    except ValueError:
        return _bytes(token).decode("latin-1")


def _unescape(match: re.Match[bytes]) -> bytes:
    """The bytes of one escape sequence."""
    octal, hexadecimal, short, long, letter = match.groups()
    if octal:
        return bytes([int(octal, 8) & 255])  # as Caffe's reader, which keeps eight bits
    if hexadecimal:
        return bytes([int(hexadecimal, 16)])
    if short or long:
        return chr(int(short or long, 16)).encode("utf-8", "surrogatepass")
    if letter not in LETTERS:
        raise ValueError(f"has the unknown escape \\{letter.decode('ascii', 'replace')}; "
                         r"""valid: \n \t \r \a \b \f \v \\ \' \" \? \123 \x41 \u0041 \U00000041""")
    return LETTERS[letter]
