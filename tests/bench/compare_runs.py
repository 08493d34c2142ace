"""What differs between two runs of the same search, such as of two versions of menndl: their journals and figures.

    python -m tests.bench.compare_runs BEFORE AFTER

Times, ranks and hosts differ from run to run and are not compared. Exit code 0 where nothing else differs but fields
that only one of them has, else 1.
"""
from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

Line = Dict[str, Any]
OF_THE_DAY = {"started", "given", "seconds", "engine_seconds", "rank", "host", "command", "platform", "data_folder"}
PICTURES = (".png", ".svg", ".pdf")


def lines(run: Path) -> Dict[Tuple[str, int], Line]:
    """The first line of each event and id."""
    found: Dict[Tuple[str, int], Line] = {}
    for text in (run / "journal.jsonl").read_text().splitlines():
        line = json.loads(text)
        found.setdefault((line["event"], line.get("id", 0)), line)
    return found


def differences(before: Dict[Tuple[str, int], Line], after: Dict[Tuple[str, int], Line]) -> Iterator[Tuple[str, str]]:
    """(kind, text) of each: kind `field` for one that only one side has, `line` and `value` for the others."""
    for key in sorted({*before, *after}):
        if key not in before or key not in after:
            yield "line", f"{key[0]} {key[1]} is only {'after' if key in after else 'before'}"
            continue
        one, other = before[key], after[key]
        for name in sorted({*one, *other} - OF_THE_DAY):
            if name not in one or name not in other:
                yield "field", f"{key[0]}.{name} is only {'after' if name in other else 'before'}"
            elif one[name] != other[name]:
                was, now = str(one[name])[:60], str(other[name])[:60]
                yield "value", f"{key[0]} {key[1]}: {name} is {was} before, {now} after"


def files(before: Path, after: Path) -> Iterator[Tuple[str, str]]:
    """The figures of both reports, byte by byte; tables and page have times in them."""
    names = {path.name for run in (before, after) for path in (run / "report").glob("*") if path.suffix in PICTURES}
    for name in sorted(names):
        one, other = (run / "report" / name for run in (before, after))
        if not (one.exists() and other.exists()):
            yield "file", f"report/{name} is only {'after' if other.exists() else 'before'}"
        elif one.read_bytes() != other.read_bytes():
            yield "file", f"report/{name} differs"
        else:
            yield "equal", f"report/{name} is equal"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    arguments = parser.parse_args()
    before, after = lines(arguments.before), lines(arguments.after)
    found: List[Tuple[str, str]] = [*differences(before, after), *files(arguments.before, arguments.after)]
    for text, times in Counter(text for _, text in found).items():
        print(text if times == 1 else f"{text} ({times} times)")
    print(f"{len(before)} lines before, {len(after)} after")
    sys.exit(any(kind in ("line", "value", "file") for kind, _ in found))


if __name__ == "__main__":
    main()
