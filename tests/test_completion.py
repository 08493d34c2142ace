"""`menndl completion`: what the script proposes, in bash itself."""
from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from typing import Any, List

import pytest

from menndl_caffe import cli, completion

ASK = """
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_menndl menndl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scripts")
    for shell in completion.SHELLS:
        (folder / shell).write_text(completion.script(shell, cli.parser()) + ASK)
    return folder


def proposed(scripts: Path, *words: str) -> List[str]:
    done = subprocess.run(["bash", scripts / "bash", "menndl", *words], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("words, expected", [
    (["st"], ["status"]), (["run", "--eng"], ["--engine"]), (["run", "--engine", ""], ["caffe", "torch"]),
    (["run", "x.prototxt", "--engine", "t"], ["torch"]), (["export", "RUN", "--to", "pa"], ["parquet"]),
    (["data", "c"], ["cifar10"]), (["completion", ""], ["bash", "zsh"]), (["--vers"], ["--version"]),
    (["best", "RUN", "--out"], []), (["status", "run", "--js"], ["--json"]), (["run", "--out", "status", "--thr"],
                                                                             ["--threads"])])
def test_what_is_proposed(scripts: Path, words: List[str], expected: List[str]) -> None:
    assert proposed(scripts, *words) == expected


def test_all_commands_and_options(scripts: Path) -> None:
    assert proposed(scripts, "") == list(cli.COMMANDS)
    options = proposed(scripts, "run", "-")
    assert {"--help", "--out", "--ranks", "--time-limit", "--data"} <= set(options) and len(options) > 12


@pytest.mark.parametrize("words", [["run", ""], ["run", "sol"], ["run", "x", "--out", ""],
                                   ["run", "x", "--out", "-"]])
def test_where_nothing_is_known_the_shell_completes_files(scripts: Path, words: List[str]) -> None:
    assert proposed(scripts, *words) == []
    assert "\ncomplete -o default -F _menndl menndl\n" in (scripts / "bash").read_text()


def test_commands_within_commands() -> None:
    parser = argparse.ArgumentParser(prog="menndl")
    inner = parser.add_subparsers().add_parser("data").add_subparsers().add_parser("images")
    inner.add_argument("--how", choices=("well", "badly"))
    text = completion.script("bash", parser)
    done = subprocess.run(["bash", "-c", text + ASK, "bash", "menndl", "data", "images", "--how", "w"],
                          capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("well\n", "")


def test_zsh_has_the_same_by_its_bashcompinit(scripts: Path) -> None:
    head, rest = (scripts / "zsh").read_text().split("\n", 1)
    begin, rest = rest.split("\n", 1)
    assert "zsh" in head and begin == "autoload -Uz compinit bashcompinit && compinit && bashcompinit"
    assert rest == (scripts / "bash").read_text().split("\n", 1)[1]


def test_the_command(local: Any) -> None:
    assert local("completion", "bash") == 0 and "_menndl() {" in local.out
    assert local("completion", "zsh") == 0 and local.out.splitlines()[1].startswith("autoload")
    assert local("completion", "csh") == 2
