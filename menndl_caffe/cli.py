"""The command `menndl`."""
from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from typing import Collection, NoReturn, Optional, Sequence

import menndl_caffe
from menndl_caffe.errors import UserError, in_utf8
from menndl_caffe.startup import prepare
from menndl_caffe.text import say
from menndl_caffe.walltime import SIGNALS, Stopped

EPILOG = """\
a first search:
  menndl data cifar10                                   CIFAR-10 as Caffe reads it, into data/cifar10
  menndl run solvers/quick.search.prototxt --out RUN    on one core; --ranks 4: on four
  menndl best RUN                                       the best individuals against Caffe's default
The same `menndl run` command again resumes a run, by whatever means it was stopped.

exit codes: 0 success; 2 a mistake of the user's; 75 `menndl run` or `menndl confirm` ended early and in order, by
--time-limit, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 or SIGXCPU; 130 Ctrl-C; 1 everything else
"""


# Name: the module that has its `add_arguments(parser)` and its `main(arguments)`, in the highest room that the command
# needs, and what it does. Only the module of the command that was asked for is imported.
COMMANDS = {
    "data": ("data.command", "prepare images, published or your own, as Caffe's own tools do: databases and means"),
    "init": ("init.command", "make templates and a search file from a net and a solver that you have"),
    "check": ("run.check_command", "look at a search before it runs: impossible nets, mistakes, how long it will take"),
    "render": ("experiment.command", "write the two Caffe files of one individual"),
    "evaluate": ("run.evaluate_command", "train one individual and print its result as JSON"),
    "run": ("run.command", "run a search, on one rank or on many; resume one that was stopped"),
    "confirm": ("run.confirm_command", "train the best individuals and the default again from new seeds, and say "
                                       "whether what was found holds"),
    "simulate": ("simulate.command", "say how long a search would take on so many ranks, and why, on a virtual clock"),
    "status": ("report.command", "say how far a run is"),
    "list": ("report.list_command", "list the runs in a folder and in those below it, a line each"),
    "best": ("save.command", "print the best individuals against the default, as Table 3 of the paper"),
    "report": ("watch.report_command", "write tables, figures and a page of a run into RUN/report"),
    "watch": ("watch.command", "show a search while it runs"),
    "doctor": ("doctor.command", "say which engines, MPI and data work here, and what to do about the rest"),
    "export": ("export.command", "write a run's trials for pandas, optuna-dashboard or TensorBoard"),
    "completion": ("completion", "print a script with which a shell completes menndl's commands and options"),
}
GO_ON = ("run", "confirm")  # those that end early in order and go on where they were stopped


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command; the exit code is one of those in EPILOG."""
    words = sys.argv[1:] if argv is None else argv
    asked = parser({next((word for word in words if not word.startswith("-")), "")})
    try:
        arguments = asked.parse_args(list(map(in_utf8, words)))
    except UserError as error:
        asked.error(str(error))
    if arguments.name not in GO_ON:  # whose Walltime takes what has come
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        arguments.main(arguments)
        sys.stdout.flush()
    except UserError as error:
        for line in str(error).split("\n"):
            say(f"menndl {arguments.name}: {line}")
        return 2
    except Stopped as stopped:
        say(f"menndl {arguments.name}: {stopped}")
        return os.EX_TEMPFAIL
    except SystemExit as end:
        if isinstance(end.code, str):
            say(end.code)
            return 1
        raise
    except KeyboardInterrupt:
        hint = "; the same command goes on where this one stopped" if arguments.name in GO_ON else ""
        say(f"menndl {arguments.name}: interrupted{hint}")
        return 130
    except BrokenPipeError:  # `menndl status RUN | head`
        pass
    except OSError as error:
        say(f"menndl {arguments.name}: {f'{error.filename}: {error.strerror}' if error.filename else error}")
        return 1
    return 0


class _Parser(argparse.ArgumentParser):
    """argparse with errors of one line."""

    def error(self, message: str) -> NoReturn:
        """Exit code 2 and what is wrong, without the usage before it."""
        say(f"{self.prog}: {message}; see `{self.prog} --help`")
        self.exit(2)


def parser(known: Collection[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """The parser of all commands, of those that are `known` with their arguments."""
    made = _Parser(prog="menndl", description=menndl_caffe.__doc__, epilog=EPILOG,
                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--version", action="version", version=f"menndl {menndl_caffe.__version__}")
    commands = made.add_subparsers(title="commands", dest="name", required=True, metavar="COMMAND")
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name in known:
            room = importlib.import_module(f"menndl_caffe.{module}")
            room.add_arguments(command)
            command.set_defaults(main=room.main, parser=parser)
    return made


def entry() -> None:
    """The installed command."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # they wait until it is known what they shall do
    prepare()
    try:
        code = main()
    finally:
        _drop_what_nobody_reads()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # a late one, as Python ends, would turn the code into 143
    sys.exit(_answered(code))


def _answered(code: int) -> int:
    """The exit code of this process; that of a rank of `menndl run --ranks` is not its own."""
    if "MENNDL_LAUNCHED" not in os.environ:
        return code
    from menndl_caffe.farm import launched

    return launched.answer(code)


def _drop_what_nobody_reads() -> None:
    """What a stream holds and cannot write, since its reader is gone, would turn the exit code into 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    entry()
