"""`menndl watch RUN`: on a screen where there is one, else in plain lines; and what `menndl report --watch` takes."""
from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import Any

from menndl_caffe.run.progress import PLAIN_SECONDS

SCREEN_SECONDS = 2.0
HOST, PORT = "127.0.0.1", 8000


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl watch`."""
    command.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    command.add_argument("--interval", type=_seconds, metavar="SECONDS",
                         help=f"between two looks into the journal (default: {SCREEN_SECONDS:g}, "
                              f"for plain lines {PLAIN_SECONDS:g})")
    command.add_argument("--plain", action="store_true",
                         help="a line when something has changed, as where standard output is no terminal")
    command.add_argument("--once", action="store_true", help="show where the run is now, and end")


def _seconds(text: str) -> float:
    """The type of an interval."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.1 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r}; expected seconds from 0.1 to 86400")
    return value


def add_server_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl report` that are about --watch."""
    command.add_argument("--watch", action="store_true",
                         help="serve the report of one run while it goes on, for reading only, until Ctrl-C; from "
                              "another machine: `ssh -L 8000:localhost:8000 LOGIN`, then http://localhost:8000 there")
    command.add_argument("--port", type=_port, metavar="N",
                         help=f"with --watch: the port; 0 is any free one (default: {PORT})")
    command.add_argument("--host", metavar="ADDRESS",
                         help="with --watch: the address to serve on; any but this machine's own lets others read the "
                              f"report too (default: {HOST}, which everyone with an account on this machine can read)")


def _port(text: str) -> int:
    """The type of a port."""
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from 0 to 65535")
    return int(text)


def main(arguments: Any) -> None:
    """Watch until the search is finished. UserError where there is no run, or its journal is damaged."""
    from menndl_caffe.watch import plain
    from menndl_caffe.watch.picture import Watched

    watched = Watched(arguments.run)
    if not arguments.plain and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
        try:
            from menndl_caffe.watch import terminal
        except ImportError as error:
            print(f"menndl watch: plain lines, since the screen needs rich ({error}): "
                  "`pip install 'menndl_caffe[report]'`", file=sys.stderr)
        else:
            return terminal.follow(watched, arguments.interval or SCREEN_SECONDS, arguments.once)
    plain.follow(watched, arguments.interval or PLAIN_SECONDS, arguments.once)
