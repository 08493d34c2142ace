"""A clone of this repository whose set-up is done, in a folder of its own: the tests of what users are told to type."""
from __future__ import annotations

import sys
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.support import runs
from tests.support.cluster import write_program


def make(folder: Path, caffe_root: Path) -> Path:
    """The folder, in which `make` finds all set up, and every command under its documented name."""
    programs = folder / "build" / "venv" / "bin"
    programs.mkdir(parents=True)
    for name, command in (("python", [sys.executable]), ("python3", [sys.executable]),
                          ("menndl", [sys.executable, "-m", "menndl_caffe.cli"]), ("mpirun", runs.launcher(1)[:1])):
        write_program(programs / name, f'exec {" ".join(command)} "$@"')
    (folder / "build" / "venv" / "run").touch()
    (folder / "build" / "caffe").symlink_to(caffe_root)
    for name in ("Makefile", "containers", "solvers", "templates"):
        (folder / name).symlink_to(REPOSITORY / name)
    return folder
