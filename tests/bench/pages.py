"""What the benchmarks share: tables of pages, and search files that are made of another one."""
from __future__ import annotations

from pathlib import Path
from typing import Iterable, Sequence, Tuple

from menndl_caffe.errors import UserError


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of a page."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def changed(file: Path, changes: Iterable[Tuple[str, str]]) -> str:
    """A file's text with these changes; UserError where it is another than they were written for."""
    text = file.read_text()
    for old, new in changes:
        if text.count(old) != 1:
            raise UserError(f"{file}: expected {old!r} once, found {text.count(old)} times")
        text = text.replace(old, new)
    return text
