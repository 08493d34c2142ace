"""What the Makefile says in Python: it runs where no other test looks."""
from __future__ import annotations

import ast
import importlib
import re

import pytest

from tests.conftest import REPOSITORY

PROGRAMS = re.findall(r"""-c (["'])(.+?)\1""", (REPOSITORY / "Makefile").read_text())


@pytest.mark.parametrize("program", [text for _, text in PROGRAMS])
def test_its_python_imports_what_there_is(program: str) -> None:
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            for name in node.names:
                assert hasattr(module, name.name) or importlib.import_module(f"{node.module}.{name.name}")
        elif isinstance(node, ast.Import):
            for name in node.names:
                importlib.import_module(name.name)


def test_there_is_some() -> None:
    assert len(PROGRAMS) >= 2
