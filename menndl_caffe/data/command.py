"""`menndl data`: databases and means of published data sets, drawn images, and the user's own."""
from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, Dict, Tuple

from menndl_caffe.arguments import new_folder, whole
from menndl_caffe.data.stratified import share
from menndl_caffe.text import say, show

PUBLISHED = {"cifar10": "CIFAR-10, of an archive or a folder, or downloaded",
             "mnist": "MNIST, of the folder with its four files",
             "synthetic": "drawn images in CIFAR-10's format"}
IMAGES = """\
Write LMDBs and a mean of your own images: OUT/images_train_lmdb, images_test_lmdb and mean.binaryproto; with
--validation also images_fit_lmdb and images_validation_lmdb, into which the training images are divided, and
mean_fit.binaryproto, for `fitness_set: VALIDATION`. Records are those of Caffe's convert_imageset, byte for byte."""
SPLIT = """\
Divide databases of your own anew: the images of a folder with a *_train_lmdb and a *_test_lmdb, some of the former held
out for `fitness_set: VALIDATION`; or those of one database, some of them becoming the test images. Of each class its
share is put aside. Records are copied as they are, in the layout of `menndl data images`."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl data`."""
    sets = command.add_subparsers(title="sets", dest="set", required=True, metavar="SET")
    for name, text in PUBLISHED.items():
        _add_published(sets.add_parser(name, help=text, description=f"Write the databases and the mean of {text}."))
    how: Dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    _add_images(sets.add_parser("images", help="your own images: a folder of classes, or a list", description=IMAGES,
                                **how))
    _add_split(sets.add_parser("split", help="your own databases, some of their images held out", description=SPLIT,
                               **how))


def _add_published(one: argparse.ArgumentParser) -> None:
    one.add_argument("--source", type=Path, metavar="PATH",
                     help="official archive or unpacked folder; default: download (cifar10)")
    one.add_argument("--out", type=Path, metavar="DIR", default=argparse.SUPPRESS,
                     help="folder to write (default: data/SET)")
    one.add_argument("--validation", type=whole(0), default=0, metavar="N",
                     help="also hold out the last N training images, for fitness_set: VALIDATION")
    _add_force(one)


def _add_images(one: argparse.ArgumentParser) -> None:
    one.add_argument("source", type=Path, metavar="FOLDER|LIST",
                     help="folder with a folder of images for each class, or with such in train and test (or val); or "
                          "a file with a line `FILE LABEL` for each image")
    _add_own(one)
    one.add_argument("--root", type=Path, metavar="DIR", help="where a list's files are (default: where the list is)")
    one.add_argument("--resize", "--size", type=_size, metavar="HxW",
                     help="resize all images to this height and width, or to N x N for one number; needed unless they "
                          "are of one size already")
    one.add_argument("--gray", "--grey", action="store_true", help="one channel, not three")
    one.add_argument("--encoded", action="store_true", help="store images compressed, as their files are if possible")
    one.add_argument("--encode-type", choices=("jpg", "png"), help="the same, all of them in this format")
    one.add_argument("--shuffle", action=argparse.BooleanOptionalAction, default=True,
                     help="in random order (default), or in the order of names or of the list")
    one.add_argument("--skip-broken", action="store_true", help="leave out images that cannot be read, and name them")


def _add_split(one: argparse.ArgumentParser) -> None:
    one.add_argument("source", type=Path, metavar="DIR|DATABASE", help="LMDB or LevelDB, or the folder of two")
    _add_own(one)


def _add_own(one: argparse.ArgumentParser) -> None:
    one.add_argument("--out", type=new_folder, metavar="DIR", required=True, help="folder to write")
    one.add_argument("--test", type=share, metavar="N|PART",
                     help="put so many images aside for the test, or this part of them (images: default 0.2, unless "
                          "the folder has some)")
    one.add_argument("--validation", type=share, metavar="N|PART",
                     help="hold so many of the rest out, or this part, for fitness_set: VALIDATION")
    one.add_argument("--seed", type=whole(0), default=1, metavar="N",
                     help="of what is put aside and of the order (default: 1)")
    _add_force(one)


def _add_force(one: argparse.ArgumentParser) -> None:
    one.add_argument("--force", action="store_true", help="write anew a set of menndl's that is already there")


def _size(text: str) -> Tuple[int, int]:
    """The type of an argument that is a height and a width in pixels."""
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text, re.ASCII)
    size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if min(size) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected height and width in pixels, as 32x48, or 32 for both")
    return size


def main(arguments: Any) -> None:
    """Write the set, and say what it is; progress goes to standard error."""
    if arguments.set == "images":
        _images(arguments)
    elif arguments.set == "split":
        from menndl_caffe.data.balance import described
        from menndl_caffe.data.split import write_split

        show(described(write_split(arguments.source, arguments.out, arguments.validation, arguments.test,
                                   arguments.seed, arguments.force, say)))
    else:
        from menndl_caffe.data import write

        out = getattr(arguments, "out", Path("data") / arguments.set)
        show(write(arguments.set, out, arguments.source, arguments.validation, arguments.force, say))


def _images(arguments: Any) -> None:
    from menndl_caffe.data.balance import described
    from menndl_caffe.data.convert import Options, write_images

    encoding = arguments.encode_type or ("" if arguments.encoded else None)
    options = Options(arguments.resize, arguments.gray, encoding, arguments.test, arguments.validation,
                      arguments.shuffle, arguments.seed, arguments.skip_broken)
    show(described(write_images(arguments.source, arguments.root, arguments.out, options, arguments.force, say)))
