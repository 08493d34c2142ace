"""What `.ci/run` makes of tests that fail: once more, by themselves; and of a test run that breaks off: nothing."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, List

import pytest

from tests.conftest import REPOSITORY
from tests.support.again import MOST
from tests.support.cluster import write_program

WELL = "def test_well(): pass\n"
ALWAYS = "def test_always(): assert 0\n"
ONCE = """\
import pathlib
def test_once():
    seen = pathlib.Path("seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""
SKIPPED = ONCE.replace("test_once", "test_skipped").replace("assert not first", """\
if not first: import pytest; pytest.skip("not here")
    assert 0""")
IN_TEARDOWN = """\
import pytest
@pytest.fixture
def spoiled():
    yield
    assert 0
def test_in_teardown(spoiled): pass
"""
CRASH = "def test_crash(): import os; os._exit(1)\n"
CRASH_ONCE = """\
import os, pathlib
def test_crash():
    seen = pathlib.Path("crashed")
    first = not seen.exists()
    seen.touch()
    if first: os._exit(1)
"""
INTERRUPTED = "def test_interrupted(): raise KeyboardInterrupt\n"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ci(tmp_path: Path) -> Run:
    """`.ci/run` in a repository with these tests, in which all that make is asked for but the tests is done."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / "build" / "venv" / "bin").mkdir(parents=True)
    write_program(tmp_path / "build" / "venv" / "bin" / "python", f'exec {sys.executable} "$@"')
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text("from tests.support.again import pytest_sessionfinish, pytest_testnodedown\n")

    def run(*tests: str, make_test: str = f"exec {sys.executable} -m pytest") -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_it.py").write_text("".join(tests))
        write_program(tmp_path / "make", f"[[ $* != test ]] || {make_test}")
        env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY),
               "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        return subprocess.run([tmp_path / ".ci" / "run"], env=env, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=600)

    return run


def named(done: subprocess.CompletedProcess[str]) -> List[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("passed only when repeated: ")]


def test_what_passes_runs_once(ci: Run) -> None:
    done = ci(WELL)
    assert done.returncode == 0 and done.stdout.count("test session starts") == 1, done.stdout


def test_what_passes_when_repeated_is_named_and_ci_goes_on(ci: Run) -> None:
    done = ci(WELL, ONCE)
    assert done.returncode == 0 and named(done) == ["passed only when repeated: test_it.py::test_once"], done.stdout
    assert " 1 passed" in done.stdout.splitlines()[-1]


def test_what_fails_twice_fails(ci: Run) -> None:
    done = ci(WELL, ONCE, ALWAYS)
    assert done.returncode != 0 and named(done) == ["passed only when repeated: test_it.py::test_once"], done.stdout
    assert " 1 failed, 1 passed" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("tests", [(SKIPPED,), (IN_TEARDOWN,)], ids=["skipped", "teardown"])
def test_what_is_not_whole_when_repeated_fails(tests: List[str], ci: Run) -> None:
    done = ci(WELL, *tests)
    assert done.returncode != 0 and named(done) == [] and done.stdout.count("test session starts") == 2, done.stdout


@pytest.mark.parametrize("broken", [CRASH, INTERRUPTED, "import nowhere\n"], ids=["crash", "interrupt", "collection"])
def test_tests_that_do_not_come_to_their_end_fail(broken: str, ci: Run) -> None:
    done = ci(ONCE, broken)
    assert done.returncode != 0 and named(done) == [], done.stdout
    assert "nothing to repeat: the tests did not come to their end" in done.stdout


def test_a_crash_of_one_of_several_processes_fails(ci: Run) -> None:
    done = ci(ONCE, CRASH_ONCE, make_test=f"exec {sys.executable} -m pytest -p xdist.plugin -n 2 --dist loadfile")
    assert done.returncode != 0 and "crashed while running" in done.stdout, done.stdout
    assert "nothing to repeat: the tests did not come to their end" in done.stdout


def test_tests_that_do_not_begin_fail_whatever_failed_before(ci: Run) -> None:
    assert ci(ALWAYS).returncode != 0
    done = ci(WELL, make_test="exit 2")
    assert done.returncode != 0 and "nothing to repeat" in done.stdout


def test_so_many_failures_are_no_chance(ci: Run) -> None:
    done = ci(WELL, *(ONCE.replace("once", f"once_{i}").replace("seen\")", f"seen_{i}\")") for i in range(MOST + 1)))
    assert done.returncode != 0 and named(done) == [], done.stdout
    assert f"{MOST + 1} tests failed, which is no chance; at most {MOST} are repeated" in done.stdout
