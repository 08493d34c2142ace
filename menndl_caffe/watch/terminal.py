"""`menndl watch` on a terminal, as `top` does it: q and Ctrl-C end it."""
from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from typing import Iterator, List

from rich.console import Console, Group
from rich.live import Live

from menndl_caffe.watch.picture import Watched
from menndl_caffe.watch.screen import Screen

TICK = 1.0  # seconds between two drawings: clocks go on also when there is nothing new


def follow(watched: Watched, interval: float, once: bool) -> None:
    """Show the run until its search is finished or the user ends it; the last look stays on the terminal."""
    console = Console()
    if not once:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # by way of what restores the terminal
        with contextlib.suppress(KeyboardInterrupt), _screen(console) as live:
            _until_the_end(watched, interval, live)
    console.print(_view(watched, console))


@contextlib.contextmanager
def _screen(console: Console) -> Iterator[Live]:
    """The whole terminal, which is given back as it was."""
    taken = contextlib.ExitStack()
    try:
        with _undisturbed():
            live = taken.enter_context(Live(console=console, screen=True, auto_refresh=False))
            taken.enter_context(_keys())
        yield live
    finally:
        with _undisturbed():
            taken.close()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals that end this process come when what must not be half done is done."""
    came: List[int] = []
    handlers = {number: signal.signal(number, lambda number, _: came.append(number))
                for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


def _until_the_end(watched: Watched, interval: float, live: Live) -> None:
    next_look = time.monotonic() + interval
    while not watched.complete:
        live.update(_view(watched, live.console), refresh=True)
        if _key(min(TICK, interval)) in ("q", "Q"):
            return
        if time.monotonic() >= next_look:
            watched.look()
            next_look = time.monotonic() + interval


def _view(watched: Watched, console: Console) -> Group:
    ascii = not console.encoding.startswith("utf")
    screen = Screen(console.width, console.height - 1, ascii)  # the last row is the prompt's, in the end
    return Group(*screen.show(watched.folder, watched.picture, time.time()))


@contextlib.contextmanager
def _keys() -> Iterator[None]:
    """Keys come at once and are not shown."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _key(seconds: float) -> str:
    """The key that is pressed within so many seconds; nothing else. A terminal that is gone presses q."""
    ready, _, _ = select.select([sys.stdin] if sys.stdin.isatty() else [], [], [], seconds)
    return os.read(sys.stdin.fileno(), 1).decode("latin-1") or "q" if ready else ""
