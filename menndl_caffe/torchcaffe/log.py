"""Caffe's log: glog's line format on standard error, so that what parses Caffe's logs parses these."""
from __future__ import annotations

import os
import sys
import threading
import time

INFO, WARNING, ERROR, FATAL = range(4)
_level = INFO
_has_prefix = True


def init_log(level: int = INFO, stderr: bool = False) -> None:
    """Show lines of `level` (0 INFO to 3 FATAL) and above. All go to standard error here; glog's files are not written.

    As with glog, GLOG_minloglevel in the environment wins while no level is given.
    """
    global _level
    _level = level or int(os.environ.get("GLOG_minloglevel") or INFO)


def show_prefix(shown: bool) -> None:
    """Whether lines begin with level, time, thread and place (glog's `log_prefix`)."""
    global _has_prefix
    _has_prefix = shown


def log(text: str, level: int = INFO, source: str = "_caffe.cpp:136") -> None:
    """Write one line, `source` being the place in Caffe that says the same."""
    if level < _level:
        return
    print(f"{_prefix(level, source) if _has_prefix else ''}{text}", file=sys.stderr, flush=True)


def _prefix(level: int, source: str) -> str:
    now = time.time()
    stamp = time.strftime("%m%d %H:%M:%S", time.localtime(now))
    return f"{'IWEF'[level]}{stamp}.{int(now % 1 * 1e6):06d} {threading.get_native_id():5d} {source}] "


init_log()
