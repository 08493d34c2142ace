"""docs/commands.md: every command with its options, from the parsers that `menndl --help` prints."""
from __future__ import annotations

import argparse
import importlib
from typing import Iterator, List

from menndl_caffe.cli import COMMANDS, EPILOG

TITLE = """\
# All commands

This page is made by `make docs` from what `menndl COMMAND --help` prints. In a clone in which `make run` has been, the
command is `build/venv/bin/menndl`.
"""


def page() -> str:
    """The whole page."""
    index = "\n".join(f"| [`{name}`](#menndl-{name}) | {text} |" for name, (_, text) in COMMANDS.items())
    codes = EPILOG.split("exit codes: ", 1)[1].replace("\n", " ").strip()
    parts = [TITLE, f"| command | what it does |\n|---|---|\n{index}\n", f"Exit codes: {codes}.\n"]
    return "\n".join([*parts, *(_section(name) for name in COMMANDS)])


def _section(name: str) -> str:
    module, text = COMMANDS[name]
    parser = argparse.ArgumentParser(prog=f"menndl {name}", add_help=False)
    importlib.import_module(f"menndl_caffe.{module}").add_arguments(parser)
    lines = [f"## menndl {name}\n", f"{text[0].upper()}{text[1:]}.\n"]
    rows = list(_rows(parser))
    return "\n".join([*lines, "| argument | meaning |", "|---|---|", *rows, ""])


def _rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield f"| `{name}` | {' '.join((inner.description or '').split())} |"
                yield from _rows(inner)
        elif not isinstance(action, argparse._HelpAction):
            yield f"| {_call(action)} | {_meaning(parser, action)} |"


def _call(action: argparse.Action) -> str:
    """`--out RUN`, `RUN`, `{cifar10,mnist}`, as on a command line."""
    values: List[str] = []
    if action.nargs != 0:
        choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
        metavar = action.metavar if isinstance(action.metavar, str) else ""
        values = [metavar or choices or action.dest.upper()]
    return ", ".join(f"`{' '.join([option, *values])}`" for option in action.option_strings or values and [""]).replace(
        "` ", "`").replace("|", "\\|")


def _meaning(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    return " ".join(formatter._expand_help(action).split()).replace("|", "\\|") if action.help else ""
