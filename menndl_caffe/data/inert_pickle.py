"""Reads the batches of CIFAR-10's python version: pickles, of which nothing is ever executed."""
from __future__ import annotations

import io
import operator
import pickle
from typing import Any, BinaryIO, Callable, Dict, NoReturn, Tuple

import numpy as np

from menndl_caffe.errors import UserError
from menndl_caffe.text import printable

# What a pickled numpy array consists of, and how Python 3 writes bytes in the old protocols.
KNOWN_NAMES = frozenset({
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
})
# What Python 2 and 3 write of dicts, lists, texts, numbers and arrays; OWN_OPCODES are more.
KNOWN_OPCODES = frozenset(opcode[0] for opcode in (
    pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE,
    pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT,
    pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING, pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8,
    pickle.UNICODE, pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8,
    pickle.EMPTY_LIST, pickle.LIST, pickle.APPEND, pickle.APPENDS, pickle.SETITEM, pickle.SETITEMS,
    pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3,
    pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.BINGET, pickle.LONG_BINGET,
    pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.BUILD))
MOST_OPCODES = 500_000  # the official batches have 40,000, the wordiest that Python 3 writes 120,000
MOST_DIGITS = 25
MOST_SHOWN = 80


class Inert:
    """Stands for whatever a pickle names, calls or builds: remembers with what, and does nothing."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: Tuple[str, str], arguments: Tuple[Any, ...] = ()):
        self.name, self.arguments, self.state = name, arguments, None

    def __call__(self, *arguments: Any) -> Inert:
        return Inert(self.name, arguments)

    def __setstate__(self, state: Any) -> None:
        self.state = state


Unpickler: Any = pickle._Unpickler  # the one in Python: the one in C lets a pickle of 20 bytes ask for 32 GB


class _Batch(Dict[Any, Any]):
    """A dict whose keys are texts: to look at another key could take for ever, or all of the stack."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(key, (str, bytes, Inert)):
            raise pickle.UnpicklingError("a key that is no text")
        super().__setitem__(key, value)


class _Opcodes(Dict[int, Callable[[Any], None]]):
    """What an unpickler does at each opcode; UnpicklingError for what no batch has, and for one too many."""

    left = MOST_OPCODES

    def __getitem__(self, opcode: int) -> Callable[[Any], None]:
        self.left -= 1
        if self.left < 0:
            raise pickle.UnpicklingError(f"more than {MOST_OPCODES:,} opcodes")
        return super().__getitem__(opcode)

    def __missing__(self, opcode: int) -> NoReturn:
        raise pickle.UnpicklingError(f"the opcode {bytes([opcode])!r}, which no batch has")


class InertUnpickler(Unpickler):
    """Puts `Inert` in place of each known name and refuses any other.

    The opcodes are those of KNOWN_OPCODES, so that nothing recurses or copies, however deep a pickle nests. Some do not
    as in `pickle`: dicts take texts as keys, numbers in digits are short, and only a tuple holds arguments.
    """

    def __init__(self, pickled: BinaryIO):
        super().__init__(pickled, encoding="bytes")
        known = {opcode: load for opcode, load in Unpickler.dispatch.items() if opcode in KNOWN_OPCODES}
        self.dispatch = _Opcodes({**known, **OWN_OPCODES})

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN_NAMES:
            raise pickle.UnpicklingError(f"it asks for {printable(f'{module}.{name}'[:MOST_SHOWN])}")
        return Inert((module, name))

    def number(self) -> int:
        """The number in a line of its own, `12\n` or `12L\n`; long ones would take hours."""
        line = self.readline()
        if len(line) > MOST_DIGITS:
            raise pickle.UnpicklingError(f"a number of {len(line)} characters")
        return int(line.rstrip(b"L\n"))

    def load_int(self) -> None:
        self.append(self.number())

    def load_get(self) -> None:
        self.append(self.memo[self.number()])

    def load_put(self) -> None:
        self.memo[self.number()] = self.stack[-1]

    def load_dict(self) -> None:
        if self.pop_mark():
            raise pickle.UnpicklingError("a dict made of a list")
        self.load_empty_dict()

    def load_empty_dict(self) -> None:
        self.append(_Batch())

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        if not isinstance(arguments, tuple):
            raise pickle.UnpicklingError("arguments that are no tuple")
        self.stack[-1] = self.stack[-1](*arguments)


