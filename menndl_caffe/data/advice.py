"""What to do about a database or a mean that is not there or no good; it fits whoever made the folder."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Optional

from menndl_caffe.errors import UserError

SUMMARY = "dataset.json"
HELD_OUT = {"cifar10": 5000, "mnist": 10_000, "synthetic": 2000}  # data set -> images to hold out
OWN_SETS = ("images", "split")  # data sets of the user's own images
OWN = "the data there are your own: "


def written(folder: Path) -> Optional[Dict[str, Any]]:
    """What the summary in a folder says of a set that menndl wrote there, or began to; None where there is none.

    UserError for a file of this name that is somebody else's.
    """
    try:
        fields = json.loads((folder / SUMMARY).read_bytes())
        if fields["dataset"] in (*HELD_OUT, *OWN_SETS) and all(
                isinstance(fields[name], dict) for name in ("records", "means")):
            return dict(fields)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    raise UserError(f"{folder / SUMMARY} is not as menndl writes it")


def how_to_make(path: Path) -> str:
    """How to make the database or the mean at `path`, in which * may stand for the beginning of the name."""
    folder, is_mean = path.parent, path.suffix == ".binaryproto"
    is_held_out = path.name.endswith(("_fit_lmdb", "_validation_lmdb", "mean_fit.binaryproto"))
    try:
        fields = written(folder)
    except UserError:
        fields = None
    if fields["dataset"] in OWN_SETS if fields else any(map(is_data, folder.glob("*"))):
        return OWN + _own_tools(folder, is_mean, is_held_out)
    dataset = fields["dataset"] if fields else "mnist" if path.name.startswith("mnist") else "cifar10"
    if is_mean and dataset == "mnist":
        return "MNIST has none: leave mean_file out of the net"
    option = f" --validation {HELD_OUT[dataset]}" if is_held_out else ""
    return f"`menndl data {dataset}{option} --out {folder}` makes it"


def is_data(path: Path) -> bool:
    """Whether it is a database or a mean, or has the name of one, whoever wrote it."""
    return (path.suffix == ".binaryproto" or path.name == "data.mdb" or path.name.endswith(("_lmdb", "_leveldb"))
            or (path / "data.mdb").exists() or (path / "CURRENT").exists())


def _own_tools(folder: Path, is_mean: bool, is_held_out: bool) -> str:
    if is_held_out:
        return (f"`menndl data split {folder} --validation 0.1 --out OTHER` writes OTHER, with a tenth of the training "
                "images held out; `data` is to name that (docs/tutorial.md)")
    return (f"{'compute_image_mean' if is_mean else 'convert_imageset'} writes it, and so does `menndl data images` "
            "(docs/tutorial.md)")
