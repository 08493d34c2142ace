"""containers/mpi-matrix.sh: its command line, and what MPI libraries must do in each of its combinations."""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple

import pytest

from tests.conftest import REPOSITORY, missing

SCRIPT = REPOSITORY / "containers" / "mpi-matrix.sh"
MPICH_IMAGE = REPOSITORY / "build" / "menndl-caffe-mpich.sif"
RANKS = 3


def run(*command: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL)


# --------------------------------------------------------------------------------------------------------- Command line

def test_help_names_every_option_and_every_way() -> None:
    done = run(SCRIPT, "--help")
    assert done.returncode == 0 and done.stderr == ""
    for word in ("-n RANKS", "--install", "--markdown FILE", "build/mpi-matrix", "split:", "hybrid:", "bind:",
                 "inside:"):
        assert word in done.stdout


@pytest.mark.parametrize("arguments, message", [
    (["--nonsense"], "unknown option --nonsense"),
    (["-n"], "-n nothing: expected a number of ranks, 2 or more"),
    (["-n", "1"], "-n 1: expected a number of ranks, 2 or more"),
    (["-n", "three"], "-n three: expected"),
    (["--markdown"], "--markdown needs a file"),
    (["--markdown", "/no/where/table.md"], "--markdown /no/where/table.md: its folder does not exist"),
    (["one", "two"], "one DIR only, found one and two"),
])
def test_a_mistake_is_one_line(arguments: List[str], message: str) -> None:
    done = run(SCRIPT, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("there, wanted, builder", [
    ((), "menndl-caffe.sif", "make container builds it"),
    (("menndl-caffe.sif",), "menndl-caffe-mpich.sif", "containers/build.sh --mpich builds it"),
])
def test_an_image_that_is_missing(tmp_path: Path, there: Tuple[str, ...], wanted: str, builder: str) -> None:
    repository = tmp_path / "a copy"
    shutil.copytree(SCRIPT.parent, repository / "containers")
    (repository / "build").mkdir()
    for name in there:
        (repository / "build" / name).touch()
    done = run(repository / "containers" / SCRIPT.name)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"no image at {repository}/build/{wanted}" in done.stderr and builder in done.stderr
    assert {path.name for path in (repository / "build").iterdir()} == set(there)


# ----------------------------------------------------------------------------------------- What MPI libraries must do

class Library(NamedTuple):
    """An MPI library, and whether it lies in a folder of its own, which can be bound into an image."""

    family: str
    version: int
    own_folder: bool = True


HOSTS = {"Debian's Open MPI 4.1": Library("Open MPI", 4, own_folder=False), "pip's Open MPI 5": Library("Open MPI", 5),
         "pip's MPICH": Library("MPICH", 5)}
IMAGES = {"Open MPI 4.1": Library("Open MPI", 4), "MPICH 3.4": Library("MPICH", 3)}
COMBINATIONS = [("the image's own", "inside", image) for image in IMAGES] + [
    (host, way, image) for host in HOSTS for way in ("split", "hybrid", "bind") for image in IMAGES]


def library_of(host: str, way: str, image: str) -> Library:
    """The library that a rank loads: with split it runs on the host; bind brings one of the same ABI in."""
    if way == "split" or (way == "bind" and HOSTS[host].family == IMAGES[image].family):
        return HOSTS[host]
    return IMAGES[image]


def must_be(host: str, way: str, image: str) -> str:
    """By what ties a rank to its launcher: MPICH's PMI is the same in all versions, Open MPI's changed with 5."""
    if way == "inside":
        return "works"
    if way == "bind" and not HOSTS[host].own_folder:
        return "fails"  # by exec.sh, which finds no folder of it
    library, launcher = library_of(host, way, image), HOSTS[host]
    if library.family == launcher.family and (library.family == "MPICH" or library.version == launcher.version):
        return "works"
    if way == "bind" and library.family == "Open MPI":
        return "fails"  # it takes the bound folder for its own, and finds none of its files there
    return "caught"


class Matrix(NamedTuple):
    """What the script left behind: the cells, what is wrong with and without the check, and its folder."""

    returncode: int
    cells: Dict[Tuple[str, str, str], str]
    wrong: Dict[Tuple[str, str, str], Tuple[str, str]]
    folder: Path
    errors: str


def parts(line: str) -> List[str]:
    return [cell.strip() for cell in line.strip("|\n").split("|")]


def named(name: str) -> str:
    """Versions are the run's; the combinations have none."""
    return next((known for known in (*HOSTS, *IMAGES) if name.startswith(known)), name)


def read(text: str, returncode: int, folder: Path, errors: str) -> Matrix:
    first, second = ([parts(line) for line in table.splitlines()] for table in
                     re.findall(r"^\|.*\n\|[-|]+\n((?:\|.*\n)*)", text, re.MULTILINE))
    images = [named(name.replace("image with ", "")) for name in parts(re.findall(r"^\|.*", text, re.MULTILINE)[0])[2:]]
    cells = {(named(host), way, image): cell for host, way, *row in first for image, cell in zip(images, row)}
    wrong = {(named(host), way, named(image)): (checked, alone) for host, way, image, checked, alone in second}
    return Matrix(returncode, cells, wrong, folder, errors)


def newly_installed(log: Path) -> List[str]:
    """The packages that apt-get says it has brought."""
    return re.findall(r"^Selecting previously unselected package (\S+)\.$", log.read_text() if log.exists() else "",
                      re.MULTILINE)


@pytest.fixture(scope="module")
def matrix(container_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    """One run of the script. As root with Debian's Open MPI too, which is removed again: other tests are not for a new
    mpirun on this machine."""
    if not MPICH_IMAGE.exists():
        built = run(REPOSITORY / "containers" / "build.sh", "--mpich", timeout=600)
        assert built.returncode == 0, built.stderr
    folder = tmp_path_factory.mktemp("the matrix")
    try:
        done = run(SCRIPT, "-n", RANKS, *["--install"] * (os.geteuid() == 0), "--markdown", folder / "table.md", folder,
                   timeout=1200)
        assert (folder / "table.md").exists(), done.stderr
        assert (folder / "table.md").read_text() == done.stdout
        yield read(done.stdout, done.returncode, folder, done.stderr)
    finally:
        if newly_installed(folder / "apt.log"):
            run("dpkg", "--purge", *newly_installed(folder / "apt.log"), timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("host, way, image", COMBINATIONS)
def test_a_combination(matrix: Matrix, host: str, way: str, image: str) -> None:
    cell, expected = matrix.cells[host, way, image], must_be(host, way, image)
    if cell == "not here":
        missing("no Open MPI 4.1 of Debian here: as root, `containers/mpi-matrix.sh --install` brings it")
    assert cell.split(":")[0] == expected, matrix.errors
    if expected == "works":
        library = IMAGES[image] if way == "inside" else library_of(host, way, image)
        assert cell.startswith(f"works: {library.family} {library.version}.")
        assert (host, way, image) not in matrix.wrong
    else:
        checked, alone = matrix.wrong[host, way, image]
        silent = (f"exit code 2: the MPI world has 1 rank, --expect-ranks wants {RANKS}",
                  f"exit code 0, {RANKS} worlds of 1 rank")
        assert ((checked, alone) == silent) == (expected == "caught")
        assert alone.startswith("exit code 0") == (expected == "caught")


@pytest.mark.slow
def test_the_table_is_whole_and_as_the_script_knows_it(matrix: Matrix) -> None:
    assert set(matrix.cells) == set(COMBINATIONS)
    assert matrix.returncode == 0, matrix.errors


@pytest.mark.slow
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("image", ["openmpi", "mpich"])
def test_trainers_in_the_image_train_for_ranks_on_the_host(matrix: Matrix, host: str, image: str) -> None:
    if matrix.cells[host, "split", "MPICH 3.4"] == "not here":
        missing("no Open MPI 4.1 of Debian here: as root, `containers/mpi-matrix.sh --install` brings it")
    launcher = {"Debian's Open MPI 4.1": "openmpi4", "pip's Open MPI 5": "openmpi5", "pip's MPICH": "mpich"}[host]
    journal = matrix.folder / "log" / f"{launcher}-split-{image}.run" / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    results = [event for event in events if event["event"] == "result"]
    assert [result["status"] for result in results] == ["ok"] * 3  # the default, two individuals
    assert {result["rank"] for result in results} <= set(range(RANKS))
    assert "menndl-caffe" in events[0]["versions"]["trainer"]


def test_the_table_in_the_documents_has_every_combination() -> None:
    documented = read((REPOSITORY / "docs" / "mpi-matrix.md").read_text(), 0, REPOSITORY, "")
    assert {combination: cell.split(":")[0] for combination, cell in documented.cells.items()} == {
        combination: must_be(*combination) for combination in COMBINATIONS}
