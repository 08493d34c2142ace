"""The rooms of the package: imports point one way, and no file or function grows beyond what one can read."""
from __future__ import annotations

import ast
from pathlib import Path
from typing import Dict, Iterable, Iterator, Set, Tuple, Union

import pytest

from menndl_caffe import cli
from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "menndl_caffe"
FILES = sorted(PACKAGE.rglob("*.py"))

# A room may import those on the lines above it and of its own line; a line lists rooms that do not know each other.
LAYERS = (
    ("arguments", "errors", "fields", "startup", "text", "walltime"),
    ("compiled", "files", "genome", "nets"),
    ("trial", "data"),
    ("objective", "writer"),
    ("torchcaffe", "search", "record"),
    ("journal",),
    ("experiment",),
    ("rank", "trainer", "report", "init"),
    ("farm", "export"),
    ("run", "doctor"),
    ("completion", "watch", "save", "simulate"),
    ("cli",),
)
# The same within the torch engine.
TORCHCAFFE_LAYERS = (
    ("columns", "files", "log", "net_spec", "proto", "rng", "stand_in", "timer"),
    ("coord_map", "draw", "fillers", "io", "mode"),
    ("numbers",),
    ("blob", "fourier", "records", "transform"),
    ("layer",),
    ("graph",),
    ("replay", "updates", "weights"),
    ("duals",),
    ("net",),
    ("classifier", "layer_types", "scores", "snapshots"),
    ("detector", "solver"),
    ("command",),
    ("__main__",),
)
Ranks = Dict[str, int]


def ranks(layers: Iterable[Iterable[str]]) -> Ranks:
    return {room: rank for rank, rooms in enumerate(layers) for room in rooms}


RANK, TORCHCAFFE_RANK = ranks(LAYERS), ranks(TORCHCAFFE_LAYERS)
# Libraries that one place alone may import.
ALONE: Dict[str, Union[str, Tuple[str, ...]]] = {
    "mpi4py": "farm/", "matplotlib": "report/figures/", "rich": "watch/", "caffe": "nowhere", "torch": "torchcaffe/",
    "pyarrow": "export/parquet_files.py", "tensorboard": "export/event_files.py",
    "optuna": ("export/optuna_study.py", "search/optuna_sampler.py"), "cmaes": "search/cma_es.py"}


def room(path: Path, package: Path = PACKAGE) -> str:
    return path.relative_to(package).with_suffix("").parts[0]


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, anywhere in it, those for its type hints alone aside."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    hints = {inner for node in nodes if is_for_types(node) for inner in ast.walk(node)}
    for node in nodes:
        if node in hints:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(path: Path, package: str = "menndl_caffe", known: Ranks = RANK) -> Set[str]:
    names = [name[len(package) + 1:] for name in imported(path) if name.startswith(f"{package}.")]
    if path == PACKAGE / "cli.py":  # which imports the room of the command that is asked for by its name
        names += [module for module, _ in cli.COMMANDS.values()]
    return {name.split(".")[0] for name in names} & set(known)


def check_direction(own: str, others: Set[str], known: Ranks) -> None:
    assert own in known, f"{own} is a new room: give it a line in the layers above"
    for other in others - {own}:
        assert known[other] < known[own], f"{own} must not know {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    if room(path) != "__init__":
        check_direction(room(path), rooms_imported(path), RANK)


@pytest.mark.parametrize("path", sorted((PACKAGE / "torchcaffe").rglob("*.py")), ids=lambda path: path.stem)
def test_imports_point_one_way_in_the_torch_engine(path: Path) -> None:
    own = room(path, PACKAGE / "torchcaffe")
    if own != "__init__":
        check_direction(own, rooms_imported(path, "menndl_caffe.torchcaffe", TORCHCAFFE_RANK), TORCHCAFFE_RANK)


def test_some_libraries_are_known_in_one_place() -> None:
    users: Dict[str, Set[str]] = {library: set() for library in ALONE}
    for path in FILES:
        for name in imported(path):
            library = name.split(".")[0]
            if library in users:
                users[library].add(str(path.relative_to(PACKAGE)))
    for library, place in ALONE.items():
        assert all(user.startswith(place) for user in users[library]), f"{library}: {users[library]}"


def test_search_knows_neither_engines_nor_files() -> None:
    for path in (PACKAGE / "search").glob("*.py"):
        assert rooms_imported(path) <= {"errors", "genome", "objective", "trial", "search"}


def test_the_trainer_needs_nothing_of_menndl_but_when_caffe_tests_and_its_learning_rates() -> None:
    for path in (PACKAGE / "trainer").rglob("*.py"):
        assert rooms_imported(path) <= {"trainer", "nets"}
        assert {name for name in imported(path) if name.startswith("menndl_caffe.nets")} <= {
            "menndl_caffe.nets.passes.test_iterations", "menndl_caffe.nets.rates.learning_rate"}
    assert rooms_imported(PACKAGE / "nets" / "rates.py") == {"errors"}
    assert not rooms_imported(PACKAGE / "nets" / "passes.py")


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
            if not node.name.startswith("_") and node.col_offset == 0 and path.parent.name != "layer_rules":
                assert ast.get_docstring(node), f"{node.name} has no docstring"
