"""The Python packages of `make`: the versions that were tested, in constraints/, and the bounds in pyproject.toml."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

from tests.conftest import REPOSITORY
from tests.support.cluster import write_program

TESTED = sorted((REPOSITORY / "constraints").glob("python3.*.txt"))
SET_UP = ("mpi", "report", "search", "torch", "test", "lint")  # what make installs for run, test, torch and lint


def pinned(path: Path) -> Dict[str, str]:
    """Package -> version; names as the index compares them (PEP 503)."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return {re.sub("[-_.]+", "-", name).lower(): version for name, version in (line.split("==") for line in lines)}


def wanted(python: str) -> List[Any]:
    """The requirements of pyproject.toml under this Python."""
    requirements = pytest.importorskip("packaging.requirements")
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    found = [requirements.Requirement(text) for text in
             [*project["dependencies"], *(text for extra in SET_UP for text in extras[extra])]]
    return [each for each in found if each.marker is None or each.marker.evaluate({"python_version": python})]


@pytest.mark.parametrize("path", TESTED, ids=lambda path: path.stem)
def test_every_package_that_make_installs_is_pinned_within_its_bounds(path: Path) -> None:
    versions = pinned(path)
    for each in wanted(path.stem[len("python"):]):
        assert each.specifier.contains(versions[re.sub("[-_.]+", "-", each.name).lower()]), each
    assert "hatchling" in versions and "menndl-caffe" not in versions
    assert not [version for version in versions.values() if not re.fullmatch(r"[\w.]+", version)]


@pytest.mark.parametrize("python", ["3.9", "3.13"])
def test_bounds_leave_out_what_has_known_holes(python: str) -> None:
    """The last jinja2 whose sandbox could be left was 3.1.5 (CVE-2025-27516)."""
    specifiers = {each.name: each.specifier for each in wanted(python)}
    assert not specifiers["jinja2"].contains("3.1.5") and specifiers["jinja2"].contains("3.1.6")


PIP = """
case "$*" in
    -c*) exec {python} "$@" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0" "$3/bin/pip" ;;
    *" install "*) echo "$*|$PIP_CONSTRAINT|$PIP_BUILD_CONSTRAINT" >>pip.log ;;
esac"""


@pytest.mark.parametrize("settings, file", [
    ([], "constraints/python{version}.txt"),
    (["CONSTRAINTS="], ""),
    (["CONSTRAINTS=constraints/python2.7.txt"], ""),  # a Python that nobody has tested
])
def test_make_installs_these_versions(settings: List[str], file: str, tmp_path: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    (tmp_path / "constraints").mkdir()
    (tmp_path / "constraints" / f"python{version}.txt").touch()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "Makefile").symlink_to(REPOSITORY / "Makefile")
    write_program(tmp_path / "python", PIP.format(python=sys.executable))
    done = subprocess.run(["make", "build/venv/run", f"PYTHON={tmp_path}/python", *settings], cwd=tmp_path, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    file = file.format(version=version)
    assert (tmp_path / "pip.log").read_text().splitlines()[0].split("|")[1:] == [file, file]
    assert (f"the versions of {file}" if file else "the newest of what it needs") in done.stdout


def test_what_programs_keep_stays_inside(tmp_path: Path) -> None:
    """All that make starts has caches in build/, whatever the home folder; matplotlib makes its own at its import."""
    (tmp_path / "Makefile").write_text(f"""include {REPOSITORY}/Makefile
show:
\t@{sys.executable} -c 'import matplotlib; print(matplotlib.get_cachedir()); print(matplotlib.get_configdir())'
\t@echo $$XDG_CACHE_HOME; echo $$APPTAINER_CONFIGDIR
""")
    pytest.importorskip("matplotlib")
    home = tmp_path / "home"
    home.mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    done = subprocess.run(["make", "-s", "show"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert {Path(line).relative_to(tmp_path).parts[:2] for line in done.stdout.splitlines()} == {("build", "cache")}
    assert list(home.iterdir()) == []


def test_the_tests_install_nothing_on_the_machine(tmp_path: Path) -> None:
    """What `make test` would run, where all is to be set up."""
    (tmp_path / "pyproject.toml").touch()
    for name in ("Makefile", "containers", "tests"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    done = subprocess.run(["make", "-n", "test"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "pytest" in done.stdout and "chromium" not in done.stdout
