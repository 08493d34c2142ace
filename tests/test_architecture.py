"""The rooms of the package: imports point one way, and no file or function grows beyond what one can read."""
from __future__ import annotations

import ast
from pathlib import Path
from typing import Dict, Iterator, Set

import pytest

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "menndl_caffe"
FILES = sorted(PACKAGE.rglob("*.py"))

# A room may import those on the lines above it and of its own line; a line lists rooms that do not know each other.
LAYERS = (
    ("errors",),
    ("genome", "proto", "prototxt_values"),
    ("trial", "prototxt"),
    ("search", "layer_rules", "data", "journal", "engine", "trainer", "trainer_process"),
    ("net_upgrade", "search_file", "progress"),
    ("net_rules",),
    ("shapes", "render", "report"),
    ("evaluate",),
    ("farm", "trial_files"),
    ("run", "doctor"),
    ("launch",),
    ("cli",),
)
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
ALONE = {"mpi4py": "farm/mpi.py", "matplotlib": "report/figures.py", "caffe": "", "torch": ""}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> Set[str]:
    names = (name.split(".") for name in imported(path))
    return {parts[1] for parts in names if parts[0] == "menndl_caffe" and len(parts) > 1 and parts[1] in RANK}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    own = room(path)
    if own == "__init__":
        return
    assert own in RANK, f"{own} is a new room: give it a line in LAYERS"
    for other in rooms_imported(path) - {own}:
        assert RANK[other] < RANK[own], f"{own} must not know {other}"


def test_some_libraries_are_known_in_one_place() -> None:
    users: Dict[str, Set[str]] = {library: set() for library in ALONE}
    for path in FILES:
        for name in imported(path):
            library = name.split(".")[0]
            if library in users:
                users[library].add(str(path.relative_to(PACKAGE)))
    assert users == {library: {place} - {""} for library, place in ALONE.items()}


def test_search_knows_neither_engines_nor_files() -> None:
    for path in (PACKAGE / "search").glob("*.py"):
        assert rooms_imported(path) <= {"genome", "trial", "search"}


def test_the_trainer_needs_nothing_of_menndl() -> None:
    assert rooms_imported(PACKAGE / "trainer.py") == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_can_be_read(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno <= 60, node.name
            # A layer's rule is named as the layer type is: there a docstring stands where it has something to add.
            if not node.name.startswith("_") and node.col_offset == 0 and room(path) != "layer_rules":
                assert ast.get_docstring(node), f"{node.name} has no docstring"
