"""`menndl completion`: a script that makes a shell complete commands, options and their values, made from the commands'
own arguments. Where nothing else is known, the shell completes names of files."""
from __future__ import annotations

import argparse
import shlex
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

from menndl_caffe.text import show

SHELLS = ("bash", "zsh")
SCRIPT = """\
# Completion of menndl for {shell}: {how}
{begin}_menndl() {{
    local word command= words=
    COMPREPLY=()
    for word in "${{COMP_WORDS[@]}}"; do
        case "$command $word" in
{commands}
        esac
    done
    case "$command $3" in
{values}
    esac
    if [ -z "$words" ]; then
        case "$command $2" in
{options}
        esac
    fi
    [ -z "$words" ] || COMPREPLY=( $(compgen -W "$words" -- "$2") )
}}
complete -o default -F _menndl menndl
"""
HOW = {"bash": 'eval "$(menndl completion bash)", in ~/.bashrc for every shell',
       "zsh": 'eval "$(menndl completion zsh)", in ~/.zshrc for every shell'}
BEGIN = {"bash": "", "zsh": "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"}


class Command(NamedTuple):
    """What can follow the words of a command: other commands, values that stand for themselves, options, and of the
    options that take a value, the values that are known; none where it is a file or a number."""

    words: Tuple[str, ...]
    positional: List[str]
    options: List[str]
    values: Dict[str, List[str]]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl completion`."""
    command.add_argument("shell", choices=SHELLS,
                         help='which shell; `eval "$(menndl completion bash)"` begins it, in ~/.bashrc for every shell')


def main(arguments: Any) -> None:
    """Print the script."""
    show(script(arguments.shell, arguments.parser()).rstrip())


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """The shell's script for this parser of all commands."""
    commands = list(_commands(parser, ()))
    names = [case(_key(one.words[:-1], one.words[-1]), f"command={shlex.quote(' '.join(one.words))}")
             for one in commands if one.words]
    values = [case(_key(one.words, option), f"words={shlex.quote(' '.join(known))}" if known else "return")
              for one in commands for option, known in one.values.items()]
    options = [line for one in commands for line in (
        case(_key(one.words, "-") + "*", f"words={shlex.quote(' '.join(one.options))}"),
        case(_key(one.words, "") + "*", f"words={shlex.quote(' '.join(one.positional))}"))]
    return SCRIPT.format(shell=shell, how=HOW[shell], begin=BEGIN[shell], commands="\n".join(names),
                         values="\n".join(values), options="\n".join(options))


def case(pattern: str, does: str) -> str:
    """A line of a `case`."""
    return f"            {pattern}) {does} ;;"


def _key(words: Tuple[str, ...], word: str) -> str:
    return shlex.quote(f"{' '.join(words)} {word}")


def _commands(parser: argparse.ArgumentParser, words: Tuple[str, ...]) -> Iterator[Command]:
    """A parser's own and those of the commands within it."""
    made = Command(words, [], [], {})
    for action in parser._actions:
        known = list(map(str, action.choices or ()))
        if action.option_strings:
            made.options.extend(action.option_strings)
            if action.nargs != 0:
                made.values.update(dict.fromkeys(action.option_strings, known))
        else:
            made.positional.extend(known)
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from _commands(inner, (*words, name))
    yield made
