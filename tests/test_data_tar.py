"""Tar archives: read as Python's tarfile reads them, and no header makes the reader go back, wait or take memory."""
from __future__ import annotations

import gzip
import io
import struct
import tarfile
from typing import List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_caffe.data import tar
from menndl_caffe.data.tar import TarError, regular_files

END = bytes(1024)
Files = List[Tuple[str, bytes]]


def header(name: bytes = b"a", size: bytes = b"00000000000\0", kind: bytes = b"0", prefix: bytes = b"") -> bytes:
    """A header with a right checksum, whatever stands in it."""
    block = bytearray(struct.pack("100s24x12s12x8sc100x8s80x155s12x",
                                  name, size, b" " * 8, kind, b"ustar\00000", prefix))
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def octal(size: int) -> bytes:
    return b"%011o\0" % size


def pax(*records: Tuple[str, str]) -> bytes:
    """A header of properties of the next member, and its content."""
    content = b""
    for key, value in records:
        rest = f" {key}={value}\n".encode()
        length = next(n for n in range(len(rest), len(rest) + 9) if len(str(n)) + len(rest) == n)
        content += str(length).encode() + rest
    return header(size=octal(len(content)), kind=b"x") + padded(content)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def read(archive: bytes) -> Files:
    stream = io.BytesIO(archive)
    return [(member.name, stream.read(member.size)) for member in regular_files(stream)]  # type: ignore[arg-type]


names = st.lists(st.text("abc-_.é", min_size=1, max_size=60).filter(lambda part: part.strip(".")),
                 min_size=1, max_size=5).map("/".join)


@given(st.lists(st.tuples(names, st.binary(max_size=1100), st.sampled_from(["0", "1", "2", "3", "5", "6"])),
                min_size=1, max_size=5),
       st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_regular_files_are_those_that_tarfile_reads(members: List[Tuple[str, bytes, str]], form: int) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=form) as archive:
        for name, data, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.mtime = kind.encode(), 1.5 if form == tarfile.PAX_FORMAT else 1
            if kind == "0":
                info.size = len(data)
            try:
                archive.addfile(info, io.BytesIO(data))
            except ValueError:  # a name that is too long for the format
                return
    with tarfile.open(fileobj=io.BytesIO(content.getvalue())) as archive:
        expected = [(member.name, archive.extractfile(member).read())  # type: ignore[union-attr]
                    for member in archive if member.isfile()]
    assert read(content.getvalue()) == expected


@pytest.mark.parametrize(("archive", "said"), [
    (b"", "it ends 0 bytes into a header"),
    (b"text" * 200, "no header, or one with a wrong checksum"),
    (header()[:-1], "511 bytes into a header"),
    (header()[:300] + b"x" + header()[301:], "wrong checksum"),
    (header() + b"x" * 512, "wrong checksum"),
    (header(size=b"\xff" * 10 + b"\xfe\0") + END, "a size that is no octal number"),  # -512
    (header() + header(size=b"\xff" * 10 + b"\xfc\0") + END, "a size that is no octal number"),  # back to the first
    (header(size=b"\x80" + bytes(7) + b"\xff" * 4) + END, "a size that is no octal number"),
    (header(size=b"-0000001000\0") + END, "a size that is no octal number"),
    (header(size=b"+0000001000\0") + END, "a size that is no octal number"),
    (header(size=b"0_0000001000"[:12]) + END, "a size that is no octal number"),
    (header(size=b"9" * 11 + b"\0") + END, "a size that is no octal number"),
    (header(size=octal(1 << 32)) + END, "more than 1,073,741,824 bytes"),
    (header(size=octal(1 << 29)) + END + bytes(1 << 10), ""),  # ends within it
    (header(kind=b"L", size=octal(1 << 29)) + END, "a name or a list of properties of 536,870,912 bytes"),
    (header(kind=b"x", size=octal(1 << 20)) + END, "of 1,048,576 bytes; 65,536 are read"),
    (pax(("size", "-1024")) + header() + END, ""),
    (pax(("GNU.sparse.realsize", "99999999999"), ("GNU.sparse.major", "1")) + header() + END, ""),
    ((header(kind=b"L", size=octal(5)) + padded(b"name\0")) * 20_000 + header() + END, ""),  # tarfile calls itself
    (pax(("path", "x")) * 20_000 + header() + END, ""),
])
def test_headers_that_mean_no_good(archive: bytes, said: str) -> None:
    try:
        files = read(archive)
    except TarError as error:
        assert said and said in str(error)
    else:
        assert not said and len(files) == 1


def test_there_are_no_more_members_than_a_data_set_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "MOST_MEMBERS", 10)
    assert len(read(header() * 9 + END)) == 9
    with pytest.raises(TarError, match="more than 10 members"):
        read(header() * 10 + END)


def test_what_comes_behind_is_read_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "MOST_BYTES", 1 << 22)
    packed = gzip.compress(header() + bytes(1 << 23), mtime=0)
    with pytest.raises(TarError, match="more than 4,194,304 bytes"):
        list(regular_files(gzip.GzipFile(fileobj=io.BytesIO(packed))))
    damaged = bytearray(gzip.compress(header() + bytes(1 << 21), mtime=0))
    damaged[-5] ^= 1
    with pytest.raises(gzip.BadGzipFile):
        list(regular_files(gzip.GzipFile(fileobj=io.BytesIO(damaged))))


def test_names() -> None:
    long = "folder/" * 30 + "data_batch_1"
    archive = (header(b"plain") + header(b"name", prefix=b"some/folder")
               + header(kind=b"L", size=octal(len(long) + 1)) + padded(long.encode() + b"\0") + header(b"cut")
               + pax(("mtime", "1.5"), ("path", "ähnlich/" + long)) + header(b"cut")
               + pax(("mtime", "1.5")) + header(b"kept") + header(b"\xe9\x1b[2J") + END)
    assert [name for name, _ in read(archive)] == [
        "plain", "some/folder/name", long, "ähnlich/" + long, "kept", "\\xe9\\u001b[2J"]
