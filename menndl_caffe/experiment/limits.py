"""Limits of time and memory for what runs in this process but was written by somebody else."""
from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
from typing import Iterator, NoReturn

MEMORY = 2**29  # bytes that may be taken beyond what the process has


class TooLong(BaseException):
    """The time is over. No Exception, so that none who handles those takes it for one of his own."""


def _raise(*_: object) -> NoReturn:
    raise TooLong


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Within it, MemoryError for who takes more than MEMORY; TooLong after so many seconds of this process' processor
    time, which does not pass while others run or all is suspended. The time counts in the main thread alone, where
    Python handles signals."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _size() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most if soft == resource.RLIM_INFINITY else min(soft, most), hard))
    try:
        with _timed(seconds):
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextlib.contextmanager
def _timed(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if signal.getsignal(signal.SIGPROF) is not _raise:
        signal.signal(signal.SIGPROF, _raise)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _size() -> int:
    """Bytes of this process' address space (proc(5), statm)."""
    file = os.open("/proc/self/statm", os.O_RDONLY)
    try:
        return int(os.read(file, 64).split()[0]) * resource.getpagesize()
    finally:
        os.close(file)
