"""docs/tutorial.md as its reader takes it: the files that are to be written, the commands, what they shall print."""
from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple

BLOCK = re.compile(r"(?P<before>[^\n]*)\n\n```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
FILE_NAME = re.compile(r"`([^`]+)`:$")
MARK = "=== block"
# What may come out otherwise on another processor.
VALUE = re.compile(r"(?:MAX|AVE)(?:, (?:MAX|AVE))?|(?:below )?[\d.,]*\d(?:-[\d.,]+)?")


class Block(NamedTuple):
    """A fenced block: `sh` for commands, `text` for what the commands before it print, others are files to write."""

    language: str
    text: str
    file: str


def blocks(page: Path) -> List[Block]:
    """The page's blocks; ValueError where one that is a file has no name in the line before it."""
    found = []
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        name = FILE_NAME.search(match["before"])
        if match["language"] not in ("sh", "text") and name is None:
            raise ValueError(f"{page}: no file name before the block of {match['language']}: {match['text'][:60]!r}")
        found.append(Block(match["language"], match["text"], name[1] if name else ""))
    return found


def script(page: List[Block]) -> str:
    """One shell script of all blocks, which says where the output of each begins."""
    return "\n".join(["set -euo pipefail", "exec 2>&1", *_steps(page)])


def _steps(page: List[Block]) -> Iterator[str]:
    for number, block in enumerate(page):
        if block.language == "sh":
            yield f"echo '{MARK} {number}'\n{block.text}"
        elif block.language != "text":
            yield f"printf %s {shlex.quote(block.text)} >{shlex.quote(block.file)}"


def printed(output: str) -> Dict[int, str]:
    """Number of a block -> what its commands printed."""
    parts = re.split(rf"^{MARK} (\d+)$\n", output, flags=re.MULTILINE)
    return {int(number): text for number, text in zip(parts[1::2], parts[2::2])}


def pattern(line: str) -> str:
    """A regular expression for a line that the page shows: numbers and distances may differ."""
    words = VALUE.sub("\0", line).split()
    return r"\s+".join(re.escape(word).replace("\0", f"(?:{VALUE.pattern})") for word in words)
