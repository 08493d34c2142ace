"""C that is compiled at first use: kept for the next process, and None wherever anything is in its way."""
from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import pytest

from menndl_caffe import compiled

needs_compiler = pytest.mark.skipif(shutil.which(compiled.COMMAND[0]) is None, reason="no C compiler")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A C file, and an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "seven.c"
    path.write_text("int seven(void) { return 7; }\n")
    return path


def kept(folder: Path) -> int:
    return len(list((folder / "cache" / "menndl_caffe").iterdir()))


def call(source: Path) -> int:
    library = compiled.library(source)
    assert library is not None
    return int(library.seven())


@needs_compiler
def test_compiled_once(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(source) == 7
    monkeypatch.setattr(compiled, "_compile", lambda *paths: pytest.fail("compiled again"))
    assert call(source) == 7 and kept(tmp_path) == 1


@needs_compiler
def test_another_source_is_another_library(source: Path, tmp_path: Path) -> None:
    assert call(source) == 7
    source.write_text("int seven(void) { return 8; }\n")
    assert call(source) == 8 and kept(tmp_path) == 2


@needs_compiler
def test_several_processes_at_once(source: Path, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.map(call, [source] * 3) == [7, 7, 7]
    assert kept(tmp_path) == 1


def test_nothing_that_fails_is_an_error(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiled.library(tmp_path / "missing.c") is None
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "COMMAND", ("no-such-compiler",))
        assert compiled.library(source) is None
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(source))  # a file
        assert compiled.library(source) is None
    source.write_text("this is no C")
    assert compiled.library(source) is None


def test_a_damaged_library(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache" / "menndl_caffe").mkdir(parents=True)
    monkeypatch.setattr(compiled, "_compile", lambda source, kept: kept.write_bytes(b""))
    assert compiled.library(source) is None