OWN_OPCODES = {opcode[0]: load for opcode, load in (
    (pickle.INT, InertUnpickler.load_int), (pickle.LONG, InertUnpickler.load_int),
    (pickle.GET, InertUnpickler.load_get), (pickle.PUT, InertUnpickler.load_put),
    (pickle.DICT, InertUnpickler.load_dict), (pickle.EMPTY_DICT, InertUnpickler.load_empty_dict),
    (pickle.REDUCE, InertUnpickler.load_reduce))}


def read_batch(pickled: bytes) -> Tuple[np.ndarray, np.ndarray]:
    """Labels uint8 (N,) and pixels uint8 (N, 3072) of one batch; UserError, to be prefixed with its name, if not."""
    batch = _loaded(pickled)
    if not isinstance(batch, dict):
        raise UserError("the pickle does not hold the dict of a CIFAR-10 batch")
    fields = {_as_text(key): value for key, value in batch.items()}
    for key in ("labels", "data"):
        if key not in fields:
            names = sorted(printable(name[:20]) for name in fields if isinstance(name, str))
            raise UserError(f"the pickle has no {key!r}: it holds {', '.join(names[:8]) or 'nothing'}")
    return _labels(fields["labels"]), _pixels(fields["data"])


def _loaded(pickled: bytes) -> Any:
    stream = io.BytesIO(pickled)
    try:
        return InertUnpickler(stream).load()
    except Exception as error:  # a damaged pickle may raise anything (documented of the module pickle)
        reason = str(error) or type(error).__name__
        raise UserError(f"not a pickle of CIFAR-10: {reason} (before byte {stream.tell()} of {len(pickled)}); "
                        "nothing in it was executed") from None


def _labels(values: Any) -> np.ndarray:
    if not isinstance(values, list):
        raise UserError("the pickle's 'labels' are not a list")
    for record, label in enumerate(values):
        if type(label) is not int or not 0 <= label <= 9:
            shown = label if type(label) is int and label.bit_length() < 64 else type(label).__name__
            raise UserError(f"label {shown} at record {record}; 0 to 9 are valid")
    return np.array(values, np.uint8)


def _pixels(array: Any) -> np.ndarray:
    """The array that numpy would have built from `_reconstruct` and its state: version, shape, dtype, order, bytes."""
    try:
        _, shape, dtype, fortran_order, content = array.state
        kind, content = _as_text(dtype.arguments[0]), _as_bytes(content)
        if array.name[1] != "_reconstruct" or kind != "u1" or fortran_order:
            raise ValueError
        return np.frombuffer(content, np.uint8).reshape([operator.index(size) for size in shape])
    except (AttributeError, IndexError, TypeError, ValueError, OverflowError):
        raise UserError("the pickle's 'data' are not an array of bytes (uint8)") from None


def _as_text(value: Any) -> Any:
    """Names are bytes where Python 2 wrote the pickle, and bytes in disguise where Python 3 wrote in protocol 2."""
    value = _as_bytes(value)
    return value.decode("latin1") if isinstance(value, bytes) else value


def _as_bytes(value: Any) -> Any:
    if not isinstance(value, Inert) or value.name != ("_codecs", "encode"):
        return value
    try:
        text, encoding = value.arguments
        if encoding != "latin1":
            raise ValueError
        return text.encode("latin1")
    except (AttributeError, TypeError, ValueError):
        raise UserError("the pickle is damaged: it asks for bytes of what is no latin1 text") from None
