"""What a command sees to before anything else: three open streams, UTF-8, and one thread for its own BLAS."""
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Dict

BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def prepare() -> None:
    """Make this process what menndl takes for granted. To be called before numpy is imported."""
    open_streams()
    speak_utf8()
    for name, count in blas_threads(1).items():
        os.environ.setdefault(name, count)


def blas_threads(count: int) -> Dict[str, str]:
    """The variables that give so many threads to every BLAS and to OpenMP."""
    return dict.fromkeys(BLAS_THREADS, str(count))


def open_streams() -> None:
    """Streams that were closed (`2>&-`) lead nowhere. A file or a pipe that is opened would be given their number, and
    get what is meant for them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(nowhere, True)
            setattr(sys, name, open(nowhere, "w" if number else "r", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def speak_utf8() -> None:
    """Begin anew in Python's UTF-8 mode where the locale is another: texts, journals and Caffe's messages are UTF-8,
    and so names of files must be read as that and come to Caffe byte by byte."""
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    os.environ["PYTHONUTF8"] = "1"
    words = Path("/proc/self/cmdline").read_bytes().split(b"\0")[:-1]
    os.execv(os.path.realpath("/proc/self/exe"), words)
