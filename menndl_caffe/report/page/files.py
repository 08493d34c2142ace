"""The net and the solver of individuals: of the few whose files RUN/trials keeps, and of all as the templates say."""
from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Dict, List, Sequence

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.experiment.render import FILES
from menndl_caffe.files import inside, unlinked
from menndl_caffe.report.nets import Nets
from menndl_caffe.text import printable
from menndl_caffe.trial import CONFIRM

MOST = 200  # individuals whose texts go into the page
LONGEST = 100_000  # characters of a text
IN_ALL = 100_000_000  # characters of all texts that are rendered; what differs among them is in the page


def kept_files(run: Run, first: Sequence[int]) -> Dict[str, Any]:
    """By id: `names`, the files in RUN/trials/ID, and `texts`, those of net and solver, {} after the first MOST ids.

    `first` are the ids to begin with.
    """
    try:
        trials = unlinked(run.folder, "trials")
        present = {entry.name for entry in trials.iterdir() if entry.is_dir() and not entry.is_symlink()}
    except OSError:
        return {}
    ids = [id for id in dict.fromkeys([*first, *run.record.results]) if str(id) in present]
    return {str(id): {"names": _names(trials / str(id)), "texts": _texts(trials / str(id)) if place < MOST else {}}
            for place, id in enumerate(ids)}


def _names(directory: Path) -> Sequence[str]:
    try:
        return sorted(printable(entry.name, lines=True) for entry in directory.iterdir()
                      if entry.is_file() and not entry.is_symlink())
    except OSError:
        return []


def _texts(directory: Path) -> Dict[str, str]:
    """The texts that can be read; a long one is cut."""
    texts = {}
    for name in FILES:
        try:
            with io.TextIOWrapper(inside(directory, name), encoding="utf-8", errors="replace") as file:
                texts[name] = printable(file.read(LONGEST), lines=True)
        except OSError:
            continue
    return texts


def rendered_files(nets: Nets, run: Run) -> Dict[str, Any]:
    """Net and solver of every individual that was trained, as the run's templates render them; the fittest first, until
    they are too long in all.

    `bases`, for the two of FILES: by number of lines, the lines of the first text of so many. `of`, by id, for the two:
    the number of lines, and [place, line] for each line that differs from those.
    """
    bases: List[Dict[int, List[str]]] = [{} for _ in FILES]
    of: Dict[str, Any] = {}
    left = IN_ALL
    shown = (result for id, result in run.record.results.items() if run.record.trials[id].role != CONFIRM)
    for result in sorted(shown, key=lambda result: run.fitness.rank_key(result)[:3]):
        texts = nets.rendered(run.record.trials[result.id]) if result.same_as is None and left > 0 else None
        if texts:
            left -= sum(map(len, texts))
            of[str(result.id)] = [_changes([printable(line, lines=True) for line in text.split("\n")], known)
                                  for text, known in zip(texts, bases)]
    return {"bases": bases, "of": of}


def _changes(lines: List[str], bases: Dict[int, List[str]]) -> List[Any]:
    pairs = enumerate(zip(lines, bases.setdefault(len(lines), lines)))
    return [len(lines), *([place, line] for place, (line, before) in pairs if line != before)]
