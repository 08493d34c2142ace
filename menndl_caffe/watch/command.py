"""`menndl watch`: a run on a screen where there is one, else in plain lines."""
from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from menndl_caffe.arguments import add_run, seconds
from menndl_caffe.errors import UserError
from menndl_caffe.run.progress import PLAIN_SECONDS
from menndl_caffe.text import say

SCREEN_SECONDS = 2.0
WAITING_SECONDS = 0.5  # between two looks for a run that has not begun


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl watch`."""
    add_run(command)
    command.add_argument("--interval", type=seconds, metavar="SECONDS",
                         help=f"between two looks into the journal (default: {SCREEN_SECONDS:g}, "
                              f"for plain lines {PLAIN_SECONDS:g})")
    command.add_argument("--plain", action="store_true",
                         help="a line when something has changed, as where standard output is no terminal")
    command.add_argument("--once", action="store_true", help="show where the run is now, and end")


def _await(run: Path) -> None:
    """Until there is a run, which somebody may be about to begin."""
    journal = run / "journal.jsonl"
    if not journal.exists():
        say(f"menndl watch: no run in {run} yet; waiting until one begins there, Ctrl-C ends that")
    while not journal.exists():
        if run.exists() and not run.is_dir():
            raise UserError(f"{run} is no folder; expected that of a run")
        time.sleep(WAITING_SECONDS)


def main(arguments: Any) -> None:
    """Watch until the search is finished. UserError where there is no run, or its journal is damaged."""
    from menndl_caffe.watch import plain
    from menndl_caffe.watch.picture import Watched

    if not arguments.once:
        _await(arguments.run)
    watched = Watched(arguments.run)
    if not arguments.plain and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
        try:
            from menndl_caffe.watch import terminal
        except ImportError as error:
            say(f"menndl watch: plain lines, since the screen needs rich ({error}): "
                "`pip install 'menndl_caffe[report]'`")
        else:
            return terminal.follow(watched, arguments.interval or SCREEN_SECONDS, arguments.once)
    plain.follow(watched, arguments.interval or PLAIN_SECONDS, arguments.once)
