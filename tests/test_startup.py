"""What a command's surroundings may be: closed streams, other locales, names in other encodings, many cores."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

from menndl_caffe import journal
from tests.conftest import REPOSITORY, Runner
from tests.support import runs

MENNDL = [sys.executable, "-m", "menndl_caffe.cli"]
UMLAUT = "Bilder \N{LATIN SMALL LETTER A WITH DIAERESIS}"
LATIN = os.fsdecode(b"Bilder \xe4")  # the same in ISO 8859-1, and no UTF-8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    path = tmp_path_factory.mktemp("search") / "my.search.prototxt"
    return runs.write_search(path, data, population=4, generations=2)


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Dict[str, str]]:
    """The environments of other encodings: ASCII always, and those that this machine can make."""
    found = {"ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}}
    folder = tmp_path_factory.mktemp("locales")
    for language, charset in (("de_DE", "ISO-8859-1"), ("zh_CN", "GBK")):
        command = ["localedef", "-i", language, "-f", charset, str(folder / f"{language}.{charset}")]
        if shutil.which("localedef") and subprocess.run(command, capture_output=True).returncode == 0:
            found[charset] = {"LC_ALL": f"{language}.{charset}", "LOCPATH": str(folder)}
    return found


def encoding(**variables: str) -> str:
    """In which Python names files there."""
    code = "import sys; print(sys.getfilesystemencoding())"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **variables}, capture_output=True, text=True)
    return done.stdout.strip()


# Streams

@pytest.mark.parametrize("redirection", ["2>&-", "<&- >&- 2>&-", "<&-", ">&-"])
def test_a_run_needs_no_stream(search: Path, tmp_path: Path, redirection: str) -> None:
    command = [*MENNDL, "run", str(search), "--out", str(tmp_path / "run")]
    done = subprocess.run(["sh", "-c", f'exec "$@" {redirection}', "sh", *command], cwd=REPOSITORY,
                          env=runs.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done
    assert len(runs.individuals(tmp_path / "run")) == 8
    assert ("default" in done.stdout) == (">&-" not in redirection.replace("2>&-", ""))
    assert ("generation" in done.stderr) == ("2>&-" not in redirection)


def test_what_is_for_standard_error_goes_nowhere_else(search: Path) -> None:
    """A trial's result is JSON alone, and a mistake is told by the exit code."""
    for more, code in (([], 0), (["--set", "no=1"], 2)):
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *MENNDL, "evaluate", str(search), *more]
        done = subprocess.run(command, cwd=REPOSITORY, env=runs.environment(), capture_output=True, text=True)
        assert (done.returncode, done.stdout.count("\n")) == (code, code == 0), done
        assert code or json.loads(done.stdout)["status"] == "ok"


# Locales

@pytest.mark.parametrize("charset", ["ASCII", "ISO-8859-1", "GBK"])
def test_a_run_in_another_locale(charset: str, locales: Dict[str, Dict[str, str]], data: Path, tmp_path: Path) -> None:
    """Of the data, the run, the search file and what it says, with letters that ASCII has not."""
    if charset not in locales:
        pytest.skip(f"no localedef, or no {charset}, on this machine")
    variables = locales[charset]
    assert encoding(**variables) != "utf-8"
    images = Path(shutil.copytree(data, tmp_path / UMLAUT))
    search = runs.write_search(tmp_path / f"{UMLAUT}.search.prototxt", images, population=4, generations=2)
    search.write_text(f"# {UMLAUT}\n{search.read_text('utf-8')}", encoding="utf-8")
    run = tmp_path / f"{UMLAUT} run"
    for command in (["run", search, "--out", run, "--data", images], ["best", run]):
        done = subprocess.run([*MENNDL, *map(str, command)], cwd=REPOSITORY, env=runs.environment(**variables),
                              capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stderr
    record = journal.read(run)
    assert len(record.results) == 9 and record.run["data_folder"] == str(images)
    assert str(images) in (run / "trials" / "0" / "train_test.prototxt").read_text("utf-8")


@pytest.mark.parametrize("charset", ["ASCII", "ISO-8859-1", "GBK"])
def test_real_caffe_finds_its_data_in_another_locale(charset: str, locales: Dict[str, Dict[str, str]], search: Path,
                                                     data: Path, tmp_path: Path, caffe_root: Path) -> None:
    if charset not in locales:
        pytest.skip(f"no localedef, or no {charset}, on this machine")
    images = shutil.copytree(data, tmp_path / UMLAUT)
    env = {**os.environ, **locales[charset], "MENNDL_TRAINER": "", "MENNDL_CAFFE_PYTHON": f"{caffe_root}/bin/python3"}
    command = [*MENNDL, "evaluate", str(search), "--data", images, "--iterations", "1"]
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True)
    assert done.returncode == 0 and json.loads(done.stdout)["status"] == "ok", done


