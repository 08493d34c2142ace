"""The one exception for a user's mistake: the command `menndl` prints it as one line and exits with code 2."""
from __future__ import annotations

import difflib
import importlib
from typing import Any, Iterable

FEW = 12  # so many names can be listed in an error
LONG = 100  # characters of a word that are looked at


class UserError(ValueError):
    """Something the user wrote or pointed at is wrong; the text says what was found, where, and what would be valid."""


def in_utf8(name: str) -> str:
    """A file's name as it is; UserError where it is not UTF-8, since no message of Caffe's or menndl's can have it."""
    shown = name.encode(errors="backslashreplace").decode()
    if shown != name:
        raise UserError(f"{shown} is not UTF-8, in which Caffe's files and menndl's name others; expected a name in "
                        "UTF-8: rename it, or give a link to it")
    return name


def optional_module(name: str, purpose: str, package: str) -> Any:
    """Import a module that only some functions need; UserError with what to install where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{purpose} needs {package} ({error}): `pip install {package}`") from None


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """The nearest valid names as the end of an error, and all of them where they are few; nothing where there is none.

    >>> did_you_mean("kernel_sise", ["kernel_size", "pad"])
    '; did you mean kernel_size? valid: kernel_size, pad'
    """
    names, word = sorted(valid), word[:LONG]
    if not names:
        return ""
    spelled = {name.lower(): name for name in names}
    nearest = [spelled[match] for match in difflib.get_close_matches(word.lower(), spelled, n=3)]
    guess = f"; did you mean {' or '.join(nearest)}?" if nearest else ";"
    if len(names) <= FEW:
        return f"{guess} valid: {', '.join(names)}"
    if nearest:
        return guess
    return f"; valid, among {len(names)}: {', '.join(difflib.get_close_matches(word, names, n=FEW, cutoff=0.0))}"
