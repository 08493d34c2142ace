"""The README's commands are run as they stand there, and its links and those of the documents lead somewhere."""
from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

from menndl_caffe import journal
from tests.conftest import REPOSITORY
from tests.support import caffe_runs, runs
from tests.support import clone as clones
from tests.support.cluster import write_program

DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("[a-z]*/README.md")])
README = (REPOSITORY / "README.md").read_text()


def commands(text: str) -> List[str]:
    """The lines of all sh blocks, without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


MENNDL = [line for line in commands(README) if line.startswith("build/venv/bin/menndl")]


def shell(folder: Path, command: str) -> str:
    """What a command prints, typed in this folder on a machine without internet."""
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": str(REPOSITORY),
           "https_proxy": "http://127.0.0.1:1"}
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=600)
    assert done.returncode == 0 and done.stdout, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, caffe_root: Path) -> Path:
    """A clone after a `make run` that found no CIFAR-10, over narrow nets."""
    folder = clones.make(tmp_path_factory.mktemp("drawn") / "clone", caffe_root)
    caffe_runs.write_narrow_search(folder / "narrow.search.prototxt", Path("data/cifar10"), population=4, generations=2)
    said = shell(folder, "make run NP=2 SEARCH=narrow.search.prototxt")
    assert "so synthetic images take its place" in said
    return folder


def test_the_two_commands_come_first() -> None:
    assert [line.split("  ")[0] for line in commands(README)[:2]] == ["make run", "make test"]
    targets = set(re.findall(r"^([a-z-]+):.*##", (REPOSITORY / "Makefile").read_text(), re.M))
    assert {"help", "run", "test", "data", "caffe", "report", "paper", "bench", "lint", "clean"} <= targets
    assert set(re.findall(r"`?make ([a-z-]+)", README)) <= targets


@pytest.mark.parametrize("command", MENNDL)
def test_a_command_of_the_readme_works(command: str, drawn: Path) -> None:
    shell(drawn, command)


def test_no_run_says_that_drawn_images_are_cifar10(drawn: Path) -> None:
    assert journal.read(drawn / "runs" / "run").run["data_folder"] == "data/synthetic"
    assert not (drawn / "data" / "cifar10" / "dataset.json").exists()
    assert "synthetic images of seed 1" in (drawn / "data" / "synthetic" / "dataset.json").read_text()


def test_make_run_starts_where_an_earlier_mpirun_was_killed(drawn: Path) -> None:
    """What that one left in TMPDIR stops the next of Open MPI 5 with its process id: each has a TMPDIR to itself."""
    write_program(drawn / "mpirun", 'echo "TMPDIR=$TMPDIR holds $(ls "$TMPDIR" | wc -l)"; mkdir "$TMPDIR/ompi.$$"; '
                                    'echo 0 >"$MENNDL_LAUNCHED/code"')
    command = f"TMPDIR={drawn} make run NP=2 MPIRUN=./mpirun SEARCH=narrow.search.prototxt"
    said = [shell(drawn, command) for _ in range(2)]
    folders = {re.findall("TMPDIR=(.*) holds 0\n", text)[0] for text in said}
    assert len(folders) == 2
    assert not any(Path(folder).exists() for folder in folders)


@pytest.mark.parametrize("generations", [2, pytest.param(35, marks=pytest.mark.slow)])
def test_the_cluster_command_takes_the_whole_experiment(tmp_path: Path, generations: int) -> None:
    """As in the README but for 2 ranks and a trainer that takes no time: so many generations of 500, twice."""
    line = next(line for line in commands(README) if line.startswith("mpirun"))
    paper = (REPOSITORY / "solvers" / "paper.search.prototxt").read_text()
    assert "population: 500 generations: 35 " in paper
    (tmp_path / "paper").write_text(paper.replace("generations: 35 ", f"generations: {generations} "))
    line = line.replace("solvers/paper.search.prototxt", str(tmp_path / "paper"))
    for text, here in {"64": "2", "RUN": str(tmp_path / "run"), "/local/cifar10": str(tmp_path / "data")}.items():
        line = line.replace(text, here)
    words = shlex.split(line)
    runs.small_data(tmp_path / "data")
    assert words[:3] == ["mpirun", "-n", "2"] and words[3] == "menndl"
    env = runs.environment(FAKE_SECONDS="0")
    assert runs.start(words[4:], ranks=2, env=env).wait(3600) == 0
    record = journal.read(tmp_path / "run")
    trials = 500 * generations + 1
    assert len(record.results) == trials and {result.rank for result in record.results.values()} == {0, 1}
    assert runs.start(words[4:], ranks=2, env=env).wait(600) == 0
    assert len(journal.read(tmp_path / "run").results) == trials


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_command_is_documented(menndl) -> None:  # type: ignore[no-untyped-def]
    shown = menndl("--help").stdout
    for command in ("data", "render", "evaluate", "run", "status", "best", "report", "doctor"):
        assert re.search(rf"^    {command} ", shown, re.M), command
        assert f"menndl {command}" in "".join(path.read_text() for path in DOCUMENTS)


def test_a_wheel_carries_templates_and_solvers_and_works_anywhere(tmp_path: Path, cifar10_data: Path) -> None:
    source = tmp_path / "source"  # building in the repository would leave files there
    for name in ("menndl_caffe", "templates", "solvers"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(source)], check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    install = [*pip, "install", "--no-deps", "--target", str(tmp_path / "installed"), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "installed"), "MENNDL_TRAINER": runs.FAKE_TRAINER}
    for arguments in (["render", "solvers/paper.search.prototxt", "--data", str(cifar10_data), "--out", "one"],
                      ["run", "solvers/quick.search.prototxt", "--data", str(cifar10_data), "--out", "run"]):
        done = subprocess.run([sys.executable, "-m", "menndl_caffe.cli", *arguments], cwd=elsewhere, env=env,
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (elsewhere / "one" / "train_test.prototxt").exists() and len(journal.read(elsewhere / "run").results) == 29
