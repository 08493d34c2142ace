"""Reads the batches of CIFAR-10's python version: pickles, of which nothing is ever executed."""
from __future__ import annotations

import io
import pickle
from typing import Any, Tuple

import numpy as np

from menndl_caffe.errors import UserError

# What a pickled numpy array consists of, and how Python 3 writes bytes in the old protocols.
KNOWN_NAMES = frozenset({
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
})


class Inert:
    """Stands for whatever a pickle names, calls or builds: remembers with what, and does nothing."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: Tuple[str, str], arguments: Tuple[Any, ...] = ()):
        self.name, self.arguments, self.state = name, arguments, None

    def __call__(self, *arguments: Any) -> Inert:
        return Inert(self.name, arguments)

    def __setstate__(self, state: Any) -> None:
        self.state = state


class InertUnpickler(pickle._Unpickler):  # the one in Python: the one in C lets a pickle of 20 bytes ask for 32 GB
    """Puts `Inert` in place of each known name and refuses any other."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN_NAMES:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return Inert((module, name))


def read_batch(pickled: bytes) -> Tuple[np.ndarray, np.ndarray]:
    """Labels uint8 (N,) and pixels uint8 (N, 3072) of one batch; UserError, to be prefixed with its name, if not."""
    batch = _loaded(pickled)
    if not isinstance(batch, dict):
        raise UserError("the pickle does not hold the dict of a CIFAR-10 batch")
    fields = {_as_text(key): value for key, value in batch.items()}
    for key in ("labels", "data"):
        if key not in fields:
            names = sorted(name[:20] for name in fields if isinstance(name, str))
            raise UserError(f"the pickle has no {key!r}: it holds {', '.join(names[:8]) or 'nothing'}")
    return _labels(fields["labels"]), _pixels(fields["data"])


def _loaded(pickled: bytes) -> Any:
    stream = io.BytesIO(pickled)
    try:
        return InertUnpickler(stream, encoding="bytes").load()
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
        return np.frombuffer(content, np.uint8).reshape([int(size) for size in shape])
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
