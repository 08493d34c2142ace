"""The runs in a folder and in those below it, one row each: `menndl list`."""
from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded
from menndl_caffe.report.status import status_dict
from menndl_caffe.report.summary import fitness
from menndl_caffe.text import aligned, duration

HEAD = ("run", "type", "engine", "individuals", "best", "state", "last change", "size")


def listed(folder: Path, now: float) -> List[Dict[str, Any]]:
    """Of every run: name (its path from the folder), seconds since its journal last changed, bytes; and its type,
    engine, individuals done and in all, best fitness and state, or the `error` where it cannot be read. By name.

    UserError where there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected one with runs in it")
    return sorted((_row(folder, run, now) for run in _runs(folder)), key=lambda row: str(row["name"]))


def _runs(folder: Path) -> Iterator[Path]:
    """Folders with a journal; links are not followed, and what is in a run is no other one."""
    for place, folders, files in os.walk(folder):
        if journal.NAME in files:
            folders.clear()
            yield Path(place)


def _row(folder: Path, run: Path, now: float) -> Dict[str, Any]:
    row: Dict[str, Any] = {"name": str(run.relative_to(folder)), "size": _size(run),
                           "changed_seconds_ago": round(now - (run / journal.NAME).stat().st_mtime, 1)}
    try:
        read = recorded.read(run)
        status = status_dict(read, now)
    except UserError as error:
        return {**row, "error": str(error).partition("\n")[0]}
    best = status["best"] and fitness(status["best"])
    return {**row, "type": status["search"]["type"], "engine": status["engine"], "done": status["done"],
            "total": status["total"], "best": best, "best_text": read.fitness.text(best), "state": status["state"]}


def _size(run: Path) -> int:
    """Bytes of all files of a run."""
    size = 0
    for place, _, files in os.walk(run):
        for name in files:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(place, name)).st_size
    return size


def table(rows: List[Dict[str, Any]], folder: Path) -> str:
    """The rows for people; what cannot be read has its error behind its name, on a line below the others."""
    if not rows:
        return f"no run in {folder}, nor below it"
    sound = [[row["name"], row["type"], row["engine"], _done(row), row["best_text"] or "-", row["state"],
              f"{duration(max(0.0, row['changed_seconds_ago']))} ago", bytes_text(row["size"])]
             for row in rows if "error" not in row]
    lines = [aligned([list(HEAD), *sound], left=(0, 1, 2, 5))] if sound else []
    return "\n".join([*lines, *(f"{row['name']}: {row['error']}" for row in rows if "error" in row)])


def _done(row: Dict[str, Any]) -> str:
    return f"{row['done']:,} of {row['total']:,}" if row["total"] else f"{row['done']:,}"


def bytes_text(size: int) -> str:
    """`512 B`, `1.5 kB`, `23 MB`"""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:.2g} {unit}" if value < 9.95 and unit != "B" else f"{value:.0f} {unit}"
