"""protobuf's text format, read as Caffe 1.0's own C++ reader reads it; errors name file, line, field and what is valid.

As that reader does, it refuses a field that is given twice, a number that an enum does not have, `TRUE`, and 0x10 where
a float stands. What Caffe never uses (extensions, groups, maps, Any) it does not understand. Several times as fast as
protobuf's Python reader, which names neither what would be valid nor where a brace was opened.
"""
from __future__ import annotations

import re
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor

from menndl_caffe.errors import UserError, did_you_mean
from menndl_caffe.nets.layer_rules import LAYERS
from menndl_caffe.nets.layer_rules.blob import not_caffes
from menndl_caffe.nets.prototxt_values import QUOTES, converter, found

PathOf = Sequence[Union[str, int]]  # such as ("layer", 2, "top", 0): names of fields, numbers among repeated ones
Marks = Dict[str, List[Tuple[int, Any]]]  # field name -> for each of its values: number of its token, Marks inside it

SKIP = r"\s*(?:#[^\n]*(?:\n\s*|\Z))*"
STRING = r'(?:"[^"\\\n\0]*(?:\\[^\n\0][^"\\\n\0]*)*"' + r"|'[^'\\\n\0]*(?:\\[^\n\0][^'\\\n\0]*)*')"
# A token is adjacent strings, or what stands on the line of one without an end, or a word or number with its sign, or
# one other character, or "" at the end. Every part can match in one way only, so that no text makes the search slow.
WORD, NUMBER = r"[A-Za-z_]\w*", r"\.?[0-9](?:[eE][-+]|[\w.])*"
UNCLOSED = r"""["'][^\n\0]*"""
TOKEN = re.compile(rf"{SKIP}({STRING}(?:{SKIP}{STRING})*|{UNCLOSED}|(?:-{SKIP})?(?:{WORD}|{NUMBER})|\S|\Z)", re.ASCII)
FORKS_FIELDS = {  # (message, field of a fork or of a later Caffe) -> what says the same
    ("PoolingParameter", "ceil_mode"): "round_mode: FLOOR for ceil_mode: false, and CEIL, its default, for true",
    ("BatchNormParameter", "scale_bias"): "a layer of type Scale for it, behind the BatchNorm",
}
CLOSER = {"{": "}", "<": ">"}
SEPARATORS = frozenset(";,")
LIST_GOES_ON = frozenset(",]")


class PrototxtError(UserError):
    """A mistake in a text: `FILE:LINE: FIELD: what was found and what would be valid`."""


class Document:
    """A message, its `text`, and where its fields stand there; `file` is the name in errors."""

    def __init__(self, message: Any, file: str, text: str):
        self.message = message
        self.file = file
        self.marks: Marks = {}
        self.text = text

    def line(self, path: PathOf) -> int:
        """Line, from 1, of the field at `path`; where the text has none there, of the innermost field around it."""
        return self.line_of(self._token(path)[0])

    def span(self, path: PathOf) -> Optional[Tuple[int, int]]:
        """Where the text has the value at `path`, one that is no message: its characters' numbers, from the first to
        the one behind the last. None where it has none there."""
        token, there = self._token(path)
        if not there:
            return None
        name = self._matches[token + 1][1] == ":"  # of a list's values none is before each
        return self._matches[token + 2 * name].span(1)

    def _token(self, path: PathOf) -> Tuple[int, bool]:
        """Number of the token at `path`, or of the innermost field around it; and whether it is the field's own."""
        marks, token = self.marks, 0
        for name, number in _steps(path):
            places = marks.get(name, ()) if marks else ()
            if number >= len(places):
                return token, False
            token, marks = places[number]
        return token, True

    def line_of(self, token: int) -> int:
        """Line of the text's token of this number."""
        return self.text.count("\n", 0, self._matches[token].start(1)) + 1

    @cached_property
    def _matches(self) -> List[re.Match[str]]:
        return list(TOKEN.finditer(self.text))  # few ask, so parsing goes without

    def error(self, path: PathOf, text: str) -> PrototxtError:
        """The error to raise where the value at `path` is wrong: `FILE:LINE: FIELD: text`."""
        return self.error_on(self.line(path), path, text)

    def error_on(self, line: int, path: PathOf, text: str) -> PrototxtError:
        """The same, for a line that is known."""
        field = "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in path)[1:]
        return PrototxtError(f"{self.file}:{line}: {field}{': ' if field else ''}{text}")


