"""menndl as a whole under the Python of Debian bullseye's Caffe: 3.9, numpy 1.19, protobuf 3.12, jinja2 2.11, lmdb 1.0.

There `import caffe` works in the very Python that runs menndl, as inside a container that has both.
"""
from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Callable

import pytest

from menndl_caffe import journal
from menndl_caffe.trial import OK
from tests.conftest import Runner
from tests.support import caffe_runs, runs

Menndl = Callable[..., str]


@pytest.fixture(scope="module")
def old_menndl(caffe_root: Path) -> Menndl:
    """`menndl ARGUMENTS` in that Python; what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MENNDL_")}
    environment["PYTHONPATH"] = str(runs.REPOSITORY)

    def run(*arguments: object) -> str:
        command = [str(caffe_root / "bin" / "python3"), "-m", "menndl_caffe.cli", *map(str, arguments)]
        done = subprocess.run(command, cwd=runs.REPOSITORY, env=environment, text=True,
                              capture_output=True, timeout=600, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def data(old_menndl: Menndl, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    assert "images" in old_menndl("data", "synthetic", "--out", folder)
    return folder


@pytest.fixture(scope="module")
def search(data: Path) -> Path:
    path = data / "narrow.search.prototxt"
    return caffe_runs.write_narrow_search(path, data, population=3, generations=2, max_iter=8)


def test_doctor_finds_the_caffe_of_its_own_python(old_menndl: Menndl, caffe_root: Path) -> None:
    findings = {finding["what"]: finding for finding in json.loads(old_menndl("doctor", "--json"))}
    for version in ("Python 3.9", "protobuf 3.12", "numpy 1.19", "jinja2 2.11", "lmdb 1.0"):
        assert version in findings["menndl"]["found"]
    assert findings["caffe"]["works"]
    here = f"(the Python that runs menndl: {caffe_root}/bin/python3)"
    assert findings["caffe"]["found"].startswith(f"1.0.0 {here}, BLAS openblas")


def test_it_writes_the_same_data(data: Path, tmp_path: Path) -> None:
    """As a newer Python with newer libraries."""
    from menndl_caffe.data import write

    write("synthetic", tmp_path, report=lambda text: None)
    assert (data / "mean.binaryproto").read_bytes() == (tmp_path / "mean.binaryproto").read_bytes()


def test_it_renders_the_same_files(old_menndl: Menndl, menndl: Runner, search: Path,
                                   tmp_path: Path) -> None:
    arguments = ("render", search, "--set", "kernel1=3", "--set", "output2=12", "--out", tmp_path)
    said = old_menndl(*arguments)
    texts = [(tmp_path / name).read_text() for name in ("train_test.prototxt", "solver.prototxt")]
    assert menndl(*arguments).stdout == said
    assert [(tmp_path / name).read_text() for name in ("train_test.prototxt", "solver.prototxt")] == texts


def test_a_whole_search(old_menndl: Menndl, caffe_root: Path, search: Path, tmp_path: Path) -> None:
    """With the same individuals in the same order and with the same bits as the newer Python finds with this Caffe."""
    assert "Best" in old_menndl("run", search, "--out", tmp_path / "old")
    assert runs.start(["run", search, "--out", tmp_path / "new"], env=caffe_runs.environment(caffe_root)).wait(600) == 0
    record = journal.read(tmp_path / "old")
    assert record.run["menndl_python"].startswith("3.9.")
    assert record.run["engine_found"] == "the Python that runs menndl"
    assert runs.individuals(tmp_path / "old") == runs.individuals(tmp_path / "new")
    assert {result.status for result in record.results.values()} == {OK}
    status = json.loads(old_menndl("status", tmp_path / "old", "--json"))
    assert (status["complete"], status["done"], status["engine"]) == (True, 6, "caffe")
    best = json.loads(old_menndl("best", tmp_path / "old", "--json"))
    assert best["best"][0]["accuracy"] == record.best(1)[0][1].fitness
