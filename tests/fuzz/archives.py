"""Archives, batches, IDX files, LMDB records, means and summaries: images, or one line that says what is wrong."""
from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import struct
import tarfile
from pathlib import Path
from typing import Callable, List

import lmdb
import numpy as np

from menndl_caffe.data import cifar10, describe, how_to_make, read_summary, write_synthetic
from menndl_caffe.data.inert_pickle import read_batch
from menndl_caffe.data.lmdb_data import mean_shape, records
from menndl_caffe.data.mnist import read_mnist
from menndl_caffe.errors import UserError
from menndl_caffe.nets.proto import caffe_pb2
from tests.fuzz.mangle import mangled_bytes

cifar10.RECORDS = RECORDS = 2
LABELS = [3, 9]
PIXELS = np.arange(RECORDS * 3072, dtype=np.uint64).astype(np.uint8).reshape(RECORDS, 3072)
BATCH = b"".join(bytes([label]) + image.tobytes() for label, image in zip(LABELS, PIXELS))
PICKLES = [pickle.dumps({"labels": LABELS, "data": PIXELS, "filenames": [b"a", "b"]}, protocol)
           for protocol in range(6)]
SIZES = (0, 1, 2, 28, 255, 65536, 2**31, 2**32 - 1)
# Opcodes with an argument, or with less of one than they take.
OPCODES = [bytes([code]) for code in range(256)] + [
    b"X\x01\0\0\0a", b"X\xff\xff\xff\x7f", b"T\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 8, b"\x95" + b"\xff" * 8,
    b"\x96" + b"\0\0\0\0\0\1\0\0", b"r\xff\xff\xff\x7f", b"cnumpy\nndarray\n", b"c_codecs\nencode\n", b"cos\nsystem\n",
    b"I1\n", b"L" + b"9" * 9000 + b"L\n", b"p1\n", b"g1\n", b"K\1", b"q\1", b"h\1", b"\x85" * 3000, b"]" * 3000,
    b"(" * 3000, b"\x80\4", b"U\1x", b"V\\U0010ffff\n", b"\x8a\xff" + b"\xff" * 255, b"cnumpy\ndtype\n(U\2u1tR"]


def packed(content: bytes, chance: random.Random) -> bytes:
    """As it is, or as gzip packs it, be that damaged too."""
    if chance.random() < 0.6:
        return content
    content = gzip.compress(content, 1, mtime=0)
    return mangled_bytes(content, chance) if chance.random() < 0.3 else content


def tar(chance: random.Random) -> bytes:
    """An archive of either version, in which headers are mangled and most checksums right again."""
    content = io.BytesIO()
    form = chance.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    prefix, batches = chance.choice(("", "long/" * 40)), [BATCH] if chance.random() < 0.5 else PICKLES
    suffix = ".bin" if batches == [BATCH] else ""
    with tarfile.open(fileobj=content, mode="w", format=form) as archive:
        for name in cifar10.OFFICIAL:
            member = tarfile.TarInfo(f"{prefix}{name}{suffix}")
            batch = chance.choice(batches)
            member.size, member.mtime = len(batch), chance.choice((0, 1.5))
            archive.addfile(member, io.BytesIO(batch))
    blocks = [content.getvalue()[at:at + 512] for at in range(0, len(content.getvalue()), 512)]
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(blocks))
        block = bytearray(mangled_bytes(blocks[at], chance)[:512].ljust(512, b"\0"))
        if chance.random() < 0.8:
            sizes = block[124:136], b"%011o\0" % chance.choice(SIZES), b"\xff" * 12, b"-1".ljust(12)
            block[124:136] = chance.choice(sizes)
            block[156:157] = chance.choice((block[156:157], b"0", b"L", b"K", b"x", b"g", b"S", b"1"))
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
        blocks[at:at + 1] = [bytes(block)] * chance.choice((1, 1, 1, 2, 2000))
    return packed(b"".join(blocks), chance)