def _steps(path: PathOf) -> Iterator[Tuple[str, int]]:
    """`("layer", 2, "top")` -> `("layer", 2), ("top", 0)`"""
    for name, number in zip(path, (*path[1:], 0)):
        if isinstance(name, str):
            yield name, number if isinstance(number, int) else 0


def load(path: Union[str, Path], message_class: Any) -> Document:
    """Read a file; PrototxtError where it cannot be read or is not a text of this message."""
    try:
        text = Path(path).read_bytes().decode("utf-8", "surrogateescape")  # Caffe minds no bytes in comments either
    except OSError as error:
        raise PrototxtError(f"{path}: {error.strerror}") from None
    return parse(text, message_class, str(path))


def parse(text: str, message_class: Any, file: str = "<text>") -> Document:
    """Read a text as a `message_class`; PrototxtError at its first mistake. `file` is the text's name in errors."""
    document = Document(message_class(), file, text)
    _Parser(document, text).read()
    return document


def dumps(message: Any) -> str:
    """The text of a message, one field a line."""
    return str(text_format.MessageToString(message, as_utf8=True))


class _Field(NamedTuple):
    """What the parser has to know of a field."""

    name: str
    repeated: bool
    convert: Optional[Callable[[str], Any]]  # token -> value; None for messages
    message: Any                             # descriptor of the message; None for others
    rivals: Tuple[str, ...]                  # the other fields of its oneof


@cache
def _fields_of(descriptor: Any) -> Dict[str, _Field]:
    return {field.name: _field_of(field) for field in descriptor.fields}


def _field_of(field: Any) -> _Field:
    repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == FieldDescriptor.LABEL_REPEATED
    oneof = field.containing_oneof
    rivals = tuple(other.name for other in oneof.fields if other.name != field.name) if oneof else ()
    convert = None if field.message_type else converter(field)
    return _Field(field.name, repeated, convert, field.message_type, rivals)


class _Open(NamedTuple):
    """A message whose end has not been reached."""

    path: Tuple[Union[str, int], ...]
    descriptor: Any
    token: int  # number of its '{'


