"""Where the files are that a search names: in the working directory, beside the search file, or among menndl's own; of
a run that has copies of its own, in RUN/search alone."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Set, Tuple

from menndl_caffe import journal
from menndl_caffe.errors import UserError, did_you_mean
from menndl_caffe.files import unlinked

PACKAGE = Path(__file__).resolve().parent.parent
KEPT = "search"  # the folder of a run's copies
UP, ROOT = "up", "root"  # stand for `..` and for `/` in their names


@dataclass(frozen=True)
class Places:
    """`beside`: the search file's folder. `run`: the folder of a run whose copies are the only ones that count."""

    beside: Path = Path()
    run: Optional[Path] = None

    @staticmethod
    def of_search_file(path: Path) -> Places:
        """Those for what this search file names, which may be a run's own copy."""
        folder = path.absolute().parent
        is_copy = folder.name == KEPT and (folder.parent / journal.NAME).is_file()
        return Places(path.parent, folder.parent if is_copy else None)

    @staticmethod
    def of_run(folder: Path) -> Places:
        """Those for what a run's search names. Runs of menndl 0.1 have no copies."""
        return Places(run=folder if (folder / KEPT).is_dir() else None)

    def find(self, name: str, what: str) -> Path:
        """The file of this name; UserError, which calls it `what`, where there is none."""
        if self.run is not None:
            return _copy(self.run, name, what)
        for place in (Path(), self.beside, PACKAGE, PACKAGE.parent):
            if (place / name).is_file():
                return place / name
        alike = _files_alike(name, self.beside)
        hint = did_you_mean(name, alike) if alike else ""
        beside = "" if self.beside == Path() or Path(name).is_absolute() else f", in {self.beside}"
        raise UserError(f"{what} {name}: no such file here{beside} or among menndl's own{hint}")


HERE = Places()


def kept_as(name: str) -> Tuple[str, ...]:
    """Folders and name, within RUN/search, of the copy of a file that a search names so."""
    return tuple({"..": UP, "/": ROOT}.get(part, part) for part in Path(name).parts)


def _copy(run: Path, name: str, what: str) -> Path:
    try:
        path = unlinked(run, KEPT, *kept_as(name))
    except OSError as error:
        raise UserError(f"{what} {name}: {error.filename} {error.strerror}") from None
    if not path.is_file():
        raise UserError(f"{what} {name}: the run's copy of it, {path}, is gone; the command that began the run writes "
                        "it anew")
    return path


def _files_alike(name: str, beside: Path) -> Set[str]:
    """The files that could be meant: those beside the places that `name` names and menndl's own, if they end alike."""
    pattern = f"*{Path(name).suffix or '.search.prototxt'}"  # who names no kind of file looks for a search
    own = {str(path.relative_to(place)) for place in (PACKAGE, PACKAGE.parent) for folder in ("solvers", "templates")
           for path in (place / folder).rglob(pattern) if path.is_file()}
    return own | {str(Path(name).parent / path.name) for place in {Path(), beside}
                  for path in (place / name).parent.glob(pattern) if path.is_file()}