def read_archive(chance: random.Random, folder: Path) -> None:
    (folder / "archive").write_bytes(tar(chance))
    cifar10.read_cifar10(folder / "archive")


def read_pickle(chance: random.Random, folder: Path) -> None:
    if chance.random() < 0.5:
        pickled = mangled_bytes(chance.choice(PICKLES), chance, first=150)
    else:
        pickled = b"".join(chance.choice(OPCODES) for _ in range(chance.choice((3, 10, 200)))) + b"."
    read_batch(pickled)


def read_idx(chance: random.Random, folder: Path) -> None:
    for part, count in (("train", 3), ("t10k", 2)):
        for name, sizes in (("images-idx3", (count, 4, 5)), ("labels-idx1", (count,))):
            content = struct.pack(f">{1 + len(sizes)}I", 2048 + len(sizes), *sizes) + bytes(int(np.prod(sizes)))
            if chance.random() < 0.3:
                at = 4 * chance.randrange(1 + len(sizes))
                content = content[:at] + struct.pack(">I", chance.choice(SIZES)) + content[at + 4:]
            content = mangled_bytes(content, chance, 16) if chance.random() < 0.1 else content
            more = bytes(1 << 22) if chance.random() < 0.1 else b""
            (folder / f"{part}-{name}-ubyte").write_bytes(packed(content + more, chance))
    read_mnist(folder)


def read_records(chance: random.Random, folder: Path) -> None:
    datum = caffe_pb2.Datum(channels=chance.choice((1, *SIZES[:-2])), height=chance.choice((1, 2**21)),
                            width=chance.choice((1, 2**21, -1)), data=b"x" * chance.choice((0, 1, 4)))
    with lmdb.open(str(folder / "lmdb"), lock=False) as environment, environment.begin(write=True) as transaction:
        for key in range(3):
            transaction.put(b"%d" % key, mangled_bytes(datum.SerializeToString(), chance) or b"x")
    describe(folder / "lmdb")
    list(records(folder / "lmdb"))


def read_mean(chance: random.Random, folder: Path) -> None:
    axes = chance.choice((3, 4, 4, 4, 40))
    shape = [chance.choice((1, 1, 2, -1, 274177, 67280421310721, 2**62)) for _ in range(axes)]
    mean = caffe_pb2.BlobProto(shape={"dim": shape}, data=[1.0] * chance.choice((0, 1, 4)))
    (folder / "mean").write_bytes(mangled_bytes(mean.SerializeToString(), chance, 40))
    mean_shape(folder / "mean")


def write_beside(chance: random.Random, folder: Path) -> None:
    """A summary that says anything; nothing outside its folder is touched."""
    (folder / "kept_train_lmdb").write_text("kept")
    out = folder / "out"
    out.mkdir()
    names = chance.sample(("cifar10_train_lmdb", "../kept_train_lmdb", "/", ".", "", "notes", "mean.binaryproto"), 3)
    values = (None, 0, -1, "x", [], {}, 10**400, float("nan"))
    fields = {"dataset": chance.choice(("synthetic", "mnist", "x", None)), "source": chance.choice(values),
              "records": {name: chance.choice(values) for name in names}, "means": chance.choice(({}, *values)),
              "shape": chance.choice(values)}
    text = chance.choice((json.dumps(fields), "[" * 100_000, '"', mangled_bytes(json.dumps(fields).encode(), chance)
                          .decode("latin-1")))
    (out / "dataset.json").write_text(text)
    read_summary(out)
    how_to_make(out / "*_fit_lmdb")
    try:
        write_synthetic(out, 10, 10, report=lambda line: None)
        assert read_summary(out)
    finally:
        assert (folder / "kept_train_lmdb").read_text() == "kept"


KINDS: List[Callable[[random.Random, Path], None]] = [
    read_archive, read_archive, read_pickle, read_pickle, read_idx, read_records, read_mean, write_beside]


def one(chance: random.Random, folder: Path) -> None:
    """A file of one of these kinds."""
    try:
        chance.choice(KINDS)(chance, folder)
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 2000, error