class _Parser:
    """One pass over the tokens; a method that reads something takes its first token's number and returns the next."""

    def __init__(self, document: Document, text: str):
        self.document = document
        self.tokens: List[str] = TOKEN.findall(text)
        self.open = [_Open((), document.message.DESCRIPTOR, 0)]

    def read(self) -> None:
        message = self.document.message
        self._message(0, message, self.document.marks, "")
        if not message.IsInitialized():
            missing = message.FindInitializationErrors()[0]  # such as layer[0].clip_param.max
            path = tuple(int(part) if part.isdigit() else part for part in re.findall(r"\w+", missing))
            raise self.document.error(path, "is missing; it must be given")

    def _message(self, i: int, message: Any, marks: Marks, close: str) -> int:
        """The fields of a message, up to and with the token `close`."""
        tokens, known = self.tokens, _fields_of(message.DESCRIPTOR)
        while True:
            field = known.get(tokens[i])
            if field is None:
                if tokens[i] == close:
                    return i + 1
                raise self._no_field(i, close)
            i = self._field(i, field, message, marks)
            if tokens[i] in SEPARATORS:
                i += 1

    def _field(self, i: int, field: _Field, message: Any, marks: Marks) -> int:
        """A field from its name on."""
        name_token, places = i, marks.get(field.name)
        if places is None:
            places = marks[field.name] = []
        elif not field.repeated:
            raise self._error(i, field, 0, f"is given twice; line {self.document.line_of(places[0][0])} has it already")
        if field.rivals:
            self._check_rivals(i, field, marks)
        i += 1
        if self.tokens[i] == ":":
            i += 1
        elif field.convert:
            raise self._error(i, field, len(places), f"expected ':' after the name, found {found(self.tokens[i])}")
        if field.repeated and self.tokens[i] == "[":
            return self._list(i, field, message, places)
        return self._value(i, name_token, field, message, places)

    def _list(self, i: int, field: _Field, message: Any, places: List[Tuple[int, Any]]) -> int:
        """`[value, value, ...]`"""
        if self.tokens[i + 1] == "]":
            return i + 2
        while self.tokens[i] != "]":
            i = self._value(i + 1, i + 1, field, message, places)
            if self.tokens[i] not in LIST_GOES_ON:
                raise self._error(i, field, len(places) - 1,
                                  f"expected ',' or ']' after it, found {found(self.tokens[i])}")
        return i + 1

    def _value(self, i: int, mark: int, field: _Field, message: Any, places: List[Tuple[int, Any]]) -> int:
        """One value; `mark` is the number of the token that errors are to point at later."""
        if field.convert is None:
            return self._submessage(i, mark, field, message, places)
        try:
            value = field.convert(self.tokens[i])
        except ValueError as error:
            raise self._error(i, field, len(places), str(error)) from None
        places.append((mark, None))
        if field.repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
        return i + 1

    def _submessage(self, i: int, mark: int, field: _Field, message: Any, places: List[Tuple[int, Any]]) -> int:
        """`{ ... }` or `< ... >`"""
        close = CLOSER.get(self.tokens[i])
        if close is None:
            raise self._error(i, field, len(places), f"expected '{{' and fields of {field.message.name}, "
                                                     f"found {found(self.tokens[i])}")
        self.open.append(_Open(self._path(field, len(places)), field.message, i))
        value = getattr(message, field.name)
        if field.repeated:
            value = value.add()
        else:
            value.SetInParent()
        marks: Marks = {}
        places.append((mark, marks))
        i = self._message(i + 1, value, marks, close)
        self.open.pop()
        return i

    def _path(self, field: _Field, number: int) -> Tuple[Union[str, int], ...]:
        """Path of a field of the innermost message; `number` counts where it is repeated."""
        return self.open[-1].path + ((field.name, number) if field.repeated else (field.name,))

    def _error(self, i: int, field: _Field, number: int, text: str) -> PrototxtError:
        return self.document.error_on(self.document.line_of(i), self._path(field, number), text)

    def _check_rivals(self, i: int, field: _Field, marks: Marks) -> None:
        for rival in field.rivals:
            if rival in marks:
                line = self.document.line_of(marks[rival][0][0])
                raise self._error(i, field, 0, f"excludes {rival} of line {line}; "
                                               f"expected one of {', '.join(sorted((field.name, *field.rivals)))}")

    def _no_field(self, i: int, close: str) -> PrototxtError:
        """What is wrong where neither a known field nor the message's end stands."""
        token, (path, descriptor, brace) = self.tokens[i], self.open[-1]
        line = self.document.line_of(i)
        if re.match(r"[A-Za-z_]", token):
            return self.document.error_on(line, (*path, found(token)),
                                          f"is no field of {descriptor.name}{self._hint(token)}")
        if not token:
            return self.document.error_on(self.document.line_of(brace), path,
                                          f"'{self.tokens[brace]}' is never closed; expected a '{close}'")
        expected = "the name of a field" + (f" or '{close}'" if close else "")
        hint = "; no '{' is open" if token == "}" and not close else "; comments begin with #" if token == "/" else ""
        return self.document.error_on(line, path, f"expected {expected}, found {found(token)}{hint}")

    def _hint(self, name: str) -> str:
        """What an unknown field can be: one of a message around, if a '}' was forgotten, another of this one, or one
        of a fork."""
        inner = self.open[-1]
        for outer in self.open[:-1]:
            if name in _fields_of(outer.descriptor):
                return (f" but of {outer.descriptor.name}; is a '{CLOSER[self.tokens[inner.token]]}' missing "
                        f"for the '{self.tokens[inner.token]}' of line {self.document.line_of(inner.token)}?")
        if (inner.descriptor.name, name) in FORKS_FIELDS:
            return f"; Caffe 1.0 has {FORKS_FIELDS[inner.descriptor.name, name]}"
        type_ = self._text_of("type") if inner.descriptor.name == "LayerParameter" else ""
        if type_ and type_ not in LAYERS:
            return f", and layer {self._text_of('name')} has type {type_} {not_caffes(type_)}"
        return did_you_mean(name, _fields_of(inner.descriptor))

    def _text_of(self, field: str) -> str:
        """A text of the innermost message, wherever it stands there; empty where it has none."""
        depth, tokens = 0, self.tokens
        for i in range(self.open[-1].token + 1, len(tokens) - 2):
            depth += (tokens[i] in CLOSER) - (tokens[i] in CLOSER.values())
            if depth < 0:
                break
            if depth == 0 and tokens[i:i + 2] == [field, ":"]:
                return found(tokens[i + 2]).strip(QUOTES)
        return ""
