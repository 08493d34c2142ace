"""The one exception for a user's mistake: the command `menndl` prints it as one line and exits with code 2."""
from __future__ import annotations

import difflib
from typing import Iterable


class UserError(ValueError):
    """Something the user wrote or pointed at is wrong; the text says what was found, where, and what would be valid."""


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """`'; did you mean X?'` for the nearest valid names, then all of them when they are few.

    >>> did_you_mean("kernel_sise", ["kernel_size", "pad"])
    '; did you mean kernel_size? valid: kernel_size, pad'
    """
    names = sorted(valid)
    nearest = difflib.get_close_matches(word, names, n=3)
    hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
    if nearest and len(names) > 12:
        return hint
    return f"{hint}{'' if nearest else ';'} valid: {', '.join(names)}"