def test_a_python_that_ignores_the_environment_begins_anew_once(locales: Dict[str, Dict[str, str]]) -> None:
    code = (f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); sys.argv[1:] = ['--version']; "
            "from menndl_caffe.cli import entry; entry()")
    done = subprocess.run([sys.executable, "-E", "-X", "utf8=0", "-c", code], env={**os.environ, **locales["ASCII"]},
                          capture_output=True, text=True, timeout=runs.PATIENCE)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("menndl ")


# Names that are no UTF-8

@pytest.mark.parametrize("arguments", [
    ["run", "{search}", "--out", "{tmp}/run", "--data", "{latin}"],
    ["run", "{search}", "--out", "{latin}/run"],
    ["render", "{search}", "--out", "{latin}/one"],
    ["evaluate", "{search}", "--out", "{latin}/one"],
    ["data", "synthetic", "--out", "{latin}/data"],
    ["best", "{tmp}", "--save", "{latin}/best"],
    ["status", "{latin}"],
], ids=lambda words: words[0])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_name_that_is_no_utf8(arguments: List[str], locale: str, menndl: Runner, search: Path,
                                tmp_path: Path) -> None:
    (tmp_path / LATIN).mkdir()
    names: Dict[str, Any] = {"search": search, "tmp": tmp_path, "latin": tmp_path / LATIN}
    done = menndl(*(word.format(**names) for word in arguments), env=runs.environment(LC_ALL=locale))
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert r"Bilder \udce4" in done.stderr and "is not UTF-8" in done.stderr and "a link to it" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == [LATIN]


def test_a_link_to_such_a_name_will_do(data: Path, search: Path, tmp_path: Path) -> None:
    """Also where the weights of a run are made: there the data's folder is named from the root."""
    shutil.copytree(data, tmp_path / LATIN)
    (tmp_path / "link").symlink_to(tmp_path / LATIN)
    said = []
    for command in (["run", search, "--out", tmp_path / "run", "--data", tmp_path / "link"],
                    ["best", tmp_path / "run", "--save", tmp_path / "best"]):
        done = subprocess.run([*MENNDL, *map(str, command)], cwd=REPOSITORY, capture_output=True, text=True,
                              env=runs.environment(LC_ALL="C.UTF-8"))
        assert "Traceback" not in done.stderr
        said.append((done.returncode, done.stderr))
    # The fake trainer has none to write; that it was asked is what matters.
    assert said[0][0] == 0 and "wrote no weights" in said[1][1]


# Threads

def test_its_own_blas_has_one_thread(search: Path, tmp_path: Path) -> None:
    """However many cores there are; but a user's own word stands."""
    pytest.importorskip("threadpoolctl")
    code = """import atexit, sys
from menndl_caffe import cli

def show():
    import os, threadpoolctl
    libraries = [library for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]
    print(os.environ["OPENBLAS_NUM_THREADS"], *{library["num_threads"] for library in libraries})

atexit.register(show)
cli.entry()"""
    run = tmp_path / "run"
    assert runs.start(["run", search, "--out", run]).wait(runs.PATIENCE) == 0
    unset = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    for variables, said in (({}, "1 1"), ({"OPENBLAS_NUM_THREADS": "2"}, "2 ")):
        done = subprocess.run([sys.executable, "-c", code, "best", str(run)], cwd=REPOSITORY,
                              env={**unset, **variables}, capture_output=True, text=True)
        assert done.stdout.splitlines()[-1].startswith(said), done
