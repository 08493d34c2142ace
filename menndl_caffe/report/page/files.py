"""The net and the solver of the few individuals whose files RUN/trials keeps."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Sequence

from menndl_caffe.journal import Record
from menndl_caffe.report.page.columns import printable

NAMES = ("train_test.prototxt", "solver.prototxt")
MOST = 200  # individuals whose texts go into the page
LONGEST = 100_000  # characters of a text


def kept_files(folder: Path, record: Record, first: Sequence[int]) -> Dict[str, Any]:
    """By id: `names`, the files in RUN/trials/ID, and `texts`, those of net and solver, {} after the first MOST ids.

    `first` are the ids to begin with. Only folders that RUN/trials itself holds are looked into: an id of a journal
    from elsewhere may be `../..`.
    """
    trials = folder / "trials"
    try:
        present = {entry.name for entry in trials.iterdir() if entry.is_dir()}
    except OSError:
        return {}
    ids = [id for id in dict.fromkeys([*first, *record.results]) if str(id) in present]
    return {str(id): {"names": _names(trials / str(id)), "texts": _texts(trials / str(id)) if place < MOST else {}}
            for place, id in enumerate(ids)}


def _names(directory: Path) -> Sequence[str]:
    try:
        return sorted(printable(entry.name) for entry in directory.iterdir() if entry.is_file())
    except OSError:
        return []


def _texts(directory: Path) -> Dict[str, str]:
    """The texts that can be read; a long one is cut."""
    texts = {}
    for name in NAMES:
        try:
            with open(directory / name, encoding="utf-8", errors="replace") as file:
                texts[name] = printable(file.read(LONGEST))
        except OSError:
            continue
    return texts
