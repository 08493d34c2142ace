"""Caffe's log: glog's line format on standard error, so that what parses Caffe's logs parses these."""
from __future__ import annotations

import os
import sys
import threading
import time

INFO, WARNING, ERROR, FATAL = range(4)
_level = INFO


def init_log(level: int = INFO, stderr: bool = False) -> None:
    """Show lines of `level` (0 INFO to 3 FATAL) and above. All go to standard error here; glog's files are not written.

    As with glog, GLOG_minloglevel in the environment wins while no level is given.
    """
    global _level
    _level = level or int(os.environ.get("GLOG_minloglevel") or INFO)


def log(text: str, level: int = INFO, source: str = "_caffe.cpp:136") -> None:
    """Write one line, `source` being the place in Caffe that says the same."""
    if level < _level:
        return
    now = time.time()
    stamp = time.strftime("%m%d %H:%M:%S", time.localtime(now))
    thread = threading.get_native_id()
    print(f"{'IWEF'[level]}{stamp}.{int(now % 1 * 1e6):06d} {thread:5d} {source}] {text}", file=sys.stderr, flush=True)


init_log()
