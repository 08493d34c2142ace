"""Writing aside, staging and checksums: what stands under a name is whole at every moment, and nothing is left over."""
from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Callable, Dict

import pytest

from menndl_caffe import files
from menndl_caffe.files import replacing, sha256_of, staging
from tests.support import in_process, runs

Write = Callable[[Path, str], None]


def write_file(path: Path, text: str) -> None:
    path.write_text(text * 1000)


def write_folder(path: Path, text: str) -> None:
    (path / "below").mkdir(parents=True)
    for place in (path / "one", path / "below" / "two"):
        place.write_text(text)


def contents(folder: Path) -> Dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def replace(path: Path, write: Write, text: str) -> None:
    with replacing(path) as aside:
        write(aside, text)


@pytest.mark.parametrize("write", [write_file, write_folder])
@pytest.mark.parametrize("before", [None, write_file, write_folder])
def test_what_is_replaced_is_gone_and_nothing_is_beside_it(write: Write, before: Write, tmp_path: Path) -> None:
    (tmp_path / "as it should be").mkdir()
    write(tmp_path / "as it should be" / "x", "new")
    (tmp_path / "here").mkdir()
    if before:
        before(tmp_path / "here" / "x", "old")
    if before is write_folder and write is write_file:
        with pytest.raises(OSError):
            replace(tmp_path / "here" / "x", write, "new")
        assert set(contents(tmp_path / "here").values()) == {"old"}
    else:
        replace(tmp_path / "here" / "x", write, "new")
        assert contents(tmp_path / "here") == contents(tmp_path / "as it should be")


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_an_error_leaves_what_was_there(write: Write, tmp_path: Path) -> None:
    replace(tmp_path / "x", write, "old")
    before = contents(tmp_path)
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "x") as aside:
        write(aside, "new")
        raise ZeroDivisionError
    assert contents(tmp_path) == before


def dies(path: Path, write: Write, change: int) -> bool:
    """Replace in a process that ends before its change of this number to what is on the disk; whether there was one."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] != 0
    seen = []

    def hook(event: str, arguments: object) -> None:
        seen.extend([event] if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir") else [])
        if len(seen) > change:
            os._exit(9)
    sys.addaudithook(hook)
    replace(path, write, "new")
    os._exit(0)


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_death_at_each_step_shows_nobody_a_half(write: Write, tmp_path: Path) -> None:
    replace(tmp_path / "x", write, "old")
    old, died = contents(tmp_path), 0
    while dies(tmp_path / "x", write, died):
        found = {name: text for name, text in contents(tmp_path).items() if not name.startswith(".x.")}
        new = {name: text.replace("old", "new") for name, text in old.items()}
        assert found in (old, new) or (write is write_folder and not found)  # between two renames it has no name
        died += 1
    assert died >= 2
    replace(tmp_path / "x", write, "newest")
    assert {text[:6] for name, text in contents(tmp_path).items() if not name.startswith(".x.")} == {"newest"}


def test_staging_begins_empty_and_ends_gone(tmp_path: Path) -> None:
    write_folder(tmp_path / "above" / ".partial", "of a killed one")
    with staging(tmp_path / "above" / ".partial") as folder:
        assert contents(tmp_path) == {}
        write_folder(folder / "x", "new")
        os.replace(folder / "x", tmp_path / "x")
    assert not folder.exists() and set(contents(tmp_path).values()) == {"new"}
    with pytest.raises(ZeroDivisionError), staging(tmp_path / "again") as folder:
        write_file(folder / "half", "new")
        raise ZeroDivisionError
    assert not folder.exists()


def test_a_checksum_is_that_of_the_standard(tmp_path: Path) -> None:
    """FIPS 180-2, appendix B.1 and B.3."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "a").write_bytes(b"a" * 1_000_000)
    assert sha256_of(tmp_path / "a") == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


def without_fsync(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A file system that answers so, of which nothing was said yet."""
    def fsync(descriptor: int) -> None:
        os.fstat(descriptor)
        raise OSError(number, os.strerror(number))
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(files, "_warned_of", set())


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_fsync_is_told_of_once(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    without_fsync(monkeypatch, number)
    (tmp_path / "x").write_text("new")
    for path in (tmp_path / "x", tmp_path):  # a file and a folder
        files.sync(path)
    with open(tmp_path / "x", "ab") as file:
        files.fsync(file.fileno())
    said, = capsys.readouterr().err.splitlines()
    assert said.startswith(f"menndl: warning: the file system of {tmp_path}/x has no fsync ({os.strerror(number)}): ")


def test_a_disk_that_fails_is_an_error_of_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_fsync(monkeypatch, errno.EIO)
    with pytest.raises(OSError) as caught:
        files.sync(tmp_path)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path))
    assert caught.value.strerror == "fsync: Input/output error"


def test_data_and_a_run_need_no_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    without_fsync(monkeypatch, errno.EINVAL)
    menndl = in_process.Menndl(monkeypatch, capsys)
    search = runs.write_search(tmp_path / "s.search.prototxt", runs.small_data(tmp_path / "data"), population=4,
                               generations=2)
    menndl.run(search, tmp_path / "run")
    assert len(runs.individuals(tmp_path / "run")) == 8
