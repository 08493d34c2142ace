"""Which images a data set is made of: folders that are classes, or a list as Caffe's convert_imageset takes it."""
from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional

import numpy as np

from menndl_caffe.errors import UserError

SUFFIXES = frozenset(".jpg .jpeg .jpe .png .bmp .dib .ppm .pgm .pbm .pnm .tif .tiff .webp .gif".split())
HELD_OUT = ("val", "validation")  # names of a folder with images to be held out
MOST_CLASSES = 1_000_000
NAMED = 5  # so many files are named in one message
Report = Callable[[str], None]


class Entry(NamedTuple):
    """An image: where it is, its name in a list, the number of its class."""

    path: str
    name: str
    label: int


@dataclass(frozen=True)
class ImageList:
    """Images, and the names of the classes 0, 1, ..."""

    entries: List[Entry]
    classes: List[str]

    @property
    def labels(self) -> np.ndarray:
        """Of each image."""
        return np.array([entry.label for entry in self.entries], np.int64)

    def where(self, mask: np.ndarray) -> ImageList:
        """Those of the images that the mask is true of."""
        return ImageList([self.entries[i] for i in np.flatnonzero(mask)], self.classes)

    def in_order(self, order: np.ndarray) -> ImageList:
        """The images at these places."""
        return ImageList([self.entries[i] for i in order], self.classes)


class Parts(NamedTuple):
    """The images to train on, and those of the other two parts where the source has them apart."""

    train: ImageList
    test: Optional[ImageList] = None
    validation: Optional[ImageList] = None


def read_parts(source: Path, root: Optional[Path], out: Path, report: Report) -> Parts:
    """The images of a folder or of a list; UserError where it has none, or too few classes.

    A folder has a folder for each class, or one called train and one called test or val with those. `root`: where a
    list's files are, by default where the list is. `out` is never a class. What is left out is reported.
    """
    if not source.is_dir():
        return Parts(read_list(source, root))
    if root is not None:
        raise UserError(f"--root {root}: is for the files of a list, and {source} is a folder")
    inner = {path.name for path in source.iterdir() if path.is_dir()}
    held_out = next((name for name in HELD_OUT if name in inner), None)
    test = "test" if "test" in inner else held_out
    if "train" not in inner or test is None:
        return Parts(_checked(_classes_in(source, out, report), source))
    train = _checked(_classes_in(source / "train", out, report), source / "train")
    others = {name: _classes_in(source / name, out, report, train.classes) for name in filter(None, {test, held_out})}
    return Parts(train, others[test], others[held_out] if held_out not in (None, test) else None)


def _classes_in(folder: Path, out: Path, report: Report, classes: Optional[List[str]] = None) -> ImageList:
    """The images in the sub-folders; `classes`: the names that these must have."""
    found = sorted(path.name for path in folder.iterdir()
                   if path.is_dir() and not path.name.startswith(".") and path.resolve() != out.resolve())
    if not found:
        raise UserError(f"{folder}: no sub-folders; each class needs one of its own, with its images")
    unknown = sorted(set(found) - set(classes or found))
    if unknown:
        raise UserError(f"{folder / unknown[0]}: a class without training images; expected those of them: "
                        f"{', '.join((classes or [])[:NAMED])}")
    numbers = {name: label for label, name in enumerate(classes or found)}
    left_out = [path.name for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    entries: List[Entry] = []
    for name in found:
        images = _files_below(folder / name, left_out)
        if not images:
            raise UserError(f"{folder / name}: no images in it; expected files that end in "
                            f"{', '.join(sorted(SUFFIXES))}")
        entries += [Entry(path, os.path.relpath(path, folder), numbers[name]) for path in images]
    if left_out:
        more = f" and {len(left_out) - NAMED:,} more" if len(left_out) > NAMED else ""
        report(f"{folder}: left out, since they are in no class or are no images by their names: "
               f"{', '.join(left_out[:NAMED])}{more}")
    return ImageList(entries, list(numbers))


def _files_below(folder: Path, left_out: List[str]) -> List[str]:
    """The images in a class's folder and in those inside it; hidden files are passed over, others noted."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in files if not name.startswith(".")):
            if os.path.splitext(name)[1].lower() in SUFFIXES:
                found.append(os.path.join(place, name))
            else:
                left_out.append(os.path.relpath(os.path.join(place, name), folder.parent))
    return found


def read_list(path: Path, root: Optional[Path]) -> ImageList:
    """A list of `FILE LABEL` a line; UserError naming its line for what is none."""
    try:
        lines = os.fsdecode(path.read_bytes()).splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; expected a folder of images, or a list of them") from None
    entries = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            name, _, label = line.rstrip().rpartition(" ")
            if not name or not label.isdecimal() or int(label) >= MOST_CLASSES:
                raise UserError(f"{path}:{number}: {line[:100]!r}; expected the name of an image, a space, and the "
                                "number of its class, 0 or more")
            entries.append(Entry(os.path.join(root or path.parent, name), name, int(label)))
    count = max((entry.label for entry in entries), default=-1) + 1
    return _checked(ImageList(entries, list(map(str, range(count)))), path)


def _checked(images: ImageList, where: Path) -> ImageList:
    if len({entry.label for entry in images.entries}) < 2:
        raise UserError(f"{where}: {'one class of images' if images.entries else 'no images'}; two classes are the "
                        "least that a net can tell apart")
    return images


def sizes(images: ImageList, report_missing: bool) -> Dict[str, int]:
    """Bytes of each file, -1 of those that are missing; these are a UserError if they are to be reported."""
    found = {entry.path: _size(entry.path) for entry in images.entries}
    missing = [path for path, size in found.items() if size < 0]
    if missing and report_missing:
        raise UserError(f"{missing[0]}: no such file; {len(missing):,} of {len(found):,} are missing "
                        "(--skip-broken goes on without them)")
    return found


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
