"""How the images of a set are spread over its classes, said in words."""
from __future__ import annotations

from typing import Dict, List

from menndl_caffe.data.folder import DataSummary
from menndl_caffe.text import aligned

SHOWN = 20  # classes
UNEQUAL = 1.5  # times its fair share is a lot for one class


def described(summary: DataSummary) -> str:
    """The summary's line, images of each class by part, and what is odd about them."""
    return "\n".join(["", *_table(summary), "", *_remarks(summary), str(summary)]).lstrip("\n")


def by_part(summary: DataSummary) -> Dict[str, List[int]]:
    """Part, as in `*_PART_lmdb` -> images of each class."""
    return {name.split("_")[-2]: counts for name, counts in summary.labels.items()}


def _table(summary: DataSummary) -> List[str]:
    parts = by_part(summary)
    columns = [("training", parts.get("fit", parts["train"])), ("validation", parts.get("validation")),
               ("test", parts["test"])]
    shown = [(name, counts) for name, counts in columns if counts is not None]
    names = summary.classes or list(map(str, range(len(parts["test"]))))
    rows = [[str(label), name, *(f"{counts[label]:,}" for _, counts in shown)] for label, name in enumerate(names)]
    total = ["", "all", *(f"{sum(counts):,}" for _, counts in shown)]
    if len(rows) > SHOWN:
        more = ["...", f"{len(rows) - SHOWN:,} more", *([""] * len(shown))]
        rows = [*rows[:SHOWN // 2], more, *rows[-SHOWN // 2:]]
    header = ["label", "class", *(name for name, _ in shown)]
    return aligned([header, *rows, total], left=(1,)).split("\n")


def _remarks(summary: DataSummary) -> List[str]:
    """A class that is too large, and classes that a part has none of."""
    parts = by_part(summary)
    names = summary.classes or list(map(str, range(len(parts["test"]))))
    said = []
    test = parts["test"]
    share, largest = max(test) / sum(test), test.index(max(test))
    if share > UNEQUAL / sum(count > 0 for count in test):
        said.append(f"unequal: the largest class, {names[largest]}, has {share:.0%} of the test images: "
                    f"always answering it gives an accuracy of {share:.2f}")
    for part in ("train", "validation", "test"):
        without = [name for name, count in zip(names, parts.get(part, [])) if not count]
        if without:
            more = f" and {len(without) - 5:,} more" if len(without) > 5 else ""
            said.append(f"{'training' if part == 'train' else part} has no images of {', '.join(without[:5])}{more}")
    return said
